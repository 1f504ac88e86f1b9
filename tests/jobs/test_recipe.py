"""Recipes: what is read, how overrides work, and that every mistake is named with file, line and remedy at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from jobs.recipe import RecipeError, load_recipe, shipped_recipes

GOOD = """\
run: runs/x
sources:
  - jsonl: {path: data, name: web}
stages:
  - language: {keep: [en], min_score: 0.5}
  - exact_dedup
tokenizer: {vocab_size: 1024}
tokens: {context_length: 64}
model: {layers: 2, width: 32, heads: 2}
pretrain:
  global_batch_tokens: 512
  steps: 10
"""


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return str(path)


def errors(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as fault:
        load_recipe(write(tmp_path, text), overrides)
    assert fault.value.exit_code == 2
    return str(fault.value).replace(str(tmp_path), "DIR").splitlines()


def test_a_recipe_becomes_typed_settings(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD)).recipe
    assert [source.label for source in recipe.sources] == ["web"]
    assert [stage.name for stage in recipe.stages] == ["language", "exact_dedup"]
    assert recipe.pretrain is not None
    assert recipe.pretrain.steps == 10
    assert recipe.finetune is None


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_valid_and_explains_every_key(name: str) -> None:
    loaded = load_recipe(name)
    for number, line in enumerate(loaded.text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            explained = "#" in line or loaded.text.splitlines()[number - 2].strip().startswith("#")
            assert explained, f"{name}.yaml:{number} has no comment: {line}"


def test_the_resolved_recipe_reads_back_as_the_same_recipe(tmp_path: Path) -> None:
    loaded = load_recipe(write(tmp_path, GOOD))
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(yaml.safe_dump(loaded.resolved, sort_keys=False))
    assert load_recipe(str(resolved)).recipe == loaded.recipe


def test_overrides_reach_keys_and_stages_by_name_or_number(tmp_path: Path) -> None:
    words = [
        "pretrain.optimizer.lr=3e-4",
        "stages.language.keep=[de, fr]",
        "stages[0].language.min_score=0.25",
        "stages.exact_dedup.ignore_case=true",
        "run=elsewhere",
    ]
    recipe = load_recipe(write(tmp_path, GOOD), words).recipe
    assert recipe.pretrain is not None
    assert recipe.pretrain.optimizer.lr == 3e-4
    dumped = [stage.model_dump() for stage in recipe.stages]
    assert dumped[0]["keep"] == ("de", "fr")
    assert dumped[0]["min_score"] == 0.25
    assert dumped[1]["ignore_case"] is True
    assert recipe.run == "elsewhere"


def test_keys_may_refer_to_each_other(tmp_path: Path) -> None:
    text = GOOD.replace("run: runs/x", "run: runs/${tokens.context_length}")
    assert load_recipe(write(tmp_path, text)).recipe.run == "runs/64"
    assert "nothing.here" in errors(tmp_path, GOOD.replace("runs/x", "${nothing.here}"))[0]


def test_all_errors_come_at_once_with_file_line_key_and_suggestion(tmp_path: Path) -> None:
    text = GOOD.replace("min_score", "min_scor").replace("steps: 10", "steps: ten").replace("tokenizer:", "tokeniser:")
    found = errors(tmp_path, text.replace("- exact_dedup", "- exakt_dedup"))
    assert [line.split(": ")[0] for line in found] == [f"DIR/recipe.yaml:{n}" for n in (7, 5, 6, 12, 8)]
    assert "tokeniser: unknown key; did you mean `tokenizer`?" in found[0]
    assert "stages[0].language.min_scor: unknown key; did you mean `min_score`?" in found[1]
    assert "did you mean `exact_dedup`?" in found[2]
    assert "pretrain.steps: input should be a valid integer" in found[3]
    assert "'ten'" in found[3]
    assert "tokens: needs a section `tokenizer`" in found[4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run: [", "DIR/recipe.yaml:1: is not valid YAML"),
        ("- a\n- b", "must be a mapping of keys"),
        ("", "run: is missing"),
        (GOOD + "run: again\n", "DIR/recipe.yaml:13: is not valid YAML: found duplicate key run"),
        (GOOD.replace("sources:\n  - jsonl: {path: data, name: web}", "sources: []"), "sources: list should have at"),
        (GOOD.replace("jsonl: {path: data, name: web}", "jsonl: {}"), "sources[0].jsonl.path: is missing"),
        (GOOD.replace("heads: 2", "heads: 3"), "width 32 is not divisible by heads 3"),
        (GOOD.replace("- exact_dedup", "- no_such.module:Stage"), "cannot be loaded: No module named"),
        (GOOD.replace("keep: [en]", "keep: [xx]"), "xx"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in "\n".join(errors(tmp_path, text))


def test_keys_below_a_language_get_suggestions_and_lists_are_called_lists(tmp_path: Path) -> None:
    text = "run: x\nsources: [jsonl: {path: 5}]\nstages:\n  - bigscience: {languages: {en: {word_min: 3}}}\n"
    assert errors(tmp_path, text + "  - language: {keep: en}\n") == [
        "DIR/recipe.yaml:2: sources[0].jsonl.path: 5 is no path: name a file, a folder or a pattern, or a list of them",
        "DIR/recipe.yaml:4: stages[0].bigscience.languages.en.word_min: unknown key; did you mean `words_min`?",
        "DIR/recipe.yaml:5: stages[1].language.keep: input should be a list, got 'en'",
    ]


def test_a_wrong_override_is_named_as_such(tmp_path: Path) -> None:
    assert errors(tmp_path, GOOD, "pretrain.stepz=3")[0].startswith(
        "override pretrain.stepz=3: pretrain.stepz: unknown"
    )
    assert "must be key=value" in errors(tmp_path, GOOD, "nonsense")[0]
    assert "no item `pii`" in errors(tmp_path, GOOD, "stages.pii.x=1")[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("{lrr: 1}", "pretrain.optimizer.lrr: unknown key; did you mean `lr`?"),
        ("{kind: adam}", "pretrain.optimizer.kind: there is no 'adam'; did you mean `adamw`?"),
        ("{kind: muon, adamw: {lrr: 1}}", "pretrain.optimizer.adamw.lrr: unknown key; did you mean `lr`?"),
        ("{kind: muon, betas: [0.9, 0.95]}", "pretrain.optimizer.betas: unknown key; known: adamw, decay,"),
        ("{kind: adafactor, beta1: 1}", "pretrain.optimizer.beta1: input should be less than 1, got 1"),
        ("{lr: .nan}", "pretrain.optimizer.lr: input should be a finite number, got nan"),
        ("{betas: [0.9, 1.0]}", "pretrain.optimizer.betas: betas must lie in [0, 1)"),
    ],
)
def test_mistakes_in_an_optimizer_are_named_by_the_keys_that_its_kind_reads(
    tmp_path: Path, words: str, expected: str
) -> None:
    (found,) = errors(tmp_path, GOOD, f"pretrain.optimizer={words}")
    assert f": {expected}" in found


def test_a_missing_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match=r"quickstrat: no such recipe file.*did you mean `quickstart`\?"):
        load_recipe("quickstrat")


USER_STAGE = '''
from typing import ClassVar
from pipeline.stage import DocumentStage, Drops, Outcome

class NoShouting(DocumentStage):
    """Drops documents in capitals."""
    name: ClassVar[str] = "no_shouting"
    share: float = 0.5

    def apply(self, documents, position):
        drops = Drops()
        for row, text in enumerate(documents["text"].to_pylist()):
            capitals = sum(map(str.isupper, text)) / max(1, len(text))
            if capitals > self.share:
                drops.add(row, "capitals_max", capitals, self.share)
        return Outcome(documents, drops)
'''


def test_a_stage_of_the_users_own_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_stages.py").write_text(USER_STAGE)
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace("- exact_dedup", "- my_stages:NoShouting: {share: 0.3}")
    loaded = load_recipe(write(tmp_path, text.replace("my_stages:NoShouting:", "'my_stages:NoShouting':")))
    assert loaded.recipe.stages[1].name == "no_shouting"
    assert loaded.resolved["stages"][1] == {"my_stages:NoShouting": {"share": 0.3}}
