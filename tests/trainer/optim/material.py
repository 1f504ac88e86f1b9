"""A small model's parameters with made-up gradients, whole or as one process of a layout has them."""

from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.optim.build import build_optimizer
from trainer.settings import ModelSettings, OptimizerSettings

# Queries, keys and values of different sizes; gate and up; biases; a vocabulary that two processes share unevenly.
SHAPE = ModelSettings(
    layers=2, width=16, heads=4, kv_heads=2, bias=True, norm="layernorm", tied_embeddings=False, feed_forward_width=24
).shaped(vocab_size=33, context_length=8)
DECLARATIONS = declare_parameters(SHAPE)


def settings_of(**given: Any) -> OptimizerSettings:
    settings: OptimizerSettings = TypeAdapter(OptimizerSettings).validate_python(given)
    return settings


def declaration_of(name: str) -> ParameterDeclaration:
    return next(declaration for declaration in DECLARATIONS if declaration.name == name)


def weight(declaration: ParameterDeclaration) -> Tensor:
    return _random(declaration, "weight") * 0.1


def gradient(declaration: ParameterDeclaration, step: int) -> Tensor:
    """Full gradient of a step; matrices differ in size as those of a model do."""
    return _random(declaration, f"gradient {step}") * 10.0 ** (len(declaration.name) % 4 - 3)


def parameters(rank: int = 0, size: int = 1) -> dict[str, nn.Parameter]:
    """The parts of tensor rank `rank` of `size`."""
    return {item.name: nn.Parameter(item.local(weight(item), rank, size).clone()) for item in DECLARATIONS}


def one(kind: str, name: str, **given: Any) -> tuple[dict[str, nn.Parameter], torch.optim.Optimizer]:
    """A parameter by name, and an optimizer of it alone."""
    held = {name: parameters()[name]}
    return held, build_optimizer(held, DECLARATIONS, settings_of(kind=kind, **given))


def split(declaration: ParameterDeclaration, full: Tensor) -> list[Tensor]:
    """The sub-matrices that are held as one."""
    assert declaration.partition is not None
    return list(full.split(declaration.partition.parts, declaration.partition.dimension))  # type: ignore[no-untyped-call]


def run(
    optimizer: torch.optim.Optimizer, held: dict[str, nn.Parameter], steps: int, rank: int = 0, size: int = 1
) -> None:
    """Some steps with a learning rate that changes, as the engine sets it."""
    for step in range(steps):
        for declaration in DECLARATIONS:
            if declaration.name in held:
                held[declaration.name].grad = declaration.local(gradient(declaration, step), rank, size).clone()
        for group in optimizer.param_groups:
            group["lr"] = 0.01 / (1 + step)
        optimizer.step()


def _random(declaration: ParameterDeclaration, what: str) -> Tensor:
    seed = sum(byte * 31**place for place, byte in enumerate(f"{declaration.name} {what}".encode())) % 2**63
    return torch.randn(declaration.shape, generator=torch.Generator().manual_seed(seed))
