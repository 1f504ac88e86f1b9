"""Hugging Face's side of `bench.train`: `python hugging_face_trainer.py FOLDER PRECISION RESULT`.

transformers' GPT-2 of the task's shape under its `Trainer`, fused AdamW, one process, one thread. The labels are the
inputs, shifted inside of the model. Weights are its own: no speed depends on them.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import SequentialSampler
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments


class Stopwatch(TrainerCallback):
    """Notes the end of each step."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {"ends": [], "cpu_seconds": [], "losses": []}

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """After optimizer and schedule."""
        self.found["ends"].append(time.perf_counter())
        self.found["cpu_seconds"].append(time.process_time())

    def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
        """After the step's end."""
        if "loss" in logs:
            self.found["losses"].append(float(logs["loss"]))


class InOrder(Trainer):
    """Rows in the task's order."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


def main(folder: Path, precision: str) -> dict[str, list[float]]:
    """Train on all rows of the folder."""
    torch.set_num_threads(1)
    task = json.loads((folder / "task.json").read_text())
    batches = np.load(folder / "rows.npy")
    steps, rows, _ = batches.shape
    samples = [{"input_ids": row, "labels": row} for row in torch.from_numpy(batches[:, :, :-1]).flatten(0, 1)]
    config = GPT2Config(
        vocab_size=task["vocab_size"],
        n_positions=task["context_length"],
        n_embd=task["width"],
        n_layer=task["layers"],
        n_head=task["heads"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    numbers = task["optimizer"]
    arguments = TrainingArguments(
        output_dir=str(folder / "hugging_face"),
        per_device_train_batch_size=rows,
        max_steps=steps,
        bf16=precision == "bf16",
        use_cpu=True,
        optim="adamw_torch_fused",
        learning_rate=numbers["lr"],
        adam_beta1=numbers["betas"][0],
        adam_beta2=numbers["betas"][1],
        adam_epsilon=numbers["eps"],
        weight_decay=numbers["weight_decay"],
        max_grad_norm=task["clipping"],
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    stopwatch = Stopwatch()
    InOrder(GPT2LMHeadModel(config), arguments, train_dataset=samples, callbacks=[stopwatch]).train()
    return stopwatch.found


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
