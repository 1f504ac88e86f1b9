"""Training speed of one process: gptmill's trainer against a minimal loop in plain PyTorch.

    python -m bench.train [--repeat N]

Both train the model of the quickstart recipe with its batch for one process (16 rows of 256 tokens), on the same
rows in the same order, from the same initial weights, with the same optimizer, clipping and arithmetic, one thread.
gptmill goes its whole way (launch, DeepSpeed, journal, checks); the plain loop is a forward, a backward, a clip and
a step. That their losses agree shows that both do the same work. Tokens per second are the median over the steps
after the first few, tokens per CPU-second their sum over the same steps; starting, validating and saving are left out
on both sides.

gptmill has the C library keep freed memory. The plain loop is measured with that setting too (the ratio that the
goal is on) and without it, as it is when started by hand.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.drawn_tokens import write_drawn_tokens
from bench.harness import CACHE, Claim, Measured, disturbance, measure
from jobs.recipe import load_recipe
from pipeline import storage
from pipeline.errors import UserError
from trainer.job import TrainingJob
from trainer.launch import KEEP_FREED_MEMORY
from trainer.settings import AdamWSettings, ParallelSettings, PretrainSettings, ScheduleSettings

STEPS = 12
WARM_UP_STEPS = 3
PROCESSES_OF_THE_RECIPE = 2
RUNS = CACHE / "runs" / "train"
SEED = 1


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, or one side of it; 0 when the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=2, help="runs of each side (default 2)")
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.side:
        storage.write_json(str(given.result), SIDES[given.side](_job(given.result.with_suffix(""))))
        return 0
    shutil.rmtree(RUNS, ignore_errors=True)
    recipe = load_recipe("quickstart").recipe
    assert recipe.tokens is not None
    assert recipe.tokenizer is not None
    rows = {"train": STEPS * 64, "validation": 4}
    write_drawn_tokens(RUNS / "tokens", recipe.tokenizer.vocab_size, recipe.tokens.context_length, rows)
    return _compare(given.repeat)


def _compare(repeat: int) -> int:
    sides = {"gptmill": ("gptmill", {}), "plain": ("plain", KEEP_FREED_MEMORY), "plain_by_hand": ("plain", {})}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    per_cpu_second: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    measured: list[Measured] = []
    for number in range(repeat):
        for name, (side, environment) in sides.items():
            result = RUNS / f"{name}-{number}.json"
            command = [sys.executable, "-m", "bench.train", "--side", side, "--result", str(result)]
            measured.append(measure(command, {"OMP_NUM_THREADS": "1", **environment}))
            memory[name] = measured[-1].peak_pss_bytes / 1e6
            found = json.loads(result.read_bytes())
            speeds[name].append(statistics.median(found["tokens_per_second"][WARM_UP_STEPS:]))
            per_cpu_second[name].append(found["tokens_per_cpu_second"])
            losses[name] = found["losses"]
    claim = Claim("train")
    busy = disturbance(measured)
    for kind, rates in (("tokens_per_second", speeds), ("tokens_per_cpu_second", per_cpu_second)):
        for name in ("plain", "plain_by_hand"):
            ratios = [ours / theirs for ours, theirs in zip(rates["gptmill"], rates[name], strict=True)]
            claim.figure(f"{kind}_over_{name}", ratios)
    claim.goal("tokens_per_second_over_plain", at_least=0.9, unjudged=busy)
    claim.goal("tokens_per_cpu_second_over_plain", at_least=0.9)
    apart = max(abs(one - other) / other for one, other in zip(losses["gptmill"], losses["plain"], strict=True))
    claim.figure("largest_relative_difference_of_losses", apart)
    claim.goal("largest_relative_difference_of_losses", at_most=1e-3)
    for name in sides:
        claim.figure(f"tokens_per_second_{name}", speeds[name])
        claim.figure(f"tokens_per_cpu_second_{name}", per_cpu_second[name])
    for name in ("gptmill", "plain"):
        claim.figure(f"peak_megabytes_{name}", memory[name], "MB")
    return claim.finish()


def _job(directory: Path) -> TrainingJob:
    recipe = load_recipe("quickstart").recipe
    assert recipe.pretrain is not None
    settings = PretrainSettings(
        global_batch_tokens=recipe.pretrain.global_batch_tokens // PROCESSES_OF_THE_RECIPE,
        micro_batch_size=recipe.pretrain.micro_batch_size,
        steps=STEPS,
        zero=recipe.pretrain.zero,
        optimizer=AdamWSettings(lr=1e-3),
        schedule=ScheduleSettings(warmup_steps=0, final_fraction=1.0),
        parallel=ParallelSettings(data=1),
        threads_per_process=1,
        validation_every=0,
        checkpoint_every=0,
        log_every=1,
    )
    tokens = RUNS / "tokens"
    return TrainingJob(
        kind="pretrain",
        directory=directory,
        tokens=tokens,
        tokenizer=tokens / "tokenizer.json",
        model=recipe.model,
        settings=settings,
        seed=SEED,
    )


def _run_gptmill(job: TrainingJob) -> dict[str, Any]:
    from trainer.launch import launch

    steps: list[dict[str, Any]] = []
    errors: list[str] = []
    cpu_seconds: list[float] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            steps.append(event)
            (worker,) = psutil.Process().children()
            times = worker.cpu_times()
            cpu_seconds.append(times.user + times.system)
        elif event["event"] == "error":
            errors.append(event["message"])

    if launch(job, listen) != 0:
        raise UserError(f"the trainer failed: {' '.join(errors)}")
    return {
        "tokens_per_second": [step["tokens_per_second"] for step in steps],
        "tokens_per_cpu_second": _per_cpu_second(job, cpu_seconds),
        "losses": [step["loss"] for step in steps],
    }


def _per_cpu_second(job: TrainingJob, cpu_seconds: list[float]) -> float:
    """Tokens of the measured steps by the CPU time between their ends; the last step's may include the saving."""
    assert isinstance(job.settings, PretrainSettings)
    first, last = WARM_UP_STEPS - 1, len(cpu_seconds) - 2
    return (last - first) * job.settings.global_batch_tokens / (cpu_seconds[last] - cpu_seconds[first])


