"""What --dry-run tells of deduplication below the document: files, bytes, memory and time from the text's size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.dedup.costs import cpu_hours
from pipeline.dedup.exact import ExactDedup
from pipeline.dedup.lines import LineDedup
from pipeline.dedup.spans import SpanDedup
from pipeline.dedup.substring import SubstringDedup
from pipeline.stage import SurveyStage
from tests.pipeline.dedup.corpora import output_of, survey

TERABYTES = 3 * 10**12


def test_the_plan_of_a_billion_documents() -> None:
    assert ExactDedup().plan_lines(TERABYTES) == [
        "3 TB of text: 93,813 files, 24 GB on disk; reducers: 63 with 1.6 GB of memory each; 10 CPU-hours"
    ]
    assert LineDedup(partition_bytes=10**9).plan_lines(TERABYTES, 50_000) == [
        "3 TB of text: 103,000 files, 780 GB on disk; reducers: 3,000 with 1.1 GB of memory each; 25 CPU-hours"
    ]
    (spans,) = SpanDedup().plan_lines(TERABYTES)
    assert "600 GB on disk" in spans
    (substrings,) = SubstringDedup(partition_bytes=10**8).plan_lines(TERABYTES, 50_000)
    assert "180,000 files, 8.7 TB on disk; reducers: 30,000 with 700 MB of memory each; 128 CPU-hours" in substrings


@pytest.mark.parametrize("stage", [ExactDedup(), LineDedup(), SpanDedup(), SubstringDedup()])
def test_the_plan_of_nothing_is_small(stage: SurveyStage) -> None:
    (line,) = stage.plan_lines(0)
    assert "reducers: 1 with 0 MB" in line


@pytest.mark.parametrize(
    ("stage", "partition"),
    [
        (LineDedup, {"partition_bytes": 150}),
        (SpanDedup, {"partition_bytes": 150}),
        (SubstringDedup, {"partition_bytes": 150}),
        (ExactDedup, {"partition_documents": 1}),
    ],
)
def test_as_many_files_are_written_as_the_plan_says(tmp_path: Path, stage: Any, partition: dict[str, int]) -> None:
    # 3,000 bytes are what the plan takes for a document.
    texts = ["a line of text. " * 187 + "the end."] * 4
    (line,) = stage(**partition).plan_lines(sum(map(len, texts)), 2)
    survey(tmp_path, [texts[:2], texts[2:]], stage(**partition))
    assert f" {len(output_of(tmp_path / 'survey')):,} files" in line


def test_hours_are_short() -> None:
    assert [cpu_hours(size, 1.0) for size in (10**7, 36 * 10**8, 10**13)] == ["0.0028", "1", "2,778"]
