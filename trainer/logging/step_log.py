"""What is said of each step: skipped ones always, others as often as the settings ask."""

from dataclasses import dataclass

from trainer.checkpoint.save import Progress
from trainer.engine import TrainingEngine
from trainer.identity import Inputs
from trainer.logging.journal import Journal
from trainer.logging.meter import meter_of, peak_memory
from trainer.logging.norms import LayerNorms
from trainer.ranks import Ranks
from trainer.stability import Decision


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
    norms: LayerNorms | None
    """Where they are due."""

    @property
    def taken(self) -> bool:
        """Whether the weights followed it."""
        return self.decision.action == "take"


class StepLog:
    """Measures the steps of a run and has the journal write of them."""

    def __init__(self, inputs: Inputs, engine: TrainingEngine, ranks: Ranks, journal: Journal) -> None:
        self._inputs, self._engine, self._ranks, self._journal = inputs, engine, ranks, journal
        self._settings = inputs.job.settings
        teraflops = self._settings.device_teraflops
        self._meter = meter_of(inputs.shape, ranks.world, ranks.device, engine.precision, teraflops)

    def pause(self) -> None:
        """What was done since the last step is no part of the next one's time."""
        self._meter.lap()

    def count(self, step: Step) -> float:
        """A step ends now; returns its seconds."""
        return self._meter.count(step.tokens, step.loss * step.tokens, step.taken)

    def tell(self, step: Step, progress: Progress) -> None:
        """Write what is due; `progress` is that after the step. Every process must call it."""
        measured = {"loss": step.loss, "gradient_norm": step.gradient_norm, "learning_rate": step.learning_rate}
        if not step.taken:
            self._journal.skip(step=step.number, message=step.decision.message, **measured)
            return
        last = self._inputs.steps
        if step.number % self._settings.log_every == 0 or step.number in (1, last):
            speed = self._meter.take()
            scale = self._engine.scaler_state()
            self._journal.step(
                step=step.number,
                **measured,
                tokens=progress.tokens,
                rows=self._inputs.batches.rows_of_step(step.number - 1),
                **speed,
                seconds_left=round(speed["step_seconds"] * (last - step.number), 1),
                peak_memory_bytes=max(self._ranks.from_all(peak_memory(self._ranks.device))),
                loss_scale=None if scale is None else scale["scale"],
            )
        if step.norms is not None:
            self._journal.norms(step=step.number, norms=step.norms)
