"""The formula of MFU, against counts by hand and by torch, and the table of devices."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.estimate.flops import find_device, flops_per_token, model_flops_utilisation
from trainer.model.gpt import loss_sum
from trainer.model.init import build_model
from trainer.model.presets import PRESETS
from trainer.settings import ModelSettings, ModelShape

GPT2_STYLE = {"positions": "learned", "norm": "layernorm", "activation": "gelu", "bias": True}


def gpt2(**changed: object) -> ModelShape:
    fields = {"layers": 12, "width": 768, "heads": 12, **GPT2_STYLE, **changed}
    return ModelSettings.model_validate(fields).shaped(50257, 1024)


def test_gpt2_124m_by_hand() -> None:
    # 124,439,808 parameters, of which 1024 x 768 are positions; the tied matrix counts once, as the output.
    multiplied = 124_439_808 - 1024 * 768
    assert flops_per_token(gpt2(), 1024).total == 6 * multiplied + 12 * 12 * 768 * 1024


def test_an_output_matrix_of_its_own_costs_what_a_tied_one_costs() -> None:
    assert flops_per_token(gpt2(tied_embeddings=False), 1024) == flops_per_token(gpt2(), 1024)


def test_blocks_and_head_make_the_whole_and_longer_contexts_cost_in_proportion() -> None:
    flops = flops_per_token(gpt2(), 1024)
    assert len(flops.blocks) == 12
    assert len(set(flops.blocks)) == 1
    assert flops.total == 12 * flops.blocks[0] + flops.head
    more = flops_per_token(gpt2(), 2048).total - flops.total
    assert more == 12 * 12 * 768 * 1024


def test_a_window_bounds_what_a_layer_attends_to() -> None:
    flops = flops_per_token(gpt2(window=256, windowed_layers="alternating"), 1024)
    assert flops.blocks[0] == flops_per_token(gpt2(), 1024).blocks[0]
    assert flops.blocks[0] - flops.blocks[1] == 12 * 768 * (1024 - 256)
    assert flops_per_token(gpt2(window=4096), 1024) == flops_per_token(gpt2(), 1024)


@pytest.mark.parametrize("style", [{}, GPT2_STYLE, {"kv_heads": 1, "tied_embeddings": False}])
def test_it_is_what_torch_counts_for_the_matrix_products_of_a_step(style: dict[str, object]) -> None:
    shape = ModelSettings.model_validate({"layers": 2, "width": 64, "heads": 4, **style}).shaped(97, 32)
    model = build_model(shape, seed=0)
    tokens = torch.randint(97, (2, 32))
    with FlopCounterMode(display=False) as counted, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        loss_sum(model(tokens), tokens).backward()
    ours = flops_per_token(shape, 32).total * tokens.numel()
    vectors = 6 * sum(value.numel() for value in model.parameters() if value.dim() == 1) * tokens.numel()
    assert counted.get_total_flops() == pytest.approx(ours - vectors, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "half"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("h100-pcie", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA B200", 2250e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 60.5e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("AMD Instinct MI300X", 1307e12),
    ],
)
def test_devices_are_found_by_the_name_that_drivers_give(name: str, half: float) -> None:
    device = find_device(name)
    assert device is not None
    assert device.peak("bf16") == device.peak("fp16") == half
    assert device.peak("fp32") < half
    assert (device.memory_bytes == 80 * 10**9) == ("80GB" in name or "pcie" in name.lower())


def test_a_device_that_is_not_in_the_table_has_no_peak() -> None:
    assert find_device("Intel(R) Xeon(R) Platinum") is None
    assert find_device("NVIDIA A1000") is None


def test_utilisation_is_of_all_devices() -> None:
    flops = flops_per_token(gpt2(), 1024).total
    speed = 8 * 312e12 / flops
    assert math.isclose(model_flops_utilisation(flops, speed / 2, 8, 312e12), 0.5)


def test_every_preset_has_a_cost() -> None:
    for preset in PRESETS:
        shape = ModelSettings.model_validate({"preset": preset}).shaped(32_000, 1024)
        assert flops_per_token(shape, 1024).total > 6e6
