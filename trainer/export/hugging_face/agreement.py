"""Whether transformers computes from its directory what we compute from ours: the proof of every export and import.

Both read what lies on disk. Compared are the logits of a few rows of random tokens, in fp32 on the CPU, and with a
tokenizer the tokens of some texts. A check of names alone would not see a wrong order of rows, a wrong epsilon or a
rotary embedding in another form; logits see them all.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError
from trainer.settings import ModelShape

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

TOLERANCE = 1e-4
"""Largest difference of two logits; rounding of fp32 makes about 1e-5 in a model of 124 M parameters."""
ROWS, TOKENS = 2, 256
TEXTS = (
    "Hello, world! It's 3.14 o'clock\n\n  and a\ttab.",
    "Grüße, 你好, здравствуйте, नमस्ते 👋🏽",
    "def f(x):\n    return x ** 2  # ok\r\n",
)


def require(model: Path, directory: Path, shape: ModelShape, tokenizer: "Tokenizer | None") -> float | None:
    """The largest difference of the logits; None where transformers is not installed.

    Raises UserError when it is above the tolerance, or a text is cut into other tokens.
    """
    if find_spec("transformers") is None:
        return None
    tokens = _probe(shape)
    theirs = _their_logits(directory, tokens)
    difference = float((_our_logits(model, shape, tokens) - theirs).abs().max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"transformers' logits of the {directory.name.removeprefix('.tmp-')} model differ from ours by "
            f"{difference:.2g}, allowed are {TOLERANCE:g}; nothing was written. This is a fault of gptmill: please "
            f"report it with config.json"
        )
    if tokenizer is not None:
        _require_tokens(directory, tokenizer)
    return difference


def _probe(shape: ModelShape) -> "Tensor":
    import torch

    size = (ROWS, min(TOKENS, shape.context_length))
    return torch.randint(0, shape.vocab_size, size, generator=torch.Generator().manual_seed(0))


def _our_logits(model: Path, shape: ModelShape, tokens: "Tensor") -> "Tensor":
    import torch

    from trainer.export.weights import weights_of
    from trainer.model.declaration import declare_parameters
    from trainer.model.init import empty_model

    read = weights_of(model, shape)
    ours = empty_model(shape)
    ours.load_state_dict({item.name: read(item) for item in declare_parameters(shape)}, strict=True, assign=True)
    with torch.no_grad():
        logits: Tensor = ours.eval()(tokens)
    return logits


def _their_logits(directory: Path, tokens: "Tensor") -> "Tensor":
    import torch
    import transformers

    logging: Any = transformers.utils.logging
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    load: Any = transformers.AutoModelForCausalLM.from_pretrained
    theirs, loading = load(directory, output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if wrong := [name for name in loading[key] if "rotary_emb" not in name and not name.endswith(".attn.bias")]:
            raise UserError(f"{directory}: transformers reports {key}: {', '.join(map(str, wrong[:5]))}")
    with torch.no_grad():
        logits: Tensor = theirs.float().eval()(tokens).logits
    return logits


def _require_tokens(directory: Path, tokenizer: "Tokenizer") -> None:
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(directory)
    for text in TEXTS:
        ours = tokenizer.encode(text, add_special_tokens=False).ids
        found = theirs.encode(text, add_special_tokens=False)
        if ours != found or theirs.decode(found) != tokenizer.decode(ours, skip_special_tokens=False):
            raise UserError(
                f"transformers cuts {text!r} into other tokens than we do; nothing was written. This is a fault of "
                f"gptmill: please report it with tokenizer.json"
            )
