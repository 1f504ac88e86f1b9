"""Any layout reads what any other wrote, value for value; files are safetensors; holes are errors, never zeros."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from pipeline.errors import UserError
from tests.trainer.checkpoint.synthetic import Cut, declarations_of, full_state, records_of, write_checkpoint
from trainer.checkpoint import reading
from trainer.checkpoint.index import INDEX, STATE_FOLDER, PieceRecord, build_index, read_index
from trainer.checkpoint.reading import StateReader
from trainer.checkpoint.slices import Rectangle, Run, Slicing, overlap, rectangles, slicing_of
from trainer.checkpoint.state_file import write_state_file
from trainer.model.declaration import ParameterDeclaration
from trainer.model.partition import Partition

SMALL_BLOCKS = (7, 64, 2 << 20)


@pytest.fixture(params=SMALL_BLOCKS)
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks smaller than a row, than a tensor, and as they are."""
    monkeypatch.setattr(reading, "BLOCK_VALUES", request.param)
    monkeypatch.setattr(reading, "_OWN_READ", request.param)
    return int(request.param)


@pytest.mark.parametrize("before", [Cut(1, 1), Cut(2, 2), Cut(4, 3)], ids=str)
@pytest.mark.parametrize("after", [Cut(1, 3, 5), Cut(2, 1), Cut(4, 2, 6), Cut(2, 2)], ids=str)
def test_every_layout_reads_every_other(tmp_path: Path, before: Cut, after: Cut, block: int) -> None:
    state = full_state(1)
    checkpoint = write_checkpoint(tmp_path, 3, before, state)
    declarations = declarations_of()
    with StateReader(checkpoint) as reader:
        for rank in range(after.world):
            for piece in after.pieces(rank, state):
                found = np.full(piece.values.numel(), np.nan, np.float32)
                slicing = slicing_of(declarations[piece.name], piece.kind, piece.tensor_size)
                reader.read((piece.name, piece.kind), slicing, piece.tensor_rank, piece.start, found)
                assert np.array_equal(found, piece.values.numpy()), piece.name


def test_hashes_and_norms_are_of_the_tensor_and_not_of_the_layout(tmp_path: Path, block: int) -> None:
    state = full_state(2)
    for cut in (Cut(1, 1), Cut(4, 3)):
        with StateReader(write_checkpoint(tmp_path / str(cut), 1, cut, state)) as reader:
            assert reader.index.kinds() == ["weight", "exp_avg", "exp_avg_sq"]
            assert reader.index.parameters == sum(one.size for one in declarations_of().values())
            for key, full in state.items():
                figures = reader.figures(key)
                assert figures.sha256 == reader.sha256(key) == hashlib.sha256(full.tobytes()).hexdigest()
                assert figures.norm == pytest.approx(float(np.linalg.norm(full.astype(np.float64))), rel=1e-12)
                assert (figures.smallest, figures.largest) == (full.min(), full.max())
                assert np.array_equal(reader.full(key), full)


@st.composite
def slicings(draw: st.DrawFn) -> tuple[ParameterDeclaration, int]:
    size = draw(st.integers(1, 4))
    dimensions = draw(st.integers(1, 3))
    dimension = draw(st.integers(0, dimensions - 1))
    padded = draw(st.booleans())
    parts = (draw(st.integers(1, 9)),) if padded else tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    if not padded:
        parts = tuple(part * size for part in parts)
    shape = [draw(st.integers(1, 4)) for _ in range(dimensions)]
    shape[dimension] = sum(parts)
    partition = Partition(dimension, parts, padded=padded)
    return ParameterDeclaration("w", tuple(shape), "normal", "matrix", 0, partition=partition), size


@given(slicings(), st.data())
@settings(max_examples=200, deadline=None)
def test_rectangles_are_what_the_declaration_cuts(made: tuple[ParameterDeclaration, int], data: st.DataObject) -> None:
    declaration, size = made
    full = torch.arange(1, declaration.size + 1, dtype=torch.float32).reshape(declaration.shape)
    slicing = slicing_of(declaration, "weight", size)
    assert slicing.problem() is None
    width = slicing.count // int(np.prod(slicing.shape[: slicing.dimension], dtype=np.int64))
    matrix = full.numpy().reshape(-1, width)
    for rank in range(size):
        flat = declaration.local(full, rank, size).contiguous().flatten().numpy()
        assert flat.size == slicing.local_count
        start = data.draw(st.integers(0, flat.size))
        stop = data.draw(st.integers(start, flat.size))
        found = np.zeros(flat.size, np.float32)
        for one in rectangles(slicing, rank, start, stop):
            for row in range(one.top, one.bottom):
                at = one.first + (row - one.top) * one.stride
                assert not found[at : at + one.right - one.left].any(), "no value twice"
                found[at : at + one.right - one.left] = matrix[row, one.left : one.right]
        assert np.array_equal(found[start:stop], flat[start:stop])
        assert not found[:start].any()
        assert not found[stop:].any()


