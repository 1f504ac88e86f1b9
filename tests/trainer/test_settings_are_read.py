"""A key of a recipe that nothing reads would be a promise that nobody keeps.

What is looked for is the attribute's name outside of the class that declares the key and of the tables that classify
keys, anywhere in trainer/ and jobs/. So a key whose name is also that of something else may pass unread; one that
nobody mentions cannot.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import trainer.settings
from trainer.finetune.settings import FinetuneSettings
from trainer.settings import ModelShape, PretrainSettings

ROOT = Path(trainer.settings.__file__).parents[2]
READ_BEFORE_THERE_ARE_FIELDS = {"ModelSettings.preset"}
"""The preset's values are put among those given; nothing is left to read."""


def classes_of(kind: Any) -> Iterator[type[BaseModel]]:
    """A settings class, its bases, and those of its fields."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from classes_of(field.annotation)
    for argument in get_args(kind):
        yield from classes_of(argument)


def declared() -> set[str]:
    found = set()
    for top in (PretrainSettings, FinetuneSettings, ModelShape):
        for kind in classes_of(top):
            for owner in kind.__mro__:
                if issubclass(owner, BaseModel):
                    found |= {f"{owner.__name__}.{key}" for key in inspect.get_annotations(owner) if key[0] != "_"}
    return {key for key in found if not key.endswith(".model_config")}


@pytest.fixture(scope="module")
def attributes() -> set[str]:
    """Names of all attributes that are read."""
    return {
        node.attr
        for package in ("trainer", "jobs")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def test_every_key_of_training_and_model_is_read(attributes: set[str]) -> None:
    keys = declared()
    assert {"TrainingSettings.z_loss", "WandbSettings.mode", "MuonAdamWSettings.betas", "RopeScaling.factor"} <= keys
    unread = {key for key in keys if key.split(".")[1] not in attributes}
    assert unread == READ_BEFORE_THERE_ARE_FIELDS
