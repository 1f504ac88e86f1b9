"""Several datasets as one: their rows, their fingerprint, and what does not fit together."""

import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from pipeline.errors import UserError
from tests.trainer.datasets import CONTEXT, write_token_dataset
from trainer.data.batch import TrainingData
from trainer.data.mixed_rows import plan_run
from trainer.data.mixture import MixtureOrder
from trainer.identity import Inputs, open_inputs
from trainer.job import TrainingJob
from trainer.settings import ModelSettings, PretrainSettings

BATCH = 4 * CONTEXT


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Two datasets of one tokenizer, the second with padding, and the tokenizer."""
    own, tokenizer = write_token_dataset(tmp_path / "own")
    other, _ = write_token_dataset(
        tmp_path / "other", shards=(30,), validation_rows=5, ends=((3, 9),), seed=8, fingerprint="data-2"
    )
    return {"own": own, "other": other, "tokenizer": tokenizer}


def settings_of(*mixture: dict[str, Any], **fields: Any) -> PretrainSettings:
    return PretrainSettings.model_validate(
        {"global_batch_tokens": BATCH, "steps": 10, "mixture": mixture, **fields}
    )  # fmt: skip


def opened(places: dict[str, Path], *mixture: dict[str, Any]) -> TrainingData:
    found = plan_run(settings_of(*mixture), str(places["own"]))
    return found.open(places["tokenizer"], places["own"].parent / "verified.json")


def inputs_of(places: dict[str, Path], *mixture: dict[str, Any], **job: Any) -> Inputs:
    directory = places["own"].parent / "pretrain"
    directory.mkdir(exist_ok=True)
    return open_inputs(
        TrainingJob(
            kind="pretrain",
            directory=directory,
            tokens=places["own"],
            tokenizer=places["tokenizer"],
            model=ModelSettings(layers=1, width=16, heads=2),
            settings=settings_of(*mixture),
            **job,
        )
    )


def both(places: dict[str, Path]) -> list[dict[str, Any]]:
    return [{"name": "own", "weight": 3}, {"name": "other", "data": str(places["other"]), "weight": 1}]


def test_training_rows_are_numbered_one_dataset_behind_the_other(places: dict[str, Path]) -> None:
    own, other = opened(places), opened(places, {"name": "x", "data": str(places["other"]), "weight": 1})
    mixed = opened(places, *both(places)).train
    assert mixed.rows == 64 + 30
    batch = mixed.batch([70, 3, 64, 63])
    of_own, of_other = own.train.batch([3, 63]), other.train.batch([6, 0])
    assert np.array_equal(batch.inputs[[1, 3]], of_own.inputs)
    assert np.array_equal(batch.targets[[0, 2]], of_other.targets)
    assert batch.segments is not None
    assert batch.mask is not None
    assert of_other.segments is not None
    assert of_other.mask is not None
    assert np.array_equal(batch.segments[[0, 2]], of_other.segments)
    assert np.array_equal(batch.mask[[0, 2]], of_other.mask)
    assert batch.mask[[1, 3]].all()
    with pytest.raises(IndexError, match="row 94 of 94"):
        mixed.batch([94])


def test_the_first_validation_rows_are_of_each_dataset_in_proportion(places: dict[str, Path]) -> None:
    own, other = opened(places), opened(places, {"name": "x", "data": str(places["other"]), "weight": 1})
    mixed = opened(places, *both(places)).validation
    assert mixed.rows == 15
    assert mixed.text_bytes == (own.validation.text_bytes or 0) + (other.validation.text_bytes or 0)
    rows_of_other = {row.tobytes() for row in other.validation.batch(range(5)).inputs}
    from_other = [row.tobytes() in rows_of_other for row in mixed.batch(range(15)).inputs]
    assert [sum(from_other[:end]) for end in (3, 6, 9, 12, 15)] == [1, 2, 3, 4, 5]


def test_a_run_of_one_dataset_is_the_same_run_with_and_without_a_mixture(places: dict[str, Path]) -> None:
    plain, mixed = inputs_of(places), inputs_of(places, {"name": "anything", "weight": 1})
    assert mixed.fingerprint == plain.fingerprint
    for step in range(10):
        rows = [run.order().sample_ids(step) for run in (plain, mixed)]
        digests = {run.data.train.batch(ids).digest() for run, ids in zip((plain, mixed), rows, strict=True)}
        assert len(digests) == 1


def test_what_is_drawn_and_from_what_is_part_of_the_runs_identity(places: dict[str, Path], tmp_path: Path) -> None:
    first = inputs_of(places, *both(places))
    assert isinstance(first.order(), MixtureOrder)
    weights = both(places)
    weights[0]["weight"] = 1
    assert inputs_of(places, *weights).fingerprint != first.fingerprint
    assert inputs_of(places).fingerprint != first.fingerprint
    moved = places["other"].rename(tmp_path / "moved")
    assert inputs_of({**places, "other": moved}, *both({**places, "other": moved})).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tokenizer_fingerprint": "abc"},
            r"own/tokens/tokens.json and .*other/tokens/tokens.json have different token",
        ),
        ({"vocab_size": 62}, r"have different vocabulary sizes \(61 and 62\)"),
        ({"context_length": 8}, r"have different context lengths \(16 and 8\): make one of them again like the other"),
    ],
)
def test_datasets_that_do_not_fit_together_are_refused_both_named(
    places: dict[str, Path], change: dict[str, Any], message: str
) -> None:
    path = places["other"] / "tokens.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=message):
        inputs_of(places, *both(places))


def test_a_damaged_shard_of_any_dataset_is_named(places: dict[str, Path]) -> None:
    inputs_of(places, *both(places))
    (places["other"] / "train/shard-00000.arrow").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"other/tokens/train/shard-00000.arrow does not have the sha256"):
        inputs_of(places, *both(places))


def test_a_dataset_may_be_named_by_its_run_and_one_that_is_not_there_is_refused(places: dict[str, Path]) -> None:
    entry = {"name": "other", "data": str(places["other"].parent), "weight": 1}
    assert opened(places, entry).train.rows == 30
    with pytest.raises(UserError, match=r"nowhere/tokens.json does not exist"):
        opened(places, {**entry, "data": "nowhere"})


def test_a_dataset_in_an_object_store_is_drawn_from_as_one_on_disk(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    for path in places["other"].rglob("*.*"):
        memory.pipe_file(f"/mixture/tokens/{path.relative_to(places['other'])}", path.read_bytes())
    local = inputs_of(places, *both(places))
    entries = both(places)
    entries[1]["data"] = "memory://mixture"
    remote = inputs_of(places, *entries)
    assert remote.fingerprint == local.fingerprint
    for step in range(10):
        ids = remote.order().sample_ids(step)
        assert remote.data.train.batch(ids).digest() == local.data.train.batch(ids).digest()
    assert len(list((tmp_path / "cache" / "gptmill" / "shards").glob("*.arrow"))) == 1
    memory.rm("/mixture", recursive=True)


def test_another_context_length_than_the_recipes_is_refused(places: dict[str, Path]) -> None:
    assert inputs_of(places, context_length=CONTEXT).data.context_length == CONTEXT
    with pytest.raises(UserError, match=r"rows of 16 tokens, the recipe's tokens.context_length is 32: run the tokens"):
        inputs_of(places, context_length=32)
