"""Cases that combine options so that every two values which go together are together in one case at least.

The full product of all options would be thousands; most faults need two of them (pairwise testing).
"""

import random
from itertools import combinations
from typing import Any

from tests.parallel.cases import Case, layout_of

OPTIONS: dict[str, tuple[Any, ...]] = {
    "sizes": ((2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 1), (2, 1, 2), (1, 2, 2), (2, 2, 2)),
    "zero": (0, 1, 2, 3),
    "model": ("tied", "untied", "tied modern", "banded"),
    "data": ("ragged", "full", "documents", "prefix", "ramp"),
    "parts": (1, 2),
    "sequence": (False, True),
    "checkpointing": ("none", "blocks"),
    "z_loss": (0.0, 0.01),
    "offload": (False, True),
}


def is_supported(chosen: dict[str, Any]) -> bool:
    """As the trainer's table of refusals says."""
    _, tensor, pipeline = chosen["sizes"]
    if chosen["sequence"] and tensor == 1:
        return False
    if chosen["zero"] > 1 and pipeline > 1:
        return False
    return not (chosen["offload"] and chosen["zero"] == 0)


def pairs_of(chosen: dict[str, Any]) -> set[tuple[Any, ...]]:
    return set(combinations(chosen.items(), 2))


def pairwise() -> list[dict[str, Any]]:
    """Greedy: of some random choices always the one with most new pairs, until there are no new ones."""
    draw = random.Random(0)

    def some(number: int) -> list[dict[str, Any]]:
        drawn = [{name: draw.choice(values) for name, values in OPTIONS.items()} for _ in range(number)]
        return [chosen for chosen in drawn if is_supported(chosen)]

    missing = possible_pairs()
    found: list[dict[str, Any]] = []
    while missing:
        best = max(some(60), key=lambda chosen: len(pairs_of(chosen) & missing))
        if new := pairs_of(best) & missing:
            found.append(best)
            missing -= new
    return found


def possible_pairs() -> set[tuple[Any, ...]]:
    """All that some supported choice has: what refuses two values never depends on a third."""
    pairs = set()
    for (one, ones), (two, others) in combinations(OPTIONS.items(), 2):
        for first in ones:
            for second in others:
                # The rest is chosen such that nothing else refuses it.
                mild = {name: values[0] for name, values in OPTIONS.items()} | {"sizes": (2, 2, 1), "zero": 1}
                if is_supported(mild | {one: first, two: second}):
                    pairs.add(((one, first), (two, second)))
    return pairs


def case_of(chosen: dict[str, Any]) -> Case:
    options: dict[str, Any] = {}
    if chosen["checkpointing"] != "none":
        options["activation_checkpointing"] = chosen["checkpointing"]
    if chosen["z_loss"]:
        options["z_loss"] = chosen["z_loss"]
    if chosen["offload"]:
        options["offload_optimizer"] = True
    data, tensor, pipeline = chosen["sizes"]
    layout = layout_of(data, tensor, pipeline, chosen["zero"], chosen["parts"], sequence=chosen["sequence"])
    return Case(chosen["model"], layout, chosen["data"], tuple(options.items()))
