"""What an optimizer remembers: there before the first step, of the declared shapes, and enough to go on exactly."""

from typing import Any

import pytest
import torch

from tests.trainer.optim.material import DECLARATIONS, SHAPE, declaration_of, parameters, run, settings_of
from trainer.model.declaration import declare_parameters
from trainer.optim.build import build_optimizer
from trainer.optim.kinds import state_declaration
from trainer.optim.state import make_state, set_steps, state_kinds

KINDS: list[dict[str, Any]] = [
    {"kind": "adamw"},
    {"kind": "adafactor"},
    {"kind": "adafactor", "beta1": 0.9},
    {"kind": "muon"},
]


@pytest.mark.parametrize("given", KINDS)
def test_state_is_there_before_the_first_step_and_stays_where_it_is(given: dict[str, Any]) -> None:
    held = parameters()
    optimizer = build_optimizer(held, DECLARATIONS, settings_of(**given))
    make_state(optimizer)
    before = {name: state_kinds(optimizer, parameter) for name, parameter in held.items()}
    assert all(kinds and not any(values.any() for values in kinds.values()) for kinds in before.values())
    run(optimizer, held, steps=2)
    for name, kinds in before.items():
        after = state_kinds(optimizer, held[name])
        assert set(after) == set(kinds)
        for kind, values in kinds.items():
            assert after[kind].data_ptr() == values.data_ptr()
            assert values.any()
            assert values.dtype is torch.float32
            assert values.is_contiguous()
            assert values.shape == state_declaration(declaration_of(name), kind).shape


@pytest.mark.parametrize("given", KINDS)
def test_a_run_that_takes_up_the_state_goes_on_bit_for_bit(given: dict[str, Any]) -> None:
    def made() -> tuple[Any, Any]:
        held = parameters()
        optimizer = build_optimizer(held, DECLARATIONS, settings_of(**given))
        make_state(optimizer)
        return held, optimizer

    (held, optimizer), (held_later, later) = made(), made()
    run(optimizer, held, steps=3)
    with torch.no_grad():
        for name, parameter in held.items():
            held_later[name].copy_(parameter)
            for kind, values in state_kinds(optimizer, parameter).items():
                state_kinds(later, held_later[name])[kind].copy_(values)
    set_steps(later, 3)
    for some, method in ((held, optimizer), (held_later, later)):
        run(method, some, steps=2)
    assert all(torch.equal(held[name], held_later[name]) for name in held)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("given", KINDS)
def test_each_tensor_rank_holds_its_slice_of_each_kind(given: dict[str, Any], size: int) -> None:
    declarations = declare_parameters(SHAPE.model_copy(update={"kv_heads": 4}))
    from trainer.parallel.tensor_group import TensorGroup

    for rank in range(size):
        held = {
            item.name: torch.nn.Parameter(item.local(torch.zeros(item.shape), rank, size).clone())
            for item in declarations
        }
        optimizer = build_optimizer(held, declarations, settings_of(**given), tensor=TensorGroup(rank, size))
        make_state(optimizer)
        for item in declarations:
            for kind, values in state_kinds(optimizer, held[item.name]).items():
                assert tuple(values.shape) == state_declaration(item, kind).local_shape(size)
