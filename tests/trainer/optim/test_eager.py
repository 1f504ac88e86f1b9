"""torch's AdamW without its compiler computes what torch's AdamW computes."""

import subprocess
import sys

import torch
from torch import nn

from trainer.optim.eager import AdamW

STEP = """
import sys, torch
from trainer.optim.eager import AdamW
weight = torch.nn.Parameter(torch.ones(3))
optimizer = AdamW([weight], lr=0.1, fused=True)
weight.grad = torch.ones(3)
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
assert (weight < 1).all()
print("torch._dynamo" in sys.modules)
"""


def _trained(kind: type[torch.optim.Optimizer]) -> torch.Tensor:
    weight = nn.Parameter(torch.linspace(-1, 1, 11))
    optimizer = kind([{"params": [weight], "weight_decay": 0.1}], lr=0.05, fused=True)  # type: ignore[call-arg]
    for _ in range(5):
        weight.square().sin().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return weight.detach()


def test_the_steps_are_those_of_torch_bit_for_bit() -> None:
    assert torch.equal(_trained(AdamW), _trained(torch.optim.AdamW))


def test_the_steps_after_an_instance_of_torchs_own_are_the_same() -> None:
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # hooks its class's step
    assert torch.equal(_trained(AdamW), _trained(torch.optim.AdamW))


def test_a_step_takes_no_gradient_of_itself() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = AdamW([weight], fused=True)
    weight.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert weight.requires_grad
    assert weight.grad_fn is None


def test_no_compiler_is_imported() -> None:
    said = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
