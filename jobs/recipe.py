"""YAML and overrides to a typed recipe; all errors at once, each with file, line and key.

    load_recipe("quickstart", ["pretrain.steps=10", "stages.language.min_score=0.5"])

A recipe is given by its path or by the name of a shipped one (configs/). OmegaConf reads it (so `${...}` refers to
other keys), the settings classes of pipeline/ and trainer/ check it. Nothing else is ever read from a recipe: a key
that no class knows is an error with a suggestion.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, Field, SerializeAsAny, Tag, TypeAdapter, ValidationError

from jobs.recipe_lines import Location, Problem, RecipeLines, dotted
from pipeline.errors import UserError
from pipeline.instructions.python_docs import PythonDocsQuestions
from pipeline.registry import SOURCES, STAGES, source_class, stage_class
from pipeline.settings import Settings, help_of
from pipeline.sources.source import Source
from pipeline.stage import Stage
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokens.settings import TokensSettings
from trainer.finetune.settings import FinetuneSettings
from trainer.generate.settings import GenerateSettings
from trainer.settings import ModelSettings, PretrainSettings


class RecipeError(UserError):
    """The recipe or an override is wrong. Exit code 2."""

    exit_code = 2


class Recipe(Settings):
    """One run, from raw text to a chat model. Steps whose section is missing are not done."""

    run: str
    """Directory of the run: local path or any fsspec URL. Everything it makes lives there."""
    seed: int = Field(default=0, ge=0)
    """Drives every random choice: initial weights, sample order, sampling."""
    workers: int | None = Field(default=None, ge=1)
    """Worker processes of the embedded Ray; null: all cores. Does not change any output."""
    max_bad_fraction: float = Field(default=0.01, ge=0, le=1)
    """Share of records that may be unreadable (they are quarantined) before the job fails."""
    sources: list[SerializeAsAny[Source]] = Field(min_length=1)
    """What to read: a list of source kinds with their fields."""
    stages: list[SerializeAsAny[Stage]] = Field(default=[])
    """What to do with each document, in order: a list of stage names with their fields."""
    tokenizer: TokenizerSettings | None = None
    """The BPE tokenizer to train on the clean corpus."""
    tokens: TokensSettings | None = None
    """The token dataset to write."""
    model: ModelSettings | None = None
    """The GPT to pretrain."""
    pretrain: PretrainSettings | None = None
    """How to pretrain it."""
    questions: PythonDocsQuestions | None = None
    """Question and answer pairs to make from the corpus, for `finetune`."""
    finetune: FinetuneSettings | None = None
    """How to tune it on conversations."""
    generate: GenerateSettings = GenerateSettings()
    """How to draw text from the model."""


_NEEDS = {
    "tokens": ("tokenizer",),
    "pretrain": ("tokens", "model"),
    "finetune": ("pretrain",),
}


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with everything that is saved beside a run."""

    recipe: Recipe
    path: str
    """Where the recipe was read from."""
    text: str
    """The file as given."""
    overrides: list[str]
    """The `key=value` words of the command line."""
    resolved: dict[str, Any]
    """Every key with its value, defaults included."""
    overridden: dict[Location, str]
    """Keys that words of the command line set, each with its word."""

    def located(self, problems: Sequence[Problem]) -> RecipeError:
        """The error of a recipe whose values do not go together: a line for each, with the place of its key."""
        return RecipeError("\n".join(_lines_for(self.path, RecipeLines(self.text), problems, self.overridden)))


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with gptmill."""
    return sorted(entry.name[: -len(".yaml")] for entry in resources.files("configs").iterdir() if _is_yaml(entry.name))


def _is_yaml(name: str) -> bool:
    return name.endswith(".yaml")


def load_recipe(name: str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and check a recipe.

    Raises:
        RecipeError: one line for each thing that is wrong.
    """
    path, text = _read(name)
    try:
        lines = RecipeLines(text)
        given = OmegaConf.create(text) if text.strip() else OmegaConf.create({})
    except (yaml.YAMLError, OmegaConfBaseException) as fault:
        mark = getattr(fault, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else path
        reason = getattr(fault, "problem", None) or str(fault).splitlines()[0]
        raise RecipeError(f"{place}: is not valid YAML: {reason}") from fault
    if not OmegaConf.is_dict(given):
        raise RecipeError(f"{path}: must be a mapping of keys (run, sources, stages, ...), not a list")
    overridden = _override(given, overrides)
    try:
        data: dict[str, Any] = OmegaConf.to_container(given, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as fault:
        raise RecipeError(f"{path}: {str(fault).splitlines()[0]}") from fault
    problems: list[Problem] = []
    recipe = _parse(data, problems)
    if problems or recipe is None:
        raise RecipeError("\n".join(_lines_for(path, lines, problems, overridden)))
    return LoadedRecipe(recipe, path, text, list(overrides), recipe_as_yaml(recipe), overridden)


def _read(name: str) -> tuple[str, str]:
    path = Path(name)
    if path.is_dir() and (path / "recipe.yaml").is_file():
        path = path / "recipe.yaml"
    if path.is_file():
        try:
            return str(path), path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError) as fault:
            raise RecipeError(f"{name}: cannot be read: {fault}") from fault
    if name in (shipped := shipped_recipes()):
        return name + ".yaml", (resources.files("configs") / f"{name}.yaml").read_text(encoding="utf-8")
    raise RecipeError(
        f"{name}: no such recipe file, and no shipped recipe of that name"
        f"{_suggest(name, shipped)}; shipped: {', '.join(shipped)}"
    )


def recipe_as_yaml(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, every default written out; what YAML reads back as the same recipe."""
    values = recipe.model_dump(mode="json", exclude={"sources", "stages"})
    values["sources"] = [{source.kind: source.model_dump(mode="json")} for source in recipe.sources]
    values["stages"] = [{stage_key(stage): stage.model_dump(mode="json")} for stage in recipe.stages]
    return {key: values[key] for key in Recipe.model_fields}


def stage_key(stage: Stage) -> str:
    """How a recipe names this stage: its name when it is ours, its place when it is the user's."""
    return stage.name if stage.name in STAGES else f"{type(stage).__module__}:{type(stage).__qualname__}"


def _override(data: Any, overrides: Sequence[str]) -> dict[Location, str]:
    """Apply `key=value` words; returns which locations they set."""
    locations: dict[Location, str] = {}
    problems = []
    for word in overrides:
        key, equals, value = word.partition("=")
        if not equals or not key:
            problems.append(f"override {word!r}: must be key=value, such as pretrain.steps=100")
            continue
        location = _override_location(OmegaConf.to_container(data, resolve=False), key)
        try:
            OmegaConf.update(data, dotted(location), yaml.safe_load(value) if value else None, merge=False)
        except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError) as fault:
            problems.append(f"override {word!r}: {str(fault).splitlines()[0]}")
        locations[location] = word
    if problems:
        raise RecipeError("\n".join(problems))
    return locations


def _override_location(data: Any, key: str) -> Location:
    """`stages.language.keep` may name a list item by its stage instead of its number: `stages[1].language.keep`."""
    location: list[str | int] = []
    for part in key.replace("[", ".").replace("]", "").split("."):
        if isinstance(data, list):
            if not part.isdigit():
                index = next((i for i, item in enumerate(data) if item == part or _has_key(item, part)), None)
                if index is None:
                    raise RecipeError(f"override {key}: there is no item `{part}` in {dotted(tuple(location))}")
                if data[index] == part:
                    data[index] = {part: {}}
                location += [index, part]
                data = data[index][part]
                continue
            location.append(int(part))
            data = data[int(part)] if int(part) < len(data) else None
            continue
        location.append(part)
        data = data.get(part) if isinstance(data, dict) else None
    return tuple(location)


def _has_key(item: Any, key: str) -> bool:
    return isinstance(item, dict) and key in item


def _parse(data: dict[str, Any], problems: list[Problem]) -> Recipe | None:
    """Check every section by itself, so that an error in one does not hide those of another."""
    sections: dict[str, Any] = {}
    for key in data:
        if key not in Recipe.model_fields:
            problems.append(Problem((str(key),), f"unknown key{_suggest(str(key), list(Recipe.model_fields))}"))
    for key, field in Recipe.model_fields.items():
        if key not in data:
            if field.is_required():
                problems.append(Problem((key,), "is missing: " + help_of(Recipe, key)))
            continue
        if key == "sources":
            sections[key] = list(_items(data[key], (key,), source_class, list(SOURCES), problems))
        elif key == "stages":
            sections[key] = list(_items(data[key] or [], (key,), stage_class, list(STAGES), problems))
        else:
            sections[key] = _validate(field.annotation, data[key], (key,), problems)
    for key, needed in _NEEDS.items():
        problems += [
            Problem((key,), f"needs a section `{name}`, which the recipe lacks")
            for name in needed
            if data.get(key) is not None and data.get(name) is None
        ]
    tuning = sections.get("finetune")
    if isinstance(tuning, FinetuneSettings) and tuning.data is None and data.get("questions") is None:
        problems.append(Problem(("finetune",), "needs `data: FILE`, or a section `questions` to make conversations"))
    if problems:
        return None
    recipe: Recipe | None = _validate(Recipe, sections, (), problems)
    return recipe


def _items(
    items: Any,
    location: Location,
    class_of: Callable[[str], type[BaseModel]],
    known: list[str],
    problems: list[Problem],
) -> Iterator[Any]:
    """Items such as `- language: {keep: [en]}` or just `- language`."""
    if not isinstance(items, list):
        problems.append(Problem(location, f"must be a list of items such as `- {known[0]}: {{...}}`"))
        return
    for index, item in enumerate(items):
        place = (*location, index)
        name: str | None = item if isinstance(item, str) else None
        fields: Any = {}
        if isinstance(item, dict) and len(item) == 1:
            name, fields = next(iter(item.items()))
        if name is None or not isinstance(fields or {}, dict):
            problems.append(Problem(place, "must be a name, or one name with its fields: `- language: {keep: [en]}`"))
            continue
        try:
            found = class_of(name)
        except LookupError as fault:
            problems.append(Problem((*place, name), str(fault.args[0]) + _suggest(name, known)))
            continue
        value = _validate(found, fields or {}, (*place, name), problems)
        if value is not None:
            yield value


def _validate(kind: Any, value: Any, location: Location, problems: list[Problem]) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as fault:
        for error in fault.errors():
            inner = tuple(part for part in error["loc"] if isinstance(part, int) or not part.startswith("function-"))
            place = (*location, *_resolve(kind, inner)[0])
            if error["type"] == "union_tag_invalid":
                place = (*place, "kind")
            problems.append(Problem(place, _message(kind, inner, error)))
        return None


def _message(kind: Any, location: Location, error: Any) -> str:
    if error["type"] == "extra_forbidden":
        _, model = _resolve(kind, location[:-1])
        return f"unknown key{_suggest(str(location[-1]), list(model.model_fields) if model else [])}"
    if error["type"] == "union_tag_invalid":
        known = [tag.strip().strip("'") for tag in error["ctx"]["expected_tags"].split(",")]
        return f"there is no {error['ctx']['tag']!r}{_suggest(error['ctx']['tag'], known)}"
    if error["type"] == "missing":
        return "is missing"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] in ("value_error", "assertion_error"):
        return str(message)
    return f"{message[0].lower()}{message[1:]}, got {error['input']!r}".replace("a valid tuple", "a list")


