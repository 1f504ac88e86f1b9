"""Writing a checkpoint again for another layout, and the proof that nothing in it changed.

Resuming in another layout needs none of this: each process reads what it needs from any checkpoint. Reshaping makes
that each process finds its values in one file of its own, so that the first start on another cluster reads little, and
shows by hashes that every tensor is what it was. Values pass through one block of memory, whatever the size of a
tensor: the peak is that of Python and numpy. Cost: the source is read three times (checksums, hashes, copying), the
target written and read once.
"""

import hashlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.errors import UserError
from trainer.checkpoint import directory as on_disk
from trainer.checkpoint.index import INDEX, STATE_FOLDER, Index, Key, PieceRecord, build_index, write_index
from trainer.checkpoint.reading import StateReader
from trainer.checkpoint.seal import STATE, damage
from trainer.checkpoint.slices import Slicing, slicing_of
from trainer.checkpoint.state_file import VALUE_BYTES, write_state_file
from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.parallel.layout import Layout
from trainer.parallel.stages import balance, counted_costs
from trainer.settings import ModelShape

BLOCK_VALUES = 2 << 20
"""Values in memory at a time: 8 MiB."""


@dataclass(frozen=True)
class Reshaped:
    """What came of it."""

    path: Path
    """The new checkpoint."""
    tensors: int
    """Tensors whose hashes were compared."""
    bytes: int
    """Of their values."""
    seconds: float
    state_sha256: str
    """Of all tensors; the same before and after."""


@dataclass(frozen=True)
class _Part:
    """A piece to be written."""

    key: Key
    slicing: Slicing
    record: PieceRecord


def layout_of_world(data: int, tensor: int, pipeline: int, zero: int) -> Layout:
    """The layout as far as a state depends on it.

    Raises:
        UserError: ZeRO 2 or 3 with a pipeline.
    """
    if zero > 1 and pipeline > 1:
        raise UserError(f"ZeRO {zero} does not go with pipeline={pipeline}: use --zero 1 or 0")
    return Layout(data, tensor, pipeline, zero, rows_per_step=data, micro_batch_size=1)


def reshape(checkpoint: Path, layout: Layout, target: Path, tell: Callable[[str], None] = lambda _: None) -> Reshaped:
    """Write a whole checkpoint for another layout into the folder `target`, under the name it has.

    Raises:
        UserError: the checkpoint is damaged, the model cannot be cut that way, the target exists, or, which would be
            an error of this program, a tensor is not what it was; then nothing is published.
    """
    started = time.perf_counter()
    if problem := damage(checkpoint):
        raise UserError(f"{checkpoint} is damaged ({problem}): take another one")
    if (target / checkpoint.name).exists():
        raise UserError(f"{target / checkpoint.name} exists already: remove it, or give another --output")
    state = on_disk.read_state(checkpoint)
    shape = ModelShape.model_validate(state["model"])
    temporary = on_disk.temporary_directory(target, state["step"], secrets.token_hex(4))
    (temporary / STATE_FOLDER).mkdir(parents=True)
    try:
        with StateReader(checkpoint) as reader:
            tell(f"hashing {len(reader.index.tensors)} tensors")
            before = hashes_of(reader)
            files, index = _write(reader, shape, layout, temporary, tell)
        with StateReader(temporary, index) as written:
            tell("comparing hashes")
            after = hashes_of(written)
        changed = [key for key in before if before[key] != after.get(key)]
        if changed or before.keys() != after.keys():
            raise UserError(f"{changed or 'a tensor'} changed on the way: nothing was published; please report this")
        changes: dict[str, Any] = {"layout": {**state.get("layout", {}), **layout_record(layout)}}
        storage.write_json(str(temporary / STATE), {**state, **changes, "state_sha256": state_sha256(after)})
        path = on_disk.publish(temporary, state["step"], files)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    size = VALUE_BYTES * sum(tensor.slicing.count for tensor in index.tensors.values())
    return Reshaped(path, len(before), size, time.perf_counter() - started, state_sha256(before))


def layout_record(layout: Layout) -> dict[str, int]:
    """A layout as trainer.json has it."""
    return {
        "parallel.data": layout.data,
        "parallel.tensor": layout.tensor,
        "parallel.pipeline": layout.pipeline,
        "zero": layout.zero,
    }


def hashes_of(reader: StateReader) -> dict[Key, str]:
    """SHA-256 of every full tensor."""
    return {key: reader.sha256(key) for key in reader.index.tensors}


