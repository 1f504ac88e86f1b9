"""Training on one GPU: tokens/s and model FLOPs utilisation of `python -m bench.train --device cuda`.

The whole way of `gptmill pretrain`, on drawn tokens, bf16, with and without torch.compile. The table says of each run
the model, the sequence, the batch and how it is taken in pieces; the formula is that of `trainer/estimate/flops.py`.
The goal is on the faster of the two runs of a model.
"""

from __future__ import annotations

import os
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.drawn_tokens import write_drawn_tokens
from bench.harness import Claim
from pipeline.errors import UserError
from trainer.job import TrainingJob
from trainer.settings import ModelSettings, PretrainSettings

BATCH_TOKENS = 524_288
VOCAB_SIZE = 50_304
"""GPT-2's, rounded up to a multiple of 64, as is usual for speed."""
STEPS = 12
WARM_UP_STEPS = 4
"""Compiling, and finding out which kernels are fast, are in the first."""
LEAST_UTILISATION = 0.40
FORMULA = (
    "MFU = (6 N + 12 x layers x heads x head width x sequence) x tokens/s / peak FLOP/s: trainer/estimate/flops.py"
)


@dataclass(frozen=True)
class Case:
    """A model to train."""

    name: str
    model: dict[str, Any]
    context: int
    rows: int
    """Of a micro-batch."""
    checkpointing: bool


CASES = (
    Case("gpt2_124m", {"preset": "gpt2-124m"}, 1024, 16, False),
    Case("gpt3_1.3b", {"preset": "gpt3-1.3b", "window": None, "windowed_layers": "all"}, 2048, 8, True),
)


def measure_device(claim: Claim, folder: Path) -> None:
    """Add the figures and goals of one GPU.

    Raises:
        UserError: there is no GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise UserError("--device cuda needs an NVIDIA GPU and a torch built for it; torch sees none here")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    claim.figure("device", torch.cuda.get_device_name(0))
    table = Table(title=FORMULA, title_justify="left", box=None, pad_edge=False)
    of_run = ("model", "sequence", "batch tokens", "micro-batch rows", "precision", "recomputed", "compiled")
    for column in (*of_run, "tokens/s", "MFU", "peak GB"):
        table.add_column(column, justify="right")
    for case in CASES:
        best = 0.0
        for compiled in (False, True):
            kind = f"{case.name}_compiled" if compiled else case.name
            try:
                events = _steps(case, compiled, folder / kind)
            except UserError as error:
                claim.figure(kind, f"failed: {error}")
                continue
            speed = statistics.median(event["tokens_per_second"] for event in events)
            use = statistics.median(event["mfu"] or 0.0 for event in events)
            memory = max(event["peak_memory_bytes"] for event in events) / 1e9
            best = max(best, use)
            claim.figure(f"tokens_per_second_{kind}", speed)
            claim.figure(f"mfu_{kind}", use)
            claim.figure(f"peak_gigabytes_{kind}", memory, "GB")
            words = (case.name, case.context, BATCH_TOKENS, case.rows, "bf16", case.checkpointing, compiled)
            table.add_row(*map(str, words), f"{speed:.0f}", f"{use:.3f}", f"{memory:.1f}")
        claim.figure(f"mfu_{case.name}_best", best)
        claim.goal(f"mfu_{case.name}_best", at_least=LEAST_UTILISATION)
    Console(stderr=True, highlight=False).print(table)


def _steps(case: Case, compiled: bool, folder: Path) -> list[dict[str, Any]]:
    """The events of the measured steps."""
    from trainer.launch import launch

    shutil.rmtree(folder, ignore_errors=True)
    tokens = folder / "tokens"
    rows = {"train": STEPS * BATCH_TOKENS // case.context, "validation": case.rows}
    tokenizer = write_drawn_tokens(tokens, VOCAB_SIZE, case.context, rows)
    steps: list[dict[str, Any]] = []
    errors: list[str] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            steps.append(event)
        elif event["event"] == "error":
            errors.append(event["message"])

    job = device_job(case, compiled, tokens, tokenizer, folder / "run")
    if launch(job, listen) != 0:
        raise UserError(" ".join(errors) or "the trainer failed")
    return steps[WARM_UP_STEPS:]


def device_job(case: Case, compiled: bool, tokens: Path, tokenizer: Path, directory: Path) -> TrainingJob:
    """The run of a case."""
    settings = PretrainSettings.model_validate(
        {
            "global_batch_tokens": BATCH_TOKENS,
            "micro_batch_size": case.rows,
            "steps": STEPS,
            "precision": "bf16",
            "compile": compiled,
            "activation_checkpointing": "blocks" if case.checkpointing else "none",
            "parallel": {"data": 1},
            "zero": 0,
            "validation_every": 0,
            "checkpoint_every": 0,
            "log_every": 1,
        }
    )
    return TrainingJob(
        kind="pretrain",
        directory=directory,
        tokens=tokens,
        tokenizer=tokenizer,
        model=ModelSettings.model_validate(case.model),
        settings=settings,
        seed=1,
    )
