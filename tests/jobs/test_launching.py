"""The options of `gptmill pretrain` and `gptmill finetune` that say who starts the processes."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.finetune import finetuning_job
from jobs.launch_command import show_command
from jobs.launching import Launching, launching
from jobs.pretrain import gzip_bits_per_byte, model_directory, pretraining_job
from jobs.recipe import RecipeError, load_recipe
from jobs.run_directory import RunDirectory
from pipeline.errors import SettingError, UserError
from tests.faults import finetuning
from tests.faults.pretraining import write_run
from tests.jobs.test_cli import gptmill
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
    show_command("pretrain", recipe, words, Launching("slurm", None, ("lr",)), 4, 2)
    printed = capsys.readouterr().out
    assert "#SBATCH --nodes=4" in printed
    assert f"gptmill pretrain {recipe} {' '.join(words)} --launcher slurm --allow lr" in printed
    assert '"${SLURM_RESTART_COUNT:-0}" -lt 4' in printed
    with pytest.raises(RecipeError, match="with ray the command itself starts the processes"):
        show_command("pretrain", recipe, [], Launching("ray"), 1, None)
    with pytest.raises(RecipeError, match="no section `pretrain`"):
        show_command("pretrain", recipe, ["pretrain=null", "finetune=null"], Launching("slurm"), 1, None)


def test_a_command_for_processes_that_the_layout_does_not_fit_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    recipe = str(tmp_path / "recipe.yaml")
    with pytest.raises(RecipeError, match=r"data 2 x tensor 1 x pipeline 1 = 2 processes do not fit 6 devices"):
        show_command("pretrain", recipe, [], Launching("torchrun"), 2, 3)
    six = ["pretrain.parallel.data=6", "pretrain.global_batch_tokens=96"]
    with pytest.raises(RecipeError, match=r"6 processes do not fit 4 devices"):
        show_command("pretrain", recipe, six, Launching("slurm"), 4, None)


def test_a_dataset_that_nobody_compared_with_gzip_can_be_trained_on(tmp_path: Path) -> None:
    assert gzip_bits_per_byte(str(tmp_path / "no" / "tokens")) is None, "all datasets of a mixture lie elsewhere"
    tokens, _ = write_token_dataset(tmp_path / "plain")
    assert gzip_bits_per_byte(str(tokens)) is None
    tokens, _ = write_token_dataset(tmp_path / "ours", baselines={"validation_gzip9_bits_per_byte": 2.5})
    assert gzip_bits_per_byte(str(tokens)) == 2.5


@pytest.mark.parametrize("step", ["pretrain", "finetune"])
def test_both_trainings_take_the_same_options(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("jobs.run.run_steps", lambda *_, **words: told.append(words))
    options = ["--launcher", "ray", "--restarts", "3", "--allow", "lr, schedule"]
    assert CliRunner().invoke(app, [step, "recipe.yaml", *options]).exit_code == 0
    assert told[0]["last"] == step
    assert told[0]["launching"] == Launching("ray", 3, ("lr", "schedule"))

    planned = ["--dry-run", "--devices", "16", "--device", "h100", "--mfu", "0.5"]
    assert CliRunner().invoke(app, [step, "recipe.yaml", *planned]).exit_code == 0
    target = told[1]["target"]
    assert (target.devices, target.device.name, target.mfu) == (16, "H100", 0.5)


def test_the_options_reach_the_finetuning(tmp_path: Path) -> None:
    finetuning.write_run(tmp_path)
    recipe = load_recipe(str(tmp_path / "recipe.yaml"), [f"run={tmp_path}/run"]).recipe
    job = finetuning_job(recipe, RunDirectory(recipe.run), launching(None, 7, "lr"))
    assert (job.settings.watch.restarts, job.allow) == (7, ("lr",))
    assert job.initial_weights == tmp_path / "run" / "pretrain" / "model"


def test_the_command_of_a_finetuning_is_printed_for_its_own_layout_and_restarts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetuning.write_run(tmp_path)
    recipe = str(tmp_path / "recipe.yaml")
    words = ["finetune.parallel.data=4", "finetune.watch.restarts=6", "pretrain.parallel.data=3"]
    options = ["--launcher", "slurm", "--nodes", "2", "--processes-per-node", "2", "--print-command"]
    assert CliRunner().invoke(app, ["finetune", recipe, *words, *options]).exit_code == 0
    show_command("finetune", recipe, words, Launching("slurm"), 2, 2)
    printed = capsys.readouterr().out
    assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=2\n" in printed
    assert f"srun --kill-on-bad-exit=1 gptmill finetune {recipe} {' '.join(words)} --launcher slurm\n" in printed
    assert '"${SLURM_RESTART_COUNT:-0}" -lt 6' in printed
    with pytest.raises(RecipeError, match=r"data 2 x tensor 1 x pipeline 1 = 2 processes do not fit 6 devices"):
        show_command("finetune", recipe, [], Launching("torchrun"), 2, 3)
    with pytest.raises(RecipeError, match="no section `finetune`"):
        show_command("finetune", recipe, ["finetune=null"], Launching("slurm"), 1, None)


def test_a_finetuning_is_planned_for_a_cluster_that_alone_has_its_data(tmp_path: Path) -> None:
    finetuning.write_run(tmp_path)
    (tmp_path / "conversations.jsonl").unlink()
    code, output = gptmill(tmp_path, "finetune", "recipe.yaml", "--dry-run", "--devices", "2", "--device", "h100")
    assert code == 0, output
    assert "2 processes = data 2 x pipeline 1 x tensor 1" in output
    code, output = gptmill(tmp_path, "finetune", "recipe.yaml", "--dry-run")
    assert code == 2
    assert "finetune.data: conversations.jsonl does not exist" in output


@pytest.mark.parametrize("command", ["run", "corpus", "tokenizer", "tokens"])
def test_what_one_process_does_is_refused_where_a_launcher_has_started_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    finetuning.write_run(tmp_path)
    began: list[str] = []
    monkeypatch.setattr("jobs.run.run_steps", lambda *_, last, **__: began.append(last))
    words = [command, str(tmp_path / "recipe.yaml")]
    torchrun = dict(zip(NEEDED, ("0", "4", "0", "localhost", "5"), strict=True))
    srun = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "16"}
    for variables, said in (
        (torchrun, "torchrun has started 4 of it (WORLD_SIZE=4)"),
        ({**torchrun, "CROSS_RANK": "0"}, "deepspeed has started 4 of it (WORLD_SIZE=4)"),
        (srun, "slurm has started 16 of it (SLURM_STEP_NUM_TASKS=16)"),
    ):
        result = CliRunner().invoke(app, words, env=variables)
        assert isinstance(result.exception, RecipeError)
        assert said in str(result.exception)
        assert ("`gptmill pretrain` and `gptmill finetune`" in str(result.exception)) is (command == "run")
    assert began == []
    for alone in ({**torchrun, "WORLD_SIZE": "1"}, {**srun, "SLURM_STEP_NUM_TASKS": "1"}, {}):
        assert CliRunner().invoke(app, words, env=alone).exit_code == 0
    assert len(began) == 3
