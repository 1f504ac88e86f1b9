"""Muon: orthogonal steps of AdamW's size for each matrix, AdamW for the rest."""

import pytest
import torch
from torch import Tensor, nn

from tests.trainer.optim.material import (
    DECLARATIONS,
    declaration_of,
    gradient,
    one,
    parameters,
    run,
    settings_of,
    split,
    weight,
)
from trainer.optim.build import build_optimizer
from trainer.optim.kinds import is_orthogonalized
from trainer.optim.orthogonal import orthogonalize
from trainer.optim.state import state_kinds

FUSED = "blocks.0.attention.query_key_value.weight"
SINGLE = "blocks.1.feed_forward.down.weight"


def published(start: Tensor, gradients: list[Tensor], rates: list[float], nesterov: bool) -> Tensor:
    """Jordan's algorithm in fp64, by singular values: the quintic acts on each of them; with Moonlight's scale."""
    x, momentum = start.double(), torch.zeros_like(start.double())
    for lr, found in zip(rates, gradients, strict=True):
        momentum = 0.95 * momentum + found.double()
        update = found.double() + 0.95 * momentum if nesterov else momentum
        left, singular, right = torch.linalg.svd(update, full_matrices=False)
        singular = singular / update.norm()
        for _ in range(5):
            singular = 3.4445 * singular - 4.775 * singular**3 + 2.0315 * singular**5
        x = x * (1 - lr * 0.1) - lr * 0.2 * max(x.shape) ** 0.5 * (left * singular) @ right
    return x


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("name", [FUSED, SINGLE, "blocks.0.feed_forward.gate_up.weight"])
def test_each_matrix_follows_the_published_algorithm(name: str, nesterov: bool) -> None:
    held, optimizer = one("muon", name, nesterov=nesterov)
    run(optimizer, held, steps=5)
    declaration = declaration_of(name)
    gradients = [split(declaration, gradient(declaration, step)) for step in range(5)]
    rates = [0.01 / (1 + step) for step in range(5)]
    expected = [
        published(start, [found[part] for found in gradients], rates, nesterov)
        for part, start in enumerate(split(declaration, weight(declaration)))
    ]
    assert declaration.partition is not None
    torch.testing.assert_close(
        held[name].double(), torch.cat(expected, declaration.partition.dimension), rtol=1e-5, atol=1e-6
    )


def test_in_bf16_it_is_torchs_muon() -> None:
    held, optimizer = one("muon", SINGLE, newton_schulz_precision="bf16")
    theirs = nn.Parameter(weight(declaration_of(SINGLE)))
    reference = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(5):
        for parameter, method in ((held[SINGLE], optimizer), (theirs, reference)):
            parameter.grad = gradient(declaration_of(SINGLE), step)
            method.param_groups[0]["lr"] = 0.01 / (1 + step)
            method.step()
    # It rounds the matrix before it divides by the norm, we after.
    moved = (theirs - weight(declaration_of(SINGLE))).norm()
    assert (held[SINGLE] - theirs).norm() < 0.03 * moved


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (16, 16), (1, 8)])
def test_all_singular_values_become_about_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) * 1e-6
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalize(matrix, 5, torch.float32)
    turned = left.T @ found @ right.T
    assert torch.linalg.svdvals(found).sub(0.95).abs().max() < 0.3
    torch.testing.assert_close(turned, torch.diag(turned.diagonal()), atol=1e-4, rtol=0.0)
    assert orthogonalize(torch.zeros(shape), 5, torch.float32).count_nonzero() == 0


def test_embeddings_output_norms_and_biases_get_adamw() -> None:
    held = parameters()
    optimizer = build_optimizer(held, DECLARATIONS, settings_of(kind="muon", adamw={"betas": (0.8, 0.9), "lr": 1.2e-3}))
    run(optimizer, held, steps=4)
    others = {item.name: item for item in DECLARATIONS if not is_orthogonalized(item)}
    assert {"token_embedding.weight", "output.weight", "final_norm.weight", "blocks.0.attention.output.bias"} < set(
        others
    )
    assert all(
        len(item.shape) == 2 and item.name.startswith("blocks.") for item in DECLARATIONS if item.name not in others
    )
    # Its own learning rate is twice that of the matrices, all the way.
    for name, declaration in others.items():
        theirs = nn.Parameter(weight(declaration))
        decay = 0.1 if len(declaration.shape) > 1 else 0.0
        reference = torch.optim.AdamW([theirs], betas=(0.8, 0.9), eps=1e-8, weight_decay=decay, fused=True)
        for step in range(4):
            theirs.grad = gradient(declaration, step)
            reference.param_groups[0]["lr"] = 2 * (0.01 / (1 + step))
            reference.step()
        assert torch.equal(held[name], theirs)


def test_a_matrix_takes_one_number_a_value_more_and_the_rest_two() -> None:
    held = parameters()
    optimizer = build_optimizer(held, DECLARATIONS, settings_of(kind="muon"))
    for item in DECLARATIONS:
        kinds = {"momentum"} if is_orthogonalized(item) else {"exp_avg", "exp_avg_sq"}
        found = state_kinds(optimizer, held[item.name])
        assert set(found) == kinds
        assert all(values.shape == item.shape for values in found.values())


def test_it_learns() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(64, 16)
    wanted = inputs @ torch.randn(24, 16).T
    held, optimizer = one("muon", SINGLE, weight_decay=0.0)
    losses = []
    for step in range(200):
        loss = (inputs @ held[SINGLE] - wanted).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 200)
        optimizer.step()
    assert losses[-1] < 1e-3 * losses[0]
