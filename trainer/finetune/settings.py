"""What finetuning can be told, beside what it shares with pretraining: the one list of the options."""

from typing import Any, Literal

from pydantic import Field, field_validator

from trainer.settings import AdamWSettings, OptimizerSettings, TrainingSettings

GENTLE = {"lr": 3e-4, "weight_decay": 0.0}
"""What differs from an optimizer's own defaults."""


class FinetuneSettings(TrainingSettings):
    """Supervised training on conversations, with the loss on the assistant's words only."""

    data: str | None = None
    """JSON or JSONL file of conversations (`messages`, ShareGPT or Alpaca form), plain, .gz or .zst. None: the
    questions that the run makes from its own corpus (`questions`)."""
    template: Literal["chatml"] = "chatml"
    """How a conversation becomes one text: `<|im_start|>role`, a newline, the content, `<|im_end|>`."""
    batch_size: int = Field(default=32, gt=0)
    """Conversations in one optimizer step, over all processes."""
    max_tokens: int | None = Field(default=None, gt=1)
    """Longest conversation in tokens. None: as long as the model's context."""
    too_long: Literal["truncate", "drop"] = "truncate"
    """What becomes of longer ones. truncate: the end is cut off, and a conversation that has no word of an answer
    left is dropped; drop: all are dropped. Both are counted in the manifest."""
    validation_fraction: float = Field(default=0.02, gt=0.0, lt=1.0)
    """Share of the conversations held out, chosen by a hash of their tokens; at least one."""
    optimizer: OptimizerSettings = AdamWSettings.model_validate(GENTLE)
    """How weights follow the gradient. Where nothing else is given a lower peak than pretraining's (3e-4), so that what
    was learned stays, and no decay towards zero, which would pull the weights away from it."""

    @field_validator("optimizer", mode="before")
    @classmethod
    def _start_gently(cls, given: Any) -> Any:
        """One key of the optimizer that is given must not change the others."""
        return {**GENTLE, **given} if isinstance(given, dict) else given

    def rows_per_step(self, context_length: int) -> int:
        """Conversations in one optimizer step; the context length does not matter."""
        return self.batch_size
