"""What all sides of `bench.train` train: shapes, rows, weights, and gptmill's own run of them.

    python -m bench.train_task FOLDER STYLE PRECISION RESULT

A folder holds the token dataset for gptmill, and for the others `rows.npy` ([steps, rows, context + 1], the rows of
each step as gptmill draws them), `weights.safetensors` (initial, by gptmill's names) and `task.json`. Each side writes
{"ends": seconds at which steps ended, "cpu_seconds": of the process at that time, "losses": of each step}.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.drawn_tokens import write_drawn_tokens
from pipeline import storage
from pipeline.errors import UserError
from trainer.identity import open_inputs
from trainer.job import TrainingJob
from trainer.model.presets import GPT2_STYLE, MODERN_STYLE
from trainer.settings import AdamWSettings, ModelSettings, ParallelSettings, PretrainSettings, ScheduleSettings

SHAPE = {"layers": 8, "width": 256, "heads": 4}
"""10.6 M parameters in both styles."""
STYLES = {"gpt2": GPT2_STYLE, "modern": MODERN_STYLE}
VOCAB_SIZE = 16_384
CONTEXT = 256
ROWS = 8
STEPS = 20
TOKENS = ROWS * CONTEXT
"""Of a step."""
SEED = 1


def write_task(folder: Path, style: str) -> None:
    """Make the folder of one style."""
    from safetensors.torch import save_file

    from trainer.model.declaration import declare_parameters
    from trainer.model.init import initial_value
    from trainer.optim.groups import decay_groups

    write_drawn_tokens(folder / "tokens", VOCAB_SIZE, CONTEXT, {"train": STEPS * ROWS, "validation": 4})
    job = job_of(folder, style, "fp32", folder / "unused", STEPS)
    inputs = open_inputs(job)
    order = inputs.order()
    batches = [inputs.data.train.batch(order.sample_ids(step)) for step in range(inputs.steps)]
    rows = [np.concatenate([batch.inputs[:, :1], batch.targets], axis=1) for batch in batches]
    np.save(folder / "rows.npy", np.stack(rows).astype(np.int64))
    declarations = declare_parameters(inputs.shape)
    save_file({item.name: initial_value(item, job.seed) for item in declarations}, folder / "weights.safetensors")
    optimizer = job.settings.optimizer
    groups = [{"names": names, "weight_decay": decay} for names, decay in decay_groups(declarations, optimizer)]
    task = {
        **SHAPE,
        "vocab_size": VOCAB_SIZE,
        "context_length": CONTEXT,
        "inner_width": inputs.shape.inner_width,
        "groups": groups,
        "optimizer": optimizer.model_dump(mode="json"),
        "clipping": job.settings.gradient_clipping,
    }
    storage.write_json(str(folder / "task.json"), task)


def job_of(folder: Path, style: str, precision: str, directory: Path, steps: int = STEPS) -> TrainingJob:
    """gptmill's run of a task: one process, one thread, no checkpoints and no validation before the end."""
    settings = PretrainSettings.model_validate(
        {
            "global_batch_tokens": TOKENS,
            "micro_batch_size": ROWS,
            "steps": steps,
            "precision": precision,
            "optimizer": AdamWSettings(lr=1e-3),
            "schedule": ScheduleSettings(warmup_steps=0, final_fraction=1.0),
            "parallel": ParallelSettings(data=1),
            "threads_per_process": 1,
            "validation_every": 0,
            "checkpoint_every": 0,
            "log_every": 1,
        }
    )
    return TrainingJob(
        kind="pretrain",
        directory=directory,
        tokens=folder / "tokens",
        tokenizer=folder / "tokens" / "tokenizer.json",
        model=ModelSettings.model_validate({**STYLES[style], **SHAPE}),
        settings=settings,
        seed=SEED,
    )


def run_gptmill(folder: Path, style: str, precision: str, directory: Path) -> dict[str, Any]:
    """The whole way of `gptmill pretrain`, from `launch` on."""
    from trainer.launch import launch

    found: dict[str, Any] = {"ends": [], "cpu_seconds": [], "losses": []}
    errors: list[str] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            (worker,) = psutil.Process().children()
            times = worker.cpu_times()
            found["ends"].append(time.perf_counter())
            found["cpu_seconds"].append(times.user + times.system)
            found["losses"].append(event["loss"])
        elif event["event"] == "error":
            errors.append(event["message"])

    if launch(job_of(folder, style, precision, directory), listen) != 0:
        raise UserError(f"the trainer failed: {' '.join(errors)}")
    return found


if __name__ == "__main__":
    given, of_style, in_precision, result = sys.argv[1:]
    Path(result).write_text(json.dumps(run_gptmill(Path(given), of_style, in_precision, Path(f"{result}-run"))))
