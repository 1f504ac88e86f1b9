"""Does the steps of a recipe in order, or one of them; each finds out by itself whether it is finished.

A step whose section is missing from the recipe is not done. `--dry-run` checks everything and prints the plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from jobs.job import Job, nobody_waits, open_job
from jobs.launching import HERE, Launching
from jobs.recipe import LoadedRecipe, Recipe, RecipeError, load_recipe
from jobs.terminal import done, duration, note, shown
from pipeline.errors import Interrupted

if TYPE_CHECKING:
    from jobs.training_plan import Target

STEPS = ("corpus", "tokenizer", "tokens", "pretrain", "questions", "finetune", "report")
"""In order. `questions` and `report` have no command of their own: the first belongs to `finetune`."""


def steps_to_do(recipe: Recipe, last: str, alone: bool) -> list[str]:
    """The steps up to `last` that the recipe has a section for; only the last one when it is asked for alone.

    Raises:
        RecipeError: a step is asked for that the recipe has no section for.
    """
    if alone and getattr(recipe, last, None) is None:
        raise RecipeError(f"the recipe has no section `{last}`: add one to do this step")
    wanted = [last] if alone else list(STEPS[: STEPS.index(last) + 1])
    if alone and last == "finetune":
        wanted = ["questions", "finetune"]
    if recipe.finetune is None or recipe.finetune.data is not None:
        wanted = [step for step in wanted if step != "questions"]
    return [step for step in wanted if step in ("corpus", "report") or getattr(recipe, step) is not None]


def run_steps(
    name: str,
    overrides: Sequence[str],
    last: str,
    dry_run: bool,
    alone: bool = False,
    launching: Launching = HERE,
    target: Target | None = None,
) -> None:
    """Load the recipe, then plan or do its steps; a process of a run that is not the first only takes part.

    `target` is what trainings are planned for; None: what the launcher starts them on.
    """
    from jobs.plan import check, show_plan
    from jobs.training_plan import target_of

    loaded = load_recipe(name, overrides)
    steps = steps_to_do(loaded.recipe, last, alone)
    target = target or target_of(launching.launcher)
    check(loaded, steps, target)
    if dry_run:
        show_plan(loaded, steps, target, launching)
        return
    if launching.is_follower():
        _take_part(loaded.recipe, last, launching)
        return
    _do(loaded, steps, launching)


def _do(loaded: LoadedRecipe, steps: Sequence[str], launching: Launching) -> None:
    started = time.monotonic()
    with _others_held(loaded.recipe, steps, launching) as go_on, open_job(loaded, launching, go_on) as job:
        for step in steps:
            if job.stop.pending:
                raise Interrupted(f"stopped on request before {step}: the same command continues")
            _step(step)(job)
            if step == "tokens":
                # From here on the cores belong to the trainer.
                job.engine.close()
        note(f"all steps done in {duration(time.monotonic() - started)}: {shown(job.run.url)}")
        if "finetune" in steps:
            done("try", f'gptmill generate {loaded.recipe.run} "your question"   or   gptmill chat {loaded.recipe.run}')


def _take_part(recipe: Recipe, step: str, launching: Launching) -> None:
    if step == "pretrain":
        from jobs.pretrain import take_part_in_pretraining

        take_part_in_pretraining(recipe, launching)
        return
    from jobs.finetune import take_part_in_finetuning

    take_part_in_finetuning(recipe, launching)


def _others_held(
    recipe: Recipe, steps: Sequence[str], launching: Launching
) -> AbstractContextManager[Callable[[], None]]:
    """The other processes of a finetuning wait until the first one has made the conversations."""
    if "finetune" not in steps or not launching.is_external:
        return nullcontext(nobody_waits)
    from trainer.launch.first import while_others_wait

    assert recipe.finetune is not None
    return while_others_wait(launching.launcher, recipe.finetune)


def _step(name: str) -> Callable[[Job], None]:
    """The function of a step, imported when it is needed."""
    if name == "corpus":
        from jobs.corpus import make_corpus

        return make_corpus
    if name == "tokenizer":
        from jobs.tokenizer import make_tokenizer

        return make_tokenizer
    if name == "tokens":
        from jobs.tokens import make_tokens

        return make_tokens
    if name == "pretrain":
        from jobs.pretrain import pretrain

        return pretrain
    if name == "questions":
        from jobs.finetune import make_questions

        return make_questions
    if name == "finetune":
        from jobs.finetune import finetune

        return finetune
    from jobs.report import make_report

    return make_report
