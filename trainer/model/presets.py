"""Named model shapes. A preset is a set of `ModelSettings` fields that explicit fields override.

GPT-1: Radford et al. 2018, section 4.1; norms after each layer, as published. GPT-2: Radford et al. 2019, table 2; the
sizes are those of the released weights. GPT-3: Brown et al. 2020, table 2.1, with two of its entries made such that
heads x head width = width, as the table's own text says: 1.3b has 16 heads (not 24) of 128, 13b has width 5120 (not
5140). The width of its locally banded layers was not published; 256 is that of GPT-Neo (Black et al. 2021). LLaMA 7B:
Touvron et al. 2023, table 2; 1B is Llama 3.2's, before its context was stretched. The modern shapes are like LLaMA with
tied embeddings where they are small.

The vocabulary and the context length are those of the token dataset, and dropout is for the run to choose.
"""

from typing import Any

GPT2_STYLE: dict[str, Any] = {
    "positions": "learned",
    "norm": "layernorm",
    "activation": "gelu",
    "bias": True,
    "tied_embeddings": True,
}

GPT1_STYLE: dict[str, Any] = {**GPT2_STYLE, "norm_position": "after"}

GPT3_STYLE: dict[str, Any] = {**GPT2_STYLE, "window": 256, "windowed_layers": "alternating"}

MODERN_STYLE: dict[str, Any] = {
    "positions": "rope",
    "norm": "rmsnorm",
    "activation": "swiglu",
    "bias": False,
    "tied_embeddings": True,
}


def _sized(style: dict[str, Any], layers: int, width: int, heads: int, **more: Any) -> dict[str, Any]:
    return {**style, "layers": layers, "width": width, "heads": heads, **more}


PRESETS: dict[str, dict[str, Any]] = {
    "gpt1": _sized(GPT1_STYLE, 12, 768, 12),
    "gpt2-124m": _sized(GPT2_STYLE, 12, 768, 12),
    "gpt2-350m": _sized(GPT2_STYLE, 24, 1024, 16),
    "gpt2-774m": _sized(GPT2_STYLE, 36, 1280, 20),
    "gpt2-1.5b": _sized(GPT2_STYLE, 48, 1600, 25),
    "gpt3-125m": _sized(GPT3_STYLE, 12, 768, 12),
    "gpt3-350m": _sized(GPT3_STYLE, 24, 1024, 16),
    "gpt3-760m": _sized(GPT3_STYLE, 24, 1536, 16),
    "gpt3-1.3b": _sized(GPT3_STYLE, 24, 2048, 16),
    "gpt3-2.7b": _sized(GPT3_STYLE, 32, 2560, 32),
    "gpt3-6.7b": _sized(GPT3_STYLE, 32, 4096, 32),
    "gpt3-13b": _sized(GPT3_STYLE, 40, 5120, 40),
    "gpt3-175b": _sized(GPT3_STYLE, 96, 12288, 96),
    "modern-3m": _sized(MODERN_STYLE, 4, 192, 6),
    "modern-7m": _sized(MODERN_STYLE, 6, 256, 4),
    "modern-120m": _sized(MODERN_STYLE, 12, 768, 12),
    "modern-1b": _sized(MODERN_STYLE, 16, 2048, 32, kv_heads=8, tied_embeddings=False),
    "llama-1b": _sized(MODERN_STYLE, 16, 2048, 32, kv_heads=8, feed_forward_width=8192, rope_theta=500_000.0),
    "llama-7b": _sized(MODERN_STYLE, 32, 4096, 32, feed_forward_width=11008, norm_epsilon=1e-6, tied_embeddings=False),
}
"""Preset name -> fields of `ModelSettings`."""
