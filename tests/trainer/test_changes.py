"""What it means to continue a run with another recipe: every key has a class, and the class decides."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from pipeline.errors import SettingError, UserError
from tests.trainer.test_identity import inputs
from trainer import changes as classes
from trainer.changes import (
    changes,
    check_words,
    class_of,
    is_allowed,
    moves_the_data,
    recipe_of,
    require_allowed,
)
from trainer.finetune.settings import FinetuneSettings
from trainer.settings import ModelShape, PretrainSettings


def fields() -> Iterator[str]:
    kinds: tuple[type[BaseModel], ...] = (PretrainSettings, FinetuneSettings)
    for kind in kinds:
        yield from (f"settings.{name}" for name in kind.model_fields)
    yield from (f"model.{name}" for name in ModelShape.model_fields)


def test_every_key_of_the_recipe_is_in_exactly_one_class() -> None:
    for name in fields():
        assert class_of(name)[0] in ("harmless", "optimisation", "impossible", "represented"), name
    tables = [set(classes.HARMLESS), classes.REPRESENTED, classes.OPTIMISATION, set(classes.IMPOSSIBLE)]
    assert sum(map(len, tables)) == len(set.union(*map(set, tables)))
    known = {name.removeprefix("settings.") for name in fields()}
    assert set.union(*map(set, tables)) <= known, "a class names a key that no settings have"


def test_every_name_of_an_identity_is_in_a_class(tmp_path: Path) -> None:
    for name in inputs(tmp_path).identity:
        assert class_of(name)[0] in ("optimisation", "impossible"), name


def differing(tmp_path: Path, **now: Any) -> tuple[Any, list[classes.Change]]:
    before, after = inputs(tmp_path), inputs(tmp_path, **now)
    return after, changes(before.identity, recipe_of(before.job), after.identity, after.job)


def test_a_harmless_change_is_told_and_needs_no_permission(tmp_path: Path) -> None:
    _, found = differing(tmp_path, log_every=1, micro_batch_size=2, parallel={"data": 2}, watch={"restarts": 3})
    assert [str(change) for change in found] == [
        "settings.log_every was 10, is 1",
        "settings.micro_batch_size was 8, is 2",
        "settings.parallel.data was None, is 2",
        "settings.watch.restarts was 0, is 3",
    ]
    assert require_allowed(found, (), "here") == []
    assert not moves_the_data(found)


def test_what_changes_learning_needs_to_be_allowed_by_name(tmp_path: Path) -> None:
    _, found = differing(tmp_path, optimizer={"lr": 0.5}, schedule={"kind": "linear"}, gradient_clipping=0.5)
    with pytest.raises(UserError, match=r"lr was 0.0006, is 0.5.*--allow gradient_clipping,lr,schedule"):
        require_allowed(found, (), "here")
    with pytest.raises(UserError, match=r"gradient_clipping was 1.0, is 0.5 .*--allow gradient_clipping`"):
        require_allowed(found, ("lr", "schedule"), "here")
    for words in (("all",), ("lr", "schedule", "gradient_clipping"), ("optimizer.lr", "schedule", "gradient_clipping")):
        assert len(require_allowed(found, words, "here")) == 3


def test_another_model_is_refused_whatever_is_allowed(tmp_path: Path) -> None:
    _, found = differing(tmp_path, layers=3)
    with pytest.raises(UserError, match=r"model.layers was 2, is 3 \(the weights have other shapes.*init_from"):
        require_allowed(found, ("all",), "here")


def test_another_batch_or_order_means_that_the_next_data_is_not_compared(tmp_path: Path) -> None:
    assert moves_the_data(differing(tmp_path, global_batch_tokens=256)[1])
    assert moves_the_data(differing(tmp_path, seed=5)[1])
    assert not moves_the_data(differing(tmp_path, optimizer={"lr": 0.5})[1])


@pytest.mark.parametrize(
    ("name", "word", "allowed"),
    [
        ("settings.optimizer.lr", "lr", True),
        ("settings.optimizer.lr", "optimizer", True),
        ("settings.optimizer.lr", "optimizer.lr", True),
        ("settings.optimizer.lr", "r", False),
        ("settings.schedule.warmup_steps", "warmup", False),
        ("mixture.books", "mixture", True),
        ("steps", "all", True),
    ],
)
def test_a_word_means_whole_parts_of_a_name(name: str, word: str, allowed: bool) -> None:
    assert is_allowed(name, [word]) is allowed


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("global_batch_tokens", "rows_per_step"),
        ("batch_size", "rows_per_step"),
        ("tokens", "steps"),
        ("epochs", "steps"),
    ],
)
def test_a_key_of_the_recipe_allows_what_it_changes_in_the_run(tmp_path: Path, word: str, name: str) -> None:
    check_words([word], inputs(tmp_path).identity)
    assert is_allowed(name, [word])
    assert not is_allowed("settings.optimizer.lr", [word])


def test_what_needs_no_word_may_have_one(tmp_path: Path) -> None:
    check_words(["micro_batch_size", "zero", "checkpoint_every"], inputs(tmp_path).identity)


def test_a_word_that_names_nothing_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    names = inputs(tmp_path).identity
    check_words(["lr", "schedule", "all", "steps", "optimizer.lr"], names)
    with pytest.raises(SettingError, match="--allow shedule: no setting has this name; did you mean schedule"):
        check_words(["shedule"], names)


def test_a_setting_of_another_version_is_taken_for_one_that_matters(tmp_path: Path) -> None:
    now = inputs(tmp_path)
    before = {**now.identity, "settings.future": 1}
    (found,) = changes(before, recipe_of(now.job), now.identity, now.job)
    assert (found.kind, found.before, found.now) == ("optimisation", 1, None)


def test_another_optimizer_cannot_go_on_whatever_is_allowed(tmp_path: Path) -> None:
    _, found = differing(tmp_path, optimizer={"kind": "muon"})
    with pytest.raises(UserError, match=r"cannot be continued .*optimizer.kind was adamw, is muon \(its state"):
        require_allowed(found, ("all",), "here")
