"""Which of transformers' architectures can hold a model, and its config.json, in both directions.

GPT-2 (Radford et al. 2019) and Llama (Touvron et al. 2023) between them hold most of what `ModelShape` can say. What
neither can is refused with the reason; nothing is approximated. A config is plain JSON, so that neither direction needs
transformers; its keys are those that transformers has read since version 4.
"""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import ValidationError

from pipeline.errors import UserError
from trainer.settings import ModelShape, RopeScaling

Family = Literal["gpt2", "llama"]
FAMILIES: tuple[Family, ...] = ("gpt2", "llama")
TITLES: dict[Family, str] = {"gpt2": "GPT-2", "llama": "Llama"}

_GPT2_ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu"}
_LLAMA_ACTIVATIONS = {"silu": "swiglu", "gelu_pytorch_tanh": "geglu"}
_HAS: dict[Family, dict[str, tuple[Any, ...]]] = {
    "gpt2": {
        "positions": ("learned",),
        "norm": ("layernorm",),
        "activation": ("gelu",),
        "bias": (True,),
    },
    "llama": {
        "positions": ("rope",),
        "norm": ("rmsnorm",),
        "activation": tuple(_LLAMA_ACTIVATIONS.values()),
    },
}
_BOTH_HAVE: dict[str, tuple[Any, ...]] = {
    "norm_position": ("before",),
    "qk_norm": (False,),
    "window": (None,),
    "prefix_decoder": (False,),
}


def family_of(shape: ModelShape) -> Family:
    """The architecture that holds the model.

    Raises UserError with what stands against each.
    """
    obstacles = {family: _obstacles(shape, family) for family in FAMILIES}
    for family, found in obstacles.items():
        if not found:
            return family
    told = "; ".join(f"{TITLES[family]}: {', '.join(found)}" for family, found in obstacles.items())
    raise UserError(f"no architecture of transformers that gptmill writes can hold this model ({told})")


def config_of(shape: ModelShape, family: Family) -> dict[str, Any]:
    """What config.json says of the model."""
    if family == "gpt2":
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": shape.vocab_size,
            "n_positions": shape.context_length,
            "n_ctx": shape.context_length,
            "n_embd": shape.width,
            "n_layer": shape.layers,
            "n_head": shape.heads,
            "n_inner": shape.inner_width,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": shape.norm_epsilon,
            "initializer_range": shape.initial_std,
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), shape.dropout),
            "tie_word_embeddings": shape.tied_embeddings,
            "torch_dtype": "float32",
        }
    theta, scaling = _rope_to_config(shape)
    activations = {ours: theirs for theirs, ours in _LLAMA_ACTIVATIONS.items()}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.context_length,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.head_width,
        "hidden_act": activations[shape.activation],
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": theta,
        "rope_scaling": scaling,
        "attention_bias": shape.bias,
        "mlp_bias": shape.bias,
        "attention_dropout": shape.dropout,
        "initializer_range": shape.initial_std,
        "tie_word_embeddings": shape.tied_embeddings,
        "torch_dtype": "float32",
    }


