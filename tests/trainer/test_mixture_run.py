"""A run on a mixture, with real processes: interrupted and continued it takes the same rows."""

from pathlib import Path
from typing import Any

from tests.trainer.datasets import write_token_dataset
from tests.trainer.test_resume import Run, interrupt


def test_an_interrupted_run_on_a_mixture_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    other, _ = write_token_dataset(tmp_path / "other", shards=(120,), ends=((3, 9),), seed=8, fingerprint="data-2")
    mixture = [{"name": "own", "weight": 2}, {"name": "other", "data": str(other), "weight": 1}]
    fields: dict[str, Any] = {"mixture": mixture, "steps": 48, "validation_every": 0, "parallel": {"data": 1}}
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    assert whole.start(**fields) == 0, whole.events
    assert stopped.start(at_step=2, then=interrupt, **fields) == 75
    changed = stopped.start(**{**fields, "mixture": [{**mixture[0], "weight": 1}, mixture[1]]})
    assert changed == 1
    assert "mixture.own was 256, is 192" in stopped.messages("error")[0]
    assert stopped.start(**fields) == 0, stopped.events
    assert stopped.measured() == whole.measured()
    assert stopped.weights() == whole.weights()
    started = next(event for event in whole.events if event["event"] == "start")
    assert [(line["dataset"], line["tokens"]) for line in started["plan"]] == [("own", 256 * 16), ("other", 128 * 16)]
