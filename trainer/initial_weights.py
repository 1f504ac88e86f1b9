"""Weights that a run starts from: a finished model or a checkpoint, and whether they mean here what they meant there.

They do when the model is the same and every token has the number it had. Names of special tokens may differ, so that
reserved ones can be given a meaning after pretraining; the vocabulary and the merges may not.
"""

import json
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import UserError
from trainer.checkpoint.directory import read_state
from trainer.checkpoint.weights import checkpoint_fingerprint, checkpoint_shape, is_checkpoint
from trainer.settings import ModelShape


def weights_fingerprint(initial: Path) -> str:
    """What tells these weights from all others."""
    if is_checkpoint(initial):
        return checkpoint_fingerprint(initial)
    return storage.sha256_of(f"{initial}/weights.safetensors")


def initial_shape(initial: Path) -> ModelShape:
    """The model that they are of.

    Raises:
        UserError: there is none.
    """
    if is_checkpoint(initial):
        return checkpoint_shape(initial)
    path = initial / "model.json"
    if not path.exists():
        raise UserError(f"{path} does not exist: {initial} is neither a finished model nor a checkpoint")
    return ModelShape.model_validate(storage.read_json(str(path)))


def compared(start: ModelShape, shape: ModelShape) -> tuple[dict[str, Any], dict[str, Any]]:
    """All of two shapes that must be the same for weights of one to mean the same in the other.

    Widths that were not given are those that follow. Without a table of positions a context may have another length,
    and a longer one other rotary angles.
    """
    left_out = {"preset", "dropout", "initial_std", "prefix_decoder"}
    if start.positions != "learned":
        left_out.add("context_length")
        if shape.context_length > start.context_length:
            left_out.add("rope_scaling")

    def kept(one: ModelShape) -> dict[str, Any]:
        followed = {"kv_heads": one.key_value_heads, "feed_forward_width": one.inner_width}
        return {**one.model_dump(exclude=left_out), **followed}

    return kept(start), kept(shape)


def require_same_tokens(initial: Path, tokenizer: Path, fingerprint: str) -> None:
    """Raises UserError when the weights were trained with another tokenizer than the one of the data.

    `fingerprint` is the SHA-256 of `tokenizer`. Of a checkpoint only that of its own is known.
    """
    if is_checkpoint(initial):
        same = read_state(initial)["identity"]["tokenizer"] == fingerprint
    else:
        own = initial / "tokenizer.json"
        if not own.exists():
            raise UserError(f"{own} does not exist: it would show that the weights know the tokens of the data")
        same = storage.sha256_of(str(own)) == fingerprint or _numbering(own) == _numbering(tokenizer)
    if not same:
        raise UserError(
            f"{initial} was trained with another tokenizer than {tokenizer}: its weights would take the tokens for "
            "other ones; make the tokens with the model's own (its tokenizer.json)"
        )


def _numbering(tokenizer: Path) -> tuple[Any, list[Any]]:
    """Vocabulary and merges, however they are written."""
    try:
        model = json.loads(tokenizer.read_bytes())["model"]
        merges = [entry.split(" ") if isinstance(entry, str) else entry for entry in model.get("merges") or []]
        return model["vocab"], merges
    except (ValueError, KeyError, AttributeError, TypeError) as fault:
        raise UserError(f"{tokenizer} is no tokenizer ({fault!r})") from None
