"""The finished model: one directory that generation, finetuning and export read.

    model/
      weights.safetensors     canonical parameter names, fp32, full tensors whatever the layout
      model.json              the model's shape
      tokenizer.json          copy of the tokenizer that made the tokens

The directory appears whole, by a rename. Weights are gathered one parameter after the other, so a process never holds
more than one full parameter besides the finished CPU copy on the first.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline import storage
from pipeline.errors import UserError
from trainer.engine import TrainingEngine
from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.ranks import Ranks
from trainer.settings import ModelShape

WEIGHTS = "weights.safetensors"
SHAPE = "model.json"
TOKENIZER = "tokenizer.json"


def write_model(directory: Path, engine: TrainingEngine, ranks: Ranks, tokenizer: Path) -> None:
    """Write the `model/` directory; every process must call it."""
    from safetensors.torch import save

    gathered: dict[str, torch.Tensor] = {}
    for name, weight in engine.full_weights():
        if ranks.is_first:
            gathered[name] = weight.contiguous()
    if ranks.is_first:
        temporary = directory.with_name(f".tmp-{directory.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        with storage.write_atomically(str(temporary / WEIGHTS)) as file:
            file.write(save(gathered))
        with storage.write_atomically(str(temporary / SHAPE)) as file:
            file.write(engine.shape.model_dump_json(indent=2).encode() + b"\n")
        with storage.write_atomically(str(temporary / TOKENIZER)) as file:
            file.write(tokenizer.read_bytes())
        shutil.rmtree(directory, ignore_errors=True)
        temporary.rename(directory)
    ranks.barrier()


def weights_of(directory: Path, shape: ModelShape) -> Callable[[ParameterDeclaration], torch.Tensor]:
    """Gives each parameter's full tensor from a finished model, read when it is asked for.

    Raises UserError when a parameter is missing, too many, or of another shape.
    """
    from safetensors import safe_open

    path = directory / WEIGHTS
    expected = {item.name: list(item.shape) for item in declare_parameters(shape)}
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (no mapping)
    if found != expected:
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise UserError(f"{path} does not fit the model: {', '.join(wrong[:5])}")

    def read(declaration: ParameterDeclaration) -> torch.Tensor:
        with safe_open(path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(declaration.name)
        return tensor.float()

    return read
