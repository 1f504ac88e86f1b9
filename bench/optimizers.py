"""AdamW, Adafactor and Muon side by side: what they learn from the same bytes, what they remember, what a step takes.

    python -m bench.optimizers [--data FILE] [--steps N]

A small GPT over bytes (context 128) is trained on text, the sources of Python's standard library where no file is
given, by a plain loop: same initial weights, same rows in the same order, same schedule (2 % warm-up, cosine to a
tenth). Each optimizer has three peak learning rates; told is the lowest loss on bytes held out, in bits a byte, with
its rate. Seconds of a step (one thread) are those of the quickstart's model, whose gradient is taken as given, beside
its forward and backward pass over one batch. This is a comparison and no claim: there are no goals.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness import Claim
from pipeline.errors import UserError
from trainer.data.order import SampleOrder
from trainer.optim.schedule import learning_rate
from trainer.settings import (
    AdafactorSettings,
    AdamWSettings,
    ModelSettings,
    ModelShape,
    MuonSettings,
    OptimizerSettings,
    ScheduleSettings,
)

CONTEXT = 128
ROWS = 16
HELD_OUT = 128
RATES = {"adamw": (1e-3, 3e-3, 6e-3), "adafactor": (1e-3, 3e-3, 6e-3), "muon": (3e-3, 6e-3, 1.2e-2)}
CLASSES: dict[str, Any] = {"adamw": AdamWSettings, "adafactor": AdafactorSettings, "muon": MuonSettings}
LEARNER = ModelSettings(layers=4, width=128, heads=4).shaped(vocab_size=256, context_length=CONTEXT)
QUICKSTART = ModelSettings.model_validate({"preset": "modern-3m"}).shaped(vocab_size=8192, context_length=256)
REPEATS = 5


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, as there is no goal."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m bench.optimizers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="a text file to learn from")
    parser.add_argument("--steps", type=int, default=250, help="steps of each run (default 250)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = _rows_of(_text(given.data))
    claim = Claim("optimizers")
    claim.figure("tokens_of_a_run", given.steps * ROWS * CONTEXT)
    for kind, rates in RATES.items():
        found = {rate: _learn(CLASSES[kind](kind=kind, lr=rate), rows, given.steps) for rate in rates}
        best = min(found, key=lambda rate: found[rate])
        claim.figure(f"bits_per_byte_{kind}", found[best])
        claim.figure(
            f"bits_per_byte_{kind}_by_rate", ", ".join(f"{rate:g}: {loss:.3f}" for rate, loss in found.items())
        )
    passes = _seconds_of_passes(QUICKSTART)
    claim.figure("milliseconds_forward_and_backward", [1e3 * seconds for seconds in passes], "ms")
    for kind in RATES:
        seconds, bytes_kept = _seconds_of_steps(QUICKSTART, CLASSES[kind](kind=kind))
        claim.figure(f"milliseconds_step_{kind}", [1e3 * one for one in seconds], "ms")
        claim.figure(f"part_of_forward_and_backward_{kind}", statistics.median(seconds) / statistics.median(passes))
        claim.figure(f"bytes_remembered_a_parameter_{kind}", bytes_kept)
    return claim.finish()


def _text(path: Path | None) -> bytes:
    if path is not None:
        return path.read_bytes()
    folder = Path(sysconfig.get_paths()["stdlib"])
    return b"\n".join(file.read_bytes() for file in sorted(folder.glob("*.py")))


def _rows_of(text: bytes) -> npt.NDArray[np.int64]:
    """[rows, CONTEXT + 1]: each row with the byte after it."""
    count = (len(text) - 1) // CONTEXT
    if count < 2 * HELD_OUT:
        raise UserError(f"{len(text):,} bytes are too few: give at least {2 * HELD_OUT * CONTEXT + 1:,}")
    values = np.frombuffer(text, np.uint8).astype(np.int64)
    starts = np.arange(count) * CONTEXT
    rows: npt.NDArray[np.int64] = values[starts[:, None] + np.arange(CONTEXT + 1)]
    return rows


def _learn(settings: OptimizerSettings, rows: npt.NDArray[np.int64], steps: int) -> float:
    """Bits a byte on the rows held out, every so many-th of all, after training on the others."""
    import torch

    from trainer.model.declaration import declare_parameters
    from trainer.model.gpt import loss_sum
    from trainer.model.init import build_model
    from trainer.optim.build import build_optimizer

    held_out = np.zeros(len(rows), np.bool_)
    held_out[:: len(rows) // HELD_OUT] = True
    train, test = rows[~held_out], rows[held_out][:HELD_OUT]
    model = build_model(LEARNER, seed=1)
    optimizer = build_optimizer(dict(model.named_parameters()), declare_parameters(LEARNER), settings)
    order, schedule = SampleOrder(len(train), ROWS, seed=1), ScheduleSettings()
    for step in range(steps):
        batch = torch.from_numpy(train[order.sample_ids(step)])
        loss = loss_sum(model(batch[:, :-1]), batch[:, 1:]) / (ROWS * CONTEXT)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(schedule, settings.lr, step, steps)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        batches = [torch.from_numpy(part) for part in np.array_split(test, 8)]
        nats = sum(loss_sum(model(batch[:, :-1]), batch[:, 1:]).item() for batch in batches)
    return float(nats / test[:, 1:].size / np.log(2))


def _seconds_of_passes(shape: ModelShape) -> list[float]:
    import torch

    from trainer.model.gpt import loss_sum
    from trainer.model.init import build_model

    model = build_model(shape, seed=1)
    tokens = torch.randint(shape.vocab_size, (16, shape.context_length + 1), generator=torch.Generator().manual_seed(1))
    seconds = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        loss_sum(model(tokens[:, :-1]), tokens[:, 1:]).backward()  # type: ignore[no-untyped-call]
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def _seconds_of_steps(shape: ModelShape, settings: OptimizerSettings) -> tuple[list[float], float]:
    """Of steps after the first, and the bytes that the optimizer remembers for each parameter."""
    import torch

    from trainer.model.declaration import declare_parameters, parameter_count
    from trainer.model.init import build_model
    from trainer.optim.build import build_optimizer
    from trainer.optim.state import make_state, state_kinds

    model = build_model(shape, seed=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer = build_optimizer(dict(model.named_parameters()), declare_parameters(shape), settings)
    make_state(optimizer)
    seconds = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    kept = sum(values.nbytes for item in model.parameters() for values in state_kinds(optimizer, item).values())
    return seconds[1:], kept / parameter_count(shape)


if __name__ == "__main__":
    sys.exit(main())
