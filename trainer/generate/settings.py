"""How text is drawn from a model: the one list of the options."""

from pydantic import Field

from trainer.settings import Settings


class GenerateSettings(Settings):
    """How the next token is drawn, and how many."""

    temperature: float = Field(default=0.8, ge=0.0, le=100.0)
    """Divides the logits: below 1 likely tokens gain. 0: always the likeliest token (greedy)."""
    top_k: int = Field(default=50, ge=0)
    """Draw from the k likeliest tokens. 0: from all."""
    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    """Draw from the likeliest tokens that together have this probability (nucleus sampling, after top_k).
    1: from all."""
    max_new_tokens: int = Field(default=128, gt=0)
    """Stop after so many tokens, if the model has not ended by itself."""
    seed: int = Field(default=0, ge=0)
    """The same seed, model and prompt give the same text."""
