"""Training speed of one process beside plain PyTorch, Hugging Face's Trainer and litgpt; start-up; use of a GPU.

    python -m bench.train [--peer hugging-face] [--peer litgpt] [--repeat N]
    python -m bench.train --device cuda

On the CPU: a GPT-2 of 10.6 M parameters (8 blocks of width 256, 16,384 tokens, batches of 8 rows of 256), fp32 and
bf16, one thread. gptmill goes its whole way (launch, DeepSpeed, journal, checks). `plain` is a GPT-2 and a loop written
by hand in PyTorch that import nothing of gptmill: forward, backward, clip, fused AdamW; same weights, same rows, and
that the losses agree shows that both do the same work. Hugging Face's Trainer has transformers' GPT-2 of that shape and
the same rows. litgpt has no GPT-2: it pretrains a model with RoPE, RMSNorm and SwiGLU of that size, and so does gptmill
then. torch.compile is off on all sides. Tokens per second are the median over the steps after the first few, tokens per
CPU-second their sum over the same steps; starting, validating and saving are left out.

gptmill has the C library keep freed memory, which is worth more than all else. So all others are measured with that
setting too, and the goals are on these ratios; `by_hand` is the plain loop without it, as it runs when started by hand.

Start-up: until a training process has done its first step (of a tiny model), over importing torch and deepspeed alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench import train_start
from bench.environments import PeerMissing, peer_python
from bench.harness import CACHE, Claim, Measured, disturbance, measure
from bench.train_device import measure_device
from bench.train_task import TOKENS, write_task
from pipeline.errors import UserError
from trainer.launch import KEEP_FREED_MEMORY
from trainer.precision import choose_precision

RUNS = CACHE / "runs" / "train"
WARM_UP_STEPS = 4
PEERS = {
    # torch first and pinned: pip then takes the CPU's build where there is one.
    "hugging-face": ("hugging_face_trainer", ("torch==2.13.0", "numpy", "transformers==5.23.0", "accelerate")),
    "litgpt": ("litgpt_pretrain", ("torch==2.13.0", "numpy", "litgpt==0.5.13", "requests")),
}
"""Name -> its script in bench/peers, and what it needs."""
OVER_PLAIN = {"fp32": 0.95, "bf16": 0.92}
OVER_PEERS = 1.05
START_OVER_IMPORTS = 1.5
LOSSES_APART = {"fp32": 1e-5, "bf16": 1e-3}


@dataclass(frozen=True)
class Side:
    """One of those that are compared."""

    command: tuple[str, ...]
    """To which the precision and the file for the result are added."""
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Speed:
    """Of one run."""

    per_second: float
    per_cpu_second: float
    losses: Sequence[float]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0 when its goals are met, 2 when there is no such device."""
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", action="append", default=[], choices=sorted(PEERS), help="measure it beside")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side (default 3)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: one GPU, no peers")
    given = parser.parse_args(arguments)
    shutil.rmtree(RUNS, ignore_errors=True)
    claim = Claim("train")
    if given.device == "cuda":
        try:
            measure_device(claim, RUNS)
        except UserError as error:
            parser.error(str(error))
        return claim.finish()
    for style in ("gpt2", *(["modern"] if "litgpt" in given.peer else [])):
        write_task(RUNS / style, style)
    sides = _sides(claim, given.peer)
    measured: list[Measured] = []
    for precision in ("fp32", "bf16"):
        if precision == "bf16" and choose_precision("auto", "cpu") != "bf16":
            claim.figure("bf16", "skipped: this processor has no bfloat16 instructions")
            continue
        speeds: dict[str, list[Speed]] = {name: [] for name in sides}
        for _ in range(given.repeat):
            for name, side in sides.items():
                speeds[name].append(_run(side, precision, measured))
        _compare(claim, precision, speeds, disturbance(measured))
    _measure_start(claim, given.repeat, disturbance(measured))
    return claim.finish()