def shape_from_config(config: dict[str, Any], place: str) -> tuple[ModelShape, Family]:
    """The model that a config.json describes.

    Raises UserError when it is of another architecture, or has something that this trainer's models have not.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise UserError(f"{place}: model_type is {family!r}, only gpt2 and llama can be read")
    read: Callable[[dict[str, Any], str], dict[str, Any]] = _from_gpt2 if family == "gpt2" else _from_llama
    try:
        return ModelShape.model_validate(read(config, place)), family
    except KeyError as fault:
        raise UserError(f"{place} has no {fault.args[0]}: it is damaged") from None
    except (TypeError, ZeroDivisionError) as fault:
        raise UserError(f"{place} has a size that is no number ({fault}): it is damaged") from None
    except ValidationError as fault:
        first = fault.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the model"
        raise UserError(f"{place} describes a model that cannot be made: {key}: {first['msg']}") from None


def _obstacles(shape: ModelShape, family: Family) -> list[str]:
    found = []
    for field, allowed in {**_HAS[family], **_BOTH_HAVE}.items():
        value = getattr(shape, field)
        if field == "window" and value is not None and value >= shape.context_length:
            continue
        if value not in allowed:
            found.append(f"{field} is {value}, not {' or '.join(map(str, allowed))}")
    if family == "gpt2" and shape.key_value_heads != shape.heads:
        found.append(f"kv_heads is {shape.key_value_heads}, not {shape.heads} as heads")
    return found


def _from_gpt2(config: dict[str, Any], place: str) -> dict[str, Any]:
    _require(config, place, "activation_function", tuple(_GPT2_ACTIVATIONS), "gelu_new")
    _require(config, place, "scale_attn_weights", (True,), True)
    _require(config, place, "scale_attn_by_inverse_layer_idx", (False,), False)
    _require(config, place, "add_cross_attention", (False,), False)
    return {
        "vocab_size": config["vocab_size"],
        "context_length": config["n_positions"],
        "width": config["n_embd"],
        "layers": config["n_layer"],
        "heads": config["n_head"],
        "feed_forward_width": config.get("n_inner"),
        "positions": "learned",
        "norm": "layernorm",
        "activation": "gelu",
        "bias": True,
        "norm_epsilon": config.get("layer_norm_epsilon", 1e-5),
        "initial_std": config.get("initializer_range", 0.02),
        "dropout": config.get("resid_pdrop", 0.1),
        "tied_embeddings": config.get("tie_word_embeddings", True),
    }


def _from_llama(config: dict[str, Any], place: str) -> dict[str, Any]:
    _require(config, place, "hidden_act", tuple(_LLAMA_ACTIVATIONS), "silu")
    bias = config.get("attention_bias", False)
    _require(config, place, "mlp_bias", (bias,), False)
    heads, width = config["num_attention_heads"], config["hidden_size"]
    _require(config, place, "head_dim", (None, width // heads), None)
    theta, scaling = _rope_from_config(config, place)
    return {
        "vocab_size": config["vocab_size"],
        "context_length": config["max_position_embeddings"],
        "width": width,
        "layers": config["num_hidden_layers"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "feed_forward_width": config["intermediate_size"],
        "positions": "rope",
        "norm": "rmsnorm",
        "activation": _LLAMA_ACTIVATIONS[config.get("hidden_act", "silu")],
        "bias": bias,
        "norm_epsilon": config.get("rms_norm_eps", 1e-6),
        "initial_std": config.get("initializer_range", 0.02),
        "dropout": config.get("attention_dropout", 0.0),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "tied_embeddings": config.get("tie_word_embeddings", False),
    }


def _rope_to_config(shape: ModelShape) -> tuple[float, dict[str, Any] | None]:
    """Base of the wavelengths, and how they are changed."""
    scaling = shape.rope_scaling
    if scaling is None:
        return shape.rope_theta, None
    if scaling.kind == "ntk":
        # transformers has it with a factor that follows the length of the text only; ours is a larger base.
        return shape.rope_theta * scaling.factor ** (shape.head_width / (shape.head_width - 2)), None
    told: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind != "linear":
        told["original_max_position_embeddings"] = scaling.original_context_length
    if scaling.kind == "llama3":
        told |= {"low_freq_factor": scaling.low_frequency_factor, "high_freq_factor": scaling.high_frequency_factor}
    if scaling.kind == "yarn":
        told |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        if scaling.attention_factor is not None:
            told["attention_factor"] = scaling.attention_factor
    return shape.rope_theta, told


def _rope_from_config(config: dict[str, Any], place: str) -> tuple[float, RopeScaling | None]:
    # Version 5 has one dictionary for all; before, the base stood beside it and "type" was its first key.
    told = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    theta = told.pop("rope_theta", None) or config.get("rope_theta", 10_000.0)
    old_kind = told.pop("type", "default")
    kind = told.pop("rope_type", old_kind)
    if kind == "default":
        return theta, None
    if kind not in ("linear", "llama3", "yarn"):
        raise UserError(f"{place}: rope type {kind!r} cannot be read, only default, linear, llama3 and yarn")
    fields: dict[str, Any] = {"kind": kind, "factor": told.pop("factor", None)}
    if kind != "linear":
        original = told.pop("original_max_position_embeddings", None)
        fields["original_context_length"] = original or config["max_position_embeddings"]
    for theirs, ours in {
        "low_freq_factor": "low_frequency_factor",
        "high_freq_factor": "high_frequency_factor",
        "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
        "attention_factor": "attention_factor",
    }.items():
        if (value := told.pop(theirs, None)) is not None:
            fields[ours] = value
    if rest := {key: value for key, value in told.items() if value is not None and (key, value) != ("truncate", True)}:
        raise UserError(f"{place}: rope has {', '.join(rest)}, which this trainer's models have not")
    return theta, RopeScaling.model_validate(fields)


def _require(config: dict[str, Any], place: str, key: str, allowed: tuple[Any, ...], default: Any) -> None:
    value = config.get(key, default)
    if value not in allowed:
        wanted = " or ".join(repr(one) for one in allowed)
        raise UserError(f"{place}: {key} is {value!r}, this trainer's models can only have {wanted}")
