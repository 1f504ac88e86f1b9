"""The index of a checkpoint: of every tensor how it is cut, and in which file each piece lies.

It is complete by itself: with `index.json` and the state files any program can put any tensor together, without knowing
the model or the layout that wrote it. Pieces are in the order of (slice, start) and must hold every value exactly once;
that is checked when an index is made and when it is read, so a hole is an error and never zeros.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import storage
from trainer.checkpoint.slices import Run, Slicing, slicing_of
from trainer.model.declaration import ParameterDeclaration

INDEX = "index.json"
STATE_FOLDER = "state"


@dataclass(frozen=True)
class PieceRecord:
    """What a process says of a piece that it has written."""

    name: str
    kind: str
    local_shape: tuple[int, ...]
    tensor_rank: int
    tensor_size: int
    start: int
    count: int

    @property
    def key(self) -> str:
        """Its key in the state file."""
        return f"{self.name}:{self.kind}:{self.tensor_rank}of{self.tensor_size}:{self.start}"


@dataclass(frozen=True, order=True)
class Place:
    """Where a piece lies."""

    tensor_rank: int
    """Slice that it is of."""
    start: int
    """First value within the flattened slice."""
    count: int
    """Values."""
    file: str
    """File within the checkpoint."""
    offset: int
    """First byte in it."""

    @property
    def stop(self) -> int:
        """One past its last value within the flattened slice."""
        return self.start + self.count


@dataclass(frozen=True)
class StoredTensor:
    """One kind of value of one parameter."""

    slicing: Slicing
    places: tuple[Place, ...]

    def problem(self) -> str | None:
        """Why it cannot be put together, or None."""
        if problem := self.slicing.problem():
            return problem
        at = (0, 0)
        for place in self.places:
            if (place.tensor_rank, place.start) != at or place.count < 1:
                return f"value {at[1]} of slice {at[0]} is in no piece, or in two"
            at = (place.tensor_rank, place.stop)
            if place.stop == self.slicing.local_count:
                at = (place.tensor_rank + 1, 0)
        return None if at == (self.slicing.size, 0) else f"slice {at[0]} ends at value {at[1]}"


Key = tuple[str, str]
"""Canonical name and kind."""


@dataclass(frozen=True)
class Index:
    """All tensors of a checkpoint."""

    tensors: Mapping[Key, StoredTensor]

    def kinds(self) -> list[str]:
        """Kinds of values, the weight first."""
        return sorted({kind for _, kind in self.tensors}, key=lambda kind: (kind != "weight", kind))

    def of_kind(self, kind: str) -> Iterator[tuple[str, StoredTensor]]:
        """Name and tensor of each parameter that has this kind, in the order of the model."""
        return ((name, tensor) for (name, found), tensor in self.tensors.items() if found == kind)

    @property
    def parameters(self) -> int:
        """Values of the model."""
        return sum(tensor.slicing.count for _, tensor in self.of_kind("weight"))

    def files(self) -> set[str]:
        """The state files."""
        return {place.file for tensor in self.tensors.values() for place in tensor.places}


def build_index(
    declarations: Mapping[str, ParameterDeclaration], written: Mapping[str, Sequence[tuple[PieceRecord, int]]]
) -> Index:
    """The index of what all processes wrote: for each file its pieces, with their first bytes.

    Raises ValueError naming a tensor that is not complete.
    """
    shapes: dict[Key, tuple[tuple[int, ...], int]] = {}
    places: dict[Key, list[Place]] = {}
    for file, pieces in written.items():
        for piece, offset in pieces:
            key = (piece.name, piece.kind)
            cut = (piece.local_shape, piece.tensor_size)
            if shapes.setdefault(key, cut) != cut:
                raise ValueError(f"{piece.name}: {piece.kind} is cut in two ways")
            places.setdefault(key, []).append(Place(piece.tensor_rank, piece.start, piece.count, file, offset))
    tensors = {}
    for name, declaration in declarations.items():
        for key in sorted(key for key in places if key[0] == name):
            local_shape, size = shapes[key]
            slicing = slicing_of(declaration, key[1], size)
            if slicing.local_shape != local_shape or slicing.size != size:
                raise ValueError(f"{name}: {key[1]} has shape {local_shape} instead of {slicing.local_shape}")
            tensors[key] = StoredTensor(slicing, tuple(sorted(places[key])))
    if unknown := sorted({key[0] for key in places} - set(declarations)):
        raise ValueError(f"{unknown[0]} is no parameter of the model")
    index = Index(tensors)
    _require_complete(index)
    return index


def write_index(path: Path, index: Index) -> None:
    """Write index.json: a line a tensor, pieces as [slice, start, count, file, first byte]."""
    lines = []
    for (name, kind), tensor in index.tensors.items():
        slicing = tensor.slicing
        entry = {
            "name": name,
            "kind": kind,
            "dtype": "F32",
            "shape": slicing.shape,
            "dimension": slicing.dimension,
            "local_length": slicing.local_length,
            "runs": [[[run.full, run.local, run.length] for run in runs] for runs in slicing.runs],
            "pieces": [[one.tensor_rank, one.start, one.count, one.file, one.offset] for one in tensor.places],
        }
        lines.append(json.dumps(entry, ensure_ascii=False))
    with storage.write_atomically(str(path)) as file:
        file.write(('{"tensors": [\n' + ",\n".join(lines) + "\n]}\n").encode())


def read_index(checkpoint: Path) -> Index:
    """The index of a checkpoint; raises ValueError naming what is wrong with it."""
    tensors: dict[Key, StoredTensor] = {}
    try:
        entries = json.loads((checkpoint / INDEX).read_bytes())["tensors"]
        for entry in entries:
            tensors[entry["name"], entry["kind"]] = _tensor(entry)
    except (KeyError, TypeError, ValueError) as fault:
        raise ValueError(f"{INDEX} is not readable ({fault})") from None
    index = Index(tensors)
    _require_complete(index)
    return index


def _tensor(entry: Mapping[str, Any]) -> StoredTensor:
    if entry["dtype"] != "F32":
        raise ValueError(f"{entry['name']}: {entry['kind']} has dtype {entry['dtype']}")
    slicing = Slicing(
        tuple(entry["shape"]),
        entry["dimension"],
        entry["local_length"],
        tuple(tuple(Run(*run) for run in runs) for runs in entry["runs"]),
    )
    return StoredTensor(slicing, tuple(Place(*place) for place in entry["pieces"]))


def _require_complete(index: Index) -> None:
    if not index.tensors:
        raise ValueError("there is no tensor")
    for (name, kind), tensor in index.tensors.items():
        if problem := tensor.problem():
            raise ValueError(f"{name}: {kind} is not complete: {problem}")
