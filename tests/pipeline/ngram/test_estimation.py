"""Modified Kneser-Ney: the figures of the formula and of lmplz, whatever the shards and the memory."""

from __future__ import annotations

import errno
import gzip
import itertools
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import StorageError, UserError
from pipeline.ngram.arpa_writer import write_arpa
from pipeline.ngram.counts import write_counts
from pipeline.ngram.estimation import FALLBACK_DISCOUNTS, discounts_of, estimate
from pipeline.ngram.model import NgramModel
from pipeline.ngram.records import RecordSorter
from pipeline.ngram.spool import Spool
from tests.pipeline.ngram.obvious import (
    END,
    START,
    ObviousArpa,
    ObviousModel,
    flat,
    trained,
    vocabulary_of,
    zipf_segments,
)

WORDS = 103
LMPLZ = Path(__file__).parent / "lmplz"
"""`text.txt` and what `lmplz --discount_fallback` makes of it: order 4, and order 3 with `--prune 0 1`."""


@pytest.mark.parametrize("order", [2, 3, 5, 6])
def test_probabilities_are_those_of_the_formula(tmp_path: Path, order: int) -> None:
    seen = zipf_segments(1)
    model, oracle = trained(tmp_path, seen, order, WORDS), ObviousModel(seen, order, WORDS)
    assert any(discounts != [0, 0.5, 1.0, 1.5] for discounts in oracle.discounts.values())
    for segment in [*seen[:5], *zipf_segments(2)[:10], [], [0, 3, 0]]:
        found = model.score(*flat([segment]))[0][0]
        assert math.isclose(found, oracle.log10(segment), rel_tol=1e-6)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.lists(st.integers(3, 8), max_size=12), max_size=8),
    st.lists(st.integers(3, 8), max_size=4),
    st.integers(2, 4),
)
def test_probabilities_are_those_of_the_formula_for_any_text(
    tmp_path: Path, segments: list[list[int]], other: list[int], order: int
) -> None:
    model, oracle = trained(tmp_path, segments, order, 9), ObviousModel(segments, order, 9)
    for segment in [*segments, other]:
        assert math.isclose(model.score(*flat([segment]))[0][0], oracle.log10(segment), rel_tol=1e-6)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.lists(st.integers(3, 7), max_size=10), max_size=8),
    st.lists(st.integers(3, 7), max_size=4),
    st.sampled_from([(), (1,), (0, 1), (2,)]),
)
def test_probabilities_after_any_context_sum_to_one(
    tmp_path: Path, segments: list[list[int]], context: list[int], prune: tuple[int, ...]
) -> None:
    write_arpa(trained(tmp_path, segments, 3, 8, prune=prune), str(tmp_path / "arpa"))
    model = ObviousArpa((tmp_path / "arpa").read_text())
    before = ("<s>", *(f"w{word}" for word in context))[-2:]
    words = [word for word in vocabulary_of(8) if word != "<s>"]
    assert math.isclose(sum(10 ** model.one((*before, word)) for word in words), 1, rel_tol=1e-5)


@pytest.mark.parametrize(("arpa", "order", "prune"), [("order4", 4, ()), ("pruned", 3, (1,))])
def test_figures_are_those_of_lmplz(tmp_path: Path, arpa: str, order: int, prune: tuple[int, ...]) -> None:
    lines = [line.split() for line in (LMPLZ / "text.txt").read_text().splitlines()]
    words = list(dict.fromkeys(word for line in lines for word in line))
    vocabulary = ["<unk>", "<s>", "</s>", *words]
    segments = [[vocabulary.index(word) for word in line] for line in lines]
    counts, url = str(tmp_path / "counts"), str(tmp_path / "model")
    write_counts(counts, [flat(segments)], order, len(vocabulary), 1 << 20)
    estimate([counts], vocabulary, order, url, 1 << 20, prune)
    write_arpa(NgramModel(url), str(tmp_path / "ours.arpa"))
    ours = ObviousArpa((tmp_path / "ours.arpa").read_text()).ngrams
    theirs = ObviousArpa(gzip.decompress((LMPLZ / f"{arpa}.arpa.gz").read_bytes()).decode()).ngrams
    assert ours.keys() == theirs.keys()
    for gram, (probability, backoff) in theirs.items():
        assert math.isclose(10 ** ours[gram][0], 10**probability, rel_tol=1e-5), gram
        assert math.isclose(10 ** ours[gram][1], 10**backoff, rel_tol=1e-5), gram


