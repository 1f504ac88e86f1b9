"""litgpt's side of `bench.train`: `python litgpt_pretrain.py FOLDER PRECISION RESULT`.

Its own `pretrain` of a model of the task's shape (RoPE, RMSNorm, SwiGLU, tied), one process, one thread. A step ends
when the next batch is asked for. torch.compile, which takes it a minute on a CPU, is off by its environment variable;
so it is on gptmill's side. Weights are its own: no speed depends on them.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["TORCH_COMPILE_DISABLE"] = "1"

import numpy as np
import torch
from litgpt import Config  # type: ignore[import-not-found]
from litgpt.args import EvalArgs, TrainArgs  # type: ignore[import-not-found]
from litgpt.data import DataModule  # type: ignore[import-not-found]
from litgpt.pretrain import setup  # type: ignore[import-not-found]
from torch import Tensor
from torch.utils.data import DataLoader, Sampler


class Rows(DataModule):  # type: ignore[misc]
    """The task's rows in their order, with a note of when each batch is asked for."""

    def __init__(self, batches: Tensor) -> None:
        super().__init__()
        self.steps, self.rows, _ = batches.shape
        self.samples = batches.flatten(0, 1)
        self.found: dict[str, list[float]] = {"ends": [], "cpu_seconds": [], "losses": []}

    def connect(self, *_: Any, **__: Any) -> None:
        """The batches are made already."""

    def train_dataloader(self) -> DataLoader[Tensor]:
        """With the stopwatch."""
        return DataLoader(self.samples, batch_sampler=Stopwatch(self))  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Tensor]:
        """A few rows: it insists on looking at them first."""
        return DataLoader(self.samples[:2], batch_size=1)  # type: ignore[arg-type]


class Stopwatch(Sampler[list[int]]):
    """Notes the times between batches: the end of each step but for the first ask."""

    def __init__(self, data: Rows) -> None:
        self.data = data

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.data.steps + 1):
            if step:
                self.data.found["ends"].append(time.perf_counter())
                self.data.found["cpu_seconds"].append(time.process_time())
            first = step % self.data.steps * self.data.rows
            yield list(range(first, first + self.data.rows))

    def __len__(self) -> int:
        return self.data.steps + 1


def main(folder: Path, precision: str) -> dict[str, list[float]]:
    """Train on all rows of the folder."""
    torch.set_num_threads(1)
    task = json.loads((folder / "task.json").read_text())
    data = Rows(torch.from_numpy(np.load(folder / "rows.npy")))
    config = Config(
        name="task",
        block_size=task["context_length"],
        vocab_size=task["vocab_size"],
        padded_vocab_size=task["vocab_size"],
        n_layer=task["layers"],
        n_head=task["heads"],
        n_embd=task["width"],
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
        intermediate_size=task["inner_width"],
    )
    numbers = task["optimizer"]
    chosen = {"lr": numbers["lr"], "betas": numbers["betas"], "weight_decay": numbers["weight_decay"]}
    setup(
        model_name="task",
        model_config=config,
        out_dir=folder / "litgpt",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        data=data,
        train=TrainArgs(
            save_interval=None,
            log_interval=1,
            global_batch_size=data.rows,
            micro_batch_size=data.rows,
            max_tokens=data.steps * data.rows * task["context_length"],
            max_norm=task["clipping"],
            min_lr=numbers["lr"],
            lr_warmup_steps=0,
            tie_embeddings=True,
        ),
        eval=EvalArgs(interval=1000, max_iters=1, final_validation=False),
        optimizer={"class_path": "torch.optim.AdamW", "init_args": chosen},
        devices=1,
        logger_name="csv",
    )
    return data.found


if __name__ == "__main__":
    given, in_precision, result = sys.argv[1:]
    sys.argv = ["pretrain", "task"]  # it keeps the command line beside the model
    Path(result).write_text(json.dumps(main(Path(given), in_precision)))
