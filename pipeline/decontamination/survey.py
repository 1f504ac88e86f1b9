"""Counts the documents of the corpus that hold each n-gram of the evaluation sets, and leaves common ones out.

    counts (a file a shard) -> common (one file) -> the applying stage

Source: GPT-3 (Brown et al. 2020, https://arxiv.org/abs/2005.14165, appendix C) ignored 13-grams that matched more than
10 training documents: most were common phrases or legal boilerplate, not the test sets.

Cost: as looking for the n-grams, 35 MB of text a CPU-second; on disk 16 bytes for each n-gram that a shard holds; in
memory 8 bytes for each n-gram of the sets besides the index.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline import storage
from pipeline.decontamination.index import NgramIndex
from pipeline.decontamination.judging import NgramDecontamination
from pipeline.dedup.partitions import read_partition, write_partitions
from pipeline.dedup.phases import text_tasks
from pipeline.shard import StageDirectory, fingerprint, read_batches, shard_name
from pipeline.stage import DocumentStage, Runner, SurveyStage, Task, code_version

_COUNTS_SCHEMA = pa.schema([("ngram", pa.int64()), ("documents", pa.int64())])
"""One row for each n-gram found: its place in the index, and the documents that hold it."""
_COMMON = "common.arrow"


class CountNgrams(SurveyStage):
    """The survey of `decontaminate` where `max_documents` is set."""

    name: ClassVar[str] = "decontaminate"
    kernels: ClassVar[tuple[str, ...]] = NgramDecontamination.kernels

    decontaminate: NgramDecontamination
    """What is looked for, and what becomes of it."""

    def files(self) -> list[str]:
        """The files of the evaluation sets."""
        return self.decontaminate.files()

    def survey(self, corpus: StageDirectory, directory: str, runner: Runner) -> DocumentStage:
        """Count the documents of each n-gram, find the common ones."""
        given = self.decontaminate
        # Content, not paths: sets that were moved are the same ones.
        sets = [(entry.model_dump(exclude={"path"}), storage.sha256_of(entry.path)) for entry in given.sets.values()]
        sought = fingerprint(code_version(type(self)), sets, given.n, given.min_words, given.max_items)
        content = f"n-grams of evaluation sets {sought}"
        folders = {step: storage.join(directory, step) for step in ("counts", "common")}
        counted = runner.map(
            folders["counts"],
            f"{self.name}: counts",
            text_tasks(
                write_counts,
                folders["counts"],
                corpus,
                {"content": content, "decontaminate": given},
                (content, corpus.fingerprint),
                self.kernels,
            ),
        )
        common = Task(
            key="common",
            function=write_common,
            arguments={
                "directory": folders["common"],
                "counts": folders["counts"],
                "shards": len(corpus.shards),
                "content": content,
                "decontaminate": given,
                "max_documents": given.max_documents,
            },
            inputs=fingerprint([record["files"] for record in counted], content, given.max_documents),
            kernels=self.kernels,
        )
        (found,) = runner.map(folders["common"], f"{self.name}: common n-grams", [common])
        return DecontaminateRare(
            **given.model_dump(), directory=folders["common"], content=content, result=found["files"][_COMMON]
        )


def write_counts(
    directory: str, path: str, shard: int, content: str, decontaminate: NgramDecontamination
) -> dict[str, Any]:
    """Task: the documents of one shard that hold each n-gram."""
    from pipeline.kernels.column import text_column

    index = decontaminate.all_ngrams()
    documents = np.zeros(len(index.firsts), np.int64)
    for batch in read_batches(path):
        hits, _ = index.find(text_column(batch["text"]))
        once = np.unique(hits.documents * len(documents) + hits.ngrams)
        documents += np.bincount(once % len(documents), minlength=len(documents))
    found = np.flatnonzero(documents)
    table = pa.table([found, documents[found]], schema=_COUNTS_SCHEMA)
    name = f"{shard_name(shard)}.arrow"
    sha256 = write_partitions(storage.join(directory, name), table, np.zeros(len(table), np.int64), 1, content)
    return {"files": {name: sha256}, "ngrams": len(found)}


def write_common(
    directory: str, counts: str, shards: int, content: str, decontaminate: NgramDecontamination, max_documents: int
) -> dict[str, Any]:
    """Task: the n-grams of more than `max_documents` documents of the corpus."""
    index = decontaminate.all_ngrams()
    documents = np.zeros(len(index.firsts), np.int64)
    for shard in range(shards):
        rows = read_partition(storage.join(counts, f"{shard_name(shard)}.arrow"), 0, 1, content)
        documents[rows["ngram"].to_numpy()] += rows["documents"].to_numpy()
    common = np.flatnonzero(documents > max_documents)
    table = pa.table([common, documents[common]], schema=_COUNTS_SCHEMA)
    sha256 = write_partitions(
        storage.join(directory, _COMMON), table, np.zeros(len(table), np.int64), 1, _common_content(content)
    )
    return {"files": {_COMMON: sha256}, "ngrams_found": int((documents > 0).sum()), "ngrams_common": len(common)}


def _common_content(content: str) -> str:
    return f"common {content}"


@lru_cache(maxsize=2)
def _rare(url: str, content: str, result: str, index: NgramIndex) -> NgramIndex:
    return index.without(read_partition(url, 0, 1, _common_content(content))["ngram"].to_numpy())


class DecontaminateRare(NgramDecontamination):
    """Applies `decontaminate` to the n-grams that few documents hold."""

    directory: str = Field(exclude=True)
    """Where the common n-grams lie; no part of the fingerprint, so that a run directory can be moved."""
    content: str
    """What was counted: the common n-grams of other sets are refused."""
    result: str
    """sha256 of the common n-grams: others make the following shards be done again."""

    def ngrams(self) -> NgramIndex:
        """The n-grams of the sets without the common ones."""
        return _rare(storage.join(self.directory, _COMMON), self.content, self.result, self.all_ngrams())