@pytest.mark.parametrize("prune", [(), (0, 1)])
def test_shards_their_order_and_the_memory_change_no_byte(tmp_path: Path, prune: tuple[int, ...]) -> None:
    segments = zipf_segments(4, count=300)
    first = Path(trained(tmp_path, segments, 4, WORDS, memory_bytes=1 << 26, prune=prune).url).read_bytes()
    for shards, memory in ((1, 1000), (7, 1 << 20), (40, 100_000)):
        again = trained(tmp_path, segments, 4, WORDS, shards=shards, memory_bytes=memory, prune=prune, name="again")
        assert Path(again.url).read_bytes() == first
    files = [str(tmp_path / f"again-{shard}.counts") for shard in reversed(range(40))]
    estimate(files, vocabulary_of(WORDS), 4, str(tmp_path / "other"), 1 << 20, prune)
    assert (tmp_path / "other").read_bytes() == first


def test_memory_is_bounded_by_the_field_and_not_by_the_text(tmp_path: Path) -> None:
    drawn = np.random.default_rng(1)
    batch = drawn.integers(3, 500, 200_000).astype(np.int32), np.arange(0, 200_001, 50)
    url, memory = str(tmp_path / "counts"), 2_000_000
    trained(tmp_path, [[3]], 4, 500)  # what is imported and compiled is no part of it
    tracemalloc.start()
    try:
        write_counts(url, itertools.repeat(batch, 4), 4, 500, memory)
        tracemalloc.reset_peak()
        found = estimate([url], vocabulary_of(500), 4, str(tmp_path / "model"), memory)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    rows = 24 * found.ngrams[-1]
    assert rows > 2 * memory
    assert peak < memory + 12_000_000  # parts of 65,536 rows, for each order


def test_a_model_of_nothing_is_uniform(tmp_path: Path) -> None:
    model = trained(tmp_path, [], 3, 11)
    sums, tokens = model.score(*flat([[3, 10], []]))
    assert np.allclose(sums, [-3, -1])
    assert tokens.tolist() == [3, 1]


def test_reserved_words_in_a_text_are_skipped(tmp_path: Path) -> None:
    plain, other = zipf_segments(5), [[0, 2, *segment, 1] for segment in zipf_segments(5)]
    first, second = trained(tmp_path, plain, 3, WORDS), trained(tmp_path, other, 3, WORDS, name="other")
    assert Path(first.url).read_bytes() == Path(second.url).read_bytes()


def test_an_id_outside_the_vocabulary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="token ids must be 0 to 4"):
        trained(tmp_path, [[3, 5]], 3, 5)


def test_discounts_outside_their_range_are_replaced() -> None:
    assert discounts_of([100, 40, 20, 10]) != FALLBACK_DISCOUNTS
    assert discounts_of([100, 40, 20, 0])[3] == 3
    for counts in ([0, 1, 1, 1], [5, 0, 1, 1], [5, 3, 0, 1], [1, 5, 100, 1]):
        assert discounts_of(counts) == FALLBACK_DISCOUNTS


def test_prune_must_not_fall(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must not fall"):
        trained(tmp_path, [[3]], 4, 5, prune=(2, 1))


def counts_file(tmp_path: Path, order: int = 3) -> Path:
    path = tmp_path / "shard.counts"
    write_counts(str(path), [flat(zipf_segments(6))], order, WORDS, 1 << 20)
    return path


def estimated(path: Path) -> None:
    estimate([str(path)], vocabulary_of(WORDS), 3, str(path.with_name("model")), 1 << 20)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.999])
def test_truncated_counts_are_named(tmp_path: Path, keep: float) -> None:
    path = counts_file(tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(UserError, match=r"shard\.counts (is no file of n-gram counts|are damaged or truncated)"):
        estimated(path)
    assert not path.with_name("model").exists()


def test_changed_missing_and_other_counts_are_named(tmp_path: Path) -> None:
    path = counts_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"shard\.counts are damaged"):
        estimated(path)
    with pytest.raises(UserError, match=r"shard\.counts are of order 2 over 103 words, not of order 3"):
        estimated(counts_file(tmp_path, 2))
    path.unlink()
    with pytest.raises(UserError, match=r"shard\.counts are missing"):
        estimated(path)


@pytest.mark.parametrize("written", [Spool.write, RecordSorter.add])
def test_a_full_disk_is_one_clear_line_and_leaves_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[..., None]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = counts_file(tmp_path)
    before = sorted(tmp_path.iterdir())
    owner = Spool if written is Spool.write else RecordSorter
    monkeypatch.setattr(owner, written.__name__, full)
    with pytest.raises(StorageError, match=rf"cannot write temporary files to {tmp_path}: the disk is full"):
        estimate([str(path)], vocabulary_of(WORDS), 3, str(tmp_path / "model"), 1 << 20, folder=str(tmp_path))
    assert sorted(tmp_path.iterdir()) == before


def test_the_end_is_predicted_and_the_start_is_not(tmp_path: Path) -> None:
    model = trained(tmp_path, zipf_segments(7), 2, WORDS)
    assert model.probabilities(END, END + 1)[0] < 0
    assert model.probabilities(START, START + 1)[0] == 0
