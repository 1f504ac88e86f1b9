"""The dry run says what a start would do with what is in the training directory, as the start itself then does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.finetune import finetuning_job
from jobs.launching import Launching
from jobs.pretrain import pretraining_job
from jobs.recipe import load_recipe
from jobs.run import run_steps
from jobs.run_directory import RunDirectory
from jobs.training_plan import Target, named_target
from pipeline.errors import SettingError, UserError
from pipeline.instructions.given import write_given
from pipeline.instructions.store import CONVERSATIONS
from tests.faults import finetuning
from tests.jobs.test_cli import gptmill
from tests.trainer.datasets import write_token_dataset
from trainer.checkpoint.seal import write_seal
from trainer.finetune.dataset import prepare_conversations
from trainer.finetune.settings import FinetuneSettings
from trainer.identity import open_inputs
from trainer.launch.embedded import prepare

RECIPE = """
run: run
sources: [jsonl: {path: in}]
tokenizer: {vocab_size: 300}
tokens: {context_length: 16}
model: {layers: 1, width: 16, heads: 2}
pretrain:
  {global_batch_tokens: 128, steps: 4, checkpoint_every: 2, keep_last: 9, threads_per_process: 1, sample_every: 0}
"""
PARALLEL = "pretrain.parallel={data: 1}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and its run, trained by the command itself to the last of 4 steps."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "in").mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    _, tokenizer = write_token_dataset(folder / "run")
    (folder / "run" / "tokenizer").mkdir()
    tokenizer.rename(folder / "run" / "tokenizer" / "tokenizer.json")
    code, output = gptmill(folder, "pretrain", "recipe.yaml", PARALLEL)
    assert code == 0, output
    return folder


@pytest.fixture
def finished(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to spoil; the working directory."""
    folder = tmp_path / "folder"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def stopped(finished: Path) -> Path:
    """The same run as it was after step 2."""
    training = finished / "run" / "pretrain"
    (training / "manifest.json").unlink()
    shutil.rmtree(training / "checkpoints" / "step_00000004")
    return finished


def dry_run(
    capsys: pytest.CaptureFixture[str], *overrides: str, allow: tuple[str, ...] = (), target: Target | None = None
) -> str:
    capsys.readouterr()
    words = [PARALLEL, *overrides]
    run_steps("recipe.yaml", words, "pretrain", True, alone=True, launching=Launching(allow=allow), target=target)
    return " ".join(capsys.readouterr().err.split())


def refusal_of_the_start(*overrides: str, allow: tuple[str, ...] = ()) -> UserError:
    """What the real command is refused with before a process is started."""
    recipe = load_recipe("recipe.yaml", [PARALLEL, *overrides]).recipe
    with pytest.raises(UserError) as caught:
        prepare(pretraining_job(recipe, RunDirectory(recipe.run), Launching(allow=allow)), lambda _: None)
    return caught.value


