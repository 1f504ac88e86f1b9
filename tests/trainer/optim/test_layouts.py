"""Adafactor and Muon on several processes: shared out or cut, the weights and the state of one process."""

from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from tests.parallel.launcher import run_ranks
from tests.trainer.optim.material import DECLARATIONS, declaration_of, parameters, run, settings_of
from trainer.optim import messages
from trainer.optim.build import build_optimizer
from trainer.optim.kinds import state_declaration
from trainer.optim.muon import Muon
from trainer.optim.state import state_kinds
from trainer.optim.whole_parameters import WholeParameterOptimizer
from trainer.parallel.layout import Layout
from trainer.parallel.tensor_group import TensorGroup
from trainer.ranks import Ranks

STEPS = 5
KINDS: dict[str, dict[str, Any]] = {
    "adafactor": {"kind": "adafactor"},
    "adafactor, all of it": {"kind": "adafactor", "beta1": 0.9, "relative_step": True, "decay": "all"},
    "muon": {"kind": "muon"},
    "muon in bf16": {"kind": "muon", "newton_schulz_precision": "bf16", "adamw": {"lr": 1e-3}},
}
LAYOUTS = {"data 4": Layout(4, 1, 1, 1, 8, 2), "data 2, tensor 2": Layout(2, 2, 1, 1, 8, 2)}
State = dict[tuple[str, str], Tensor]


def group_of(groups: list[list[int]], rank: int) -> distributed.ProcessGroup:
    made = [distributed.new_group(members) for members in groups]
    mine: distributed.ProcessGroup = next(group for members, group in zip(groups, made, strict=True) if rank in members)
    return mine


def train(layout: Layout, ranks: Ranks, kind: str, shard: bool, data: Any, tensor: Any) -> tuple[Any, Any, Any]:
    """Local weights, local state by (name, kind), and names by owner."""
    rank = layout.coordinates(ranks.rank).tensor
    held = parameters(rank, layout.tensor)
    cut = TensorGroup(rank, layout.tensor, tensor)
    optimizer = build_optimizer(held, DECLARATIONS, settings_of(**KINDS[kind]), tensor=cut, data=data, shard=shard)
    assert isinstance(optimizer, WholeParameterOptimizer)
    run(optimizer, held, STEPS, rank, layout.tensor)
    weights = {name: parameter.detach() for name, parameter in held.items()}
    state = {(name, k): v for name, p in held.items() for k, v in state_kinds(optimizer, p).items()}
    return weights, state, {name: optimizer.owner_of(parameter) for name, parameter in held.items()}


def on_each_rank(ranks: Ranks) -> dict[Any, Any]:
    # Small messages, so that there are many of them.
    messages.MESSAGE_VALUES = 300
    found = {}
    for name, layout in LAYOUTS.items():
        data, tensor = (group_of(layout.groups(axis), ranks.rank) for axis in ("data", "tensor"))
        for kind in KINDS:
            for shard in (False, True):
                found[name, kind, shard] = train(layout, ranks, kind, shard, data, tensor)
    return found


@pytest.fixture(scope="module")
def on_four() -> list[dict[Any, Any]]:
    return run_ranks(4, on_each_rank)


def alone(kind: str) -> tuple[dict[str, Tensor], State]:
    held = parameters()
    optimizer = build_optimizer(held, DECLARATIONS, settings_of(**KINDS[kind]))
    run(optimizer, held, STEPS)
    state = {(name, k): v for name, p in held.items() for k, v in state_kinds(optimizer, p).items()}
    return {name: parameter.detach() for name, parameter in held.items()}, state


def same(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * expected.abs().max().item())


@pytest.mark.parametrize("kind", KINDS)
def test_shared_out_among_copies_weights_and_state_are_those_of_one_process_bit_for_bit(
    on_four: list[dict[Any, Any]], kind: str
) -> None:
    weights, state = alone(kind)
    for shard in (False, True):
        held: State = {}
        for found, kept, _ in (results["data 4", kind, shard] for results in on_four):
            assert all(torch.equal(found[name], weights[name]) for name in weights)
            assert not shard or not set(held) & set(kept)
            held |= kept
        assert set(held) == set(state)
        assert all(torch.equal(held[key], state[key]) for key in state)


