"""Adafactor: the paper's algorithm, each of several matrices in a parameter by itself, little memory."""

from typing import Any

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
from trainer.optim.state import state_kinds

FUSED = "blocks.0.attention.query_key_value.weight"


def published(
    start: Tensor, gradients: list[Tensor], lr: list[float], decay: float = 0.0, beta1: float = 0.0
) -> Tensor:
    """Algorithm 4 (vectors) and 5 (matrices) of the paper in fp64, with decoupled decay, a learning rate from outside
    and the mean over updates as first moment."""
    x, mean_update = start.double(), torch.zeros_like(start.double())
    sums: Any = 0.0
    for t, found in enumerate(gradients, 1):
        g = found.double()
        beta2 = 1.0 - t**-0.8
        squares = g * g + 1e-30
        if g.dim() == 2:
            rows, columns = squares.sum(1), squares.sum(0)
            sums = (
                (beta2 * sums[0] + (1 - beta2) * rows, beta2 * sums[1] + (1 - beta2) * columns)
                if t > 1
                else (rows, columns)
            )
            second = sums[0][:, None] * sums[1][None, :] / sums[0].sum()
        else:
            sums = second = beta2 * sums + (1 - beta2) * squares
        update = g / second.sqrt()
        update = update / max(1.0, (update**2).mean().sqrt().item())
        mean_update = beta1 * mean_update + (1 - beta1) * update
        x = x * (1 - lr[t - 1] * decay) - lr[t - 1] * mean_update
    return x


@pytest.mark.parametrize("beta1", [None, 0.9])
@pytest.mark.parametrize(
    "name", [FUSED, "blocks.1.feed_forward.down.weight", "token_embedding.weight", "output.weight"]
)
def test_a_matrix_follows_the_published_algorithm_and_each_part_is_a_matrix(name: str, beta1: float | None) -> None:
    held, optimizer = one("adafactor", name, beta1=beta1)
    run(optimizer, held, steps=6)
    declaration = declaration_of(name)
    gradients = [split(declaration, gradient(declaration, step)) for step in range(6)]
    rates = [0.01 / (1 + step) for step in range(6)]
    expected = [
        published(start, [found[part] for found in gradients], rates, decay=0.1, beta1=beta1 or 0.0)
        for part, start in enumerate(split(declaration, weight(declaration)))
    ]
    assert declaration.partition is not None
    whole = torch.cat(expected, declaration.partition.dimension)
    torch.testing.assert_close(held[name].double(), whole, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["blocks.0.attention_norm.weight", "blocks.0.feed_forward.down.bias"])
def test_a_vector_keeps_the_second_moment_of_every_value(name: str) -> None:
    held, optimizer = one("adafactor", name)
    run(optimizer, held, steps=6)
    declaration = declaration_of(name)
    gradients = [gradient(declaration, step) for step in range(6)]
    expected = published(weight(declaration), gradients, [0.01 / (1 + step) for step in range(6)])
    torch.testing.assert_close(held[name].double(), expected, rtol=1e-5, atol=1e-7)


def test_with_relative_steps_it_is_torchs() -> None:
    # Torch's steps are always relative, and of at most 1 / sqrt(t); its eps is another, so gradients must not be tiny.
    name = "blocks.1.feed_forward.down.weight"
    held, optimizer = one("adafactor", name, relative_step=True, weight_decay=0.1)
    theirs = nn.Parameter(weight(declaration_of(name)))
    reference = torch.optim.Adafactor([theirs], lr=0.01, weight_decay=0.1, eps=(1e-30, 1e-3))
    for step in range(10):
        for parameter, method in ((held[name], optimizer), (theirs, reference)):
            parameter.grad = gradient(declaration_of(name), step)
            method.param_groups[0]["lr"] = 0.01 / (1 + step)
            method.step()
    torch.testing.assert_close(held[name], theirs, rtol=1e-5, atol=1e-7)


def test_a_step_is_never_larger_than_the_learning_rate_in_the_mean() -> None:
    name = "blocks.1.feed_forward.down.weight"
    held, optimizer = one("adafactor", name, weight_decay=0.0)
    run(optimizer, held, steps=3)
    before = held[name].detach().clone()
    held[name].grad = gradient(declaration_of(name), 4) * 1e6
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step()
    assert (held[name] - before).square().mean().sqrt().item() == pytest.approx(0.5, rel=1e-4)


def test_rows_and_columns_without_a_gradient_stay_and_nothing_becomes_nan() -> None:
    held, optimizer = one("adafactor", "token_embedding.weight", weight_decay=0.0)
    embedding = held["token_embedding.weight"]
    before = embedding.detach().clone()
    for _ in range(3):
        embedding.grad = torch.zeros_like(embedding)
        embedding.grad[3, 2] = 1e-3
        optimizer.step()
    moved = embedding.detach() != before
    assert moved.nonzero().tolist() == [[3, 2]]
    assert embedding.isfinite().all()


def test_a_matrix_takes_a_number_a_row_and_a_number_a_column_of_each_part() -> None:
    held = parameters()
    optimizer = build_optimizer(held, DECLARATIONS, settings_of(kind="adafactor"))
    assert {kind: tuple(values.shape) for kind, values in state_kinds(optimizer, held[FUSED]).items()} == {
        "rows": (32,),
        "columns": (3, 16),
    }
    remembered = sum(values.numel() for item in held.values() for values in state_kinds(optimizer, item).values())
    assert remembered < 0.3 * sum(item.numel() for item in held.values())


def test_it_learns() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(64, 16)
    wanted = inputs @ torch.randn(24, 16).T
    held, optimizer = one("adafactor", "blocks.0.feed_forward.down.weight", lr=0.05, weight_decay=0.0)
    matrix = held["blocks.0.feed_forward.down.weight"]
    losses = []
    for step in range(200):
        loss = (inputs @ matrix - wanted).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 200)
        optimizer.step()
    assert losses[-1] < 1e-3 * losses[0]
