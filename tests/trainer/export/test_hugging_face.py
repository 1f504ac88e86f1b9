"""Exports are what transformers computes, imports of exports are bit-equal, and what does not fit is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import UserError
from tests.trainer.chat_tokenizer import chat_tokenizer
from tests.trainer.export.models import GPT2, HELD, shape_of, write_model_directory
from trainer.export.hugging_face import agreement, names, read_directory, write_directory
from trainer.export.hugging_face import directory as directory_module
from trainer.export.hugging_face.families import config_of, family_of
from trainer.finetune.template import ChatTemplate, Message

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("case", HELD)
def test_an_export_computes_the_same_and_its_import_is_bit_equal(case: str, tmp_path: Path) -> None:
    shape = write_model_directory(tmp_path / "model", HELD[case])
    written = write_directory(tmp_path / "model", tmp_path / "exported")
    assert written.difference is not None
    assert written.difference < 1e-5
    assert written.family == ("gpt2" if "GPT-2" in case else "llama")

    back = read_directory(tmp_path / "exported", tmp_path / "back")
    ours, theirs = (load_file(tmp_path / name / "weights.safetensors") for name in ("model", "back"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (tmp_path / "back" / "tokenizer.json").read_bytes() == (tmp_path / "model" / "tokenizer.json").read_bytes()
    if shape.rope_scaling is None or shape.rope_scaling.kind != "ntk":
        expected = shape.model_dump() | {"kv_heads": shape.key_value_heads, "feed_forward_width": shape.inner_width}
        given = back.shape.model_dump() | {"kv_heads": back.shape.key_value_heads}
        assert given == expected | {"window": None}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"positions": "alibi"}, "positions is alibi, not rope"),
        ({"window": 5}, "window is 5, not None"),
        ({**GPT2, "window": 5, "windowed_layers": "alternating"}, "GPT-2: window is 5, not None;"),
        ({**GPT2, "norm_position": "after"}, "GPT-2: norm_position is after, not before;"),
        ({**GPT2, "bias": False}, "GPT-2: bias is False, not True;"),
        ({**GPT2, "kv_heads": 2}, "GPT-2: kv_heads is 2, not 4 as heads;"),
        ({"qk_norm": True}, r"Llama: qk_norm is True, not False\)"),
        ({"activation": "gelu"}, r"Llama: activation is gelu, not swiglu or geglu\)"),
    ],
)
def test_what_neither_architecture_holds_is_refused(fields: dict[str, Any], reason: str, tmp_path: Path) -> None:
    write_model_directory(tmp_path / "model", fields)
    with pytest.raises(UserError, match=f"can hold this model .*{reason}"):
        write_directory(tmp_path / "model", tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def swap_gate_and_up(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {**names._IN_BLOCK["llama"], "feed_forward.gate_up": ("mlp.up_proj", "mlp.gate_proj")}
    monkeypatch.setitem(names._IN_BLOCK, "llama", table)


def forget_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        directory_module, "config_of", lambda shape, family: config_of(shape, family) | {"rope_theta": 1e6}
    )


@pytest.mark.parametrize("plant", [swap_gate_and_up, forget_the_base])
def test_an_export_that_computes_something_else_does_not_appear(
    plant: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model_directory(tmp_path / "model", {})
    plant(monkeypatch)
    with pytest.raises(UserError, match=r"transformers' logits of the exported model differ from ours by"):
        write_directory(tmp_path / "model", tmp_path / "exported")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_large_export_is_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model_directory(tmp_path / "model", HELD["Llama untied, grouped"])
    monkeypatch.setattr(directory_module, "FILE_BYTES", 50_000)
    assert write_directory(tmp_path / "model", tmp_path / "exported").difference is not None
    files = sorted(path.name for path in (tmp_path / "exported").glob("*.safetensors"))
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    assert len(files) > 2
    read_directory(tmp_path / "exported", tmp_path / "back")


def test_a_chat_model_has_its_template_and_end(tmp_path: Path) -> None:
    write_model_directory(tmp_path / "model", {})
    write_directory(tmp_path / "model", tmp_path / "exported", chat=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")
    talk = [Message("user", "What is two and two?"), Message("assistant", "It is four."), Message("user", "Sure?")]
    ids = tokenizer.apply_chat_template(
        [message._asdict() for message in talk], add_generation_prompt=True, return_dict=False
    )
    assert ids == ChatTemplate(chat_tokenizer()).encode_prompt(talk)
    assert tokenizer.eos_token == "<|im_end|>"
    config = json.loads((tmp_path / "exported" / "generation_config.json").read_text())
    assert config["eos_token_id"] == [0, 2]


def test_whoever_may_read_the_config_may_read_the_weights(tmp_path: Path) -> None:
    write_model_directory(tmp_path / "model", {})
    write_directory(tmp_path / "model", tmp_path / "exported")
    read_directory(tmp_path / "exported", tmp_path / "back")
    for weights in ("exported/model.safetensors", "back/weights.safetensors"):
        assert (tmp_path / weights).stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_without_transformers_an_export_says_that_it_was_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model_directory(tmp_path / "model", {})
    monkeypatch.setattr(agreement, "find_spec", lambda _: None)
    assert write_directory(tmp_path / "model", tmp_path / "exported").difference is None


def test_nothing_is_written_over(tmp_path: Path) -> None:
    write_model_directory(tmp_path / "model", {})
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "notes").write_text("mine")
    with pytest.raises(UserError, match="exported is there already"):
        write_directory(tmp_path / "model", tmp_path / "exported")
    assert (tmp_path / "exported" / "notes").read_text() == "mine"


def gpt2_of_transformers(directory: Path, **more: Any) -> Path:
    """As the released ones: without the first part of the names, with the old tables of masks."""
    config = transformers.GPT2Config(
        n_embd=32, n_head=4, n_layer=2, n_positions=24, vocab_size=300, bos_token_id=None, eos_token_id=None, **more
    )
    model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(directory)
    weights = load_file(directory / "model.safetensors")
    weights = {name.removeprefix("transformer."): value for name, value in weights.items()}
    weights["h.0.attn.bias"] = torch.ones(1, 1, 24, 24)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    chat_tokenizer().save(str(directory / "tokenizer.json"))
    return directory


def test_a_model_that_transformers_saved_is_read(tmp_path: Path) -> None:
    back = read_directory(gpt2_of_transformers(tmp_path / "theirs"), tmp_path / "model")
    assert back.difference is not None
    assert back.difference < 1e-5
    assert back.shape.model_dump() == shape_of({**GPT2, "dropout": 0.1}).model_dump()


def test_a_llama_that_transformers_saved_in_half_precision_is_read(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=2,
        intermediate_size=48,
        max_position_embeddings=24,
        vocab_size=300,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 6,
        },
    )
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "theirs")
    chat_tokenizer().save(str(tmp_path / "tokenizer.json"))
    back = read_directory(tmp_path / "theirs", tmp_path / "model", tmp_path / "tokenizer.json")
    assert back.shape.rope_theta == 500.0
    assert back.shape.rope_scaling is not None
    assert back.shape.rope_scaling.original_context_length == 6
    assert load_file(tmp_path / "model" / "weights.safetensors")["token_embedding.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba', only gpt2 and llama"),
        ({"activation_function": "relu"}, "activation_function is 'relu', this trainer's models can only have"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"n_head": 5}, "describes a model that cannot be made: .*width 32 is not divisible by heads 5"),
        ({"n_embd": None}, "describes a model that cannot be made: width"),
        ({"vocab_size": 200}, "tokenizer.json has [0-9]+ tokens, the model 200"),
        ({"n_inner": 64}, r"c_fc.weight has the shape \[32, 128\], by config.json it is \[32, 64\]"),
        ({"n_layer": 1}, "weights that this trainer's models have not: h.1."),
        ({"n_layer": 3}, "has no weight transformer.h.2.ln_1.weight"),
    ],
)
def test_a_directory_that_does_not_fit_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    place = gpt2_of_transformers(tmp_path / "theirs") / "config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))
    with pytest.raises(UserError, match=reason):
        read_directory(tmp_path / "theirs", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_size_that_is_no_number_is_told(tmp_path: Path) -> None:
    write_model_directory(tmp_path / "model", {})
    write_directory(tmp_path / "model", tmp_path / "exported")
    place = tmp_path / "exported" / "config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"hidden_size": None}))
    with pytest.raises(UserError, match="a size that is no number"):
        read_directory(tmp_path / "exported", tmp_path / "back")


def test_rope_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    write_model_directory(tmp_path / "model", {})
    write_directory(tmp_path / "model", tmp_path / "exported")
    place = tmp_path / "exported" / "config.json"
    config = json.loads(place.read_text())
    for rope, reason in (
        ({"type": "dynamic", "factor": 2.0}, "rope type 'dynamic' cannot be read"),
        ({"rope_type": "yarn", "factor": 2.0, "mscale": 0.7}, "rope has mscale"),
    ):
        place.write_text(json.dumps(config | {"rope_scaling": rope}))
        with pytest.raises(UserError, match=reason):
            read_directory(tmp_path / "exported", tmp_path / "back")


def test_the_families_are_told_apart() -> None:
    assert family_of(shape_of(GPT2)) == "gpt2"
    assert family_of(shape_of({})) == "llama"


def test_what_a_llama_has_and_ours_has_not_is_refused(tmp_path: Path) -> None:
    write_model_directory(tmp_path / "model", {"bias": True})
    write_directory(tmp_path / "model", tmp_path / "exported")
    place = tmp_path / "exported" / "config.json"
    config = json.loads(place.read_text())
    for changes, reason in (
        ({"mlp_bias": False}, "mlp_bias is False, this trainer's models can only have True"),
        ({"head_dim": 16}, "head_dim is 16"),
    ):
        place.write_text(json.dumps(config | changes))
        with pytest.raises(UserError, match=reason):
            read_directory(tmp_path / "exported", tmp_path / "back")