def test_rectangles_share_what_both_hold() -> None:
    ours = Rectangle(top=0, bottom=4, left=2, right=6, first=0, stride=4)
    theirs = Rectangle(top=2, bottom=9, left=5, right=8, first=100, stride=3)
    shared = overlap(ours, theirs)
    assert shared is not None
    assert (shared.rows, shared.columns) == (2, 1)
    assert (shared.ours, shared.theirs) == (2 * 4 + 3, 100)
    assert overlap(ours, replace(theirs, left=6)) is None
    assert overlap(ours, replace(theirs, top=4)) is None


def test_factored_statistics_are_cut_where_the_weight_is() -> None:
    column = ParameterDeclaration("up", (8, 6), "normal", "matrix", 0, partition=Partition(0, (8,)))
    row = ParameterDeclaration("down", (6, 8), "normal", "matrix", 0, partition=Partition(1, (8,)))
    assert slicing_of(column, "rows", 2).local_shape == (4,)
    assert slicing_of(column, "columns", 2).local_shape == (1, 6)
    assert slicing_of(row, "columns", 2).local_shape == (1, 4)
    assert slicing_of(row, "rows", 2).local_shape == (6,)


def test_files_are_safetensors_that_the_library_reads(tmp_path: Path) -> None:
    state = full_state(3)
    cut = Cut(2, 2)
    checkpoint = write_checkpoint(tmp_path, 1, cut, state)
    for rank in range(cut.world):
        pieces = {record.key: piece for piece in cut.pieces(rank, state) for record in records_of([piece])}
        with safe_open(checkpoint / STATE_FOLDER / f"rank_{rank:05d}.safetensors", "pt") as file:
            assert set(file.keys()) == set(pieces)
            for key, piece in pieces.items():
                assert torch.equal(file.get_tensor(key), piece.values)


def test_a_file_that_cannot_be_finished_does_not_stay(tmp_path: Path) -> None:
    def values() -> Iterator[memoryview]:
        yield memoryview(bytes(8))
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_state_file(tmp_path / "a", [("x", 100)], values())
    with pytest.raises(ValueError, match="bytes instead of"):
        write_state_file(tmp_path / "a", [("x", 100)], iter([memoryview(bytes(8))]))
    assert list(tmp_path.iterdir()) == []


def records(*ranges: tuple[int, int]) -> dict[str, list[tuple[PieceRecord, int]]]:
    return {
        f"{number}": [(PieceRecord("w", "weight", (4, 5), 0, 1, start, stop - start), 0)]
        for number, (start, stop) in enumerate(ranges)
    }


DECLARED = {"w": ParameterDeclaration("w", (4, 5), "normal", "matrix", 0, partition=Partition(0, (4,)))}


@pytest.mark.parametrize(
    "ranges", [[(0, 9), (10, 20)], [(0, 11), (10, 20)], [(0, 19)], [(1, 20)], [(0, 20), (0, 20)]], ids=str
)
def test_an_index_with_a_hole_or_a_value_twice_is_refused(ranges: list[tuple[int, int]]) -> None:
    build_index(DECLARED, records((0, 10), (10, 20)))
    with pytest.raises(ValueError, match="w: weight is not complete"):
        build_index(DECLARED, records(*ranges))


def test_an_index_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="w is no parameter of the model"):
        build_index({}, records((0, 20)))
    checkpoint = write_checkpoint(tmp_path, 1, Cut(2, 1), full_state(1))
    entries = json.loads((checkpoint / INDEX).read_text())
    entries["tensors"][0]["pieces"].pop()
    (checkpoint / INDEX).write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=r"token_embedding\.weight: .* is not complete"):
        read_index(checkpoint)


def test_what_a_checkpoint_does_not_have_is_named(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, 1, Cut(1, 1), full_state(1))
    declared = declarations_of()["final_norm.weight"]
    values = np.empty(16, np.float32)
    with StateReader(checkpoint) as reader:
        with pytest.raises(UserError, match=r"has no momentum of final_norm\.weight, only exp_avg"):
            reader.read(("final_norm.weight", "momentum"), slicing_of(declared, "momentum", 1), 0, 0, values)
        other = Slicing((17,), 0, 17, ((Run(0, 0, 17),),))
        with pytest.raises(UserError, match=r"has the shape \(16,\), the run needs \(17,\)"):
            reader.read(("final_norm.weight", "weight"), other, 0, 0, values)
    (next((checkpoint / STATE_FOLDER).iterdir())).write_bytes(b"short")
    with StateReader(checkpoint) as reader, pytest.raises(UserError, match="it is damaged"):
        reader.read(("final_norm.weight", "weight"), slicing_of(declared, "weight", 1), 0, 0, values)