def state_sha256(hashes: dict[Key, str]) -> str:
    """One hash of a whole state, independent of layout and order: of the lines `name kind sha256`, sorted."""
    lines = sorted(f"{name} {kind} {sha256}\n" for (name, kind), sha256 in hashes.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _write(
    reader: StateReader,
    shape: ModelShape,
    layout: Layout,
    temporary: Path,
    tell: Callable[[str], None],
) -> tuple[dict[str, dict[str, Any]], Index]:
    """Write the state files and the index; returns size and hash of each file, and the index."""
    declarations = declare_parameters(shape)
    stages = _stages(declarations, shape, layout.pipeline)
    parts = _parts(reader.index, declarations, stages, layout)
    files: dict[str, dict[str, Any]] = {}
    written: dict[str, list[tuple[PieceRecord, int]]] = {}
    needed = VALUE_BYTES * sum(part.record.count for of_rank in parts for part in of_rank)
    free = shutil.disk_usage(temporary).free
    if free < needed:
        raise UserError(f"{temporary.parent}: the disk is too full: {needed:,} bytes are needed, {free:,} are free")
    for rank, of_rank in enumerate(parts):
        tell(f"writing part {rank + 1} of {layout.world}")
        file = f"{STATE_FOLDER}/rank_{rank:05d}.safetensors"
        tensors = [(part.record.key, part.record.count) for part in of_rank]
        done = write_state_file(temporary / file, tensors, _values(reader, of_rank))
        files[file] = {"size": done.size, "sha256": done.sha256}
        written[file] = [(part.record, offset) for part, offset in zip(of_rank, done.offsets, strict=True)]
    index = build_index({declaration.name: declaration for declaration in declarations}, written)
    write_index(temporary / INDEX, index)
    return files, index


def _values(reader: StateReader, parts: Sequence[_Part]) -> Iterator[memoryview]:
    buffer = np.empty(BLOCK_VALUES, np.float32)
    for part in parts:
        for start in range(0, part.record.count, BLOCK_VALUES):
            block = buffer[: min(BLOCK_VALUES, part.record.count - start)]
            reader.read(part.key, part.slicing, part.record.tensor_rank, part.record.start + start, block)
            yield block.data.cast("B")


def _parts(
    index: Index, declarations: Sequence[ParameterDeclaration], stages: Mapping[str, int], layout: Layout
) -> list[list[_Part]]:
    """What each process of the layout is to have: the parameters of its stage and slice, with ZeRO its share of each.

    What several processes hold alike is written by one of them, in turns.
    """
    parts: list[list[_Part]] = [[] for _ in range(layout.world)]
    for number, declaration in enumerate(declarations):
        for kind in index.kinds():
            if (declaration.name, kind) not in index.tensors:
                continue
            try:
                slicing = slicing_of(declaration, kind, layout.tensor)
            except ValueError as fault:
                raise UserError(f"the model cannot be cut that way: {fault}") from None
            for tensor in range(slicing.size):
                holder = tensor if slicing.size > 1 else number % layout.tensor
                for data in range(layout.data):
                    start, stop = _share(slicing.local_count, data, layout, number)
                    if stop > start:
                        record = PieceRecord(
                            declaration.name, kind, slicing.local_shape, tensor, slicing.size, start, stop - start
                        )
                        rank = layout.rank_of(data, stages[declaration.name], holder)
                        parts[rank].append(_Part((declaration.name, kind), slicing, record))
    return parts


def _share(count: int, data: int, layout: Layout, number: int) -> tuple[int, int]:
    if layout.zero == 0:
        return (0, count) if number % layout.data == data else (0, 0)
    return count * data // layout.data, count * (data + 1) // layout.data


def _stages(declarations: Sequence[ParameterDeclaration], shape: ModelShape, stages: int) -> dict[str, int]:
    """The pipeline stage of each parameter, by counted costs; layers are the embedding, the blocks and the head."""
    try:
        bounds = balance(counted_costs(shape), stages)
    except ValueError as fault:
        raise UserError(f"the model cannot be cut that way: {fault}") from None
    layers: dict[str, int] = {"embedding": 0, "head": shape.layers + 1}
    found = {}
    for declaration in declarations:
        of = declaration.stage_of
        layer = of + 1 if isinstance(of, int) else layers[of]
        found[declaration.name] = next(stage for stage in range(stages) if layer < bounds[stage + 1])
    return found
