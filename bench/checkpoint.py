"""Checkpoints: how long a save holds training up, how soon it is safe, how soon a run goes on, and reshaping.

    python -m bench.checkpoint [--repeat N] [--layers N]

One process holds the state of a model (fp32 weights and two moments; 54 million parameters unless --layers says
otherwise) and saves it in turns: with `torch.save` as anyone would, with `torch.save` and fsync, with gptmill in the
background, and with gptmill waiting. What holds training up is the time until the state may change again. A save of
gptmill is also hashed and on disk when it is said to be done; `torch.save` alone leaves the file in the system's
memory, where a crash of the machine loses it, so the waiting save is compared with the one that is flushed too.

From start to the first step: the quickstart's model, one process, everything from the launch on, resumed and anew.
Reshaping: a checkpoint of data 2 x tensor 2 is written for a pipeline of 2, with all its checks; memory is that of the
whole command, the largest shard that of the target.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.checkpoint_run import save_in_turns, start_of_run
from bench.drawn_tokens import write_drawn_tokens
from bench.harness import CACHE, Claim, Measured, disturbance, measure
from jobs.recipe import load_recipe
from pipeline import storage
from pipeline.errors import UserError

LAYERS = 12
RUNS = CACHE / "runs" / "checkpoint"
SAVED = RUNS / "checkpoints"
STEPS_BEFORE = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, or one side of it; 0 when the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.checkpoint", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="saves of each kind (default 5)")
    parser.add_argument("--layers", type=int, default=LAYERS, help=f"blocks of the model (default {LAYERS})")
    parser.add_argument("--side", choices=("save", "start"), help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--interrupt-at", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.side == "save":
        storage.write_json(str(given.result), save_in_turns(SAVED, given.layers, given.repeat))
        return 0
    if given.side == "start":
        model = load_recipe("quickstart").recipe.model
        storage.write_json(str(given.result), start_of_run(RUNS / "run", RUNS / "tokens", model, given.interrupt_at))
        return 0
    shutil.rmtree(RUNS, ignore_errors=True)
    RUNS.mkdir(parents=True)
    claim = Claim("checkpoint")
    try:
        _saving(claim, given.layers, given.repeat)
        _starting(claim)
        _reshaping(claim)
    finally:
        shutil.rmtree(RUNS, ignore_errors=True)
    return claim.finish()


def _side(*words: str, result: Path) -> tuple[Any, Measured]:
    command = [sys.executable, "-m", "bench.checkpoint", *words, "--result", str(result)]
    measured = measure(command)
    return json.loads(result.read_bytes()), measured


def _saving(claim: Claim, layers: int, repeat: int) -> None:
    found, measured = _side(
        "--side", "save", "--layers", str(layers), "--repeat", str(repeat), result=RUNS / "save.json"
    )
    seconds = found["seconds"]
    busy = disturbance([measured])
    for name, kind, reference, goal in (
        ("blocked_asynchronous_over_torch_save", "asynchronous", "torch_save", 0.3),
        ("blocked_synchronous_over_torch_save_flushed", "synchronous", "torch_save_flushed", 1.2),
        ("blocked_synchronous_over_torch_save", "synchronous", "torch_save", None),
    ):
        claim.figure(name, [ours / theirs for ours, theirs in zip(seconds[kind], seconds[reference], strict=True)])
        if goal is not None:
            claim.goal(name, at_most=goal, unjudged=busy)
    for kind, values in seconds.items():
        claim.figure(f"seconds_blocked_{kind}", values, "s")
    claim.figure("seconds_blocked_by_the_first_asynchronous_save", found["first"], "s")
    claim.figure("seconds_to_durable_asynchronous", found["durable"], "s")
    claim.figure("state_megabytes", found["bytes"] / 1e6, "MB")
    claim.figure("bytes_per_parameter", found["bytes"] / found["parameters"])
    claim.goal("bytes_per_parameter", at_most=16)


def _starting(claim: Claim) -> None:
    recipe = load_recipe("quickstart").recipe
    assert recipe.tokens is not None
    assert recipe.tokenizer is not None
    rows = {"train": 640, "validation": 4}
    write_drawn_tokens(RUNS / "tokens", recipe.tokenizer.vocab_size, recipe.tokens.context_length, rows)
    anew, one = _side("--side", "start", "--interrupt-at", str(STEPS_BEFORE), result=RUNS / "anew.json")
    resumed, other = _side("--side", "start", result=RUNS / "resumed.json")
    if resumed["step"] <= STEPS_BEFORE:
        raise UserError(f"the run began anew with step {resumed['step']}")
    claim.figure("seconds_from_start_to_first_step", anew["seconds"], "s")
    claim.figure("seconds_from_start_to_first_resumed_step", resumed["seconds"], "s")
    claim.figure("first_resumed_step_over_first_step", resumed["seconds"] / anew["seconds"])
    if (busy := disturbance([one, other])) is not None:
        claim.figure("starts_were_disturbed", busy)


def _reshaping(claim: Claim) -> None:
    _reshape(SAVED, "data=2,tensor=2", RUNS / "shared_out")
    measured = _reshape(RUNS / "shared_out", "pipeline=2", RUNS / "reshaped")
    shards = [path.stat().st_size for path in (RUNS / "reshaped").glob("step_*/state/*")]
    peak, largest = measured.peak_pss_bytes, max(shards)
    claim.figure("reshape_megabytes_per_second", sum(shards) / 1e6 / measured.wall_seconds, "MB/s")
    claim.figure("reshape_peak_megabytes", peak / 1e6, "MB")
    claim.figure("reshape_largest_shard_megabytes", largest / 1e6, "MB")
    claim.figure("reshape_peak_over_largest_shard", peak / largest)
    claim.goal("reshape_peak_over_largest_shard", at_most=1.5)


def _reshape(source: Path, parallel: str, target: Path) -> Measured:
    words = ("reshape", str(source), "--parallel", parallel, "--output", str(target))
    return measure([sys.executable, "-c", "from jobs.cli import main; main()", *words])


if __name__ == "__main__":
    sys.exit(main())
