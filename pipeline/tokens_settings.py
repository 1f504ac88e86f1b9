"""What a recipe can say about the token dataset. Light: loads nothing but pydantic."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings import Settings


class TokensSettings(Settings):
    """How encoded documents become rows for the trainer."""

    context_length: int = Field(default=1024, ge=2, le=1 << 20)
    """Tokens that the model sees at once; a row holds one more, so that each of them has a next token to predict.
    The model is built for this length, so a change writes the dataset anew."""
    validation_fraction: float = Field(default=0.005, gt=0.0, le=0.5)
    """Share of the documents that are never trained on, 0 to 0.5; chosen by a hash of the text, so that equal texts
    are never on both sides. 0.005 of a large corpus is plenty; a corpus below 20 MB wants 0.02."""
    split_seed: int = 0
    """Another number chooses other validation documents."""
