"""Line and paragraph deduplication: a line that stood before anywhere in the corpus is cut out of the later documents.

Menus, notices and signatures stand on thousands of pages whose texts differ; only they go, the texts stay. The rule is
CCNet's (Wenzek et al. 2020, https://arxiv.org/abs/1911.00359, section 3.1: paragraphs, by line), which sees parts of
the corpus; here the whole corpus is one. Its program keeps no occurrence of a line that two documents have
(`min_copies: 2`, `keep: none`, `within_documents: false`); here the first one stays unless told otherwise.

Cost: see `pipeline.dedup.passages`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.dedup.passage_removal import PassageDedup, RemovePassages
from pipeline.dedup.passages import Passages


class LineDedup(PassageDedup):
    """Cut out lines or paragraphs that occurred before in the corpus."""

    name = "line_dedup"
    disk_share = 0.26
    megabytes_a_second = 33.0

    unit: Literal["line", "paragraph"] = "line"
    """`line`: between line breaks; `paragraph`: between blank lines."""
    characters_min: int = Field(default=20, ge=1)
    """Lines with fewer characters are left alone: headings repeat in texts that are no copies. CCNet: 1."""

    def passages(self) -> Passages:
        """One unit a passage."""
        return Passages(
            unit=self.unit,
            run=1,
            words="unicode",
            ignore=self.ignore,
            characters_min=self.characters_min,
            within_documents=self.within_documents,
        )

    def removal(self) -> type[RemovePassages]:
        """Applies what was found."""
        return RemoveLines


class RemoveLines(RemovePassages):
    """Applies what `line_dedup` found."""

    name = "line_dedup"