def _sides(claim: Claim, peers: Sequence[str]) -> dict[str, Side]:
    ours, plain = (sys.executable, "-m", "bench.train_task"), (sys.executable, "bench/peers/plain_pytorch.py")
    sides = {
        "gptmill": Side((*ours, str(RUNS / "gpt2"), "gpt2"), {}),
        "plain": Side((*plain, str(RUNS / "gpt2")), KEEP_FREED_MEMORY),
        "plain_by_hand": Side((*plain, str(RUNS / "gpt2")), {}),
    }
    for peer in peers:
        script, needed = PEERS[peer]
        name = peer.replace("-", "_")
        try:
            python = str(peer_python(script, needed))
        except PeerMissing as reason:
            claim.figure(name, f"skipped: {reason}")
            continue
        style = "modern" if peer == "litgpt" else "gpt2"
        sides[name] = Side((python, f"bench/peers/{script}.py", str(RUNS / style)), KEEP_FREED_MEMORY)
        if style == "modern":
            sides["gptmill_modern"] = Side((*ours, str(RUNS / style), style), {})
    return sides


def _run(side: Side, precision: str, measured: list[Measured]) -> Speed:
    result = RUNS / "result.json"
    shutil.rmtree(Path(f"{result}-run"), ignore_errors=True)
    measured.append(measure([*side.command, precision, str(result)], {"OMP_NUM_THREADS": "1", **side.environment}))
    found = json.loads(result.read_bytes())
    result.unlink()
    ends, cpu_seconds = found["ends"][WARM_UP_STEPS:], found["cpu_seconds"][WARM_UP_STEPS:]
    # The last step is left out: what comes after it may have begun when the clocks are read.
    step = statistics.median(end - start for start, end in pairwise(ends[:-1]))
    return Speed(TOKENS / step, (len(cpu_seconds) - 2) * TOKENS / (cpu_seconds[-2] - cpu_seconds[0]), found["losses"])


def _compare(claim: Claim, precision: str, speeds: Mapping[str, Sequence[Speed]], busy: str | None) -> None:
    for theirs in ("plain", "plain_by_hand", "hugging_face", "litgpt"):
        ours = "gptmill_modern" if theirs == "litgpt" else "gptmill"
        if theirs not in speeds:
            continue
        both = list(zip(speeds[ours], speeds[theirs], strict=True))
        wall = f"tokens_per_second_over_{theirs}_{precision}"
        cpu = f"tokens_per_cpu_second_over_{theirs}_{precision}"
        claim.figure(wall, [one.per_second / other.per_second for one, other in both])
        claim.figure(cpu, [one.per_cpu_second / other.per_cpu_second for one, other in both])
        if theirs != "plain_by_hand":
            least = OVER_PLAIN[precision] if theirs == "plain" else OVER_PEERS
            claim.goal(wall, at_least=least, unjudged=busy)
            claim.goal(cpu, at_least=least)
    first, second = speeds["gptmill"][0].losses, speeds["plain"][0].losses
    apart = max(abs(one - other) / other for one, other in zip(first, second, strict=True))
    claim.figure(f"largest_relative_difference_of_losses_{precision}", apart)
    claim.goal(f"largest_relative_difference_of_losses_{precision}", at_most=LOSSES_APART[precision])
    for name, runs in speeds.items():
        claim.figure(f"tokens_per_second_{name}_{precision}", [run.per_second for run in runs])
        claim.figure(f"tokens_per_cpu_second_{name}_{precision}", [run.per_cpu_second for run in runs])


def _measure_start(claim: Claim, repeat: int, busy: str | None) -> None:
    found: dict[str, list[train_start.Start]] = {"imports": [], "first_step": [], "first_step_with_launcher": []}
    for number in range(repeat):
        found["imports"].append(train_start.imports())
        found["first_step"].append(train_start.worker(RUNS / "gpt2", RUNS / f"start-{number}"))
        found["first_step_with_launcher"].append(train_start.whole(RUNS / "gpt2", RUNS / f"launch-{number}"))
    for clock in ("cpu", "wall"):
        seconds = {name: [getattr(start, f"{clock}_seconds") for start in starts] for name, starts in found.items()}
        ratio = f"{clock}_seconds_to_first_step_over_imports"
        claim.figure(
            ratio, [ours / theirs for ours, theirs in zip(seconds["first_step"], seconds["imports"], strict=True)]
        )
        claim.goal(ratio, at_most=START_OVER_IMPORTS, unjudged=busy if clock == "wall" else None)
        for name, values in seconds.items():
            claim.figure(f"{clock}_seconds_to_{name}", values, "s")


if __name__ == "__main__":
    sys.exit(main())
