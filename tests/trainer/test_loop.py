"""What the loop does about steps that go wrong: on two processes, with real gradients and checkpoints.

The witness is a run by hand: an engine that is given the same steps without the data that should have been left out
has bit for bit the same weights.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parallel.launcher import run_ranks
from tests.trainer.datasets import write_token_dataset
from tests.trainer.loop_process import Plan, by_hand_all, run_all

STEPS = 30
SETTINGS: dict[str, Any] = {
    "global_batch_tokens": 8 * 16,
    "steps": STEPS,
    "micro_batch_size": 2,
    "log_every": 1,
    "validation_every": 0,
    "checkpoint_every": 8,
    "optimizer": {"lr": 0.01},
    "schedule": {"warmup_steps": 2},
}
STABILITY = {"skip_sigma": 5.0, "window": 8}
FOUND_LOST = {"skip_not_finite": True}
TWICE = {"rollback_after": 2, **STABILITY}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("loop")
    write_token_dataset(directory, shards=(300,), validation_rows=6)
    return directory


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, dict[str, Any]]:
    def plan(name: str, stability: Any = None, settings_too: Any = None, **fields: Any) -> Plan:
        settings = {**SETTINGS, "stability": stability or {}, **(settings_too or {})}
        return Plan(folder / "runs" / name, settings, **fields)

    spikes = (20, 21)
    plans = {
        "undisturbed": plan("undisturbed", TWICE),
        "one spike": plan("one-spike", TWICE, spikes=(20,)),
        "two spikes": plan("two-spikes", TWICE, spikes=spikes),
        "two spikes, interrupted": plan("interrupted", TWICE, spikes=spikes, stops=(12, 20, 18)),
        "spikes without end": plan("endless", {**TWICE, "most_rollbacks": 1}, spikes=tuple(range(20, 30))),
        "lost loss": plan("lost-loss", FOUND_LOST, losses_lost=(5,)),
        "lost gradient": plan("lost-gradient", FOUND_LOST, gradients_lost=(5, 6)),
        "lost loss, not allowed": plan("not-allowed", losses_lost=(5,)),
        "one spike, shared layers": plan("shared", TWICE, spikes=(20,), layout={"data": 1, "tensor": 2}),
        "one spike, two stages": plan("stages", TWICE, spikes=(20,), layout={"data": 1, "pipeline": 2}),
        "interrupted, one checkpoint kept": plan("one-kept", TWICE, {"keep_last": 1}, spikes=spikes, stops=(20,)),
        "interrupted, none due": plan("none-due", TWICE, {"checkpoint_every": 99}, spikes=spikes, stops=(20,)),
        "overflow": plan("overflow", precision="fp16", settings_too={"loss_scale": {"initial": 2.0**28}}),
        "overflow without end": plan(
            "overflow-endless",
            precision="fp16",
            settings_too={"loss_scale": {"initial": 2.0**40, "minimum": 2.0**39}},
        ),
        "nowhere to go back": plan("nowhere", {"rollback_after": 1, **FOUND_LOST}, losses_lost=(5,)),
    }
    first, second = run_ranks(2, run_all, plans, timeout=300)
    for name, result in first.items():
        if "error" in result:
            assert result["error"] == second[name]["error"], name
        else:
            assert_same_weights(result["weights"], second[name]["weights"])
    return first


@pytest.fixture(scope="module")
def hand_made(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    def without(*steps: int) -> list[int | None]:
        return [None if step in steps else step for step in range(1, STEPS + 1)]

    schedules = {
        "undisturbed": without(),
        "without 20": without(20),
        "without 5": without(5),
        "without 5 and 6": without(5, 6),
        "without 20, 21 later": [*range(1, 20), None, *range(22, 22 + STEPS - 20)],
        # Back to the checkpoint of step 16; then the data that follows what was seen.
        "without what was seen since 16": [*range(1, 17), *range(22, 22 + STEPS - 16)],
    }
    return run_ranks(2, by_hand_all, Plan(folder / "runs" / "by-hand", SETTINGS), schedules, timeout=300)[0]


def assert_same_weights(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        assert torch.equal(weight, expected[name]), name


def of_kind(result: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [event for event in result["events"] if event["event"] == kind]


def test_an_undisturbed_run_takes_every_step(runs: dict[str, Any], hand_made: dict[str, Any]) -> None:
    found = runs["undisturbed"]
    assert_same_weights(found["weights"], hand_made["undisturbed"])
    assert not of_kind(found, "skip")
    assert (found["optimizer_steps"], found["progress"].tokens) == (STEPS, STEPS * 128)


def test_a_spike_is_skipped_and_its_data_changes_no_weight(runs: dict[str, Any], hand_made: dict[str, Any]) -> None:
    found = runs["one spike"]
    assert_same_weights(found["weights"], hand_made["without 20"])
    (event,) = of_kind(found, "skip")
    assert event["step"] == 20
    assert "step 20: the loss " in event["message"]
    assert found["optimizer_steps"] == STEPS - 1
    assert found["progress"].tokens == (STEPS - 1) * 128
    lines = {line["step"]: line for line in found["metrics"]}
    assert [step for step, line in lines.items() if line.get("skipped")] == [20]
    undisturbed = {line["step"]: line["learning_rate"] for line in runs["undisturbed"]["metrics"] if "loss" in line}
    assert lines[21]["learning_rate"] == undisturbed[21], "the schedule goes on"


def test_processes_that_share_a_model_skip_alike(runs: dict[str, Any], hand_made: dict[str, Any]) -> None:
    for name in ("one spike, shared layers", "one spike, two stages"):
        found = runs[name]
        assert [event["step"] for event in of_kind(found, "skip")] == [20]
        assert found["progress"].tokens == (STEPS - 1) * 128
        for key, weight in found["weights"].items():
            torch.testing.assert_close(weight, hand_made["without 20"][key], rtol=0, atol=1e-4)  # a step moves by 1e-2


def test_overflows_of_fp16_halve_the_scale_and_are_no_spikes(runs: dict[str, Any]) -> None:
    found = runs["overflow"]
    messages = [event["message"] for event in of_kind(found, "skip")]
    assert messages[:2] == [f"step {step}: the gradient overflowed, the loss scale is halved" for step in (1, 2)]
    assert found["optimizer_steps"] == STEPS - len(messages)
    scales = [line["loss_scale"] for line in found["metrics"] if "loss_scale" in line]
    assert scales[0] == 2.0**28 / 2 ** len(messages)
    assert found["metrics"][-1]["validation_loss"] < 4.0


def test_an_overflow_at_the_smallest_scale_ends_the_run(runs: dict[str, Any]) -> None:
    found = runs["overflow without end"]
    assert "the gradient norm is " in found["error"]
    assert "at step 2: lower optimizer.lr" in found["error"]


def test_after_skips_in_a_row_the_run_goes_back_and_leaves_the_data_out(
    runs: dict[str, Any], hand_made: dict[str, Any]
) -> None:
    found = runs["two spikes"]
    assert_same_weights(found["weights"], hand_made["without what was seen since 16"])
    (event,) = of_kind(found, "rollback")
    assert (event["step"], event["from_step"], event["samples_left_out"]) == (16, 21, 5 * 8)
    assert [event["step"] for event in of_kind(found, "skip")] == [20]
    assert [line["step"] for line in found["metrics"] if "loss" in line] == list(range(1, STEPS + 1))
    assert not [line for line in found["metrics"] if line.get("skipped")], "lines of what was left behind are gone"


def test_interrupted_before_while_and_after_going_back_it_ends_the_same(runs: dict[str, Any]) -> None:
    found, whole = runs["two spikes, interrupted"], runs["two spikes"]
    assert [event["step"] for event in of_kind(found, "resume")] == [12, 20, 18]
    assert_same_weights(found["weights"], whole["weights"])
    names = ("step", "loss", "gradient_norm", "learning_rate", "tokens", "validation_loss")
    courses = [[tuple(line.get(name) for name in names) for line in run["metrics"]] for run in (found, whole)]
    assert courses[0] == courses[1]


def test_the_checkpoint_to_go_back_to_stays_though_only_the_last_is_kept(runs: dict[str, Any]) -> None:
    found = runs["interrupted, one checkpoint kept"]
    assert_same_weights(found["weights"], runs["two spikes"]["weights"])
    (event,) = of_kind(found, "rollback")
    assert (event["step"], event["from_step"], event["samples_left_out"]) == (16, 21, 5 * 8)


def test_a_checkpoint_of_an_interruption_serves_where_none_was_due_yet(
    runs: dict[str, Any], hand_made: dict[str, Any]
) -> None:
    found = runs["interrupted, none due"]
    assert_same_weights(found["weights"], hand_made["without 20, 21 later"])
    (event,) = of_kind(found, "rollback")
    assert (event["step"], event["from_step"], event["samples_left_out"]) == (20, 21, 8)


def test_rollbacks_without_end_are_an_error(runs: dict[str, Any]) -> None:
    assert "the run was taken back 1 times already (stability.most_rollbacks)" in runs["spikes without end"]["error"]


def test_a_loss_that_one_process_lost_is_skipped_by_all(runs: dict[str, Any], hand_made: dict[str, Any]) -> None:
    found = runs["lost loss"]
    assert_same_weights(found["weights"], hand_made["without 5"])
    assert [event["message"] for event in of_kind(found, "skip")] == ["step 5: the loss is nan"]


def test_a_gradient_that_one_process_lost_is_skipped_by_all(runs: dict[str, Any], hand_made: dict[str, Any]) -> None:
    found = runs["lost gradient"]
    assert_same_weights(found["weights"], hand_made["without 5 and 6"])
    assert [event["message"] for event in of_kind(found, "skip")] == [
        f"step {step}: the gradient norm is nan" for step in (5, 6)
    ]


def test_what_is_no_number_ends_the_run_unless_it_may_be_skipped(runs: dict[str, Any]) -> None:
    assert "the loss is nan at step 5: lower optimizer.lr" in runs["lost loss, not allowed"]["error"]


def test_without_a_checkpoint_from_before_there_is_no_way_back(runs: dict[str, Any]) -> None:
    assert "there is no checkpoint from before to go back to" in runs["nowhere to go back"]["error"]
