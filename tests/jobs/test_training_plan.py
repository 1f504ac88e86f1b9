"""The plan of a training: what `--dry-run` and `gptmill layouts` say and refuse, without starting anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.estimate import show_trainings
from jobs.layouts import show_layouts, show_layouts_of
from jobs.recipe import RecipeError, load_recipe, shipped_recipes
from jobs.training_plan import Target, model_shape, named_target, plan_trainings, planned_target
from pipeline.errors import SettingError
from trainer.estimate import estimate_training
from trainer.parallel.refusals import REFUSALS, combinations

CLUSTERS = {
    "gpt2-124m": (8, "a100-80gb"),
    "gpt2-1.5b": (8, "h100"),
    "gpt3-1.3b-3d": (16, "a100-80gb"),
    "gpt3-13b-3d": (64, "h100"),
    "modern-1b": (8, "h100"),
    "english-web": (8, "h100"),
    "multilingual-web": (8, "h100"),
    "quickstart": (2, "h100"),
}
"""What each shipped recipe is made for."""

RECIPE = """
run: run
sources: [jsonl: {path: in}]
tokenizer: {vocab_size: 50304}
tokens: {context_length: 2048}
model: {layers: 40, width: 5120, heads: 40}
pretrain:
  global_batch_tokens: 2097152
  micro_batch_size: 2
  tokens: 300000000000
  parallel: {tensor: 4, pipeline: 4}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return str(tmp_path / "recipe.yaml")


def shown(recipe: str, target: Target, capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    show_trainings(load_recipe(recipe, overrides), ["pretrain"], target, None)
    return " ".join(capsys.readouterr().err.split())


def test_every_shipped_recipe_loads_and_fits_the_cluster_it_is_made_for() -> None:
    assert sorted(CLUSTERS) == shipped_recipes()
    for name, (devices, device) in CLUSTERS.items():
        target = named_target(devices, device)
        loaded = load_recipe(name)
        layout = plan_trainings(loaded, ["pretrain", "finetune"], target)["pretrain"]
        assert layout.world == devices
        shape, settings = model_shape(loaded.recipe), loaded.recipe.pretrain
        assert shape is not None
        assert settings is not None
        assert target.device is not None
        estimate = estimate_training(shape, settings, layout, precision=target.precision(settings))
        assert estimate.fits(target.device.memory_bytes), name
        assert estimate.bubble < 0.1


def test_the_plan_tells_what_a_run_on_a_cluster_needs(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(recipe, named_target(64, "h100", 0.5), capsys)
    assert "12,867,097,600 parameters" in text
    assert "64 processes = data 4 x pipeline 4 x tensor 4, ZeRO-1, bf16" in text
    assert (
        "1,024 rows (2,097,152 tokens) a step; a copy goes through 256 in 128 micro-batches of 2; bubble 2.3%" in text
    )
    assert "143,051 steps, 299,999,690,752 tokens, 2.47e+22 FLOP" in text
    assert re.search(r"9 d 00 h \(5\.45 s a step, 384,8\d\d tokens/s\) at 50% of the peak of 64 x H100", text)
    assert "stage 0 stage 1 stage 2 stage 3 layers embed 0-9 10-19 20-29 30-39 head weights 3.4 GB 3.2 GB" in text
    assert "fit the 80.0 GB of H100" in text


def test_what_does_not_fit_is_told_with_what_would_help(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(recipe, named_target(16, "a100"), capsys)
    assert re.search(r"warning: 2\d\.\d GB do not fit the 40.0 GB of A100", text) is None
    text = shown(recipe, named_target(16, "v100"), capsys)
    assert re.search(r"warning: \d+\.\d GB do not fit the 16.0 GB of V100", text)
    assert re.search(r"activation_checkpointing blocks: \d+\.\d GB, (fits|not enough alone)", text)
    assert "parallel.sequence true:" in text
    assert "zero 2" not in text
    assert "bf16" not in text


def test_everything_wrong_with_a_layout_is_told_at_once_with_its_line(recipe: str) -> None:
    loaded = load_recipe(recipe, ["pretrain.zero=2", "pretrain.parallel.sequence=true"])
    with pytest.raises(RecipeError) as caught:
        plan_trainings(loaded, ["pretrain"], named_target(24, "h100"))
    lines = str(caught.value).splitlines()
    assert [line.partition(": pretrain")[0] for line in lines] == [f"{recipe}:11", "override pretrain.zero=2"]
    assert "do not fit 24 devices" in lines[0]
    assert "16 or 32 devices would do" in lines[0]
    assert "set zero to 1" in lines[1]


def test_finetuning_is_planned_too(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE + "finetune: {data: a.jsonl, batch_size: 30, parallel: {data: 4}}\n")
    with pytest.raises(RecipeError, match=r"finetune\.parallel\.data: a global batch of 30 rows cannot be"):
        plan_trainings(load_recipe(str(path)), ["finetune"], Target())
    plan_trainings(load_recipe(str(path)), ["pretrain"], named_target(16, None))


def test_precision_follows_the_device(recipe: str) -> None:
    settings = load_recipe(recipe).recipe.pretrain
    assert settings is not None
    assert [named_target(1, name).precision(settings) for name in ("v100", "a100")] == ["fp32", "bf16"]


def test_options_that_mean_nothing_are_refused() -> None:
    assert planned_target(False, None, None, None) is None
    with pytest.raises(SettingError, match="give --dry-run too"):
        planned_target(False, 8, None, None)
    with pytest.raises(SettingError, match=r"--device h10 is not known; known: V100, .*H100"):
        planned_target(True, None, "h10", None)


def test_the_table_of_layouts_is_printed_with_all_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    show_layouts()
    text = " ".join(capsys.readouterr().out.split())
    number = [refusal.what for refusal in REFUSALS].index("zero 2 or 3 with parallel.pipeline") + 1
    assert f"+ pipeline yes yes no ({number}) no ({number})" in text
    for refusal in REFUSALS:
        assert refusal.reason[1:] in text
        assert refusal.remedy[1:] in text


def test_layouts_of_a_recipe_are_listed_with_the_lowest_stage_that_fits(
    recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_layouts_of(recipe, [], 64, "a100")
    lines = [line.split() for line in capsys.readouterr().err.splitlines()]
    rows = [line for line in lines if len(line) > 8 and line[0].isdigit() and line[3] in "123"]
    assert all(int(data) * int(pipeline) * int(tensor) == 64 for data, pipeline, tensor, *_ in rows)
    fits = [line[9] for line in rows]
    assert fits == sorted(fits, reverse=True)
    assert {"yes", "no"} == set(fits)
    assert all(zero == "1" for _, pipeline, _, zero, *_ in rows if int(pipeline) > 1)


def test_planning_loads_no_torch(recipe: str) -> None:
    check = (
        "import sys; from jobs.layouts import show_layouts_of; show_layouts_of(sys.argv[1], [], 64, 'h100'); "
        "sys.exit(bool({'torch', 'deepspeed', 'ray', 'numba'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check, recipe], capture_output=True, check=False).returncode == 0


def test_the_documentation_has_the_table_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "parallelism.md").read_text()
    for way, refusals in combinations():
        cells = " | ".join("yes" if what is None else "no" for what in refusals)
        assert f"| {way} | {cells} |" in page
