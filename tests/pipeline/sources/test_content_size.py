"""What `--dry-run` believes to lie in compressed input."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import zstandard

from pipeline.sources import content_size
from pipeline.sources.content_size import content_bytes
from pipeline.sources.jsonl import JsonLines

RANDOM = random.Random(1)
LINES = b"".join(orjson.dumps({"text": f"{RANDOM.random()} sheep cross the bridge"}) + b"\n" for _ in range(40_000))


def planned(folder: Path) -> int:
    return content_bytes(JsonLines(path=str(folder / "*")).plan())


def test_what_is_not_compressed_is_as_large_as_it_is_stored(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    assert planned(tmp_path) == len(LINES)


def test_small_compressed_files_are_told_exactly(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES) + gzip.compress(LINES))
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(LINES))
    (tmp_path / "c.jsonl").write_bytes(LINES)
    assert planned(tmp_path) == 4 * len(LINES)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_of_many_large_files_the_beginnings_of_a_few_are_read(
    tmp_path: Path, compress: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_size, "SAMPLE_BYTES", 100_000)
    sizes = [len(LINES) // 2 + 40_000 * number for number in range(12)]
    for number, size in enumerate(sizes):
        (tmp_path / f"{number:02}.jsonl.gz").write_bytes(compress(LINES[:size]))
    assert planned(tmp_path) == pytest.approx(sum(sizes), rel=0.1)


def test_a_damaged_file_does_not_stop_the_plan(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES)[: -len(LINES) // 20])
    assert planned(tmp_path) > 0