def files(folder: Path) -> dict[str, tuple[int, int]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def test_a_run_that_was_never_started_begins(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(finished / "run" / "pretrain")
    assert "pretrain: a start begins at the first of 4 steps plan everything checked" in dry_run(capsys)
    text = dry_run(capsys, "pretrain.checkpoint_copy=copies")
    assert "begins at the first of 4 steps, or goes on from the newest copy in" in text
    assert not (finished / "run" / "pretrain").exists()


def test_a_finished_run_is_left_alone_whatever_harmless_is_changed(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "pretrain: finished after 4 steps with this recipe: a start does nothing"
    assert line in dry_run(capsys)
    assert line in dry_run(capsys, "pretrain.log_every=7")


def test_a_finished_run_of_other_settings_would_be_put_aside(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(finished)
    text = dry_run(capsys, "pretrain.optimizer.lr=0.5")
    assert "the finished run is of other settings or data (settings.optimizer.lr was 0.0006, is 0.5" in text
    (aside,) = re.findall(r"puts it aside in (\S+) and begins at the first of 4 steps", text)
    assert "`--allow lr` would continue it instead" in text
    assert files(finished) == before
    recipe = load_recipe("recipe.yaml", ["pretrain.optimizer.lr=0.5"]).recipe
    prepare(pretraining_job(recipe, RunDirectory(recipe.run), Launching()), lambda _: None)
    assert (finished / aside / "model" / "weights.safetensors").exists()


def test_a_finished_run_that_may_go_on_is_continued(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = dry_run(capsys, "pretrain.steps=6", allow=("steps",))
    assert "continues after step 4 of 6 from step_00000004" in text
    assert "the model of the finished run is put aside in run/pretrain/superseded/" in text
    assert "from step 5 on, as allowed: steps was 4, is 6" in text


def test_an_interrupted_run_continues_and_harmless_changes_are_named(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(stopped)
    text = dry_run(capsys)
    assert "pretrain: a start continues after step 2 of 4 from step_00000002" in text
    assert "changes" not in text
    text = dry_run(capsys, "pretrain.checkpoint_every=1")
    assert "harmless changes of the recipe: settings.checkpoint_every was 2, is 1 (saves)" in text
    assert files(stopped) == before


@pytest.mark.parametrize(
    ("override", "words"),
    [("pretrain.optimizer.lr=0.5", "say `--allow lr`"), ("model.layers=2", "cannot be continued")],
)
def test_what_the_start_refuses_the_dry_run_refuses_with_the_same_words(
    stopped: Path, capsys: pytest.CaptureFixture[str], override: str, words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        dry_run(capsys, override)
    refused = refusal_of_the_start(override)
    assert (str(caught.value), caught.value.exit_code) == (str(refused), refused.exit_code)


def test_what_is_allowed_counts(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = dry_run(capsys, "pretrain.optimizer.lr=0.5", allow=("lr",))
    assert "from step 3 on, as allowed: settings.optimizer.lr was 0.0006, is 0.5" in text
    with pytest.raises(SettingError, match="--allow shedule: no setting has this name"):
        dry_run(capsys, allow=("shedule",))
    with pytest.raises(UserError, match="cannot be continued"):
        dry_run(capsys, "model.layers=2", allow=("all",))


def test_a_damaged_checkpoint_is_passed_over_and_without_a_whole_one_nothing_starts(
    stopped: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = stopped / "run" / "pretrain" / "checkpoints"
    newest = checkpoints / "step_00000004"
    shutil.copytree(trained / "run" / "pretrain" / "checkpoints" / newest.name, newest)
    (newest / "trainer.json").write_text("{")
    text = dry_run(capsys)
    assert "step_00000004 is damaged (trainer.json has 1 bytes instead of" in text
    assert "continues after step 2 of 4 from step_00000002" in text
    (checkpoints / "step_00000002" / "COMPLETE").unlink()
    with pytest.raises(UserError, match=r"all checkpoints in .* are damaged: remove the directory"):
        dry_run(capsys)


def test_a_run_that_is_beyond_its_new_end_is_refused(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "continues after step 2 of 2" in dry_run(capsys, "pretrain.steps=2", allow=("steps",))
    with pytest.raises(UserError, match="is after step 2, the run of this recipe ends after 1") as caught:
        dry_run(capsys, "pretrain.steps=1", allow=("steps",))
    assert str(caught.value) == str(refusal_of_the_start("pretrain.steps=1", allow=("steps",)))


def test_a_checkpoint_of_another_version_is_refused(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = stopped / "run" / "pretrain" / "checkpoints" / "step_00000002"
    state = json.loads((checkpoint / "trainer.json").read_text())
    (checkpoint / "trainer.json").write_text(json.dumps({**state, "format_version": 1}))
    # Its seal lists the size that the file has now.
    seal = json.loads((checkpoint / "COMPLETE").read_text())
    seal["files"]["trainer.json"]["size"] = (checkpoint / "trainer.json").stat().st_size
    write_seal(checkpoint, seal["step"], seal["files"])
    with pytest.raises(UserError, match="has format 1, this version of gptmill reads 2: go on with the version"):
        dry_run(capsys)


def test_data_that_is_not_what_the_run_began_with_is_refused(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stopped / "run" / "tokens" / "tokens.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fingerprint": "data-2"}))
    with pytest.raises(UserError, match="data was data-1, is data-2") as caught:
        dry_run(capsys)
    assert str(caught.value) == str(refusal_of_the_start())


def test_before_steps_that_may_make_the_data_anew_it_is_not_compared(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def text(*overrides: str) -> str:
        capsys.readouterr()
        (stopped / "in" / "a.jsonl").write_text('{"text": "a"}\n')
        run_steps("recipe.yaml", [PARALLEL, *overrides], "report", True)
        return " ".join(capsys.readouterr().err.split())

    assert "step_00000002, whose checksums are compared then if its data stays what it was" in text()
    with pytest.raises(UserError, match="cannot be continued"):
        text("model.layers=2")
    (stopped / "run" / "tokens" / "tokens.json").unlink()
    assert "pretrain: its data is still to be made" in text()


def test_a_plan_for_another_machine_is_told_what_would_be_refused_here(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = named_target(8, "h100")
    text = dry_run(capsys, "pretrain.parallel={data: 8}", "pretrain.micro_batch_size=1", target=target)
    assert "continues after step 2 of 4" in text
    assert "settings.parallel.data was 1, is 8" in text
    text = dry_run(capsys, "pretrain.parallel={data: 8}", "model.layers=2", target=target)
    assert "warning: pretrain: a start here would be refused:" in text
    assert "plan everything checked" in text


def test_the_command_ends_with_the_exit_code_of_the_start_and_loads_no_torch(stopped: Path) -> None:
    check = (
        "import sys; from jobs.cli import app; code = app(sys.argv[1:], standalone_mode=False); "
        "sys.exit(bool({'torch', 'deepspeed', 'ray'} & set(sys.modules)))"
    )
    words = ["pretrain", "recipe.yaml", PARALLEL, "--dry-run"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", check, *words], env=environment, check=False).returncode == 0
    code, output = gptmill(stopped, *words, "model.layers=2")
    assert code == 1
    assert "error: " in output
    assert "everything checked" not in output


def test_a_wrong_place_of_copies_is_found_before_the_first_step(stopped: Path) -> None:
    refused = refusal_of_the_start("pretrain.checkpoint_copy=recipe.yaml/copies")
    assert "pretrain.checkpoint_copy: recipe.yaml/copies cannot be written to" in str(refused)


def test_a_finetuning_is_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = finetuning.write_run(tmp_path)
    monkeypatch.chdir(tmp_path)

    def text(*overrides: str) -> str:
        capsys.readouterr()
        run_steps("recipe.yaml", overrides, "finetune", True, alone=True)
        return " ".join(capsys.readouterr().err.split())

    assert "finetune: its data is still to be made; what a start does is decided then" in text()
    job = finetuning_job(load_recipe("recipe.yaml").recipe, RunDirectory("run"), Launching())
    write_given("conversations.jsonl", "run/instructions", 0.0)
    conversations = tmp_path / "run" / "instructions" / CONVERSATIONS
    assert isinstance(job.settings, FinetuneSettings)
    prepare_conversations(conversations, job.tokenizer, job.tokens, job.settings, 24)
    inputs = open_inputs(job)
    (directory / "model").mkdir()
    (directory / "model" / "weights.safetensors").write_bytes(b"w")
    finished = {"fingerprint": inputs.fingerprint, "identity": inputs.identity}
    (directory / "manifest.json").write_text(json.dumps(finished))
    assert "finetune: finished after 4 steps with this recipe: a start does nothing if its data stays" in text()
    assert "the finished run is of other settings or data (steps was 4, is 5" in text("finetune.steps=5")
    (tmp_path / "run" / "pretrain" / "model" / "model.json").unlink()
    with pytest.raises(UserError, match="pretrain holds no finished model: run `gptmill pretrain` first"):
        text()
