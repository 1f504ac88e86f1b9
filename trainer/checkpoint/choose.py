"""Which checkpoint a run goes on from: the newest that is as it was written.

All processes read: each verifies the checksums of its share of the files, several at a time, so a check costs the
reading of the state once over all machines. A damaged checkpoint is named with what is wrong with it, and the one
before it is taken; when all are damaged that is an error, since starting anew would throw a run away.
"""

from collections.abc import Callable
from pathlib import Path

from pipeline.errors import UserError
from trainer.checkpoint import directory as on_disk
from trainer.checkpoint.copies import fetch_newest
from trainer.checkpoint.seal import damage, read_seal
from trainer.ranks import Ranks


def choose_checkpoint(
    checkpoints: Path,
    ranks: Ranks,
    warn: Callable[[str], None],
    copies: str | None = None,
    at_most: int | None = None,
) -> Path | None:
    """The newest whole checkpoint of at most so many steps, the same on all processes; None when there is none.

    What killed processes left is removed. `copies` is where finished checkpoints were copied to: looked at when the
    folder has none. Raises UserError when there are checkpoints and all are damaged.
    """
    problem: str | None = None
    names: list[str] = []
    if ranks.is_first:
        try:
            checkpoints.mkdir(parents=True, exist_ok=True)
            on_disk.remove_temporary(checkpoints)
        except OSError as fault:
            problem = f"{checkpoints} cannot hold checkpoints ({fault}): make it a folder that can be written"
        try:
            if problem is None and copies is not None and not on_disk.list_checkpoints(checkpoints):
                fetched = fetch_newest(copies, checkpoints, warn)
                if fetched is not None:
                    warn(f"{checkpoints} was empty: fetched {fetched.name} from {copies}")
        except Exception as fault:
            problem = (
                f"no checkpoint could be fetched from {copies} ({type(fault).__name__}: {fault}): mend that, or remove "
                "checkpoint_copy to start from the beginning"
            )
        names = [
            path.name
            for path in on_disk.list_checkpoints(checkpoints)
            if at_most is None or (on_disk.step_of(path.name) or 0) <= at_most
        ]
    problem, names = ranks.from_first((problem, names))
    if problem:
        raise UserError(problem)
    for name in names:
        then = "using the one before it" if name != names[-1] else "there is none before it"
        found = [one for one in ranks.from_all(damage_of_share(checkpoints / name, ranks.rank, ranks.world)) if one]
        if not found:
            return checkpoints / name
        warn(f"checkpoint {checkpoints / name} is damaged ({found[0]}): {then}")
    if names:
        raise on_disk.all_damaged(checkpoints)
    return None


def damage_of_share(checkpoint: Path, rank: int, world: int) -> str | None:
    """What one of `world` processes finds wrong with a checkpoint when each reads its share of the files."""
    try:
        files = read_seal(checkpoint)["files"]
    except ValueError as fault:
        return str(fault)
    by_size = sorted(files, key=lambda name: (-int(files[name]["size"]), name))
    return damage(checkpoint, by_size[rank::world])
