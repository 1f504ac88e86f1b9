"""The layout of each training of a recipe, on this machine or on a named one: checked before every run.

Arithmetic on the recipe, without torch, so a run on a cluster can be planned on a laptop.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.recipe import LoadedRecipe, Recipe
from jobs.recipe_lines import Problem
from pipeline.errors import SettingError
from trainer.devices import count_cores, count_gpus, gpu_name, has_fast_bfloat16
from trainer.estimate.flops import DEVICES, Device, find_device
from trainer.parallel.compatibility import LayoutRefused
from trainer.parallel.layout import Layout, plan_layout
from trainer.rendezvous import Launcher, adopt, in_environment
from trainer.settings import ModelShape, TrainingSettings

_TRAININGS = ("pretrain", "finetune")
_NO_BFLOAT16 = ("V100", "T4")
DEFAULT_MFU = 0.4


@dataclass(frozen=True)
class Target:
    """What a training is planned for."""

    devices: int | None = None
    """Processes, one a device. None: as many as `most_gpus` allow, and on CPU as the recipe says."""
    most_gpus: int = 0
    """GPUs of the machine that starts them; 0: none, or not known."""
    device: Device | None = None
    """What they run on. None: unknown, or a CPU."""
    mfu: float = DEFAULT_MFU
    """Utilisation of the whole run that its time is reckoned with."""

    is_elsewhere: bool = False
    """Whether it is another machine than this one, which need not have the data."""

    @property
    def is_gpu(self) -> bool:
        """Whether they run on GPUs, as far as is known."""
        return self.device is not None or self.most_gpus > 0

    def precision(self, settings: TrainingSettings) -> str:
        """What `auto` becomes there."""
        if settings.precision != "auto":
            return settings.precision
        if self.device is not None:
            return "fp32" if self.device.name in _NO_BFLOAT16 else "bf16"
        return "bf16" if self.is_gpu or has_fast_bfloat16() else "fp32"


def target_of(launcher: Launcher) -> Target:
    """What processes of this launcher run on: this machine, what it has started already, or a cluster of Ray.

    Raises:
        SettingError: this process was not started by that launcher.
    """
    gpus, device = count_gpus(), _device_here()
    if launcher == "embedded":
        return Target(None, gpus, device)
    if launcher == "ray":
        return Target(None, 0, device)
    environment = dict(os.environ)
    adopt(environment, launcher)
    return Target(in_environment(environment)[1], gpus, device)


def planned_target(dry_run: bool, devices: int | None, device: str | None, mfu: float | None) -> Target | None:
    """What the options of the command line name; None when they name nothing.

    Raises:
        SettingError: they were given without --dry-run, or there is no such device.
    """
    if devices is None and device is None and mfu is None:
        return None
    if not dry_run:
        raise SettingError("--devices, --device and --mfu say what to plan for: give --dry-run too")
    return named_target(devices, device, mfu)


def named_target(devices: int | None, device: str | None, mfu: float | None = None) -> Target:
    """So many of these devices; what is not named is as here.

    Raises:
        SettingError: there is no such device.
    """
    known = _device_here() if device is None else find_device(device)
    if device is not None and known is None:
        raise SettingError(f"--device {device} is not known; known: {', '.join(entry.name for entry in DEVICES)}")
    if devices is None and device is not None:
        devices = count_gpus() or 1
    return Target(devices, count_gpus(), known, DEFAULT_MFU if mfu is None else mfu, is_elsewhere=True)


def _device_here() -> Device | None:
    name = gpu_name() if count_gpus() else None
    return None if name is None else find_device(name)


def model_shape(recipe: Recipe) -> ModelShape | None:
    """The model with vocabulary and context; None when the recipe trains none."""
    if recipe.model is None or recipe.tokens is None or recipe.tokenizer is None:
        return None
    return recipe.model.shaped(recipe.tokenizer.vocab_size, recipe.tokens.context_length)


def plan_trainings(loaded: LoadedRecipe, steps: Sequence[str], target: Target) -> dict[str, Layout]:
    """The layout of each training among `steps`.

    Raises:
        RecipeError: all that does not go together, with the place of each key.
    """
    recipe = loaded.recipe
    layouts, problems = {}, []
    for step in _TRAININGS:
        settings = getattr(recipe, step)
        if step not in steps or settings is None or recipe.tokens is None:
            continue
        longest = getattr(settings, "max_tokens", None) or recipe.tokens.context_length
        try:
            layouts[step] = plan_layout(
                settings,
                min(longest, recipe.tokens.context_length),
                gpus=target.most_gpus,
                cores=count_cores(),
                model=recipe.model,
                devices=target.devices,
            )
        except LayoutRefused as fault:
            problems += [Problem((step, *key.split(".")), message) for key, message in fault.problems]
        except ValueError as fault:
            problems.append(Problem((step,), str(fault)))
    if problems:
        raise loaded.located(problems)
    return layouts
