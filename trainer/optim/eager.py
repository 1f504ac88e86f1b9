"""torch's optimizers without its compiler.

`Optimizer` and `Adam.step` are wrapped so that a compiler which traces them stops there; the wrappers import the whole
compiler at their first call, compiled or not: 0.9 CPU-seconds of every process (by hand), half of what importing torch
and DeepSpeed takes. Nothing here is ever traced (`compile` is for the model's blocks), so the methods are taken without
their wrappers. What they compute is torch's.
"""

import inspect

import torch


class EagerOptimizer(torch.optim.Optimizer):
    """A base whose methods do not import the compiler; `step` is the subclass's own."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class AdamW(EagerOptimizer, torch.optim.AdamW):
    """torch.optim.AdamW, for parameters whose step is not differentiated through."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
