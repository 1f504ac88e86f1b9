"""Writes a run's `report.html`: one self-contained page of what happened to the text and to the models.

Decisions: no scripts and no external links (the page forbids itself both), charts are inline SVG, everything taken
from documents is escaped and stripped of control characters, since documents are hostile. A step that has not run
is named as missing instead of shown empty. The page depends on the run's files alone and is bounded in size: a
bounded number of examples, excerpts, curve points and recipe lines.

Cost: one read of the manifests and of at most 256 shards' drop logs and text offsets; about two seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from jobs.job import Job
from jobs.page import page_environment
from jobs.plots import ACCENT, GHOST, INK, MUTED, WARM, Line, length_histogram, line_chart
from jobs.terminal import done, shown
from pipeline import storage
from pipeline.errors import UserError
from pipeline.report.census import Census, take_census
from pipeline.report.drops import DropSummary, read_drops
from pipeline.report.funnel import Corpus, read_corpus
from pipeline.report.quarantine import QuarantineSummary, read_quarantine
from pipeline.stage import add_examples
from pipeline.tokenizer.load import REPORT_FILE
from trainer.logging.report import Curve, TrainingSummary, summarise_training

REPORT = "report.html"
_LANGUAGES = 12
_RULES = 60
_RECIPE_CHARACTERS = 40_000
_SAMPLE_CHARACTERS = 1_200
_PERSONAL_DATA_STAGE = "pii"
_SOURCE_COLORS = (ACCENT, WARM, MUTED, INK, GHOST)
"""Of the curves by source, by name; more would not be told apart."""


@dataclass(frozen=True)
class CorpusSection:
    """Everything the page says about the documents."""

    corpus: Corpus
    drops: DropSummary
    census: Census
    quarantine: QuarantineSummary
    languages: Sequence[tuple[str, int, int]]
    """Language, documents kept, documents rejected; the most frequent ones."""
    lengths_chart: Markup
    """Documents read and kept by length of their text."""
    personal_data: Mapping[str, int]
    """Occurrences by kind."""
    personal_examples: Mapping[str, Sequence[str]]
    """Masked occurrences by kind."""

    @property
    def language_scale(self) -> int:
        """Documents of the most frequent language: the full width of a bar."""
        return max((kept + rejected for _, kept, rejected in self.languages), default=0)


@dataclass(frozen=True)
class TrainingSection:
    """Everything the page says about one training run."""

    title: str
    anchor: str
    summary: TrainingSummary
    charts: Sequence[tuple[str, Markup]]
    """Caption and picture."""


def make_report(job: Job) -> None:
    """The report step of a run."""
    done("report", shown(write_report(job.run.url)))


def write_report(run_directory: str) -> str:
    """Write `report.html` into a run directory, whatever of the run exists, and return its path.

    Raises:
        UserError: there is no such run, or a file of it is damaged; names it.
    """
    if not storage.exists(run_directory):
        raise UserError(f"{run_directory} is not there: give the directory of a run, the `run:` of its recipe")
    path = storage.join(run_directory, REPORT)
    with storage.write_atomically(path) as file:
        file.write(render_report(run_directory).encode("utf-8", "replace"))
    return path


def render_report(run_directory: str) -> str:
    """The page as text."""
    corpus = _corpus_section(storage.join(run_directory, "corpus"))
    tokens = _json(storage.join(run_directory, "tokens", "tokens.json"))
    gzip_level = tokens.get("baselines", {}).get("validation_gzip9_bits_per_byte") if tokens else None
    pretraining = _training_section(run_directory, "pretrain", "Pretraining", gzip_level)
    finetuning = _training_section(run_directory, "finetune", "Finetuning", None)
    tokenizer = _json(storage.join(run_directory, "tokenizer", REPORT_FILE))
    steps: Sequence[tuple[str, object | None]] = (
        ("corpus", corpus),
        ("tokenizer", tokenizer),
        ("tokens", tokens),
        ("pretrain", pretraining),
        ("finetune", finetuning),
    )
    return (
        page_environment()
        .get_template("report.html")
        .render(
            run=storage.name_of(run_directory),
            corpus=corpus,
            tokenizer=tokenizer,
            tokens=tokens,
            trainings=[section for section in (pretraining, finetuning) if section is not None],
            tiles=_tiles(corpus, tokens, pretraining, finetuning, gzip_level),
            missing=[name for name, section in steps if section is None],
            machine=_flat(_json(storage.join(run_directory, "environment.json")) or {}),
            recipe=_text(storage.join(run_directory, "resolved.yaml"))[:_RECIPE_CHARACTERS],
            rules_limit=_RULES,
            sample_characters=_SAMPLE_CHARACTERS,
        )
    )


def _corpus_section(url: str) -> CorpusSection | None:
    corpus = read_corpus(url)
    if corpus is None:
        return None
    drops = read_drops(corpus)
    census = take_census(corpus, drops)
    seen = census.languages_kept + census.languages_rejected
    ranked = sorted(seen, key=lambda language: (-seen[language], language))
    languages = [(name, census.languages_kept[name], census.languages_rejected[name]) for name in ranked[:_LANGUAGES]]
    if others := ranked[_LANGUAGES:]:
        languages.append(
            (
                f"{len(others)} others",
                sum(census.languages_kept[name] for name in others),
                sum(census.languages_rejected[name] for name in others),
            )
        )
    personal_data: Counter[str] = Counter()
    personal_examples: dict[str, list[str]] = {}
    for step in corpus.funnel:
        if step.stage == _PERSONAL_DATA_STAGE:
            personal_data.update(step.counts)
            add_examples(personal_examples, step.examples)
    chart = length_histogram("lengths", "Documents by length", census.lengths_before, census.lengths_after)
    quarantine = read_quarantine(corpus)
    return CorpusSection(
        corpus, drops, census, quarantine, languages, Markup(chart), dict(personal_data), personal_examples
    )


def _training_section(run_directory: str, folder: str, title: str, gzip_level: float | None) -> TrainingSection | None:
    summary = summarise_training(storage.local_path(storage.join(run_directory, folder)))
    if summary is None:
        return None
    loss = [
        _line("training", summary.loss, MUTED),
        _line("validation", summary.validation_loss, ACCENT, marked=True),
        Line("skipped", summary.skipped.steps, summary.skipped.values, WARM, marked=True, joined=False),
    ]
    by_source = [
        _line(name, curve, color, marked=True)
        for (name, curve), color in zip(summary.loss_by_source.items(), _SOURCE_COLORS, strict=False)
    ]
    bits = [_line("model", summary.bits_per_byte, marked=True)]
    rate = [_line("learning rate", summary.learning_rate)]
    norm = [_line("gradient norm", summary.gradient_norm)]
    speed = [_line("speed", summary.tokens_per_second)]
    mfu = [_line("MFU", summary.mfu)]
    level = None if gzip_level is None else ("gzip -9", gzip_level)
    charts = []
    for caption, name, lines, unit, comparison, from_zero in (
        ("Loss", "loss", loss, "nats per token", None, False),
        ("Validation, bits per byte of text", "bits", bits, "bits per byte", level, False),
        ("Validation loss by source", "sources", by_source, "nats per token", None, False),
        ("Learning rate", "rate", rate, "", None, True),
        ("Gradient norm before clipping", "norm", norm, "", None, True),
        ("Speed", "speed", speed, "tokens per second", None, True),
        ("Model FLOPs utilisation", "mfu", mfu, "of the devices' peak", None, True),
    ):
        drawn = [line for line in lines if line.x]
        if drawn:
            chart_name = f"{folder}-{name}"
            chart = line_chart(chart_name, f"{title}: {caption}", drawn, unit, level=comparison, from_zero=from_zero)
            charts.append((caption, Markup(chart)))
    return TrainingSection(title, folder, summary, charts)


def _line(label: str, curve: Curve, color: str = ACCENT, *, marked: bool = False) -> Line:
    return Line(label, curve.steps, curve.values, color, marked)


@dataclass(frozen=True)
class Tile:
    """One headline figure."""

    value: float
    kind: str
    """How the value is written: count, size, or number."""
    label: str
    note: str = ""


def _tiles(
    corpus: CorpusSection | None,
    tokens: Mapping[str, Any] | None,
    pretraining: TrainingSection | None,
    finetuning: TrainingSection | None,
    gzip_level: float | None,
) -> list[Tile]:
    tiles = []
    if corpus is not None:
        first, last = corpus.corpus.funnel[0], corpus.corpus.funnel[-1]
        share = last.documents_out / first.documents_in
        tiles.append(Tile(last.documents_out, "count", "documents kept", f"{share:.1%} of those read"))
        share = last.text_bytes_out / first.text_bytes_in if first.text_bytes_in else 0.0
        tiles.append(Tile(last.text_bytes_out, "size", "of clean text", f"{share:.1%} of what was read"))
    if tokens is not None:
        train = tokens["splits"]["train"]
        note = f"{train['text_bytes'] / max(1, train['target_tokens']):.2f} bytes of text each"
        tiles.append(Tile(train["target_tokens"], "count", "training tokens", note))
    if pretraining is not None:
        if parameters := pretraining.summary.figures.get("parameters"):
            tiles.append(Tile(parameters, "count", "parameters"))
        if measured := pretraining.summary.bits_per_byte.values:
            note = "" if gzip_level is None else f"gzip -9 needs {gzip_level:.3f}"
            tiles.append(Tile(measured[-1], "number", "bits per byte, validation", note))
    if finetuning is not None and (losses := finetuning.summary.validation_loss.values):
        tiles.append(Tile(losses[-1], "number", "validation loss, finetuned", "nats per answer token"))
    return tiles


def _json(url: str) -> Any:
    """The content of a JSON file, None when there is none."""
    return storage.read_json(url) if storage.exists(url) else None


def _text(url: str) -> str:
    return storage.read_bytes(url).decode("utf-8", "replace") if storage.exists(url) else ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows of a table: `a.b` and its value as text."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows.extend(_flat(value, f"{name}."))
        else:
            rows.append((name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
