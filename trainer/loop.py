"""The training loop, readable top to bottom.

One step: its data (a pure function of the step and of what rollbacks left out), the gradient, the agreement of all
processes, the decision, the optimizer. Between steps: log, validate, write samples, save. Whatever could differ between
processes is decided from sums over all of them, so all take the same way.

The cursor of a run is two integers, the step and `data_offset`: the samples that rollbacks left out. They are part of
a checkpoint, with the windows of `trainer.stability`, so a resumed run goes the way of one that was never stopped.
A skipped step is a step: its data is used up and the learning rate goes on, but no weight, no moment and no step count
of the optimizer (Adam's bias correction) changes.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import UserError
from trainer.checkpoint.load import load_checkpoint
from trainer.checkpoint.save import Progress, save_checkpoint
from trainer.data.batch import Batch
from trainer.data.prefetch import Prefetcher
from trainer.engine import TrainingEngine
from trainer.identity import Inputs
from trainer.journal import Journal
from trainer.logging.profile import StepProfiler
from trainer.meter import meter_of, peak_memory
from trainer.model.gpt import GPT
from trainer.norms import NormsOfStep
from trainer.ranks import Ranks
from trainer.schedule import learning_rate
from trainer.seeds import seed_of
from trainer.stability import Decision, SpikeGuard
from trainer.validation import Validation, validate
from trainer.watch.heartbeat import SILENT, Heartbeat
from trainer.watch.signals import StopRequest

Sampler = Callable[[GPT, str], str]
"""Continues a prompt with a model; deterministic, since with ZeRO-3 all processes must run it alike."""


@dataclass(frozen=True)
class Outcome:
    """How a call of `TrainingLoop.run` ended."""

    progress: Progress
    validation: Validation | None
    """Over all validation rows; None when the run was interrupted before its end."""


@dataclass(frozen=True)
class Step:
    """What became of a step, the same on all processes."""

    number: int
    """The first is 1."""
    tokens: int
    """Valid targets of its batch."""
    loss: float
    """Nats per valid token; z-loss included, where there is one."""
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    decision: Decision
    stops: bool
    """Whether any process was asked to stop."""
    norms: dict[str, dict[str, float]] | None
    """By layer, where they are due."""


class TrainingLoop:
    """One process's way from the first step, or from the last checkpoint, to the last step."""

    def __init__(
        self,
        inputs: Inputs,
        engine: TrainingEngine,
        ranks: Ranks,
        journal: Journal,
        stop: StopRequest,
        sampler: Sampler | None = None,
        heartbeat: Heartbeat = SILENT,
    ) -> None:
        self.inputs, self.engine, self.ranks = inputs, engine, ranks
        self.journal, self.stop, self.sampler, self.heartbeat = journal, stop, sampler, heartbeat
        self.settings, self.data = inputs.job.settings, inputs.data
        self.order, self.copy = inputs.order(), engine.layout.coordinates(ranks.rank).data
        self.checkpoints: Path = inputs.job.directory / "checkpoints"
        self.meter = meter_of(inputs.shape, ranks.world, ranks.device, engine.precision, self.settings.device_teraflops)
        self.profiler = StepProfiler(self.settings.profile, inputs.job.directory, ranks.rank)
        self.norms = NormsOfStep(engine, ranks, self.settings.norms_every)
        self.guard = SpikeGuard(self.settings.stability)
        self.progress = Progress()
        self.data_offset = self.rollbacks = 0
        self.batches = self._read_ahead()
        self._saved_step = -1

    def run(self) -> Outcome:
        """Train to the last step, or until asked to stop; the state is saved in both cases.

        Raises UserError when the loss or the gradient stops being a number and such steps are not to be skipped, when
        skips or rollbacks do not end, or when a checkpoint is of another run.
        """
        self._resume()
        self.journal.rewind(self.progress.step)
        steps, settings = self.inputs.steps, self.settings
        self.meter.lap()
        while self.progress.step < steps:
            step = self._step(self.progress.step)
            if step.decision.action == "roll back":
                self._roll_back(step)
                continue
            self._count(step)
            done = self.progress.step
            if step.stops and done < steps:
                self.batches.close()
                self._save()
                asked = f"asked to stop{f' ({self.stop.reason})' if self.stop.reason else ''}"
                self.journal.event("stop", step=done, message=f"{asked}: saved after step {done} of {steps}")
                return Outcome(self.progress, None)
            if _is_due(done, settings.validation_every) and done < steps:
                self._validate(settings.validation_rows)
            if _is_due(done, settings.sample_every):
                self._write_samples()
            # While steps are being skipped the last checkpoint stays the one from before: a rollback goes there.
            if _is_due(done, settings.checkpoint_every) and not self.guard.skips_in_row:
                self._save()
            self.meter.lap()
        self.batches.close()
        self._save()
        return Outcome(self.progress, self._validate(None))

    def _step(self, done: int) -> Step:
        """The step after `done` steps: data, gradient, agreement, decision, and the optimizer if it is taken."""
        inputs, settings, layout = self.inputs, self.settings, self.engine.layout
        number = done + 1
        self.profiler.before(number)
        # The same on the tensor ranks of a copy, which hold parts of the same activations.
        torch.manual_seed(seed_of(inputs.job.seed, "dropout", done, self.ranks.rank // layout.tensor))
        self.heartbeat.enter("data", done)
        batches = self.batches.get(done)
        own = sum(batch.valid_tokens for batch in batches) if layout.is_counted(self.ranks.rank) else 0
        tokens = int(self.ranks.sum([own])[0])
        if tokens == 0:
            raise UserError(f"step {number}: no token of the batch counts for the loss; check the data's masks")
        self.heartbeat.enter("gradient", done)
        local_loss = self.engine.compute_gradient(batches, tokens)
        gradient_norm = self.engine.gradient_norm()
        loss_sum, stops = self.ranks.sum([local_loss, float(self.stop.asked)])
        loss = loss_sum / tokens
        self.heartbeat.enter("update", done)
        rate = learning_rate(settings.schedule, settings.optimizer.lr, done, inputs.steps, inputs.batches)
        norms = None
        if math.isfinite(loss) and not math.isfinite(gradient_norm) and self.engine.can_lower_loss_scale:
            decision = Decision("skip", f"step {number}: the gradient overflowed, the loss scale is halved")
        else:
            decision = self.guard.judge(number, loss, gradient_norm)
        if decision.action == "take":
            self.norms.before(number)
            self.engine.step(rate)
            norms = self.norms.after(number)
        else:
            self.engine.skip()
        if (trace := self.profiler.after(number)) is not None:
            self.journal.event("profile", step=number, path=str(trace.parent))
        return Step(number, tokens, loss, gradient_norm, rate, decision, stops > 0, norms)

    def _count(self, step: Step) -> None:
        """The step is done: progress, and what is said of it."""
        taken = step.decision.action == "take"
        learned = step.tokens if taken else 0
        seconds = self.meter.count(step.tokens, step.loss * step.tokens, taken)
        before = self.progress
        self.progress = replace(
            before, step=step.number, tokens=before.tokens + learned, seconds=before.seconds + seconds
        )
        measured = {"loss": step.loss, "gradient_norm": step.gradient_norm, "learning_rate": step.learning_rate}
        if not taken:
            self.journal.skip(step=step.number, message=step.decision.message, **measured)
            return
        last = self.inputs.steps
        if step.number % self.settings.log_every == 0 or step.number in (1, last):
            speed = self.meter.take()
            memory = max(self.ranks.from_all(peak_memory(self.ranks.device)))
            scale = self.engine.scaler_state()
            self.journal.step(
                step=step.number,
                **measured,
                tokens=self.progress.tokens,
                rows=self.inputs.batches.rows_of_step(step.number - 1),
                **speed,
                seconds_left=round(speed["step_seconds"] * (last - step.number), 1),
                peak_memory_bytes=memory,
                loss_scale=None if scale is None else scale["scale"],
            )
        if step.norms is not None:
            self.journal.norms(step=step.number, norms=step.norms)

    def _roll_back(self, step: Step) -> None:
        """Go back to the last checkpoint before the skipped steps and leave out all data that was seen since."""
        limit = self.settings.stability.most_rollbacks
        if self.rollbacks >= limit:
            raise UserError(
                f"{step.decision.message}: the run was taken back {limit} times already (stability.most_rollbacks); "
                "look at the data and at optimizer.lr"
            )
        seen = self.inputs.batches.samples_before(step.number) + self.data_offset
        rollbacks = self.rollbacks + 1
        if not self._load(at_most=step.number - self.guard.skips_in_row):
            raise UserError(
                f"{step.decision.message}: there is no checkpoint from before to go back to; lower checkpoint_every"
            )
        back = self.progress.step
        self.rollbacks, self._saved_step = rollbacks, back
        left_out = seen - self.inputs.batches.samples_before(back) - self.data_offset
        self.data_offset += left_out
        self.batches.close()
        self.batches = self._read_ahead()
        self.journal.rewind(back)
        self.journal.event(
            "rollback",
            step=back,
            message=f"{step.decision.message}: back to step {back}; the {left_out} samples since then are left out",
            from_step=step.number,
            samples_left_out=left_out,
        )
        self.meter.lap()

    def _read_ahead(self) -> Prefetcher[list[Batch]]:
        """This process's micro-batches of each step, with what rollbacks have left out so far."""
        layout, source, offset = self.engine.layout, self.data.train, self.data_offset

        def micro_batches(step: int) -> list[Batch]:
            ids = self.order.sample_ids(step, offset)
            rows = source.arranged(ids[layout.rows_of(self.copy, len(ids))])
            return [source.batch(rows[piece]) for piece in layout.micro_batches(len(ids))]

        return Prefetcher(micro_batches, self.inputs.steps)

    def _digest(self, step: int, loop_state: dict[str, Any]) -> str:
        """Hash of the whole global batch of a step, by the cursor of a checkpoint."""
        return self.data.train.batch(self.order.sample_ids(step, loop_state.get("data_offset", 0))).digest()

    def _state(self) -> dict[str, Any]:
        return {"data_offset": self.data_offset, "rollbacks": self.rollbacks, **self.guard.state()}

    def _resume(self) -> None:
        if self._load(at_most=None):
            self._saved_step = self.progress.step
            self.journal.event(
                "resume",
                step=self.progress.step,
                message=f"resumed after step {self.progress.step} of {self.inputs.steps}: checksums, settings, layout, "
                "data, tokenizer and next batch verified",
            )

    def _load(self, at_most: int | None) -> bool:
        """Take up the newest whole checkpoint of at most so many steps; False when there is none."""
        self.heartbeat.enter("load", self.progress.step)
        found = load_checkpoint(
            self.checkpoints,
            self.engine,
            self.ranks,
            self.inputs,
            self._digest,
            tell=lambda kind, message: self.journal.event(kind, message=message),
            at_most=at_most,
        )
        if found is None:
            return False
        self.progress, state = found, found.loop_state
        self.data_offset, self.rollbacks = state["data_offset"], state["rollbacks"]
        self.guard.restore(state)
        self.batches.close()
        self.batches = self._read_ahead()
        return True

    def _save(self) -> None:
        if self._saved_step == self.progress.step:
            return
        self.heartbeat.enter("save", self.progress.step)
        started = time.perf_counter()
        progress = replace(self.progress, loop_state=self._state())
        digest = self._digest(progress.step, progress.loop_state) if self.ranks.is_first else ""
        path = save_checkpoint(self.checkpoints, self.engine, self.ranks, self.inputs, progress, digest)
        self._saved_step = self.progress.step
        seconds = round(time.perf_counter() - started, 3)
        self.journal.event("checkpoint", step=self.progress.step, path=str(path), seconds=seconds)

    def _validate(self, limit: int | None) -> Validation:
        def beat() -> None:
            self.heartbeat.enter("validation", self.progress.step)

        found = validate(self.engine, self.ranks, self.data.validation, limit, beat)
        self.journal.validation(step=self.progress.step, **found.as_line())
        return found

    def _write_samples(self) -> None:
        self.heartbeat.enter("samples", self.progress.step)
        takes_part = self.ranks.is_first or self.engine.layout.zero == 3
        if self.sampler is None or not takes_part:
            return
        for prompt in self.settings.sample_prompts:
            text = self.sampler(self.engine.model, prompt)
            self.journal.sample(step=self.progress.step, prompt=prompt, text=text)


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
