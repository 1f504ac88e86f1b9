"""Megatron's .bin/.idx, against a writer and a reader of our own that follow its source line by line."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.tokens.megatron import IndexedWriter, open_indexed


class Builder:
    """What `IndexedDatasetBuilder` does: sequences, ended documents, `finalize`."""

    def __init__(self, prefix: Path, dtype: type[np.integer], code: int) -> None:
        self.prefix, self.dtype, self.code = prefix, dtype, code
        self.data = b""
        self.lengths: list[int] = []
        self.documents = [0]

    def add_document(self, sequences: list[list[int]]) -> None:
        for sequence in sequences:
            self.data += np.array(sequence, self.dtype).tobytes()
            self.lengths.append(len(sequence))
        self.documents.append(len(self.lengths))

    def finalize(self) -> None:
        index = b"MMIDIDX\x00\x00" + struct.pack("<Q", 1) + struct.pack("<B", self.code)
        index += struct.pack("<Q", len(self.lengths)) + struct.pack("<Q", len(self.documents))
        index += np.array(self.lengths, np.int32).tobytes()
        pointers, place = [], 0
        for length in self.lengths:
            pointers.append(place)
            place += length * np.dtype(self.dtype).itemsize
        index += np.array(pointers, np.int64).tobytes() + np.array(self.documents, np.int64).tobytes()
        Path(f"{self.prefix}.idx").write_bytes(index)
        Path(f"{self.prefix}.bin").write_bytes(self.data)


def documents_of(prefix: Path | str) -> list[list[int]]:
    """Every document of a dataset, read the obvious way."""
    content = Path(f"{prefix}.idx").read_bytes()
    magic, version, code, sequences, ends = struct.unpack_from("<9sQBQQ", content)
    assert (magic, version) == (b"MMIDIDX\x00\x00", 1)
    dtype = {4: np.int32, 8: np.uint16}[code]
    lengths = struct.unpack_from(f"<{sequences}i", content, 34)
    pointers = struct.unpack_from(f"<{sequences}q", content, 34 + 4 * sequences)
    documents = struct.unpack_from(f"<{ends}q", content, 34 + 12 * sequences)
    assert len(content) == 34 + 12 * sequences + 8 * ends
    data = Path(f"{prefix}.bin").read_bytes()
    found = []
    for first, last in pairwise(documents):
        ids: list[int] = []
        for sequence in range(first, last):
            ids += np.frombuffer(data, dtype, lengths[sequence], pointers[sequence]).tolist()
        found.append(ids)
    return found


DOCUMENTS = st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=9), max_size=12)


@settings(max_examples=50, deadline=None)
@given(DOCUMENTS, st.sampled_from([(65_499, np.uint16, 8), (65_500, np.int32, 4), (100_000, np.int32, 4)]))
def test_files_are_those_of_the_builder_to_the_byte(tmp_path_factory, documents, kind) -> None:
    vocab_size, dtype, code = kind
    folder = tmp_path_factory.mktemp("indexed")
    builder = Builder(folder / "theirs", dtype, code)
    with IndexedWriter(str(folder / "ours"), vocab_size) as writer:
        for document in documents:
            builder.add_document([document])
            writer.add(np.array(document, np.uint32), np.array([len(document)]))
    builder.finalize()
    assert writer.documents == len(documents)
    for ending in ("idx", "bin"):
        assert (folder / f"ours.{ending}").read_bytes() == (folder / f"theirs.{ending}").read_bytes()
    assert documents_of(folder / "ours") == documents


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.lists(st.integers(0, 300), max_size=5), max_size=3), max_size=8))
def test_documents_of_several_sequences_are_read_whole_and_empty_ones_left_out(tmp_path_factory, documents) -> None:
    folder = tmp_path_factory.mktemp("indexed")
    builder = Builder(folder / "theirs", np.int32, 4)
    for sequences in documents:
        builder.add_document(sequences)
    builder.finalize()
    whole = [document for sequences in documents if (document := sum(sequences, []))]  # noqa: RUF017
    indexed = open_indexed(str(folder / "theirs"))
    starts = indexed.starts(0, indexed.documents)
    assert [indexed.tokens[begin:end].tolist() for begin, end in pairwise(starts)] == whole
    parts = []
    for number in range(indexed.documents):
        bounds = indexed.starts(number, number + 1)
        parts += [indexed.tokens[begin:end].tolist() for begin, end in pairwise(bounds)]
    assert parts == whole


def test_a_document_may_be_written_in_parts(tmp_path: Path) -> None:
    with IndexedWriter(str(tmp_path / "ours"), 300) as writer:
        writer.add(np.array([1, 2, 3], np.uint16), np.array([2, 1]))
        writer.add(np.array([4, 5, 6], np.uint16), np.array([2, 1]), continues=True)
        writer.add(np.array([7], np.uint16), np.array([1]), continues=True)
    assert documents_of(tmp_path / "ours") == [[1, 2], [3, 4, 5], [6, 7]]


def test_nothing_appears_when_the_writing_fails(tmp_path: Path) -> None:
    def interrupted() -> None:
        with IndexedWriter(str(tmp_path / "ours"), 300) as writer:
            writer.add(np.array([1], np.uint16), np.array([1]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def change_index(place: int, kind: str, value: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / "x.idx").read_bytes())
        struct.pack_into(kind, content, place, value)
        (folder / "x.idx").write_bytes(content)

    return change


def cut(file: str, keep: int) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:keep]) and None


FAULTS = {
    "no index": (lambda folder: (folder / "x.idx").unlink(), r"x\.idx does not exist: a Megatron dataset is"),
    "no data": (lambda folder: (folder / "x.bin").unlink(), r"x\.bin does not exist"),
    "no Megatron index": (change_index(0, "<B", 0), r"x\.idx is no Megatron index"),
    "empty index": (cut("x.idx", 0), r"x\.idx is no Megatron index"),
    "other version": (change_index(9, "<Q", 2), r"x\.idx has version 2, this gptmill reads 1"),
    "floats": (change_index(17, "<B", 7), r"x\.idx: type code 7 is none of whole numbers"),
    "unknown type": (change_index(17, "<B", 99), r"type code 99"),
    "more sequences than bytes": (change_index(18, "<Q", 1 << 40), r"truncated or damaged"),
    "truncated index": (cut("x.idx", 60), r"x\.idx has 60 bytes, 3 sequences and 3 document ends take"),
    "negative length": (change_index(34, "<i", -4), r"sequence 0 has -4 tokens"),
    "lengths and pointers differ": (change_index(34, "<i", 4), r"sequence 1 begins at byte 12, those before it end"),
    "a pointer elsewhere": (change_index(34 + 12 + 8, "<q", 99), r"sequence 1 begins at byte 99"),
    "document ends that fall": (change_index(34 + 36 + 8, "<q", 9), r"its document ends do not rise from 0 to the 3"),
    "truncated data": (cut("x.bin", 23), r"x\.bin has 23 bytes, .*x\.idx describes 24: it is truncated"),
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.values(), ids=FAULTS)
def test_a_damaged_dataset_is_refused_by_name(tmp_path: Path, fault: Callable[[Path], None], message: str) -> None:
    builder = Builder(tmp_path / "x", np.int32, 4)
    builder.add_document([[1, 2, 3], [4]])
    builder.add_document([[5, 6]])
    builder.finalize()
    assert open_indexed(str(tmp_path / "x")).documents == 2
    fault(tmp_path)
    with pytest.raises(UserError, match=message):
        open_indexed(str(tmp_path / "x"))
