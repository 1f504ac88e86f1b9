"""Initial weights that depend on the seed and the parameter's name alone.

Each parameter is drawn from a generator of its own, seeded with SHA-256(seed, canonical name), as a full tensor.
So neither the order of modules, nor another layer more or less, nor the layout changes the weights of any other:
all ranks make the same model without exchanging a byte. (Shared random streams gave replicas of one run different
weights in other trainers.) Cost: one pass of normal draws, about 100 M values a second on one core.
"""

import torch
from torch import Tensor

from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.model.gpt import GPT
from trainer.parallel.tensor_group import ALONE, TensorGroup
from trainer.seeds import seed_of
from trainer.settings import ModelShape


def build_model(shape: ModelShape, seed: int, tensor: TensorGroup = ALONE) -> GPT:
    """The model, or this process's part of it, with its initial fp32 weights, on the CPU."""
    model = empty_model(shape, tensor)
    values = {
        declaration.name: declaration.local(initial_value(declaration, seed), tensor.rank, tensor.size)
        for declaration in declare_parameters(shape)
    }
    model.load_state_dict(values, strict=True, assign=True)
    return model.requires_grad_(True)


def empty_model(shape: ModelShape, tensor: TensorGroup = ALONE) -> GPT:
    """The model with memory for weights but none in it; give them with `load_state_dict(..., assign=True)`.

    Our layers do not fill themselves with random numbers when they are made. (torch's meta device would need no memory
    either, but loads a second of symbolic mathematics first.)
    """
    return GPT(shape, tensor)


def initial_value(declaration: ParameterDeclaration, seed: int) -> Tensor:
    """The full initial tensor of one parameter, fp32."""
    if declaration.initial == "zeros":
        return torch.zeros(declaration.shape)
    if declaration.initial == "ones":
        return torch.ones(declaration.shape)
    generator = torch.Generator().manual_seed(seed_of(seed, declaration.name))
    return torch.empty(declaration.shape).normal_(0.0, declaration.std, generator=generator)