def _resolve(kind: Any, location: Location) -> tuple[Location, type[BaseModel] | None]:
    """A location as the user writes it, without the tags that pydantic adds where a class is chosen by `kind`, and the
    settings class that the keys below it belong to."""
    candidates = [kind, *get_args(kind)]
    if not location:
        return (), next((entry for entry in candidates if _is_model(entry)), None)
    first, rest = location[0], location[1:]
    if get_origin(kind) in (dict, list, tuple):
        inner, found = _resolve(get_args(kind)[get_origin(kind) is dict], rest)
        return (first, *inner), found
    for entry in candidates:
        if any(isinstance(mark, Tag) and mark.tag == first for mark in getattr(entry, "__metadata__", ())):
            return _resolve(get_args(entry)[0], rest)
    model = next((entry for entry in candidates if _is_model(entry)), None)
    field = model.model_fields.get(str(first)) if model else None
    if field is None:
        return location, None
    inner, found = _resolve(field.annotation, rest)
    return (first, *inner), found


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _suggest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(sorted(known))}" if known else ""


def _lines_for(
    path: str, lines: RecipeLines, problems: Sequence[Problem], overridden: dict[Location, str]
) -> Iterator[str]:
    for problem in problems:
        word = next((word for place, word in overridden.items() if problem.location[: len(place)] == place), None)
        line = lines.line(problem.location)
        place = f"override {word}" if word else f"{path}:{line}" if line else path
        yield f"{place}: {dotted(problem.location) or 'recipe'}: {problem.message}"
