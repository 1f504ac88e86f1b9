"""Out of core: memory does not grow with the input, in a process of its own; tiny parts change no decision."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline import storage
from pipeline.dedup import verification
from pipeline.dedup.minhash import MinhashDedup
from pipeline.dedup.similarity import similarities
from pipeline.kernels.compiled import ensure_compiled
from pipeline.passes import inputs_of, run_pass
from pipeline.shard import StageDirectory
from tests.pipeline.dedup.corpora import apply_to, output_of, write_corpus
from tests.pipeline.runner import SerialRunner

DOCUMENTS = 100
"""In a shard."""
WORDS = 600
"""In a document: 3 kB."""


def texts_of(shard: int) -> list[str]:
    """Random documents; every third has a copy, edited in one word, in its shard or in the next."""
    generator = np.random.default_rng(shard)
    words = generator.integers(0, 10_000, (DOCUMENTS, WORDS))
    if shard:
        words[1::3] = np.random.default_rng(shard - 1).integers(0, 10_000, (DOCUMENTS, WORDS))[::3][: len(words[1::3])]
        words[1::3, WORDS // 2] = -1
    words[2::3] = words[::3][: len(words[2::3])]
    words[2::3, WORDS // 3] = -1
    return [" ".join(map(str, row)) for row in words.tolist()]


def deduplicate(directory: str) -> None:
    """The survey and the pass that applies it, of a corpus that lies there."""
    corpus, runner = StageDirectory(f"{directory}/corpus"), SerialRunner()
    stage = MinhashDedup(partition_keys=4000).survey(corpus, f"{directory}/survey", runner)
    run_pass(f"{directory}/kept", "minhash_dedup", inputs_of(corpus), [stage], runner, 0.0)


def peak_of(directory: Path, shards: int) -> int:
    """Largest resident memory of a process that deduplicates so many shards: Arrow, numpy, kernels, mapped files."""
    write_corpus(directory / "corpus", [texts_of(shard) for shard in range(shards)])
    code = (
        "import sys; from tests.pipeline.dedup.test_memory import deduplicate; deduplicate(sys.argv[1])\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    command = [sys.executable, "-c", code, str(directory)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) << 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_stays_flat_when_the_input_grows_tenfold(tmp_path: Path) -> None:
    ensure_compiled(MinhashDedup.kernels)  # compilers need memory too: not what is measured
    small, large = (peak_of(tmp_path / str(shards), shards) for shards in (6, 60))
    assert StageDirectory(str(tmp_path / "60" / "kept")).manifest["funnel"][-1]["dropped"]["near_duplicate"] > 3000
    assert large / small < 1.15
    # 18 MB of text came in.
    assert large - small < 10e6


def test_parts_so_small_that_each_phase_takes_many_change_no_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = [texts_of(shard)[:30] for shard in range(4)]
    decisions, files = [], []
    for name, keys in (("whole", 16_000_000), ("parts", 60)):
        corpus = write_corpus(tmp_path / name / "corpus", shards)
        survey = tmp_path / name / "survey"
        stage = MinhashDedup(partition_keys=keys, keep="longest").survey(corpus, str(survey), SerialRunner())
        decisions.append(apply_to(corpus, stage))
        files.append(output_of(survey))
        monkeypatch.setattr(verification, "SLICE_DOCUMENTS", 3)
        monkeypatch.setattr(verification, "similarities", partial(similarities, part_bytes=5_000))
    assert decisions[0] == decisions[1]
    assert len(decisions[0]) > 30
    count = [{phase: sum(name.startswith(phase) for name in found) for phase in ("pairs", "groups")} for found in files]
    assert count[0] == {"pairs": 1, "groups": 1}
    assert count[1]["pairs"] == 28
    assert count[1]["groups"] > 5
    assert {name: data for name, data in files[0].items() if name.startswith("removals")} == {
        name: data for name, data in files[1].items() if name.startswith("removals")
    }


def test_more_shards_than_a_process_may_have_files_open(tmp_path: Path) -> None:
    from resource import RLIMIT_NOFILE, getrlimit, setrlimit

    corpus = write_corpus(tmp_path / "corpus", [["one and the same text", "another"]] + [["more"]] * 80)
    soft, hard = getrlimit(RLIMIT_NOFILE)
    opened = max(int(name) for name in storage.list_names("/proc/self/fd")) + 1
    setrlimit(RLIMIT_NOFILE, (opened + 30, hard))
    try:
        stage = MinhashDedup(partition_keys=100).survey(corpus, str(tmp_path / "survey"), SerialRunner())
    finally:
        setrlimit(RLIMIT_NOFILE, (soft, hard))
    assert len(apply_to(corpus, stage)) == 79
