"""What the tests of the detectors share: finds as text, and the law of the pre-filter."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.pii.detector import Detector


def found(detector: Detector, text: str) -> list[str]:
    """The pieces of text that the detector finds; checks order, and that the pre-filter lets them through."""
    spans = list(detector.find(text))
    assert all(start < end for start, end in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    if spans:
        assert pc.match_substring_regex(pa.array([text]), detector.prefilter)[0].as_py()
    return [text[start:end] for start, end in spans]
