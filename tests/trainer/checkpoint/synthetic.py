"""A run's state without a run: drawn tensors, cut for any layout as ZeRO and tensor parallelism would cut them."""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import storage
from trainer.checkpoint import directory as on_disk
from trainer.checkpoint.index import INDEX, STATE_FOLDER, Key, PieceRecord, build_index, write_index
from trainer.checkpoint.reading import Values
from trainer.checkpoint.seal import STATE
from trainer.checkpoint.state_file import write_state_file
from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.settings import ModelSettings, ModelShape
from trainer.state import StatePiece

KINDS = ("weight", "exp_avg", "exp_avg_sq")
SHAPE = ModelSettings(layers=3, width=16, heads=4, kv_heads=4, tied_embeddings=False).shaped(37, 32)
"""An odd vocabulary, so that the last slice is padded for every number of slices."""


def declarations_of(shape: ModelShape = SHAPE) -> dict[str, ParameterDeclaration]:
    return {declaration.name: declaration for declaration in declare_parameters(shape)}


def full_state(seed: int, shape: ModelShape = SHAPE, kinds: tuple[str, ...] = KINDS) -> dict[Key, Values]:
    """Every tensor of a state, drawn."""
    draw = np.random.default_rng(seed)
    return {
        (name, kind): draw.standard_normal(declaration.shape, dtype=np.float32)
        for name, declaration in declarations_of(shape).items()
        for kind in kinds
    }


@dataclass(frozen=True)
class Cut:
    """A layout: tensor slices, and among how many processes each slice is shared, cut anywhere."""

    tensor: int
    data: int
    seed: int = 0

    @property
    def world(self) -> int:
        return self.tensor * self.data

    def pieces(self, rank: int, state: Mapping[Key, Values], shape: ModelShape = SHAPE) -> list[StatePiece]:
        """What a process holds: torch copies of its part of `state`; each value of it is held by one process."""
        return list(self._pieces(rank, state, declarations_of(shape)))

    def _pieces(
        self, rank: int, state: Mapping[Key, Values], declarations: Mapping[str, ParameterDeclaration]
    ) -> Iterator[StatePiece]:
        data, tensor = divmod(rank, self.tensor)
        for (name, kind), full in state.items():
            declaration = declarations[name]
            size = self.tensor if declaration.partition is not None else 1
            if size == 1 and tensor > 0:
                continue
            local = declaration.local(torch.from_numpy(full), tensor, size)
            flat = local.contiguous().flatten()
            bounds = self._bounds(f"{name}/{kind}/{tensor}", flat.numel())
            start, stop = bounds[data], bounds[data + 1]
            if stop > start:
                yield StatePiece(name, kind, tuple(local.shape), tensor, size, start, flat[start:stop].clone())

    def _bounds(self, what: str, count: int) -> list[int]:
        draw = random.Random(hashlib.sha256(f"{self.seed}/{what}".encode()).digest())
        return [0, *sorted(draw.randint(0, count) for _ in range(self.data - 1)), count]


def bytes_of(piece: StatePiece) -> memoryview:
    return piece.values.numpy().data.cast("B")


def records_of(pieces: list[StatePiece]) -> list[PieceRecord]:
    return [
        PieceRecord(
            one.name, one.kind, one.local_shape, one.tensor_rank, one.tensor_size, one.start, one.values.numel()
        )
        for one in pieces
    ]


def write_checkpoint(
    checkpoints: Path,
    step: int,
    cut: Cut,
    state: Mapping[Key, Values],
    shape: ModelShape = SHAPE,
    **saved: Any,
) -> Path:
    """A published checkpoint, written by one process for all."""
    temporary = on_disk.temporary_directory(checkpoints, step)
    (temporary / STATE_FOLDER).mkdir(parents=True)
    written = {}
    for rank in range(cut.world):
        pieces = cut.pieces(rank, state, shape)
        records = records_of(pieces)
        file = f"{STATE_FOLDER}/rank_{rank:05d}.safetensors"
        done = write_state_file(
            temporary / file, [(one.key, one.count) for one in records], (bytes_of(one) for one in pieces)
        )
        written[file] = list(zip(records, done.offsets, strict=True))
    write_index(temporary / INDEX, build_index(declarations_of(shape), written))
    storage.write_json(str(temporary / STATE), {"step": step, "model": shape.model_dump(mode="json"), **saved})
    return on_disk.publish(temporary, step)