def _run_plain(job: TrainingJob) -> dict[str, Any]:
    """The loop that anyone would write, in one function."""
    import torch

    from trainer.data.order import SampleOrder
    from trainer.identity import open_inputs
    from trainer.model.declaration import declare_parameters
    from trainer.model.gpt import loss_sum
    from trainer.model.init import build_model
    from trainer.optim.build import build_optimizer
    from trainer.precision import choose_precision

    torch.set_num_threads(1)
    job.directory.mkdir(parents=True)
    inputs = open_inputs(job)
    model = build_model(inputs.shape, job.seed)
    optimizer = build_optimizer(
        dict(model.named_parameters()), declare_parameters(inputs.shape), job.settings.optimizer
    )
    mixed = choose_precision(job.settings.precision, "cpu") == "bf16"
    order = SampleOrder(inputs.data.train.rows, inputs.batches, job.seed)
    speeds, losses, cpu_seconds = [], [], []
    for step in range(inputs.steps):
        started = time.perf_counter()
        batch = inputs.data.train.batch(order.sample_ids(step))
        tokens, targets = torch.from_numpy(batch.inputs.copy()), torch.from_numpy(batch.targets.copy())
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = loss_sum(model(tokens), targets) / targets.numel()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), job.settings.gradient_clipping)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        speeds.append(targets.numel() / (time.perf_counter() - started))
        cpu_seconds.append(time.process_time())
    return {
        "tokens_per_second": speeds,
        "tokens_per_cpu_second": _per_cpu_second(job, cpu_seconds),
        "losses": losses,
    }


SIDES: dict[str, Callable[[TrainingJob], dict[str, Any]]] = {"gptmill": _run_gptmill, "plain": _run_plain}


if __name__ == "__main__":
    sys.exit(main())
