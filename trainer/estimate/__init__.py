"""What a training run needs and how long it takes, by arithmetic: no torch, no process, no data."""

from trainer.estimate.memory import USABLE, StageMemory
from trainer.estimate.training import Estimate, estimate_training, smaller_settings

__all__ = ["USABLE", "Estimate", "StageMemory", "estimate_training", "smaller_settings"]
