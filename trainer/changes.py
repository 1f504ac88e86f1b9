"""What it means to continue a run with another recipe than it began with.

Every key of the recipe is in one of these classes (a test holds that none is forgotten):

    harmless        changes how fast, where, or how visibly the run is trained, not what is learned
    optimisation    changes what is learned from here on: needs `--allow`, and is told in events and manifest
    impossible      the state of the run has no meaning under it: refused
    represented     not compared itself; what follows from it is (`steps`, `rows_per_step`, fingerprints)

A run's identity (`trainer.identity`) holds the keys of the classes optimisation and impossible alone, so a harmless
change does not make another run of it.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import SettingError, UserError
from trainer.job import TrainingJob

ChangeClass = Literal["harmless", "optimisation", "impossible", "represented"]

HARMLESS = {
    "micro_batch_size": "the sum over a step is the same",
    "threads_per_process": "speed alone",
    "compile": "the same arithmetic, rounded differently",
    "activation_checkpointing": "computes again what it does not keep",
    "offload_optimizer": "the same arithmetic elsewhere",
    "parallel": "the state is the same, sums are rounded differently",
    "zero": "the state is the same, sums are rounded differently",
    "precision": "weights and moments stay fp32; rounding differs from here on",
    "validation_every": "measures",
    "validation_rows": "measures",
    "checkpoint_every": "saves",
    "keep_last": "saves",
    "keep_every": "saves",
    "asynchronous_checkpoints": "saves",
    "checkpoint_copy": "saves",
    "watch": "watches",
    "sample_every": "shows",
    "sample_prompts": "shows",
    "log_every": "shows",
    "device_teraflops": "shows",
    "norms_every": "shows",
    "tensorboard": "shows",
    "wandb": "shows",
    "profile": "shows",
    "shard_cache": "where data is kept",
    "shard_cache_bytes": "where data is kept",
}
"""Top-level key of the settings -> why it does not change what is learned."""

REPRESENTED = frozenset(
    {
        "steps",
        "epochs",
        "tokens",
        "global_batch_tokens",
        "batch_size",
        "data",
        "mixture",
        "init_from",
    }
)
"""Keys whose effect is in the derived steps, rows, drawn rows of a mixture, or fingerprint of a content."""

OPTIMISATION = frozenset(
    {
        "optimizer",
        "schedule",
        "gradient_clipping",
        "loss_scale",
        "z_loss",
        "stability",
        "batch_ramp",
        "deepspeed_extra",
    }
)

IMPOSSIBLE = {
    "document_attention": "the model would see other context than it learned with",
    "objective": "the model would be asked another question than it learned to answer",
    "template": "the conversations would be written in another way",
    "max_tokens": "the rows would be cut in another way",
    "too_long": "other conversations would be left out",
    "validation_fraction": "rows that were trained on would be measured on",
}
"""Top-level key of the settings -> why."""

_IMPOSSIBLE_OF_THE_OPTIMIZER = {"settings.optimizer.kind": "its state is not what this one keeps of each weight"}
_DERIVED: dict[str, tuple[ChangeClass, str]] = {
    "code_version": ("optimisation", "this version of gptmill computes something else"),
    "steps": ("optimisation", "the schedule over the rest of the run"),
    "seed": ("optimisation", "another order of the data: rows may be seen twice or not at all"),
    "rows_per_step": ("optimisation", "another batch: step N begins elsewhere in the data"),
    "mixture": ("optimisation", "other parts of the datasets: rows may be seen twice or not at all"),
    "kind": ("impossible", "pretraining and finetuning are different runs"),
    "data": ("impossible", "the data is not what the run began with"),
    "tokenizer": ("impossible", "token ids mean other words"),
    "initial_weights": ("impossible", "the run began from other weights"),
    "model": ("impossible", "the weights have other shapes or another meaning"),
}
"""First part of a name in the identity -> its class, and what the change means."""

_SEEN_AS = {
    "global_batch_tokens": "rows_per_step",
    "batch_size": "rows_per_step",
    "epochs": "steps",
    "tokens": "steps",
}
"""Key of the recipe -> the name in the identity that shows its effect; `--allow` takes either."""

NOT_IN_IDENTITY = frozenset(HARMLESS) | REPRESENTED
"""Keys of the settings that are left out of a run's identity."""
MOVING_THE_DATA = ("seed", "rows_per_step", "mixture", "settings.batch_ramp")
"""Changes after which the next batch may be another: its hash cannot be compared any more."""
_HARMLESS_OF_THE_MODEL = ("model.preset",)
_OPTIMISATION_OF_THE_MODEL = ("model.dropout",)


@dataclass(frozen=True)
class Change:
    """One name whose value is not what it was."""

    name: str
    before: Any
    now: Any
    kind: ChangeClass
    meaning: str

    def __str__(self) -> str:
        return f"{self.name} was {self.before}, is {self.now}"


