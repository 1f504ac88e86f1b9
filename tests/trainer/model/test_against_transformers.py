"""Logits are those of transformers' own implementations of the published models, with the same weights, in fp32."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainer.model.styles import CONTEXT, GPT2, VOCABULARY, some_tokens
from trainer.model.init import empty_model
from trainer.settings import ModelSettings

transformers = pytest.importorskip("transformers")

WIDTH, HEADS, LAYERS = 32, 4, 3
Weights = dict[str, Tensor]
Names = Callable[[Weights], Weights]


def stacked(weights: Weights, *names: str) -> Tensor:
    return torch.cat([weights[name] for name in names])


def gpt2(weights: Weights) -> Weights:
    """Its linear layers are [inputs, outputs]."""
    found = {
        "token_embedding.weight": weights["transformer.wte.weight"],
        "position_embedding.weight": weights["transformer.wpe.weight"],
        **pair(weights, "final_norm", "transformer.ln_f"),
    }
    for layer in range(LAYERS):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        found |= pair(weights, f"{ours}.attention_norm", f"{theirs}.ln_1")
        found |= pair(weights, f"{ours}.feed_forward_norm", f"{theirs}.ln_2")
        found |= pair(weights, f"{ours}.attention.query_key_value", f"{theirs}.attn.c_attn", turned=True)
        found |= pair(weights, f"{ours}.attention.output", f"{theirs}.attn.c_proj", turned=True)
        found |= pair(weights, f"{ours}.feed_forward.up", f"{theirs}.mlp.c_fc", turned=True)
        found |= pair(weights, f"{ours}.feed_forward.down", f"{theirs}.mlp.c_proj", turned=True)
    return found


def gpt1(weights: Weights) -> Weights:
    renamed = {
        name.replace("tokens_embed", "wte").replace("positions_embed", "wpe"): value for name, value in weights.items()
    }
    unused = {"transformer.ln_f.weight": torch.empty(0), "transformer.ln_f.bias": torch.empty(0)}
    return {name: value for name, value in gpt2(renamed | unused).items() if not name.startswith("final_norm")}


def gpt_neo(weights: Weights) -> Weights:
    """It does not divide logits by the square root of the head width, and has no biases for queries, keys, values."""
    renamed = {name.replace(".attn.attention.", ".attn."): value for name, value in weights.items()}
    for layer in range(LAYERS):
        theirs = f"transformer.h.{layer}.attn"
        renamed[f"{theirs}.q_proj.weight"] = renamed[f"{theirs}.q_proj.weight"] * math.sqrt(WIDTH // HEADS)
        matrix = stacked(renamed, *(f"{theirs}.{kind}_proj.weight" for kind in "qkv"))
        renamed[f"{theirs}.c_attn.weight"], renamed[f"{theirs}.c_attn.bias"] = matrix.T, torch.zeros(3 * WIDTH)
        renamed |= pair(renamed, f"{theirs}.c_proj", f"{theirs}.out_proj", turned=True)
        for kind in ("c_fc", "c_proj"):
            name = f"transformer.h.{layer}.mlp.{kind}"
            renamed |= pair(renamed, name, name, turned=True)
    return gpt2(renamed)


def llama(weights: Weights) -> Weights:
    """Also Mistral and Qwen 3."""
    found = {
        "token_embedding.weight": weights["model.embed_tokens.weight"],
        "final_norm.weight": weights["model.norm.weight"],
        "output.weight": weights["lm_head.weight"],
    }
    for layer in range(LAYERS):
        ours, theirs = f"blocks.{layer}", f"model.layers.{layer}"
        projections = [f"{theirs}.self_attn.{kind}_proj.weight" for kind in "qkv"]
        found |= {
            f"{ours}.attention_norm.weight": weights[f"{theirs}.input_layernorm.weight"],
            f"{ours}.attention.query_key_value.weight": stacked(weights, *projections),
            f"{ours}.attention.output.weight": weights[f"{theirs}.self_attn.o_proj.weight"],
            f"{ours}.feed_forward_norm.weight": weights[f"{theirs}.post_attention_layernorm.weight"],
            f"{ours}.feed_forward.gate_up.weight": stacked(
                weights, f"{theirs}.mlp.gate_proj.weight", f"{theirs}.mlp.up_proj.weight"
            ),
            f"{ours}.feed_forward.down.weight": weights[f"{theirs}.mlp.down_proj.weight"],
        }
        for kind, name in (("q", "query"), ("k", "key")):
            if (gains := weights.get(f"{theirs}.self_attn.{kind}_norm.weight")) is not None:
                found[f"{ours}.attention.{name}_norm.weight"] = gains
    return found


def mpt(weights: Weights) -> Weights:
    found = {
        "token_embedding.weight": weights["transformer.wte.weight"],
        "final_norm.weight": weights["transformer.norm_f.weight"],
    }
    for layer in range(LAYERS):
        ours, theirs = f"blocks.{layer}", f"transformer.blocks.{layer}"
        found |= {
            f"{ours}.attention_norm.weight": weights[f"{theirs}.norm_1.weight"],
            f"{ours}.attention.query_key_value.weight": weights[f"{theirs}.attn.Wqkv.weight"],
            f"{ours}.attention.output.weight": weights[f"{theirs}.attn.out_proj.weight"],
            f"{ours}.feed_forward_norm.weight": weights[f"{theirs}.norm_2.weight"],
            f"{ours}.feed_forward.up.weight": weights[f"{theirs}.ffn.up_proj.weight"],
            f"{ours}.feed_forward.down.weight": weights[f"{theirs}.ffn.down_proj.weight"],
        }
    return found


def pair(weights: Weights, ours: str, theirs: str, turned: bool = False) -> Weights:
    matrix = weights[f"{theirs}.weight"]
    return {f"{ours}.weight": matrix.T if turned else matrix, f"{ours}.bias": weights[f"{theirs}.bias"]}


GPT2_SIZES = {"n_embd": WIDTH, "n_head": HEADS, "n_layer": LAYERS, "n_positions": CONTEXT, "vocab_size": VOCABULARY}
LLAMA_SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "num_hidden_layers": LAYERS,
    "intermediate_size": 48,
    "max_position_embeddings": CONTEXT,
    "vocab_size": VOCABULARY,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    # transformers fills positions behind these ids with nothing
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
LLAMA: dict[str, Any] = {"kv_heads": 2, "feed_forward_width": 48, "tied_embeddings": False}
LLAMA3_ROPE = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 6}
YARN_ROPE = {"factor": 4.0, "original_max_position_embeddings": 6}
CASES: dict[str, tuple[str, dict[str, Any], Names, dict[str, Any]]] = {
    "GPT-2": ("GPT2", GPT2_SIZES, gpt2, GPT2),
    "GPT-1": ("OpenAIGPT", GPT2_SIZES, gpt1, {**GPT2, "norm_position": "after"}),
    "GPT-Neo: alternating windows": (
        "GPTNeo",
        {
            "hidden_size": WIDTH,
            "num_heads": HEADS,
            "num_layers": LAYERS,
            "attention_types": [[["global", "local", "global"], 1]],
            "window_size": 5,
            "max_position_embeddings": CONTEXT,
            "vocab_size": VOCABULARY,
            "bos_token_id": None,
            "eos_token_id": None,
        },
        gpt_neo,
        {**GPT2, "window": 5, "windowed_layers": "alternating"},
    ),
    "Llama": ("Llama", LLAMA_SIZES, llama, LLAMA),
    "Llama 3.1: stretched": (
        "Llama",
        {**LLAMA_SIZES, "rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, **LLAMA3_ROPE}},
        llama,
        {
            **LLAMA,
            "rope_theta": 500.0,
            "rope_scaling": {"kind": "llama3", "factor": 4.0, "original_context_length": 6},
        },
    ),
    "Llama with YaRN": (
        "Llama",
        {**LLAMA_SIZES, "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, **YARN_ROPE}},
        llama,
        {**LLAMA, "rope_theta": 500.0, "rope_scaling": {"kind": "yarn", "factor": 4.0, "original_context_length": 6}},
    ),
    "Mistral: sliding window": ("Mistral", {**LLAMA_SIZES, "sliding_window": 7}, llama, {**LLAMA, "window": 7}),
    "Qwen 3: QK-norm": (
        "Qwen3",
        {**LLAMA_SIZES, "head_dim": WIDTH // HEADS},
        llama,
        {**LLAMA, "qk_norm": True},
    ),
    "MPT: ALiBi": (
        "Mpt",
        {"d_model": WIDTH, "n_heads": HEADS, "n_layers": LAYERS, "max_seq_len": CONTEXT, "vocab_size": VOCABULARY},
        mpt,
        {"positions": "alibi", "norm": "layernorm", "activation": "gelu"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_transformers(case: str) -> None:
    family, sizes, names, fields = CASES[case]
    config = getattr(transformers, f"{family}Config")(**sizes)
    theirs = getattr(
        transformers, f"{family}LMHeadModel" if "GPT2" in family or "OpenAI" in family else f"{family}ForCausalLM"
    )(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in theirs.parameters():  # as they come, norms are all ones and biases zeros
            parameter.normal_(0.0, 0.2, generator=generator)
    for module in theirs.modules():
        if isinstance(module, nn.GELU):  # MPT has the exact one
            module.approximate = "tanh"
    fields = {"layers": LAYERS, "width": WIDTH, "heads": HEADS, **fields}
    ours = empty_model(ModelSettings.model_validate(fields).shaped(VOCABULARY, CONTEXT)).eval()
    ours.load_state_dict(names(theirs.state_dict()), assign=True)
    tokens = some_tokens(batch=2)
    with torch.no_grad():
        expected = theirs(tokens).logits
        torch.testing.assert_close(ours(tokens), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1
