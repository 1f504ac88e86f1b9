"""Finished `model/` directories with random weights, for the tests of exports."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.trainer.chat_tokenizer import chat_tokenizer
from trainer.model.declaration import declare_parameters
from trainer.settings import ModelSettings, ModelShape

GPT2: dict[str, Any] = {"positions": "learned", "norm": "layernorm", "activation": "gelu", "bias": True}
HELD: dict[str, dict[str, Any]] = {
    "GPT-2": GPT2,
    "GPT-2 untied, narrow": {**GPT2, "tied_embeddings": False, "feed_forward_width": 40, "norm_epsilon": 1e-3},
    "Llama": {},
    "Llama untied, grouped": {"kv_heads": 2, "tied_embeddings": False, "feed_forward_width": 48, "rope_theta": 500.0},
    "Llama with biases": {"bias": True, "kv_heads": 1},
    "Llama with GEGLU": {"activation": "geglu"},
    "Llama, positions divided": {"rope_scaling": {"kind": "linear", "factor": 3.0}},
    "Llama, larger base": {"rope_scaling": {"kind": "ntk", "factor": 3.0}},
    "Llama, YaRN": {"rope_scaling": {"kind": "yarn", "factor": 3.0, "original_context_length": 8, "beta_fast": 4.0}},
    "Llama 3.1": {"rope_scaling": {"kind": "llama3", "factor": 4.0, "original_context_length": 6}},
    "Llama, window of the context": {"window": 24},
}
"""Models that one of the architectures holds."""


def shape_of(fields: dict[str, Any]) -> ModelShape:
    return ModelSettings.model_validate({"layers": 2, "width": 32, "heads": 4, **fields}).shaped(300, 24)


def write_model_directory(directory: Path, fields: dict[str, Any]) -> ModelShape:
    """All weights are drawn at random: as they begin, norms are all ones and biases zeros."""
    shape, generator = shape_of(fields), torch.Generator().manual_seed(3)
    directory.mkdir(parents=True)
    weights = {item.name: torch.randn(item.shape, generator=generator) * 0.2 for item in declare_parameters(shape)}
    save_file(weights, directory / "weights.safetensors")
    (directory / "model.json").write_text(shape.model_dump_json())
    chat_tokenizer().save(str(directory / "tokenizer.json"))
    return shape
