"""What a recipe can say about the token dataset. Light: loads nothing but pydantic."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings import Settings


class TokensSettings(Settings):
    """How encoded documents become rows for the trainer."""

    context_length: int = Field(default=1024, ge=2, le=1 << 20)
    """Tokens that the model sees at once; a row holds one more, so that each of them has a next token to predict.
    The model is built for this length, so a change writes the rows anew (from tokens that are kept)."""
    packing: Literal["split", "best_fit"] = "split"
    """`split`: documents stand one behind the other and are cut where a row ends; no padding. `best_fit`: a document
    that fits a row is never cut (longer ones are, into full rows and a rest); rows are filled by best-fit decreasing
    (Ding et al. 2024), and what stays empty, well below 1 %, is padding that is not trained on."""
    shuffle: bool = True
    """Put the documents of the whole corpus in an order drawn by `shuffle_seed`; otherwise they keep the corpus's."""
    shuffle_seed: int = 0
    """Another number draws another order."""
    validation_fraction: float = Field(default=0.005, gt=0.0, le=0.5)
    """Share of the documents that are never trained on, 0 to 0.5; chosen by a hash of the duplicate cluster where
    deduplication has labelled them (`action: label`), else of the text, so that neither equal texts nor labelled
    duplicates are ever on both sides. 0.005 of a large corpus is plenty; a corpus below 20 MB wants 0.02."""
    split_seed: int = 0
    """Another number chooses other validation documents."""
    shard_bytes: int = Field(default=256 << 20, ge=1)
    """Most bytes of rows in one file of the dataset; a file holds at least one row."""
    bucket_bytes: int = Field(default=512 << 20, ge=1)
    """Text, in bytes, whose tokens one task of the last step holds in memory, on average at most: shuffling and packing
    happen inside such a bucket, to which documents are dealt out by hash. Memory of the task: about as much again."""
