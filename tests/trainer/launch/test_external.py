"""A process that another launcher has started: what it hands to the training."""

from pathlib import Path

import pytest

from trainer.exit_codes import DONE, INTERRUPTED
from trainer.job import TrainingJob
from trainer.launch.external import launch_external
from trainer.rendezvous import NEEDED
from trainer.settings import ModelSettings, PretrainSettings


def test_a_signal_that_came_during_the_preparations_asks_the_training_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(NEEDED, ("1", "2", "1", "localhost", "5"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        "trainer.launch.external.take_part", lambda job, events, stop: INTERRUPTED if stop.asked else DONE
    )
    job = TrainingJob(
        kind="pretrain",
        directory=tmp_path,
        tokens=tmp_path,
        tokenizer=tmp_path,
        model=ModelSettings(layers=1, width=8, heads=1),
        settings=PretrainSettings(global_batch_tokens=64, steps=1),
    )
    assert launch_external(job, print, "torchrun", lambda: True) == INTERRUPTED
    assert launch_external(job, print, "torchrun", lambda: False) == DONE
