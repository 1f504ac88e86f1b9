"""Exact resume: runs that are killed at random moments end bit for bit as one that nothing happened to.

    python -m bench.resume [--seeds N]

Each seed kills a process of a run with SIGKILL four times: in a step, in a save, in a validation and in a load, in
random order and at random moments of them; the run is started again each time. Its losses, gradient norms, learning
rates, rows of data and final weights are compared with those of an undisturbed run in the same layout (data 2 with
ZeRO 1 and 3, tensor 2, pipeline 2, in turns). Each start must go on from the newest checkpoint on disk, and all of them
must be whole: a kill costs the steps since, and nothing else. A background save may still be on its way when the next
one is due, so that at most the steps of two intervals are done again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import Counter

from bench.harness import CACHE, Claim
from bench.resume_run import CHECKPOINT_EVERY, MOMENTS, Runs

RUNS = CACHE / "runs" / "resume"
SEEDS = 50


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0 when the goals are met. The runs of seeds that fail are kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.resume", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs that are killed (default {SEEDS})")
    parser.add_argument("--first", type=int, default=0, help="number of the first seed (default 0)")
    given = parser.parse_args(arguments)
    shutil.rmtree(RUNS, ignore_errors=True)
    RUNS.mkdir(parents=True)
    runs, survived, seconds = Runs(RUNS), [], []
    for seed in range(given.first, given.first + given.seeds):
        started = time.perf_counter()
        found = runs.survive(seed)
        seconds.append(time.perf_counter() - started)
        survived.append(found)
        print(f"seed {seed}: killed in {', '.join(found.kills)}; {found.faults or 'bit-equal'}", file=sys.stderr)
    kills = Counter(moment for found in survived for moment in found.kills)
    claim = Claim("resume")
    claim.figure("seeds", given.seeds)
    claim.figure("seeds_that_ended_bit_equal", sum(not found.faults for found in survived))
    claim.goal("seeds_that_ended_bit_equal", equals=given.seeds)
    for moment in MOMENTS:
        claim.figure(f"kills_in_a_{moment}", kills[moment])
    claim.figure("steps_lost_by_a_kill", [lost for found in survived for lost in found.steps_lost], "steps")
    claim.figure("most_steps_lost_by_a_kill", max(lost for found in survived for lost in found.steps_lost), "steps")
    claim.goal("most_steps_lost_by_a_kill", at_most=2 * CHECKPOINT_EVERY)
    claim.figure("seconds_a_seed", seconds, "s")
    if not any(found.faults for found in survived):
        shutil.rmtree(RUNS)
    return claim.finish()


if __name__ == "__main__":
    sys.exit(main())
