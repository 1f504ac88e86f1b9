"""A run that is looked at in every way, with real processes, stopped once: what it leaves behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.datasets import VOCAB, write_token_dataset
from trainer.estimate.flops import flops_per_token
from trainer.job import TrainingJob
from trainer.launch import launch
from trainer.manifest import put_aside_superseded
from trainer.settings import ModelSettings, PretrainSettings

MODEL = ModelSettings(layers=1, width=32, heads=2)
LOOKED_AT = {
    "tensorboard": True,
    "wandb": {"mode": "offline"},
    "profile": {"start": 2, "steps": 2},
    "norms_every": 3,
    "device_teraflops": 0.01,
}
SOURCES = {name: {"documents": 5, "tokens": 80, "text_bytes": 160} for name in ("books", "news")}


def job_of(directory: Path, **settings: Any) -> TrainingJob:
    given = {
        "global_batch_tokens": 128,
        "steps": 6,
        "micro_batch_size": 2,
        "log_every": 2,
        "validation_every": 0,
        "precision": "fp32",
        "threads_per_process": 1,
    }
    return TrainingJob(
        kind="pretrain",
        directory=directory / "pretrain",
        tokens=directory / "tokens",
        tokenizer=directory / "tokenizer.json",
        model=MODEL,
        settings=PretrainSettings.model_validate({**given, **settings}),
        seed=3,
    )


def test_all_loggers_together_leave_their_files_and_the_lines_have_all_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("wandb")
    tokens, _ = write_token_dataset(tmp_path, ends=((5, 16),))
    manifest = json.loads((tokens / "tokens.json").read_text())
    manifest["sources"] = sorted(SOURCES)
    manifest["splits"]["validation"]["sources"] = SOURCES
    (tokens / "tokens.json").write_text(json.dumps(manifest))

    events: list[dict[str, Any]] = []
    assert launch(job_of(tmp_path, **LOOKED_AT), events.append) == 0, events
    directory = tmp_path / "pretrain"
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 4, 6]
    flops = flops_per_token(MODEL.shaped(VOCAB, 16), 16).total
    for line in steps:
        assert line["mfu"] == pytest.approx(flops * line["tokens_per_second"] / (2 * 0.01e12), abs=1e-4)
        assert line["tokens_per_second_per_device"] == pytest.approx(line["tokens_per_second"] / 2, abs=0.1)
        assert line["peak_memory_bytes"] > 64e6
        assert line["rows"] == 8
    norms = [(line["step"], line["norms"]) for line in lines if "norms" in line]
    assert [step for step, _ in norms] == [3, 6]
    assert list(norms[0][1]) == ["token_embedding", "blocks.0", "final_norm"]
    (validation,) = [line for line in lines if "validation_loss" in line]
    assert {name: found["tokens"] for name, found in validation["by_source"].items()} == {"books": 50, "news": 110}

    assert sorted(path.name for path in (directory / "profile").iterdir()) == [
        "rank_00000.json.gz",
        "rank_00001.json.gz",
    ]
    assert [event["step"] for event in events if event["event"] == "profile"] == [3]
    assert len(list((directory / "tensorboard").iterdir())) == 1
    assert len(list((directory / "wandb").glob("offline-run-*"))) == 1

    from trainer.identity import open_inputs

    aside = put_aside_superseded(open_inputs(job_of(tmp_path, steps=5)))
    assert aside is not None
    assert {"tensorboard", "wandb", "wandb_id", "profile"} <= {path.name for path in aside.iterdir()}
