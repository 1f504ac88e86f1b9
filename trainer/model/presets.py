"""Named model shapes. A preset is a set of `ModelSettings` fields that explicit fields override.

GPT-2 shapes: Radford et al. 2019, table 2 (the sizes are those of the released weights).
The modern shapes use RoPE, RMSNorm, SwiGLU and no biases (Touvron et al. 2023, LLaMA).
"""

from typing import Any

GPT2_STYLE: dict[str, Any] = {
    "positions": "learned",
    "norm": "layernorm",
    "activation": "gelu",
    "bias": True,
    "tied_embeddings": True,
}

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
    "gpt2-124m": _sized(GPT2_STYLE, 12, 768, 12),
    "gpt2-350m": _sized(GPT2_STYLE, 24, 1024, 16),
    "gpt2-774m": _sized(GPT2_STYLE, 36, 1280, 20),
    "gpt2-1.5b": _sized(GPT2_STYLE, 48, 1600, 25),
    "modern-3m": _sized(MODERN_STYLE, 4, 192, 6),
    "modern-7m": _sized(MODERN_STYLE, 6, 256, 4),
    "modern-120m": _sized(MODERN_STYLE, 12, 768, 12),
    "modern-1b": _sized(MODERN_STYLE, 16, 2048, 32, kv_heads=8, tied_embeddings=False),
}
"""Preset name -> fields of `ModelSettings`."""