def class_of(name: str) -> tuple[ChangeClass, str]:
    """Class and meaning of a name in a run's identity or recipe (`settings.optimizer.lr`, `model.layers`, `data`).

    Raises:
        KeyError: it is in no class.
    """
    first, _, rest = name.partition(".")
    if first == "settings":
        key = rest.partition(".")[0]
        if key in HARMLESS:
            return "harmless", HARMLESS[key]
        if key in REPRESENTED:
            return "represented", ""
        if name in _IMPOSSIBLE_OF_THE_OPTIMIZER:
            return "impossible", _IMPOSSIBLE_OF_THE_OPTIMIZER[name]
        if key in OPTIMISATION:
            return "optimisation", "what is learned from here on"
        return "impossible", IMPOSSIBLE[key]
    if name in _OPTIMISATION_OF_THE_MODEL:
        return "optimisation", "what is learned from here on"
    if name in _HARMLESS_OF_THE_MODEL:
        return "represented", ""
    return _DERIVED[first]


def recipe_of(job: TrainingJob) -> dict[str, Any]:
    """Name -> value of every setting of a job, whatever its class; kept beside the identity, to name what changed."""
    return flat("settings", job.settings.model_dump(mode="json"))


def changes(
    identity: Mapping[str, Any], recipe: Mapping[str, Any], identity_now: Mapping[str, Any], job: TrainingJob
) -> list[Change]:
    """What differs between a saved run (its identity and recipe) and the job that continues it."""
    now = recipe_of(job)
    harmless = {name for name in {*recipe, *now} if _class_or_none(name) == "harmless"}
    pairs = [(name, recipe.get(name), now.get(name)) for name in harmless if recipe]
    pairs += [(name, identity.get(name), identity_now.get(name)) for name in {*identity, *identity_now}]
    found = []
    for name, before, after in sorted(pairs, key=lambda pair: pair[0]):
        if before != after:
            kind, meaning = _known_class(name)
            found.append(Change(name, before, after, kind, meaning))
    return found


def require_allowed(found: Iterable[Change], allowed: Iterable[str], where: str) -> list[Change]:
    """The changes of optimisation, all of which must be allowed.

    Args:
        found: What `changes` found.
        allowed: Words of `--allow`: a part of a name (`lr`, `schedule`, `optimizer.lr`), or `all`.
        where: The checkpoint that would be continued, for the message.

    Raises:
        UserError: a change is impossible, or one that changes what is learned is not allowed; names all of them.
    """
    found = list(found)
    words = list(allowed)
    if impossible := [change for change in found if change.kind == "impossible"]:
        lines = "; ".join(f"{change} ({change.meaning})" for change in impossible)
        raise UserError(
            f"{where} cannot be continued with this recipe: {lines}. Set these back, or start a new run in another "
            "`run:` directory (`pretrain.init_from` takes the weights over)"
        )
    learned = [change for change in found if change.kind == "optimisation"]
    if refused := [change for change in learned if not is_allowed(change.name, words)]:
        lines = "; ".join(f"{change} ({change.meaning})" for change in refused)
        names = ",".join(dict.fromkeys(short_name(change.name) for change in refused))
        raise UserError(
            f"{where} was made with other settings: {lines}. Set them back, or say `--allow {names}` (or `--allow all`)"
        )
    return learned


def is_allowed(name: str, words: Iterable[str]) -> bool:
    """Whether a name is meant by one of the words: `lr` by settings.optimizer.lr, `schedule` by all of schedule."""
    return any(word == "all" or f".{_SEEN_AS.get(word, word)}." in f".{name}." for word in words)


def short_name(name: str) -> str:
    """The shortest usual word for a name: its last part in `optimizer`, else its section."""
    parts = name.split(".")
    if parts[0] == "settings":
        return parts[2] if parts[1] == "optimizer" and len(parts) > 2 else parts[1]
    return parts[0]


def check_words(words: Iterable[str], names: Collection[str]) -> None:
    """Raises SettingError for a word of `--allow` that is no part of any of the names of a run's identity, and no other
    key of the settings: what is harmless may be named, too."""
    known = {part for name in names for part in _sections(name)} | NOT_IN_IDENTITY
    for word in words:
        if word != "all" and word not in known:
            close = difflib.get_close_matches(word, sorted(part for part in known if "." not in part), 1)
            usual = dict.fromkeys(short_name(name) for name in names if _class_or_none(name) == "optimisation")
            hint = f"did you mean {close[0]}?" if close else f"known: all, {', '.join(sorted(usual))}"
            raise SettingError(f"--allow {word}: no setting has this name; {hint}")


def moves_the_data(found: Iterable[Change]) -> bool:
    """Whether one of the changes makes the data of the next step another."""
    return any(change.name.startswith(MOVING_THE_DATA) for change in found)


def flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values by dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}"
        found |= flat(name, value) if isinstance(value, dict) else {name: value}
    return found


def _sections(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[start:end]) for start in range(len(parts)) for end in range(start + 1, len(parts) + 1)]


def _known_class(name: str) -> tuple[ChangeClass, str]:
    try:
        return class_of(name)
    except KeyError:  # of another version: its effect is not known
        return "optimisation", "this version of gptmill does not know it"


def _class_or_none(name: str) -> ChangeClass | None:
    try:
        return class_of(name)[0]
    except KeyError:
        return None
