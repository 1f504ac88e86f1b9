"""The options of `gptmill pretrain` that say who starts the processes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.launch_command import show_command
from jobs.launching import Launching, launching
from jobs.pretrain import gzip_bits_per_byte, model_directory, pretraining_job
from jobs.recipe import RecipeError, load_recipe
from jobs.run_directory import RunDirectory
from pipeline.errors import SettingError, UserError
from tests.faults.pretraining import write_run
from tests.trainer.datasets import write_token_dataset
from trainer.rendezvous import NEEDED

LAUNCHERS = ("TORCHELASTIC_RUN_ID", "CROSS_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if started by hand."""
    for name in (*NEEDED, *LAUNCHERS):
        monkeypatch.delenv(name, raising=False)


def test_by_itself_it_starts_the_processes_and_under_a_launcher_it_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launching(None, None, None) == Launching("embedded", None, ())
    assert not launching(None, None, None).is_follower()
    for name, value in zip(NEEDED, ("1", "2", "1", "localhost", "5"), strict=True):
        monkeypatch.setenv(name, value)
    assert launching(None, None, None).launcher == "torchrun"
    assert launching(None, None, None).is_follower(), "only the first holds the run directory"
    monkeypatch.setenv("RANK", "0")
    assert not launching(None, None, None).is_follower()
    assert not launching("embedded", None, None).is_external, "what is asked for wins"


def test_a_launcher_that_did_not_start_this_process_is_refused_before_anything_is_done() -> None:
    with pytest.raises(SettingError, match="not started by torchrun"):
        launching("torchrun", None, None).is_follower()


def test_restarts_belong_to_whoever_starts_the_processes() -> None:
    assert launching("ray", 3, None).restarts == 3
    with pytest.raises(RecipeError, match="slurm restarts by itself"):
        launching("slurm", 3, None)


def test_the_options_reach_the_job(tmp_path: Path) -> None:
    write_run(tmp_path)
    recipe = load_recipe(str(tmp_path / "recipe.yaml"), [f"run={tmp_path}/run"]).recipe
    job = pretraining_job(recipe, RunDirectory(recipe.run), launching(None, 7, " lr, schedule "))
    assert (job.settings.watch.restarts, job.allow) == (7, ("lr", "schedule"))
    assert pretraining_job(recipe, RunDirectory(recipe.run), Launching()).settings.watch.restarts == 0


def test_init_from_is_a_run_its_pretraining_or_its_model(tmp_path: Path) -> None:
    model = tmp_path / "old" / "pretrain" / "model"
    model.mkdir(parents=True)
    with pytest.raises(UserError, match=r"init_from: .*old holds no finished model"):
        model_directory(str(tmp_path / "old"))
    (model / "model.json").write_text("{}")
    for place in (tmp_path / "old", tmp_path / "old" / "pretrain", model):
        assert model_directory(str(place)) == model


def test_the_command_is_printed_with_overrides_and_permissions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path)
    recipe = str(tmp_path / "recipe.yaml")
    words = ["pretrain.watch.restarts=4", "pretrain.parallel.data=8"]
    show_command(recipe, words, Launching("slurm", None, ("lr",)), 4, 2)
    printed = capsys.readouterr().out
    assert "#SBATCH --nodes=4" in printed
    assert f"gptmill pretrain {recipe} {' '.join(words)} --launcher slurm --allow lr" in printed
    assert '"${SLURM_RESTART_COUNT:-0}" -lt 4' in printed
    with pytest.raises(RecipeError, match="with ray the command itself starts the processes"):
        show_command(recipe, [], Launching("ray"), 1, None)
    with pytest.raises(RecipeError, match="no section `pretrain`"):
        show_command(recipe, ["pretrain=null", "finetune=null"], Launching("slurm"), 1, None)


def test_a_command_for_processes_that_the_layout_does_not_fit_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    recipe = str(tmp_path / "recipe.yaml")
    with pytest.raises(RecipeError, match=r"data 2 x tensor 1 x pipeline 1 = 2 processes do not fit 6 devices"):
        show_command(recipe, [], Launching("torchrun"), 2, 3)
    six = ["pretrain.parallel.data=6", "pretrain.global_batch_tokens=96"]
    with pytest.raises(RecipeError, match=r"6 processes do not fit 4 devices"):
        show_command(recipe, six, Launching("slurm"), 4, None)


def test_a_dataset_that_nobody_compared_with_gzip_can_be_trained_on(tmp_path: Path) -> None:
    assert gzip_bits_per_byte(str(tmp_path / "no" / "tokens")) is None, "all datasets of a mixture lie elsewhere"
    tokens, _ = write_token_dataset(tmp_path / "plain")
    assert gzip_bits_per_byte(str(tokens)) is None
    tokens, _ = write_token_dataset(tmp_path / "ours", baselines={"validation_gzip9_bits_per_byte": 2.5})
    assert gzip_bits_per_byte(str(tokens)) == 2.5


def test_a_finetuning_too_may_be_continued_with_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Launching] = []
    monkeypatch.setattr("jobs.run.run_steps", lambda *_, launching, **__: told.append(launching))
    assert CliRunner().invoke(app, ["finetune", "recipe.yaml", "--allow", "lr, schedule"]).exit_code == 0
    assert told == [Launching("embedded", None, ("lr", "schedule"))]
