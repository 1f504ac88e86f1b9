"""From sources and stages to a clean corpus: splits the stages at the barriers and runs pass after pass.

corpus/00-read/             sources and all stages before the first barrier
corpus/01-perplexity/       a barrier's decision and the stages after it; `survey/` holds what it found out
corpus/02-exact_dedup/ ...
corpus/manifest.json        written last: the directories in order, the whole funnel, the fingerprint
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline import storage
from pipeline.errors import SettingError, UserError
from pipeline.funnel import READ
from pipeline.passes import SliceInput, inputs_of, run_pass
from pipeline.shard import StageDirectory, fingerprint
from pipeline.sources.source import Source
from pipeline.stage import DocumentStage, Runner, Stage, SurveyStage

CORPUS_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class PlannedPass:
    """One pass: the barrier it starts with (none for the first) and the per-document stages fused into it."""

    name: str
    """Name of its directory, `01-perplexity`."""
    barrier: SurveyStage | None
    stages: list[DocumentStage] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The stages' names, for progress."""
        barrier = [self.barrier.name] if self.barrier else [READ]
        return " + ".join(barrier + [stage.name for stage in self.stages])


def plan_passes(stages: Sequence[Stage]) -> list[PlannedPass]:
    """Split the stages at the barriers."""
    passes = [PlannedPass(f"00-{READ}", None)]
    for stage in stages:
        barrier = stage.barrier() if isinstance(stage, DocumentStage) else stage
        if isinstance(barrier, SurveyStage):
            passes.append(PlannedPass(f"{len(passes):02d}-{stage.name}", barrier))
        elif isinstance(stage, DocumentStage):
            passes[-1].stages.append(stage)
        else:
            raise TypeError(f"{type(stage).__name__} is neither a DocumentStage nor a SurveyStage")
    return passes


def plan_slices(sources: Sequence[Source]) -> list[SliceInput]:
    """The slices of all sources in order.

    Raises:
        UserError: a source has nothing to read.
        SettingError: two sources have the same name.
    """
    labels = [source.label for source in sources]
    for label in labels:
        if labels.count(label) > 1:
            raise SettingError(f"two sources are named {label}: give each a `name` of its own, ids are made from it")
    return [SliceInput(source, part) for source in sources for part in source.plan()]


def build_corpus(
    sources: Sequence[Source],
    stages: Sequence[Stage],
    directory: str,
    runner: Runner,
    max_bad_fraction: float,
) -> dict[str, Any]:
    """Build the corpus below `directory` and return its manifest; what is finished is not done again."""
    slices = plan_slices(sources)
    corpus: StageDirectory | None = None
    directories: list[StageDirectory] = []
    for planned in plan_passes(stages):
        place = storage.join(directory, planned.name)
        if planned.barrier is None or corpus is None:
            # All that the recipe needs, so that compiling is waited for once and not at every barrier.
            kernels = [name for source in sources for name in source.kernels]
            kernels += [name for stage in stages for name in stage.kernels]
            corpus = run_pass(place, planned.label, slices, planned.stages, runner, max_bad_fraction, kernels)
        else:
            decision = planned.barrier.survey(corpus, storage.join(place, "survey"), runner)
            corpus = run_pass(
                place, planned.label, inputs_of(corpus), [decision, *planned.stages], runner, max_bad_fraction
            )
        directories.append(corpus)
    manifest = {
        "directories": [storage.name_of(entry.url) for entry in directories],
        "funnel": [entry for place in directories for entry in place.manifest["funnel"]],
        "quarantined": sum(place.manifest["quarantined"] for place in directories),
        "fingerprint": fingerprint([place.manifest["plan"] for place in directories], directories[-1].fingerprint),
    }
    path = storage.join(directory, CORPUS_MANIFEST)
    if not storage.exists(path) or storage.read_json(path) != manifest:
        storage.write_json(path, manifest)
    return manifest


def open_corpus(directory: str) -> StageDirectory:
    """The finished corpus: the directory of its last pass.

    Raises:
        UserError: the corpus is not finished.
    """
    path = storage.join(directory, CORPUS_MANIFEST)
    if not storage.exists(path):
        raise UserError(f"{directory} holds no finished corpus: run `gptmill corpus` first")
    return StageDirectory(storage.join(directory, storage.read_json(path)["directories"][-1]))
