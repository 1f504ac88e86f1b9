from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.column import column_of
from pipeline.tokenizer.counts import ONE, Counts, PieceTable, piece_column
from pipeline.tokenizer.pieces import kernel_arguments, pieces_of
from pipeline.tokenizer.settings import PreTokenization

GPT2 = PreTokenization()
WORDS = st.lists(
    st.sampled_from(["a", " a", " the", "\n", "123", "世界", " " * 9, "longer than eight bytes"]), max_size=30
)
DOCUMENTS = st.lists(st.tuples(WORDS.map("".join), st.integers(0, 2)), max_size=6)


def expected_counts(texts: list[str], groups: list[int]) -> Counter[tuple[bytes, int]]:
    column = column_of(texts)
    pieces, counts = pieces_of(column, GPT2), Counter[tuple[bytes, int]]()
    for document, group in enumerate(groups):
        start = int(column.offsets[document])
        for end in pieces.ends[pieces.starts[document] : pieces.starts[document + 1]].tolist():
            counts[column.data[start:end].tobytes(), group] += 1
            start = end
    return counts


def counted(table: pa.Table) -> Counter[tuple[bytes, int]]:
    rows = Counter[tuple[bytes, int]]()
    for row in table.to_pylist():
        assert (row["piece"], int(row["group"])) not in rows
        rows[row["piece"], int(row["group"])] = row["count"]
    return rows


@given(documents=DOCUMENTS)
def test_pieces_are_counted_by_group(documents: list[tuple[str, int]]) -> None:
    texts, groups = [text for text, _ in documents], [group for _, group in documents]
    table = PieceTable()
    assert table.add_texts(column_of(texts), np.array(groups, np.int32), *kernel_arguments(GPT2))
    assert counted(table.table(["0", "1", "2"])) == expected_counts(texts, groups)


@given(documents=DOCUMENTS, most_entries=st.integers(1, 5), most_bytes=st.integers(24, 40))
def test_a_table_with_limits_is_emptied_and_nothing_is_lost(
    documents: list[tuple[str, int]], most_entries: int, most_bytes: int
) -> None:
    texts, groups = column_of([text for text, _ in documents]), np.array([group for _, group in documents], np.int32)
    table, total = PieceTable(24, most_entries, most_bytes), PieceTable()
    while True:
        whole = table.add_texts(texts, groups, *kernel_arguments(GPT2))
        rows = table.table(["0", "1", "2"])
        assert len(table) == rows.num_rows <= most_entries
        assert sum(len(piece) for piece in rows["piece"].to_pylist()) <= most_bytes
        numbers = rows["group"].combine_chunks().indices.to_numpy()
        total.add_counts(piece_column(rows["piece"].combine_chunks()), numbers, rows["count"].to_numpy())
        table.clear()
        if whole:
            break
    wanted = expected_counts([text for text, _ in documents], [group for _, group in documents])
    left_out = [key for key in wanted if len(key[0]) > 24]
    assert table.long_pieces == sum(wanted.pop(key) for key in left_out)
    assert counted(total.table(["0", "1", "2"])) == wanted


def test_growth_keeps_what_is_counted() -> None:
    text = " ".join(f"w{number}" for number in range(200_000))
    table = PieceTable()
    for _ in range(2):
        table.add_texts(column_of([text]), np.zeros(1, np.int32), *kernel_arguments(GPT2))
    counts = table.added_up(np.array([ONE]))
    # The first word has no space before it; `w` and its number are two pieces.
    assert counts.num_rows == 200_000 + 2
    assert set(counts["count"].to_pylist()) == {2, 2 * 199_999}


def test_equal_pieces_fall_into_the_same_partition_and_all_partitions_are_used() -> None:
    table, other = PieceTable(), PieceTable()
    words = [f" word{'abcdefghij'[number % 10]}{'x' * (number // 10)}" for number in range(1000)]
    table.add_texts(column_of(["".join(words)]), np.zeros(1, np.int32), *kernel_arguments(GPT2))
    other.add_texts(column_of(words[::-1]), np.arange(1000, dtype=np.int32) % 7, *kernel_arguments(GPT2))
    place = dict(zip(table.table([""])["piece"].to_pylist(), table.partitions(7).tolist(), strict=True))
    assert set(place.values()) == set(range(7))
    pieces = other.table(list("0123456"))["piece"].to_pylist()
    assert [place[piece] for piece in pieces] == other.partitions(7).tolist()


def test_groups_are_added_up_with_their_weights_rounded_to_the_nearest() -> None:
    table = PieceTable()
    texts = column_of(["a" + " b" * 3, "a" + " c", " c"])
    table.add_texts(texts, np.array([0, 1, 0], np.int32), *kernel_arguments(GPT2))
    # a: 1 + 2.5; b: 3; c: 1 + 2.5, where each product is rounded by itself
    rows = table.added_up(np.array([ONE, 5 * ONE // 2])).to_pylist()
    assert rows == [{"piece": b" b", "count": 3}, {"piece": b" c", "count": 4}, {"piece": b"a", "count": 4}]


@given(count=st.integers(1, 1 << 45), weight=st.integers(ONE, ONE << 12))
def test_weighting_is_exact_for_any_size(count: int, weight: int) -> None:
    table = PieceTable()
    table.add_counts(column_of(["a"]), np.zeros(1, np.int32), np.array([count]))
    (row,) = table.added_up(np.array([weight])).to_pylist()
    assert row["count"] == (count * weight + ONE // 2) // ONE


def test_long_pieces_are_left_out_and_told() -> None:
    table = PieceTable(longest=10)
    text = column_of(["a" * 11 + " b " + "é" * 5 + " " + "é" * 5 + "\n" * 12])
    table.add_texts(text, np.zeros(1, np.int32), *kernel_arguments(GPT2))
    assert {row["piece"] for row in table.table([""]).to_pylist()} == {b" b"}
    assert (table.long_pieces, table.long_piece_bytes) == (4, 11 + 11 + 11 + 12)


def test_counts_join_tables_in_their_order() -> None:
    tables = [
        pa.table({"piece": pa.array(pieces, pa.large_binary()), "count": pa.array(counts, pa.int64())})
        for pieces, counts in (([b"b", b"\xff\x00"], [1, 2]), ([], []), ([b"", b"abc"], [3, 4]))
    ]
    counts = Counts.from_tables([tables[0], tables[1], tables[2].slice(1)])
    assert counts.data.tobytes() == b"b\xff\x00abc"
    assert counts.offsets.tolist() == [0, 1, 3, 6]
    assert counts.counts.tolist() == [1, 2, 4]
    assert len(counts) == 3
    assert len(Counts.from_tables([])) == 0
