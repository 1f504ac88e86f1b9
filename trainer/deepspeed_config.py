"""The one place where a DeepSpeed configuration is made; users never write one.

`deepspeed_extra` is merged last, so that what we do not cover can be reached; keys that we derive are refused in
`trainer.settings`. Importing this module does not import deepspeed.
"""

from typing import Any

from trainer.parallel.layout import Layout
from trainer.settings import TrainingSettings

LARGEST_BUCKET = 50_000_000
"""Gradient values that are sent at once; DeepSpeed's default reserves 2 GB for each bucket."""


def deepspeed_config(settings: TrainingSettings, layout: Layout, parameters: int, device_type: str) -> dict[str, Any]:
    """The configuration of a run of a model with so many parameters.

    The engine says itself when a step's last backward pass comes, scales losses and gradients, and clips: DeepSpeed is
    told of one pass a step and of no clipping, so that it divides and multiplies by nothing but the number of copies.
    """
    bucket = min(parameters, LARGEST_BUCKET)
    zero: dict[str, Any] = {
        "stage": deepspeed_stage(settings, layout),
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
    }
    ours: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": layout.micro_batch_size,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1_000_000_000,
    }
    if layout.pipeline > 1:
        # Off: what a stage sends is not cut further among tensor ranks. Activation checkpointing is that of our blocks.
        ours["pipeline"] = {"pipe_partitioned": False, "grad_partitioned": False, "use_reentrant": False}
    if settings.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": device_type == "cuda"}
        # torch's fused AdamW steps on the CPU as DeepSpeed's own does, which is compiled at first use.
        ours["zero_force_ds_cpu_optimizer"] = False
    return {**ours, **settings.deepspeed_extra}


def deepspeed_stage(settings: TrainingSettings, layout: Layout) -> int:
    """The ZeRO stage that DeepSpeed is told of: 0 where the optimizer needs whole parameters and shares them out itself
    (see `trainer.optim.ownership`)."""
    return sharded_stage(settings, layout) if settings.optimizer.kind == "adamw" else 0


def sharded_stage(settings: TrainingSettings, layout: Layout) -> int:
    """The ZeRO stage of the run. One copy shares with nobody: stages 1 and 2 would keep its weights and gradients twice
    and copy them to and fro in each step, so they are 0 then, unless the optimizer is to be in the host's memory."""
    is_alone = layout.data == 1 and layout.zero in (1, 2) and not settings.offload_optimizer
    return 0 if is_alone else layout.zero
