"""Small models of every style, for the tests."""

from typing import Any

import torch

from trainer.settings import ModelSettings, ModelShape

VOCABULARY, CONTEXT = 67, 24

GPT2: dict[str, Any] = {"positions": "learned", "norm": "layernorm", "activation": "gelu", "bias": True}
STYLES: dict[str, dict[str, Any]] = {
    "modern": {},
    "grouped": {"kv_heads": 2, "tied_embeddings": False},
    "gpt2": GPT2,
    "gpt1": {**GPT2, "norm_position": "after"},
    "gpt3": {**GPT2, "window": 5, "windowed_layers": "alternating"},
    "alibi": {"positions": "alibi", "heads": 4, "norm": "layernorm", "activation": "geglu"},
    "windowed": {"window": 7, "qk_norm": True, "kv_heads": 2},
    "windowed alibi": {"positions": "alibi", "window": 6, "windowed_layers": "alternating"},
    "stretched": {
        "qk_norm": True,
        "bias": True,
        "rope_scaling": {"kind": "yarn", "factor": 3.0, "original_context_length": 8},
    },
}


def small(style: str = "modern", **more: Any) -> ModelShape:
    fields = {"layers": 2, "width": 32, "heads": 4, **STYLES[style], **more}
    return ModelSettings.model_validate(fields).shaped(vocab_size=VOCABULARY, context_length=CONTEXT)


def some_tokens(batch: int = 3, tokens: int = CONTEXT, seed: int = 5) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (batch, tokens), generator=torch.Generator().manual_seed(seed))
