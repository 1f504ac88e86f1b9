"""The plain side of `bench.train`: `python plain_pytorch.py FOLDER PRECISION RESULT`.

A GPT-2 and the loop around it as anyone would write them in PyTorch; nothing of gptmill is imported. Weights, rows and
numbers come from the task's folder, so losses can be compared.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Attention and feed-forward layer, each after a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]"""
        rows, tokens, width = x.shape
        parts = self.query_key_value(self.attention_norm(x)).split(width, dim=2)
        q, k, v = (part.view(rows, tokens, self.heads, -1).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(attended.transpose(1, 2).reshape(rows, tokens, width))
        x = x + self.down(functional.gelu(self.up(self.feed_forward_norm(x)), approximate="tanh"))
        return x


class GPT2(nn.Module):
    """Tokens to logits."""

    def __init__(self, layers: int, width: int, heads: int, vocab_size: int, context_length: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.position_embedding = nn.Embedding(context_length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.final_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T] -> [B, T, V]"""
        x = self.token_embedding(tokens) + self.position_embedding(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = functional.linear(self.final_norm(x), self.token_embedding.weight)
        return logits


def main(folder: Path, precision: str) -> dict[str, list[float]]:
    """Train on all rows of the folder."""
    torch.set_num_threads(1)
    task = json.loads((folder / "task.json").read_text())
    batches = torch.from_numpy(np.load(folder / "rows.npy"))
    model = GPT2(*(task[name] for name in ("layers", "width", "heads", "vocab_size", "context_length")))
    weights = load_file(folder / "weights.safetensors")
    short = {name.replace(".attention.", ".").replace(".feed_forward.", "."): name for name in weights}
    model.load_state_dict({name: weights[given] for name, given in short.items()})
    named = {short[name]: parameter for name, parameter in model.named_parameters()}
    groups = [
        {"params": [named[name] for name in group["names"]], "weight_decay": group["weight_decay"]}
        for group in task["groups"]
    ]
    numbers = task["optimizer"]
    optimizer = torch.optim.AdamW(groups, lr=numbers["lr"], betas=numbers["betas"], eps=numbers["eps"], fused=True)
    found: dict[str, list[float]] = {"ends": [], "cpu_seconds": [], "losses": []}
    for rows in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(rows[:, :-1])
            loss = functional.cross_entropy(logits.view(-1, logits.shape[-1]).float(), rows[:, 1:].reshape(-1))
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), task["clipping"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        found["losses"].append(loss.item())
        found["ends"].append(time.perf_counter())
        found["cpu_seconds"].append(time.process_time())
    return found


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
