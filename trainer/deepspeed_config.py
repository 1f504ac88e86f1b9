"""The one place where a DeepSpeed configuration is made; users never write one.

`deepspeed_extra` is merged last, so that what we do not cover can be reached; keys that we derive are refused in
`trainer.settings`. Importing this module does not import deepspeed.
"""

from typing import Any

from trainer.parallel.layout import Layout
from trainer.settings import TrainingSettings

LARGEST_BUCKET = 50_000_000
"""Gradient values that are sent at once; DeepSpeed's default reserves 2 GB for each bucket."""


def deepspeed_config(settings: TrainingSettings, layout: Layout, parameters: int) -> dict[str, Any]:
    """The configuration of a run of a model with so many parameters."""
    bucket = min(parameters, LARGEST_BUCKET)
    ours: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": layout.micro_batch_size,
        "gradient_accumulation_steps": layout.accumulation_steps,
        # ZeRO-0 reports no gradient norm, so the engine clips there itself.
        "gradient_clipping": settings.gradient_clipping if layout.zero else 0.0,
        "zero_optimization": {
            "stage": layout.zero,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
        },
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1_000_000_000,
    }
    return {**ours, **settings.deepspeed_extra}
