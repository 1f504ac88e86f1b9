"""`gptmill export` and `gptmill import-model`: finished models to and from Hugging Face's transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jobs.terminal import done, note, shown
from pipeline import storage
from pipeline.errors import UserError

if TYPE_CHECKING:
    from trainer.export.hugging_face.directory import Exchange

Step = Literal["pretrain", "finetune"]


def export_model(name: str, target: str, step: Step | None) -> None:
    """Write a run's model as a directory that transformers opens.

    Raises UserError when the run has no such model, or transformers' architectures cannot hold it.
    """
    model, is_tuned = _model_of(name, step)
    from trainer.export.hugging_face import write_directory

    _tell("export", f"{shown(str(model))} -> {shown(target)}", write_directory(model, Path(target), chat=is_tuned))


def import_model(source: str, target: str, tokenizer: str | None) -> None:
    """Write a directory of transformers as a model that `pretrain.init_from` takes.

    Raises UserError when it is not one of this trainer's models.
    """
    from trainer.export.hugging_face import read_directory

    exchange = read_directory(Path(source), Path(target), None if tokenizer is None else Path(tokenizer))
    _tell("import", f"{shown(source)} -> {shown(target)}", exchange)


def _model_of(name: str, step: Step | None) -> tuple[Path, bool]:
    """A run's `model/` directory, and whether it was tuned on conversations."""
    run = Path(storage.absolute(name))
    if (run / "model.json").is_file():
        return run, step == "finetune" or run.parent.name == "finetune"
    steps: tuple[Step, ...] = ("finetune", "pretrain") if step is None else (step,)
    for candidate in steps:
        if (run / candidate / "model" / "model.json").is_file():
            return run / candidate / "model", candidate == "finetune"
    raise UserError(f"{name} has no finished model of {' or '.join(steps)}: run `gptmill run` with its recipe first")


def _tell(title: str, detail: str, exchange: Exchange) -> None:
    from trainer.export.hugging_face.families import TITLES
    from trainer.model.declaration import parameter_count

    done(title, f"{detail}: {TITLES[exchange.family]}, {parameter_count(exchange.shape):,} parameters")
    if exchange.difference is None:
        note("not checked: `pip install transformers`, and what it computes is compared with what we compute")
    else:
        note(f"largest difference of a logit between transformers and gptmill: {exchange.difference:.1g}")
