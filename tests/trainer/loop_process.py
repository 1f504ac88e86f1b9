"""One process of the proofs in test_loop.py: runs with planted faults, and the same by hand with the data left out."""

import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.errors import UserError
from tests.trainer.datasets import VOCAB
from trainer.data.batch import Batch
from trainer.engine import TrainingEngine
from trainer.identity import Inputs, open_inputs
from trainer.job import TrainingJob
from trainer.logging.journal import Journal
from trainer.loop import TrainingLoop
from trainer.model.init import initial_value
from trainer.optim.schedule import learning_rate
from trainer.parallel.layout import Layout
from trainer.precision import Precision
from trainer.ranks import Ranks
from trainer.settings import ModelSettings, PretrainSettings
from trainer.watch.heartbeat import Heartbeat
from trainer.watch.signals import StopRequest

ROWS = 8


@dataclass(frozen=True)
class Plan:
    """A run, and what goes wrong in it; steps are numbered from 1."""

    directory: Path
    settings: dict[str, Any]
    spikes: tuple[int, ...] = ()
    """Steps whose data, as an undisturbed run would see it, is nonsense."""
    losses_lost: tuple[int, ...] = ()
    """Steps in which the last process's loss is no number."""
    gradients_lost: tuple[int, ...] = ()
    """Steps in which the last process's gradient is no number."""
    stops: tuple[int, ...] = ()
    """Steps in which the first process is asked to stop, one for each start; the last start goes to the end."""
    layout: dict[str, int] = field(default_factory=dict)
    precision: Precision = "fp32"


class SpikedRows:
    """Rows some of which say what no model expects."""

    def __init__(self, source: Any, spiked: npt.NDArray[np.int64]) -> None:
        self._source, self._spiked = source, spiked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        batch: Batch = self._source.batch(rows)
        wrong = np.isin(np.asarray(rows), self._spiked)
        targets = np.where(wrong[:, None], VOCAB - 1 - batch.targets, batch.targets)
        return replace(batch, targets=targets)


class StoppingHeartbeat(Heartbeat):
    """Asks for a stop in the middle of a step, and knows which step is being computed."""

    def __init__(self, stop: StopRequest, at: int | None) -> None:
        super().__init__(0)
        self._stop, self._at = stop, at
        self.step = 0

    def enter(self, phase: Any, step: int) -> None:
        self.step = step + 1
        if phase == "gradient" and self.step == self._at:
            self._stop.ask("test")
        super().enter(phase, step)


def run(ranks: Ranks, plan: Plan) -> dict[str, Any]:
    """All starts of a run; its weights, metrics and events, or the error that ended it."""
    events = io.StringIO()
    for at in (*plan.stops, None):
        inputs, engine = opened(ranks, plan), make_engine(ranks, plan)
        stop, journal = StopRequest(), Journal(plan.directory, events, active=ranks.is_first)
        heartbeat = StoppingHeartbeat(stop, at if ranks.is_first else None)
        loop = TrainingLoop(inputs, engine, ranks, journal, stop, heartbeat=heartbeat)
        try:
            with planted_faults(engine, heartbeat, plan if ranks.rank == ranks.world - 1 else None):
                outcome = loop.run()
        except UserError as error:
            loop.cursor.close()
            return {"error": str(error), **said(events, plan)}
        assert (outcome.validation is None) == (at is not None)
        weights = dict(engine.full_weights())
        steps = engine.optimizer_steps
        engine.close()
    return {"weights": weights, "optimizer_steps": steps, "progress": outcome.progress, **said(events, plan)}


def by_hand(ranks: Ranks, plan: Plan, data_of_steps: Sequence[int | None]) -> dict[str, torch.Tensor]:
    """The weights after steps that each take the data of the step given (from 1); None: the step does nothing."""
    inputs, engine = opened(ranks, replace(plan, spikes=())), make_engine(ranks, plan)
    order, layout, settings = inputs.order(), engine.layout, inputs.job.settings
    for done, data_of in enumerate(data_of_steps):
        if data_of is None:
            continue
        ids = order.sample_ids(data_of - 1)[layout.rows_of(layout.coordinates(ranks.rank).data)]
        batches = [inputs.data.train.batch(ids[piece]) for piece in layout.micro_batches()]
        engine.compute_gradient(batches, ROWS * inputs.data.context_length)
        engine.step(learning_rate(settings.schedule, settings.optimizer.lr, done, len(data_of_steps), inputs.batches))
    weights = dict(engine.full_weights())
    engine.close()
    return weights


def run_all(ranks: Ranks, plans: dict[str, Plan]) -> dict[str, dict[str, Any]]:
    return {name: run(ranks, plan) for name, plan in plans.items()}


def by_hand_all(
    ranks: Ranks, plan: Plan, schedules: dict[str, Sequence[int | None]]
) -> dict[str, dict[str, torch.Tensor]]:
    return {name: by_hand(ranks, plan, schedule) for name, schedule in schedules.items()}


def opened(ranks: Ranks, plan: Plan) -> Inputs:
    source = plan.directory.parent.parent
    if ranks.is_first:
        plan.directory.mkdir(parents=True, exist_ok=True)
    ranks.barrier()
    job = TrainingJob(
        kind="pretrain",
        directory=plan.directory,
        tokens=source / "tokens",
        tokenizer=source / "tokenizer.json",
        model=ModelSettings(layers=2, width=32, heads=2),
        settings=PretrainSettings.model_validate(plan.settings),
        seed=5,
    )
    inputs = open_inputs(job)
    spiked = [inputs.order().sample_ids(step - 1) for step in plan.spikes]
    rows = np.concatenate(spiked) if spiked else np.empty(0, np.int64)
    return replace(inputs, data=replace(inputs.data, train=SpikedRows(inputs.data.train, rows)))


def make_engine(ranks: Ranks, plan: Plan) -> TrainingEngine:
    layout = Layout(
        **{"data": ranks.world, "tensor": 1, "pipeline": 1, "zero": 1, **plan.layout},
        rows_per_step=ROWS,
        micro_batch_size=2,
    )
    shape = ModelSettings(layers=2, width=32, heads=2).shaped(VOCAB, 16)
    settings = PretrainSettings.model_validate(plan.settings)
    return TrainingEngine(shape, partial(initial_value, seed=5), settings, layout, plan.precision, ranks)


@contextmanager
def planted_faults(engine: TrainingEngine, heartbeat: StoppingHeartbeat, plan: Plan | None) -> Iterator[None]:
    """Losses and gradients of this process become no numbers in the steps that the plan names."""
    if plan is None:
        yield
        return
    compute = engine.compute_gradient

    def compute_gradient(batches: Sequence[Batch], valid_tokens: int) -> float:
        loss = compute(batches, valid_tokens)
        return math.nan if heartbeat.step in plan.losses_lost else loss

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * math.nan if heartbeat.step in plan.gradients_lost else gradient

    engine.compute_gradient = compute_gradient  # type: ignore[method-assign]
    if plan.gradients_lost:
        engine.local_parameters()["blocks.1.feed_forward.down.weight"].register_hook(spoil)
    yield


def said(events: io.StringIO, plan: Plan) -> dict[str, Any]:
    found = plan.directory / "metrics.jsonl"
    lines = [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []
    return {"events": [json.loads(line) for line in events.getvalue().splitlines()], "metrics": lines}
