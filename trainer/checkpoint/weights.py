"""The weights of a checkpoint alone, for a run that starts from them: nothing else of it is taken.

A finished run is started from by its `model/` directory (`trainer.export.weights`); this is for a run that is still
going, or whose step of yesterday was better. Every process reads what it asks for, tensor by tensor.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError
from trainer.checkpoint.directory import read_state, step_of
from trainer.checkpoint.reading import StateReader
from trainer.checkpoint.seal import COMPLETE, damage, read_seal
from trainer.model.declaration import ParameterDeclaration, declare_parameters
from trainer.settings import ModelShape

if TYPE_CHECKING:
    from torch import Tensor


def is_checkpoint(path: Path) -> bool:
    """Whether a directory is a checkpoint rather than a finished model."""
    return step_of(path.name) is not None and (path / COMPLETE).exists()


def checkpoint_shape(checkpoint: Path) -> ModelShape:
    """The model that a checkpoint is of."""
    return ModelShape.model_validate(read_state(checkpoint)["model"])


def checkpoint_fingerprint(checkpoint: Path) -> str:
    """What tells a checkpoint from every other: the checksum of its seal.

    Raises:
        UserError: the seal is damaged.
    """
    try:
        return str(read_seal(checkpoint)["sha256"])
    except ValueError as fault:
        raise UserError(f"{checkpoint} is damaged ({fault}): take another one") from None


def checkpoint_weights(checkpoint: Path, shape: ModelShape) -> Callable[[ParameterDeclaration], "Tensor"]:
    """Gives each parameter's full fp32 tensor, read when it is asked for.

    Raises:
        UserError: the checkpoint is damaged, or of another model.
    """
    import torch

    if problem := damage(checkpoint):
        raise UserError(f"{checkpoint} is damaged ({problem}): take another one")
    expected = {item.name: item.shape for item in declare_parameters(shape)}
    with StateReader(checkpoint) as reader:
        found = {name: tensor.slicing.shape for name, tensor in reader.index.of_kind("weight")}
        index = reader.index
    if found != expected:
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise UserError(f"{checkpoint} does not fit the model: {', '.join(wrong[:5])}")

    def read(declaration: ParameterDeclaration) -> "Tensor":
        with StateReader(checkpoint, index) as reader:
            return torch.from_numpy(reader.full((declaration.name, "weight")))

    return read
