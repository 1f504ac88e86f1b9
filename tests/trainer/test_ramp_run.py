"""A run whose batch grows, with real processes: it takes what the ramp says, and an interruption does not show."""

import itertools
from pathlib import Path
from typing import Any

from tests.trainer.test_resume import Run, assert_same_course, interrupt


def test_a_run_with_a_growing_batch_goes_on_bit_for_bit_after_an_interruption_within_the_ramp(tmp_path: Path) -> None:
    # 4 rows up to row 24, 8 up to 48, 12 up to 72, then 16: of 200 rows 19 steps use all.
    fields: dict[str, Any] = {
        "global_batch_tokens": 16 * 16,
        "batch_ramp": {"start_tokens": 4 * 16, "over_tokens": 72 * 16},
        "tokens": 200 * 16,
        "steps": None,
        "micro_batch_size": 2,
        "validation_every": 0,
        "schedule": {"kind": "inverse_sqrt", "warmup_steps": 3, "decay_fraction": 0.3},
        "optimizer": {"kind": "muon", "lr": 0.005},
    }
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    assert whole.start(**fields) == 0, whole.events
    assert stopped.start(at_step=4, then=interrupt, **fields) == 75, stopped.events
    assert stopped.start(**fields) == 0, stopped.events
    assert_same_course(stopped, whole)
    tokens = [0, *(line[4] for line in whole.measured() if line[4] is not None)]
    taken = [after - before for before, after in itertools.pairwise(tokens)]
    assert taken == [4 * 16] * 6 + [8 * 16] * 3 + [12 * 16] * 2 + [16 * 16] * 8
