"""Norms of weights, gradients and updates by layer, on request: where in a model something grows or dies.

Weights and updates are read from the pieces of state that a checkpoint would hold, which cover every value exactly
once in any layout; gradients have their norms already. Cost of a step that is looked at: a copy of this process's
share of the weights, and one sum over processes. All other steps cost nothing.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from trainer.model.declaration import declare_parameters
from trainer.parallel.gradient import sum_of_squares
from trainer.state import WEIGHT, StatePiece

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.engine import TrainingEngine
    from trainer.ranks import Ranks

LayerNorms = dict[str, dict[str, float]]
"""Layer -> weight (after the step), gradient (before clipping), update (weight after less weight before) -> norm."""


class NormsOfStep:
    """Looks at every `every`-th step that is taken; 0: at none. All processes must call it alike."""

    def __init__(self, engine: "TrainingEngine", ranks: "Ranks", every: int) -> None:
        self._engine, self._ranks, self._every = engine, ranks, every
        self._layers = list(dict.fromkeys(layer_of(item.name) for item in declare_parameters(engine.shape)))
        self._before: Sequence[Tensor] = ()
        self._gradient: dict[str, float] = {}

    def before(self, number: int) -> None:
        """The gradient of step `number` is there and will be followed."""
        if self._is_due(number):
            self._gradient = dict(self._engine.gradient_norms())
            self._before = [piece.values.detach().clone() for piece in self._weights()]

    def after(self, number: int) -> LayerNorms | None:
        """It was followed; the norms where they are due, the same on all processes."""
        if not self._is_due(number):
            return None
        place = {layer: at for at, layer in enumerate(self._layers)}
        squares = torch.zeros(2, len(place), dtype=torch.float64)
        for piece, old in zip(self._weights(), self._before, strict=True):
            at = place[layer_of(piece.name)]
            squares[0, at] += sum_of_squares(piece.values).cpu()
            squares[1, at] += sum_of_squares(piece.values - old).cpu()
        self._before = ()
        total = torch.tensor(self._ranks.sum(squares.flatten().tolist())).view(2, -1).sqrt().tolist()
        gradient = dict.fromkeys(self._layers, 0.0)
        for name, norm in self._gradient.items():
            gradient[layer_of(name)] = math.hypot(gradient[layer_of(name)], norm)
        return {
            layer: {"weight": total[0][at], "gradient": gradient[layer], "update": total[1][at]}
            for layer, at in place.items()
        }

    def _is_due(self, number: int) -> bool:
        return self._every > 0 and number % self._every == 0

    def _weights(self) -> Iterable[StatePiece]:
        return [piece for piece in self._engine.state_pieces(for_saving=True) if piece.kind == WEIGHT]


def layer_of(name: str) -> str:
    """The layer that a parameter belongs to: `blocks.3`, `token_embedding`, `final_norm`, ..."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]