@pytest.mark.parametrize("kind", KINDS)
def test_every_copy_owns_a_share_and_all_agree_on_owners(on_four: list[dict[Any, Any]], kind: str) -> None:
    owners = [results["data 4", kind, True][2] for results in on_four]
    assert owners[0] == owners[1] == owners[2] == owners[3]
    assert set(owners[0].values()) == {0, 1, 2, 3}
    values = [sum(v.numel() for v in results["data 4", kind, True][1].values()) for results in on_four]
    assert max(values) < 0.5 * sum(values)


@pytest.mark.parametrize("kind", ["adafactor", "adafactor, all of it", "muon"])
@pytest.mark.parametrize("shard", [False, True])
def test_cut_by_tensor_parallelism_weights_and_state_are_those_of_one_process(
    on_four: list[dict[Any, Any]], kind: str, shard: bool
) -> None:
    layout = LAYOUTS["data 2, tensor 2"]
    weights, state = alone(kind)
    results = [found["data 2, tensor 2", kind, shard] for found in on_four]
    for data in range(2):
        held = [results[layout.rank_of(data=data, tensor=tensor)] for tensor in range(2)]
        for name, expected in weights.items():
            same(declaration_of(name).assemble([found[0][name] for found in held]), expected, 1e-6)
    for (name, what), expected in state.items():
        declared = state_declaration(declaration_of(name), what)
        owner = results[0][2][name]
        pieces = [results[layout.rank_of(data=owner, tensor=tensor)][1][name, what] for tensor in range(2)]
        same(declared.assemble(pieces), expected, 2e-6)
        if declared.partition is None:
            assert torch.equal(pieces[0], pieces[1])


def test_what_tensor_ranks_have_copies_of_stays_the_same_on_all_bit_for_bit(on_four: list[dict[Any, Any]]) -> None:
    for kind in KINDS:
        results = [found["data 2, tensor 2", kind, True][0] for found in on_four]
        for item in DECLARATIONS:
            assert torch.equal(results[0][item.name], results[2][item.name])
            if item.partition is None:
                assert torch.equal(results[0][item.name], results[1][item.name])


def test_padding_of_the_vocabulary_stays_zero(on_four: list[dict[Any, Any]]) -> None:
    for kind in KINDS:
        last = on_four[1]["data 2, tensor 2", kind, True][0]["token_embedding.weight"]
        assert last.shape[0] == 17
        assert not last[16:].any()
        assert last[:16].all(1).all()


def test_a_message_that_is_left_out_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof sees what it is for: without the sum over the tensor group, or with a wrong owner, it fails."""
    whole, _ = alone("adafactor")
    rank = 0
    held = parameters(rank, 2)
    settings = settings_of(**KINDS["adafactor"])
    monkeypatch.setattr(distributed, "all_reduce", lambda *_, **__: None)
    run(build_optimizer(held, DECLARATIONS, settings, tensor=TensorGroup(rank, 2)), held, STEPS, rank, 2)
    for name in ("blocks.0.feed_forward.down.weight", "blocks.0.attention.query_key_value.weight"):
        expected = declaration_of(name).local(whole[name], rank, 2)
        with pytest.raises(AssertionError):
            same(held[name].detach(), expected, 1e-6)


def test_no_matrix_is_made_orthogonal_twice_by_a_tensor_group(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    orthogonal = Muon._orthogonal

    def counted(self: Muon, declaration: Any, direction: Tensor) -> Tensor:
        done.append(declaration.name)
        return orthogonal(self, declaration, direction)

    def zeros(self: Muon, sent: Tensor, to: list[int], from_each: list[int]) -> Tensor:
        return sent.new_zeros(sum(from_each))

    monkeypatch.setattr(Muon, "_orthogonal", counted)
    monkeypatch.setattr(Muon, "_exchange", zeros)
    for rank in range(2):
        held = parameters(rank, 2)
        run(
            build_optimizer(held, DECLARATIONS, settings_of(kind="muon"), tensor=TensorGroup(rank, 2)), held, 1, rank, 2
        )
    assert sorted(done) == sorted(item.name for item in DECLARATIONS if item.role == "matrix")
