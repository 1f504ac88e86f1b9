"""The training loop, readable top to bottom.

One step: which rows (a pure function of the step), their gradient, the agreement of all processes (is the loss a
number? was anyone asked to stop?), the optimizer. Between steps: log, validate, write samples, save. All decisions
that could differ between processes are made from sums over them, so all take the same way.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.errors import UserError
from trainer.checkpoint.load import load_checkpoint
from trainer.checkpoint.save import Progress, save_checkpoint
from trainer.data.batch import Batch
from trainer.data.prefetch import Prefetcher
from trainer.engine import TrainingEngine
from trainer.identity import Inputs
from trainer.journal import Journal
from trainer.model.gpt import GPT
from trainer.ranks import Ranks
from trainer.schedule import learning_rate
from trainer.seeds import seed_of
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
        self.order = inputs.order()
        self.batches = Prefetcher(self._micro_batches, inputs.steps)
        self.checkpoints: Path = inputs.job.directory / "checkpoints"
        self.progress = Progress()
        self._saved_step = -1

    def run(self) -> Outcome:
        """Train to the last step, or until asked to stop; the state is saved in both cases.

        Raises UserError when the loss or the gradient stops being a number, or a checkpoint is of another run.
        """
        self._resume()
        self.journal.rewind(self.progress.step)
        steps, settings = self.inputs.steps, self.settings
        meter = _Meter()
        while self.progress.step < steps:
            loss, gradient_norm, rate, tokens, asked_to_stop = self._step(self.progress.step)
            meter.count(tokens, loss)
            done = self.progress.step + 1
            self.progress = Progress(done, self.progress.tokens + tokens, self.progress.seconds + meter.lap())
            if done % settings.log_every == 0 or done in (1, steps):
                self.journal.step(
                    step=done,
                    loss=loss / tokens,
                    mean_loss=meter.mean_loss,
                    learning_rate=rate,
                    gradient_norm=gradient_norm,
                    tokens=self.progress.tokens,
                    tokens_per_second=round(meter.tokens_per_second, 1),
                    seconds_left=round(meter.seconds / meter.steps * (steps - done), 1),
                )
                meter = _Meter()
            if asked_to_stop and done < steps:
                self.batches.close()
                self._save()
                reason = self.stop.reason or "by another process"
                message = f"asked to stop ({reason}): saved after step {done} of {steps}"
                self.journal.event("stop", step=done, message=message)
                return Outcome(self.progress, None)
            if _is_due(done, settings.validation_every) and done < steps:
                self._validate(settings.validation_rows)
            if _is_due(done, settings.sample_every):
                self._write_samples()
            if _is_due(done, settings.checkpoint_every):
                self._save()
            meter.lap()
        self.batches.close()
        self._save()
        return Outcome(self.progress, self._validate(None))

    def _step(self, step: int) -> tuple[float, float, float, int, bool]:
        """One optimizer step; returns loss sum, gradient norm, learning rate, valid tokens, and whether to stop."""
        # The same on the tensor ranks of a layer: `split_random` makes them differ where they must.
        stream = self.ranks.rank // self.engine.layout.tensor
        torch.manual_seed(seed_of(self.inputs.job.seed, "dropout", step, stream))
        self.heartbeat.enter("data", step)
        batches = self.batches.get(step)
        counts = self.engine.layout.is_counted(self.ranks.rank)
        (valid,) = self.ranks.sum([sum(batch.valid_tokens for batch in batches) if counts else 0])
        if valid == 0:
            raise UserError(f"step {step + 1}: no token of the batch counts for the loss; check the data's masks")
        self.heartbeat.enter("gradient", step)
        local_loss = self.engine.compute_gradient(batches, int(valid))
        loss, stops = self.ranks.sum([local_loss, float(self.stop.asked)])
        if not math.isfinite(loss):
            raise UserError(f"the loss is {loss} at step {step + 1}: lower optimizer.lr or raise schedule.warmup_steps")
        self.heartbeat.enter("update", step)
        inputs, settings = self.inputs, self.settings
        rate = learning_rate(settings.schedule, settings.optimizer.lr, step, inputs.steps, inputs.batches)
        gradient_norm = self.engine.gradient_norm()
        if not math.isfinite(gradient_norm):
            raise UserError(f"the gradient's norm is {gradient_norm} at step {step + 1}: lower optimizer.lr")
        self.engine.step(rate)
        return loss, gradient_norm, rate, int(valid), stops > 0

    def _micro_batches(self, step: int) -> list[Batch]:
        layout, source = self.engine.layout, self.data.train
        ids = self.order.sample_ids(step)
        rows = source.arranged(ids[layout.rows_of(layout.coordinates(self.ranks.rank).data, len(ids))])
        return [source.batch(rows[piece]) for piece in layout.micro_batches(len(ids))]

    def _digest(self, step: int) -> str:
        """Hash of the whole global batch of a step."""
        return self.data.train.batch(self.order.sample_ids(step)).digest()

    def _resume(self) -> None:
        self.heartbeat.enter("load", 0)
        progress = load_checkpoint(
            self.checkpoints,
            self.engine,
            self.ranks,
            self.inputs,
            self._digest,
            tell=lambda kind, message: self.journal.event(kind, message=message),
        )
        if progress is not None:
            self.progress, self._saved_step = progress, progress.step
            self.journal.event(
                "resume",
                step=progress.step,
                message=f"resumed after step {progress.step} of {self.inputs.steps}: checksums, settings, layout, "
                "data, tokenizer and next batch verified",
            )

    def _save(self) -> None:
        if self._saved_step == self.progress.step:
            return
        self.heartbeat.enter("save", self.progress.step)
        started = time.perf_counter()
        digest = self._digest(self.progress.step) if self.ranks.is_first else ""
        path = save_checkpoint(self.checkpoints, self.engine, self.ranks, self.inputs, self.progress, digest)
        self._saved_step = self.progress.step
        seconds = round(time.perf_counter() - started, 3)
        self.journal.event("checkpoint", step=self.progress.step, path=str(path), seconds=seconds)

    def _validate(self, limit: int | None) -> Validation:
        found = validate(self.engine, self.ranks, self.data.validation, limit, self._beat)
        self.journal.validation(step=self.progress.step, **found.as_line())
        return found

    def _beat(self) -> None:
        self.heartbeat.enter("validation", self.progress.step)

    def _write_samples(self) -> None:
        self.heartbeat.enter("samples", self.progress.step)
        takes_part = self.ranks.is_first or self.engine.layout.zero == 3
        if self.sampler is None or not takes_part:
            return
        for prompt in self.settings.sample_prompts:
            text = self.sampler(self.engine.model, prompt)
            self.journal.sample(step=self.progress.step, prompt=prompt, text=text)


class _Meter:
    """Loss and speed since the last logged step; time for anything but steps is left out."""

    def __init__(self) -> None:
        self.tokens, self.steps = 0, 0
        self.seconds = 0.0
        self._loss = 0.0
        self._since = time.perf_counter()

    def count(self, tokens: int, loss_sum: float) -> None:
        self.tokens += tokens
        self.steps += 1
        self._loss += loss_sum
        now = time.perf_counter()
        self.seconds += now - self._since

    def lap(self) -> float:
        """Seconds since the last lap or the start; the next count begins here."""
        now = time.perf_counter()
        passed, self._since = now - self._since, now
        return passed

    @property
    def mean_loss(self) -> float:
        return self._loss / self.tokens

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
