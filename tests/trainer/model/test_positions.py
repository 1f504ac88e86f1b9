"""Rotary angles and their scaling, against transformers' own formulas; ALiBi's slopes."""

from typing import Any

import pytest
import torch

from trainer.model.positions import alibi_slopes, rotary_frequencies, rotary_tables, rotate
from trainer.settings import ModelSettings, RopeScaling


def test_rotated_queries_and_keys_depend_on_their_distance_only() -> None:
    cosines, sines = (table.double() for table in rotary_tables(16, 64, 10_000.0))
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 16, generator=generator, dtype=torch.float64)
    products = [
        (rotate(query, cosines[at + 5], sines[at + 5]) * rotate(key, cosines[at], sines[at])).sum() for at in (0, 7, 58)
    ]
    torch.testing.assert_close(torch.stack(products), products[0].expand(3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tables", [(5, 8), (2, 1, 5, 8)], ids=["of all rows", "of each row"])
def test_the_gradient_through_a_rotation_is_that_of_its_definition(tables: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    turn = torch.rand(*tables[:-1], 4, generator=generator, dtype=torch.float64) * 6
    cosines = torch.cat([turn.cos(), turn.cos()], dim=-1)
    sines = torch.cat([-turn.sin(), turn.sin()], dim=-1)
    x_BNTW = torch.randn(2, 3, 5, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rotate(x, cosines, sines), x_BNTW)
    first, second = x_BNTW.chunk(2, dim=-1)
    turned = torch.complex(first, second) * torch.polar(torch.ones_like(turn), turn)
    torch.testing.assert_close(rotate(x_BNTW, cosines, sines), torch.cat([turned.real, turned.imag], dim=-1))


def test_half_precision_is_rotated_in_fp32_and_rounded_once() -> None:
    cosines, sines = rotary_tables(8, 5, 10_000.0)
    x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(rotate(x, cosines, sines), rotate(x.float(), cosines, sines).bfloat16())


def test_slopes_are_those_of_the_paper() -> None:
    assert alibi_slopes(8).tolist() == [2.0**-power for power in range(1, 9)]
    assert alibi_slopes(1).tolist() == [2.0**-8]


def test_a_number_of_heads_that_is_no_power_of_two_takes_slopes_from_the_next_power() -> None:
    slopes = alibi_slopes(12)
    assert torch.equal(slopes[:8], alibi_slopes(8))
    assert torch.equal(slopes[8:], alibi_slopes(16)[::2][:4])
    transformers = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    for heads in (1, 4, 6, 12, 25, 32):
        theirs = transformers.build_alibi_tensor(torch.ones(1, 3), heads, torch.float32)
        torch.testing.assert_close(theirs[:, 0, 2] / 2, alibi_slopes(heads))


SCALINGS: list[dict[str, Any]] = [
    {"kind": "linear", "factor": 4.0},
    {"kind": "yarn", "factor": 4.0, "original_context_length": 512},
    {"kind": "yarn", "factor": 16.0, "original_context_length": 128, "beta_fast": 16.0, "attention_factor": 1.5},
    {"kind": "llama3", "factor": 8.0, "original_context_length": 512},
    {"kind": "llama3", "factor": 32.0, "original_context_length": 64, "high_frequency_factor": 8.0},
]


@pytest.mark.parametrize("given", SCALINGS, ids=lambda given: f"{given['kind']}-{given['factor']:g}")
def test_scaled_angles_are_those_of_transformers(given: dict[str, Any]) -> None:
    pytest.importorskip("transformers")
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaling = RopeScaling(**given)
    parameters = {
        "rope_type": scaling.kind,
        "rope_theta": 10_000.0,
        "factor": scaling.factor,
        "original_max_position_embeddings": scaling.original_context_length,
        "beta_fast": scaling.beta_fast,
        "beta_slow": scaling.beta_slow,
        "attention_factor": scaling.attention_factor,
        "low_freq_factor": scaling.low_frequency_factor,
        "high_freq_factor": scaling.high_frequency_factor,
    }
    config = LlamaConfig(
        hidden_size=256,
        num_attention_heads=4,
        max_position_embeddings=int(512 * scaling.factor),
        rope_parameters={name: value for name, value in parameters.items() if value is not None},
    )
    frequencies, magnitude = ROPE_INIT_FUNCTIONS[scaling.kind](config, torch.device("cpu"))
    torch.testing.assert_close(rotary_frequencies(64, 10_000.0, scaling).float(), frequencies, rtol=1e-5, atol=1e-9)
    cosines, sines = rotary_tables(64, 40, 10_000.0, scaling)
    angles = torch.outer(torch.arange(40.0), frequencies)
    torch.testing.assert_close(cosines[:, :32], angles.cos() * magnitude, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sines[:, 32:], angles.sin() * magnitude, rtol=1e-4, atol=1e-5)


def test_ntk_slows_the_slowest_pair_by_the_factor_and_leaves_the_fastest() -> None:
    plain = rotary_frequencies(64, 10_000.0)
    scaled = rotary_frequencies(64, 10_000.0, RopeScaling(kind="ntk", factor=4.0))
    assert scaled[0] == plain[0]
    assert (plain[-1] / scaled[-1]).item() == pytest.approx(4.0)
    assert (scaled[1:] < plain[1:]).all()


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"kind": "yarn", "factor": 2.0}, "needs original_context_length"),
        ({"kind": "linear", "factor": 0.5}, "greater than 1"),
        ({"kind": "yarn", "factor": 2.0, "original_context_length": 8, "beta_fast": 0.5}, "must be above beta_slow"),
    ],
)
def test_scalings_that_make_no_sense_are_refused(given: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        RopeScaling(**given)


def test_a_scaling_without_rotary_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="no meaning with positions: alibi"):
        ModelSettings(
            layers=1, width=8, heads=2, positions="alibi", rope_scaling=RopeScaling(kind="linear", factor=2.0)
        )
