"""The commands that do the steps of a recipe: all of them, or one."""

from __future__ import annotations

from typing import Literal

from jobs.commands.options import (
    Allowed,
    DeviceName,
    Devices,
    DryRun,
    LauncherName,
    Nodes,
    Overrides,
    PrintCommand,
    ProcessesPerNode,
    RecipeName,
    Restarts,
    RunName,
    Utilisation,
)


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    devices: Devices = None,
    device: DeviceName = None,
    mfu: Utilisation = None,
) -> None:
    """Do every step of a recipe: corpus, tokenizer, tokens, pretrain, finetune, report."""
    from jobs.launching import require_started_once
    from jobs.run import run_steps
    from jobs.training_plan import planned_target

    require_started_once("run")
    target = planned_target(dry_run, devices, device, mfu)
    run_steps(recipe, overrides or [], last="report", dry_run=dry_run, target=target)


def corpus(recipe: RecipeName, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Read the sources and put them through the stages."""
    _make_data("corpus", recipe, overrides, dry_run)


def tokenizer(recipe: RecipeName, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Train the tokenizer on the finished corpus."""
    _make_data("tokenizer", recipe, overrides, dry_run)


def tokens(recipe: RecipeName, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Write the token dataset from the finished corpus and tokenizer."""
    _make_data("tokens", recipe, overrides, dry_run)


def pretrain(
    recipe: RecipeName,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    devices: Devices = None,
    device: DeviceName = None,
    mfu: Utilisation = None,
    launcher: LauncherName = None,
    restarts: Restarts = None,
    allow: Allowed = None,
    print_command: PrintCommand = False,
    nodes: Nodes = 1,
    processes_per_node: ProcessesPerNode = None,
) -> None:
    """Pretrain the model on the finished token dataset, or continue where it stopped."""
    machines = (nodes, processes_per_node) if print_command else None
    _train("pretrain", recipe, overrides, dry_run, (devices, device, mfu), (launcher, restarts, allow), machines)


def finetune(
    recipe: RecipeName,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    devices: Devices = None,
    device: DeviceName = None,
    mfu: Utilisation = None,
    launcher: LauncherName = None,
    restarts: Restarts = None,
    allow: Allowed = None,
    print_command: PrintCommand = False,
    nodes: Nodes = 1,
    processes_per_node: ProcessesPerNode = None,
) -> None:
    """Tune the pretrained model on conversations, or continue where it stopped."""
    machines = (nodes, processes_per_node) if print_command else None
    _train("finetune", recipe, overrides, dry_run, (devices, device, mfu), (launcher, restarts, allow), machines)


def report(run: RunName) -> None:
    """Write report.html of a run again from what is there."""
    from jobs.report import write_report
    from jobs.terminal import done

    done("report", write_report(run))


def _make_data(
    step: Literal["corpus", "tokenizer", "tokens"], recipe: str, overrides: list[str] | None, dry_run: bool
) -> None:
    from jobs.launching import require_started_once
    from jobs.run import run_steps

    require_started_once(step)
    run_steps(recipe, overrides or [], last=step, dry_run=dry_run, alone=step != "corpus")


def _train(
    step: Literal["pretrain", "finetune"],
    recipe: str,
    overrides: list[str] | None,
    dry_run: bool,
    planned: tuple[int | None, str | None, float | None],
    started: tuple[LauncherName, int | None, str | None],
    machines: tuple[int, int | None] | None,
) -> None:
    """One of the trainings: plan it, do it, or print how `machines` (nodes, processes of each) start it."""
    from jobs.launching import launching

    chosen = launching(*started)
    if machines is not None:
        from jobs.launch_command import show_command

        show_command(step, recipe, overrides or [], chosen, *machines)
        return
    from jobs.run import run_steps
    from jobs.training_plan import planned_target

    target = planned_target(dry_run, *planned)
    run_steps(recipe, overrides or [], last=step, dry_run=dry_run, alone=True, launching=chosen, target=target)
