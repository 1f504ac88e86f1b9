"""The measured side of bench.checkpoint: saves in turns in one process, and the start of a run, anew or resumed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from trainer.job import TrainingJob
from trainer.settings import ModelSettings, ModelShape, ParallelSettings, PretrainSettings

KINDS = ("weight", "exp_avg", "exp_avg_sq")
INTERRUPTED = 75


def shape_of(layers: int) -> ModelShape:
    """A GPT of width 512 with a vocabulary of 32,768."""
    return ModelSettings(layers=layers, width=512, heads=8).shaped(vocab_size=32_768, context_length=1024)


def save_in_turns(folder: Path, layers: int, repeat: int) -> dict[str, Any]:
    """Seconds that each way of saving one state holds a process up; the last checkpoint stays in `folder`."""
    import torch
    from torch import distributed

    from trainer.checkpoint.writer import CheckpointWriter
    from trainer.model.declaration import declare_parameters
    from trainer.ranks import Ranks
    from trainer.state import StatePiece

    distributed.init_process_group(
        "gloo",
        store=distributed.HashStore(),  # type: ignore[attr-defined]
        rank=0,
        world_size=1,
    )
    ranks = Ranks(0, 1, torch.device("cpu"))
    shape = shape_of(layers)
    declarations = declare_parameters(shape)
    state = {kind: {item.name: torch.rand(item.shape) for item in declarations} for kind in KINDS}
    pieces = [
        StatePiece(name, kind, tuple(tensor.shape), 0, 1, 0, tensor.view(-1))
        for kind, tensors in state.items()
        for name, tensor in tensors.items()
    ]
    said: list[dict[str, Any]] = []

    def report(_: str, **details: Any) -> None:
        said.append(details)

    writers = {
        asynchronous: CheckpointWriter(folder, ranks, declarations, report, asynchronous=asynchronous, keep_last=1)
        for asynchronous in (True, False)
    }
    durable, step = [], 0

    def save(asynchronous: bool) -> float:
        nonlocal step
        step += 1
        writer = writers[asynchronous]
        started = time.perf_counter()
        writer.save(pieces, {"step": step, "model": shape.model_dump(mode="json")})
        blocked = time.perf_counter() - started
        seen = len(said) - (not asynchronous)
        while len(said) == seen:  # what the loop does in each step
            writer.agree(*ranks.sum(writer.signals()))
            time.sleep(0.005)
        if asynchronous:
            durable.append(said[-1]["durable_seconds"])
        return blocked

    def torch_save(flushed: bool) -> float:
        path = folder.with_name("torch.pt")
        started = time.perf_counter()
        with path.open("wb") as file:
            torch.save(state, file)
            if flushed:
                file.flush()
                os.fsync(file.fileno())
        blocked = time.perf_counter() - started
        path.unlink()
        return blocked

    ways: dict[str, Callable[[], float]] = {
        "asynchronous": lambda: save(True),
        "synchronous": lambda: save(False),
        "torch_save": lambda: torch_save(False),
        "torch_save_flushed": lambda: torch_save(True),
    }
    first = save(True)
    torch_save(False)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeat):
        names = list(ways)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            os.sync()  # what was written before must not be paid for now
            seconds[name].append(ways[name]())
    (checkpoint,) = folder.glob("step_*")
    return {
        "seconds": seconds,
        "first": first,
        "durable": durable[1:],
        "bytes": sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file()),
        "parameters": sum(item.size for item in declarations),
    }


def start_of_run(
    directory: Path, tokens: Path, model: ModelSettings | None, interrupt_at: int | None
) -> dict[str, Any]:
    """Launch a run and wait for its first step; then interrupt it after a step, or at once."""
    from trainer.launch import launch

    job = TrainingJob(
        kind="pretrain",
        directory=directory,
        tokens=tokens,
        tokenizer=tokens / "tokenizer.json",
        model=model,
        settings=PretrainSettings(
            global_batch_tokens=16 * 256,
            micro_batch_size=16,
            steps=40,
            parallel=ParallelSettings(data=1),
            threads_per_process=1,
            validation_every=0,
            checkpoint_every=0,
            log_every=1,
        ),
        seed=1,
    )
    found: dict[str, Any] = {}
    errors: list[str] = []
    started = time.perf_counter()

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "error":
            errors.append(event["message"])
        if event["event"] != "step":
            return
        found.setdefault("seconds", time.perf_counter() - started)
        found.setdefault("step", event["step"])
        if event["step"] == (interrupt_at or found["step"]):  # a second signal would stop it without a checkpoint
            os.kill(os.getpid(), signal.SIGINT)

    if launch(job, listen) != INTERRUPTED:
        raise UserError(f"the run did not stop as asked: {' '.join(errors)}")
    return found
