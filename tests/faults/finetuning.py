"""A small run whose pretrained model the command can finetune, as the launchers start it."""

import json
import sys
from pathlib import Path

from tests.faults.pretraining import GPTMILL
from tests.trainer.chat_tokenizer import chat_tokenizer
from tests.trainer.export.models import write_model_directory

RECIPE = """
run: run
sources: [{jsonl: {path: in.jsonl}}]
tokenizer: {vocab_size: 300}
tokens: {context_length: 24}
model: {layers: 2, width: 32, heads: 4}
pretrain: {steps: 4, global_batch_tokens: 96}
finetune:
  data: conversations.jsonl
  steps: 4
  batch_size: 4
  micro_batch_size: 2
  precision: fp32
  threads_per_process: 1
  log_every: 1
  parallel: {data: 2}
"""


def write_run(folder: Path) -> Path:
    """Recipe, tokenizer, pretrained model and conversations; returns the run's finetuning directory."""
    (folder / "in.jsonl").write_text('{"text": "x"}\n')
    (folder / "recipe.yaml").write_text(RECIPE)
    write_conversations(folder, 40)
    write_model_directory(folder / "run" / "pretrain" / "model", {"layers": 2})
    (folder / "run" / "tokenizer").mkdir()
    chat_tokenizer().save(str(folder / "run" / "tokenizer" / "tokenizer.json"))
    return folder / "run" / "finetune"


def write_conversations(folder: Path, count: int) -> None:
    turns = [
        [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": str(number)}]
        for number in range(count)
    ]
    lines = [json.dumps({"messages": messages}) for messages in turns]
    (folder / "conversations.jsonl").write_text("\n".join(lines))


def command(*words: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", GPTMILL, "finetune", "recipe.yaml", *words]
