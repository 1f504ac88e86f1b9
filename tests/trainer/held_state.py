"""One process of the check of `trainer.estimate` against a running engine: bytes of the tensors that it holds."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import Tensor

from tests.trainer.engine_process import gradient_of_step
from trainer.engine import TrainingEngine
from trainer.model.init import initial_value
from trainer.parallel.layout import Layout
from trainer.ranks import Ranks
from trainer.settings import ModelShape, PretrainSettings


def held_bytes(
    ranks: Ranks, shape: ModelShape, layouts: list[Layout], optimizer: dict[str, Any]
) -> list[tuple[int, int, int]]:
    """(weights, gradients, optimizer's state with the weights it steps on) after a gradient in each layout."""
    found = []
    settings = PretrainSettings.model_validate({"optimizer": optimizer})
    for layout in layouts:
        engine = TrainingEngine(
            shape,
            partial(initial_value, seed=1),
            settings.model_copy(update={"zero": layout.zero}),
            layout,
            "fp32",
            ranks,
        )
        gradient_of_step(engine, ranks, 0)
        parameters = list(engine.deepspeed.module.parameters())
        weights = [getattr(parameter, "ds_tensor", parameter) for parameter in parameters]
        gradients = [fragment.values for fragment in engine._shards.gradients()]
        gradients += [parameter.grad for parameter in parameters if parameter.grad is not None]
        pieces = engine.state_pieces(for_saving=False)
        state = [piece.values for piece in pieces if piece.kind != "weight" or layout.zero]
        kept = storages(weights)
        found.append((sum(kept.values()), sum(storages(gradients).values()), sum(storages(state, kept).values())))
        engine.close()
    return found


def storages(tensors: Iterable[Tensor], apart_from: dict[int, int] | None = None) -> dict[int, int]:
    """Address and bytes of each storage, once."""
    found = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return {place: size for place, size in found.items() if place not in (apart_from or {})}
