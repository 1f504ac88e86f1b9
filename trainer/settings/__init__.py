"""What a training run can be told: the classes are the only list of its options.

Each field is a key of the recipe; its docstring is its help. Importing this module loads neither torch
nor deepspeed, so that `gptmill --help` and `--dry-run` answer at once.

A number that a user thinks in (`global_batch_tokens`) is a field; what follows from it (accumulation steps,
data-parallel size) is derived in `trainer.parallel.layout` and printed, never set twice. Nothing here depends
on wall time: the same settings, data and seed give the same steps on any machine.
"""

from trainer.settings.base import Settings
from trainer.settings.model import ModelSettings, ModelShape
from trainer.settings.optimizer import (
    AdafactorSettings,
    AdamWSettings,
    BatchRampSettings,
    MuonSettings,
    OptimizerSettings,
    ScheduleSettings,
)
from trainer.settings.parallel import ParallelSettings
from trainer.settings.pretrain import MixtureDataset, PretrainSettings
from trainer.settings.rope import RopeScaling
from trainer.settings.training import TrainingSettings

__all__ = [
    "AdafactorSettings",
    "AdamWSettings",
    "BatchRampSettings",
    "MixtureDataset",
    "ModelSettings",
    "ModelShape",
    "MuonSettings",
    "OptimizerSettings",
    "ParallelSettings",
    "PretrainSettings",
    "RopeScaling",
    "ScheduleSettings",
    "Settings",
    "TrainingSettings",
]
