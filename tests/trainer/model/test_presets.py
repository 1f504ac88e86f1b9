"""Each preset has the published number of parameters, at the published vocabulary and context."""

import pytest

from trainer.model.declaration import declare_parameters, parameter_count
from trainer.model.presets import PRESETS
from trainer.settings import ModelSettings, ModelShape

EXACT = {
    "gpt1": (40478, 512, 116_534_784),
    "gpt2-124m": (50257, 1024, 124_439_808),
    "gpt2-350m": (50257, 1024, 354_823_168),
    "gpt2-774m": (50257, 1024, 774_030_080),
    "gpt2-1.5b": (50257, 1024, 1_557_611_200),
    "llama-1b": (128256, 8192, 1_235_814_400),
    "llama-7b": (32000, 2048, 6_738_415_616),
}
"""Vocabulary, context, parameters of the released weights."""
ROUNDED = {
    "gpt3-125m": 125e6,
    "gpt3-350m": 350e6,
    "gpt3-760m": 760e6,
    "gpt3-1.3b": 1.3e9,
    "gpt3-2.7b": 2.7e9,
    "gpt3-6.7b": 6.7e9,
    "gpt3-13b": 13.0e9,
    "gpt3-175b": 175.0e9,
}
"""Table 2.1 of the GPT-3 paper."""
OURS = {"modern-3m": 3e6, "modern-7m": 7e6, "modern-120m": 120e6, "modern-1b": 1e9}


def of(preset: str, vocab_size: int, context_length: int) -> ModelShape:
    return ModelSettings.model_validate({"preset": preset}).shaped(vocab_size, context_length)


@pytest.mark.parametrize("preset", EXACT)
def test_a_preset_has_exactly_the_parameters_of_the_released_model(preset: str) -> None:
    vocab_size, context_length, parameters = EXACT[preset]
    assert parameter_count(of(preset, vocab_size, context_length)) == parameters


@pytest.mark.parametrize("preset", ROUNDED)
def test_a_gpt3_preset_has_the_parameters_of_the_table_to_its_rounding(preset: str) -> None:
    assert parameter_count(of(preset, 50257, 2048)) == pytest.approx(ROUNDED[preset], rel=0.02)


@pytest.mark.parametrize("preset", OURS)
def test_a_modern_preset_has_about_as_many_parameters_as_its_name_says(preset: str) -> None:
    vocab_size = 128256 if preset == "modern-1b" else 8192 if preset.endswith(("3m", "7m")) else 50257
    assert parameter_count(of(preset, vocab_size, 1024)) == pytest.approx(OURS[preset], rel=0.35)


def test_every_preset_is_checked_here() -> None:
    assert {*EXACT, *ROUNDED, *OURS} == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_cut_among_two_four_and_eight_processes_where_these_divide_its_heads(preset: str) -> None:
    shape = of(preset, 50257, 1024)
    for size in (size for size in (1, 2, 4, 8) if shape.key_value_heads % size == 0):
        assert all(item.local_shape(size) for item in declare_parameters(shape))
