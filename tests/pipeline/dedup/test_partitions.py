"""Partitioned files: each partition comes back as it was written, and nothing wrong is read as right."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.dedup.partitions import read_partition, read_partitions, write_partitions
from pipeline.errors import UserError


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30, deadline=None
)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1000))))
def test_each_partition_holds_its_rows_in_their_order(tmp_path: Path, rows: list[tuple[int, int]]) -> None:
    url = str(tmp_path / "rows.arrow")
    table = pa.table({"value": pa.array([value for _, value in rows], pa.int64())})
    write_partitions(url, table, np.array([partition for partition, _ in rows], np.int64), 5, "test")
    for partition in range(5):
        found = read_partition(url, partition, 5, "test")["value"].to_pylist()
        assert found == [value for own, value in rows if own == partition]


def written(directory: Path) -> str:
    url = str(directory / "rows.arrow")
    write_partitions(url, pa.table({"value": list(range(100))}), np.arange(100) % 3, 3, "bands of A")
    return url


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.arrow is missing"):
        read_partitions([written(tmp_path), str(tmp_path / "gone.arrow")], 0, 3, "bands of A")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named_wherever_it_was_cut(tmp_path: Path, share: float) -> None:
    url = written(tmp_path)
    data = Path(url).read_bytes()
    Path(url).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"rows\.arrow is damaged or truncated"):
        read_partition(url, 0, 3, "bands of A")


def test_no_bit_can_change_unnoticed(tmp_path: Path) -> None:
    url, damaged = str(tmp_path / "rows.arrow"), str(tmp_path / "damaged.arrow")
    columns = {
        "number": pa.array([None if row % 3 == 0 else row for row in range(40)], pa.int64()),
        "id": [None if row % 5 == 0 else "x" * (row % 7) for row in range(40)],
        "flag": [row % 2 == 0 for row in range(40)],
    }
    write_partitions(url, pa.table(columns), np.arange(40) % 3, 3, "bands of A")
    written_rows = [read_partition(url, partition, 3, "bands of A") for partition in range(3)]
    data = Path(url).read_bytes()
    chance = random.Random(1)
    refusals = []
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << chance.randrange(8)
        Path(damaged).write_bytes(changed)
        try:
            # A change in the padding between the parts of the file changes no row.
            assert [read_partition(damaged, partition, 3, "bands of A") for partition in range(3)] == written_rows
        except UserError as fault:
            refusals.append(str(fault))
    assert len(refusals) > len(data) / 2
    assert all("damaged.arrow" in refusal for refusal in refusals)


def test_a_file_of_other_settings_is_refused(tmp_path: Path) -> None:
    url = written(tmp_path)
    with pytest.raises(UserError, match="holds 'bands of A' in 3 partitions, needed is 'bands of B'"):
        read_partition(url, 0, 3, "bands of B")
    with pytest.raises(UserError, match="in 3 partitions"):
        read_partition(url, 0, 4, "bands of A")


def test_partitions_can_be_read_from_an_object_store() -> None:
    url = "memory://partitions-test/rows.arrow"
    write_partitions(url, pa.table({"value": [1, 2, 3]}), np.array([0, 1, 0]), 2, "test")
    assert read_partition(url, 0, 2, "test")["value"].to_pylist() == [1, 3]


def test_a_mapped_partition_takes_no_memory(tmp_path: Path) -> None:
    url = str(tmp_path / "rows.arrow")
    write_partitions(url, pa.table({"value": np.arange(100_000)}), np.zeros(100_000, np.int64), 1, "test")
    before = pa.total_allocated_bytes()
    found = read_partition(url, 0, 1, "test", mapped=True)
    assert pa.total_allocated_bytes() == before
    assert found.equals(read_partition(url, 0, 1, "test"))
