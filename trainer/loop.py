"""The training loop, readable top to bottom.

One step: its data (a pure function of the step and of what rollbacks left out), the gradient, the agreement of all
processes, the decision, the optimizer. Between steps: log, validate, write samples, save. Whatever could differ between
processes is decided from sums over all of them, so all take the same way.

The cursor of a run is two integers, the step and the samples that rollbacks left out. They are part of a checkpoint,
with the windows of `trainer.stability`, so a resumed run goes the way of one that was never stopped. A skipped step is
a step: its data is used up and the learning rate goes on, but no weight, no moment and no step count of the optimizer
(Adam's bias correction) changes.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipeline.errors import UserError
from trainer.checkpoint.load import load_checkpoint
from trainer.checkpoint.save import Progress, open_writer, state_of
from trainer.data_cursor import DataCursor
from trainer.engine import TrainingEngine
from trainer.identity import Inputs
from trainer.logging.journal import Journal
from trainer.logging.norms import NormsOfStep
from trainer.logging.profile import StepProfiler
from trainer.logging.step_log import Step, StepLog
from trainer.optim.schedule import learning_rate
from trainer.ranks import Ranks
from trainer.samples import Sampler
from trainer.seeds import seed_of
from trainer.stability import Decision, SpikeGuard
from trainer.validation import Validation, validate
from trainer.watch.heartbeat import SILENT, Heartbeat
from trainer.watch.signals import StopRequest


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
        heartbeat: Heartbeat = SILENT,
    ) -> None:
        self.inputs, self.engine, self.ranks = inputs, engine, ranks
        self.journal, self.stop, self.heartbeat = journal, stop, heartbeat
        self.settings, self.data = inputs.job.settings, inputs.data
        self.cursor = DataCursor(inputs, engine.layout, ranks.rank)
        self.checkpoints: Path = inputs.job.directory / "checkpoints"
        self.saves = open_writer(self.checkpoints, engine, ranks, inputs, journal.event)
        self.log = StepLog(inputs, engine, ranks, journal)
        self.profiler = StepProfiler(self.settings.profile, inputs.job.directory, ranks.rank)
        self.norms = NormsOfStep(engine, ranks, self.settings.norms_every)
        self.sampler = Sampler(inputs)
        self.guard = SpikeGuard(self.settings.stability)
        self.progress = Progress()
        self.rollbacks = 0
        self.way_back = 0
        """Step of the last checkpoint that was due: a rollback goes there, whatever interruptions have saved since."""
        self._saved_step = -1

    def run(self) -> Outcome:
        """Train to the last step, or until asked to stop; the state is saved in both cases.

        Raises UserError when the loss or the gradient stops being a number and such steps are not to be skipped, when
        skips or rollbacks do not end, or when a checkpoint is of another run.
        """
        self._resume()
        self.journal.rewind(self.progress.step)
        # An interruption saves at once: what was due beside its last step is made up for here.
        if not self._measure(done=self.ranks.from_first(self.journal.measured(self.progress.step))):
            return self._stopped()
        steps = self.inputs.steps
        self.log.pause()
        while self.progress.step < steps:
            step = self._step(self.progress.step)
            if step.decision.action == "roll back":
                self._roll_back(step)
                continue
            self._count(step)
            done = self.progress.step
            if (step.stops and done < steps) or not self._measure():
                return self._stopped()
            if self._save_is_due():
                self._save()
            self.log.pause()
        self._end_steps()
        self.saves.finish()
        validation = self._validate(None)
        if validation is None:
            return self._stopped()
        self.heartbeat.enter("save", steps)
        self.saves.close()
        return Outcome(self.progress, validation)

    def _step(self, done: int) -> Step:
        """The step after `done` steps: data, gradient, agreement, decision, and the optimizer if it is taken."""
        inputs, settings, layout = self.inputs, self.settings, self.engine.layout
        number = done + 1
        self.profiler.before(number)
        # The same on the tensor ranks of a copy, which hold parts of the same activations.
        torch.manual_seed(seed_of(inputs.job.seed, "dropout", done, self.ranks.rank // layout.tensor))
        self.heartbeat.enter("data", done)
        batches = self.cursor.batches(done)
        own = sum(batch.valid_tokens for batch in batches) if layout.is_counted(self.ranks.rank) else 0
        tokens = int(self.ranks.sum([own])[0])
        if tokens == 0:
            raise UserError(f"step {number}: no token of the batch counts for the loss; check the data's masks")
        self.heartbeat.enter("gradient", done)
        local_loss = self.engine.compute_gradient(batches, tokens)
        gradient_norm = self.engine.gradient_norm()
        loss_sum, stops, *saving = self.ranks.sum([local_loss, float(self.stop.asked), *self.saves.signals()])
        self.saves.agree(*saving)
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
        """The step is done."""
        before, learned = self.progress, step.tokens if step.taken else 0
        seconds = before.seconds + self.log.count(step)
        self.progress = replace(before, step=step.number, tokens=before.tokens + learned, seconds=seconds)
        self.log.tell(step, self.progress)

    def _roll_back(self, step: Step) -> None:
        """Go back to the last checkpoint before the skipped steps and leave out all data that was seen since."""
        limit = self.settings.stability.most_rollbacks
        if self.rollbacks >= limit:
            raise UserError(
                f"{step.decision.message}: the run was taken back {limit} times already (stability.most_rollbacks); "
                "look at the data and at optimizer.lr"
            )
        seen, rollbacks = self.cursor.samples_seen(step.number), self.rollbacks + 1
        # Where none was due yet, one made by an interruption is better than none.
        if not (self._load(at_most=self.way_back) or self._load(at_most=None)):
            raise UserError(
                f"{step.decision.message}: there is no checkpoint from before to go back to; lower checkpoint_every"
            )
        back = self.progress.step
        self.rollbacks, self._saved_step, self.guard.skips_in_row = rollbacks, back, 0
        left_out = seen - self.cursor.samples_seen(back)
        self.cursor.move(self.cursor.offset + left_out)
        self.journal.rewind(back)
        self.journal.event(
            "rollback",
            step=back,
            message=f"{step.decision.message}: back to step {back}; the {left_out} samples since then are left out",
            from_step=step.number,
            samples_left_out=left_out,
        )
        self.log.pause()

    def _resume(self) -> None:
        verified = self._load(at_most=None)
        if verified is not None:
            self._saved_step = self.progress.step
            self.journal.event(
                "resume",
                step=self.progress.step,
                message=f"resumed after step {self.progress.step} of {self.inputs.steps}; verified: {verified}",
            )

    def _load(self, at_most: int | None) -> str | None:
        """Take up the newest whole checkpoint of at most so many steps; what was verified, None when there is none."""
        self.heartbeat.enter("load", self.progress.step)
        self.saves.settle()
        found = load_checkpoint(
            self.checkpoints,
            self.engine,
            self.ranks,
            self.inputs,
            lambda step, state: self.cursor.digest(step, state["data_offset"]),
            tell=lambda kind, message: self.journal.event(kind, message=message),
            at_most=at_most,
        )
        if found is None:
            return None
        self.progress, state = found.progress, found.progress.loop_state
        self.rollbacks, self.way_back = state["rollbacks"], state["way_back"]
        self.guard.restore(state)
        self.cursor.move(state["data_offset"])
        return found.verified

    def _save_is_due(self) -> bool:
        """While steps are being skipped the last checkpoint stays the one from before: a rollback goes there."""
        return _is_due(self.progress.step, self.settings.checkpoint_every) and not self.guard.skips_in_row

    def _save(self) -> None:
        if self._saved_step == self.progress.step:
            return
        if self._save_is_due():  # also when an interruption is why
            self.way_back = self.progress.step
        self.heartbeat.enter("save", self.progress.step)
        offset = self.cursor.offset
        loop_state = {"data_offset": offset, "rollbacks": self.rollbacks, "way_back": self.way_back}
        loop_state |= self.guard.state()
        progress = replace(self.progress, loop_state=loop_state)
        digest = self.cursor.digest(progress.step, offset) if self.ranks.is_first else ""
        state = state_of(self.engine, self.inputs, progress, digest)
        spare = self.way_back if self.settings.stability.rollback_after else None
        self.saves.save(self.engine.state_pieces(for_saving=True), state, spare)
        self._saved_step = self.progress.step

    def _end_steps(self) -> None:
        self.cursor.close()
        self.profiler.finish()
        self._save()

    def _stopped(self) -> Outcome:
        """Save, if that was not done, and say so."""
        self._end_steps()
        self.saves.close()
        done, steps = self.progress.step, self.inputs.steps
        asked = f"asked to stop{f' ({self.stop.reason})' if self.stop.reason else ''}"
        left = "; the last validation is left to do" if done == steps else ""
        self.journal.event("stop", step=done, message=f"{asked}: saved after step {done} of {steps}{left}")
        return Outcome(self.progress, None)

    def _measure(self, done: Collection[str] = ()) -> bool:
        """What is due after a step beside its own line, without what is done already; False when asked to stop."""
        step, settings = self.progress.step, self.settings
        is_between = 0 < step < self.inputs.steps and "validation" not in done
        if is_between and _is_due(step, settings.validation_every) and self._validate(settings.validation_rows) is None:
            return False
        if _is_due(step, settings.sample_every) and step > 0 and "samples" not in done:
            self._write_samples()
        return True

    def _validate(self, limit: int | None) -> Validation | None:
        """Measure the first `limit` rows, or all; None when the run was asked to stop meanwhile."""

        def beat() -> None:
            self.heartbeat.enter("validation", self.progress.step)

        def asked_to_stop() -> bool:
            return self.ranks.sum([float(self.stop.asked)])[0] > 0

        found = validate(self.engine, self.ranks, self.data.validation, limit, beat, asked_to_stop)
        if found is not None:
            self.journal.validation(step=self.progress.step, **found.as_line())
        return found

    def _write_samples(self) -> None:
        self.heartbeat.enter("samples", self.progress.step)
        for prompt, text in self.sampler.texts(self.engine, self.ranks):
            self.journal.sample(step=self.progress.step, prompt=prompt, text=text)


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
