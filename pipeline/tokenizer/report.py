"""What a tokenizer is worth on its corpus: how densely it encodes, by source and language, and what it wastes.

A task a shard encodes all its documents, decodes them again (each must come back to the byte) and counts; other
vocabularies that a recipe names encode the documents of a sample, chosen by hash. Tasks write their counts below
`report/`, which is removed when the report is made. A report depends on the tokenizer and the corpus alone.

Cost: that of encoding the corpus once (`encoder`), and `COMPARED_BYTES` for each other vocabulary; memory is that of a
batch of documents and of the vocabularies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.kernels import characters, token_texts
from pipeline.kernels.column import TextColumn, text_column
from pipeline.sampling import chosen
from pipeline.shard import ArrowWriter, StageDirectory, fingerprint, open_table, read_batches
from pipeline.stage import Runner, Task
from pipeline.tokenizer import encoder
from pipeline.tokenizer.compared import opened
from pipeline.tokenizer.encoder import Encoder, encoder_of_worker
from pipeline.tokenizer.load import load_tokenizer, token_bytes

CODE_VERSION = 1
"""Raised with every change of this code that changes the report."""
KERNELS = ("token_texts", *encoder.KERNELS)
"""Kernel modules that the tasks call."""
COMPARED_BYTES = 32 << 20
"""Text that other vocabularies encode, on average: the library may have to do it."""
THIS = "this tokenizer"
LONGEST_TOKENS = 30
UNKNOWN_LANGUAGE = "unknown"
_USES = pa.schema([("token", pa.uint32()), ("uses", pa.int64())])
_COUNTS = ("documents", "text_bytes", "words")

Group = tuple[str, str]
"""Source and language."""


def tokenizer_report(
    file: str, sha256: str, corpus: StageDirectory, directory: str, runner: Runner, compare: Mapping[str, str]
) -> dict[str, Any]:
    """Measure a tokenizer on the whole corpus; the result is JSON-able.

    Shares are between 0 and 1. A token is unused when no document contains it. A word is what white space separates,
    so tokens per word say little for scripts that write without spaces.

    Args:
        file: The `tokenizer.json`, of a BPE tokenizer on bytes or characters.
        sha256: Its digest.
        corpus: The documents.
        directory: The tokenizer's folder: tasks keep their counts below it while they are needed.
        runner: Runs the tasks.
        compare: Other vocabularies by name: paths of `tokenizer.json` or `.tiktoken` files.

    Raises:
        UserError: a vocabulary to compare with cannot be read; names it.
        ShardsFailed: a document does not survive encoding and decoding, which both alphabets rule out; names it.
    """
    place = storage.join(directory, "report")
    others = {name: opened(name, path, place) for name, path in compare.items()}
    total = sum(shard.text_bytes for shard in corpus.shards)
    share = min(1.0, COMPARED_BYTES / total) if total else 1.0
    records = runner.map(place, "tokenizer report", _tasks(file, sha256, corpus, place, others, share))
    tokenizer = load_tokenizer(file, sha256)
    texts = token_bytes(tokenizer)
    uses = np.zeros(len(texts), np.int64)
    for record in records:
        for name in record["files"]:
            table = open_table(storage.join(place, name))
            uses[table["token"].to_numpy()] += table["uses"].to_numpy()
    whole = _Sums.of(record["groups"] for record in records)
    report = {
        "vocab_size": len(texts),
        "corpus": whole.total("tokens"),
        "round_trip": {"documents": whole.overall()["documents"], "failures": 0},
        "by_source_and_language": whole.rows("tokens"),
        **_vocabulary(texts, uses),
        "special_tokens": sorted(
            token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special
        ),
        "comparison": _comparison(file, sha256, others, _Sums.of(record["compared"] for record in records)),
    }
    storage.remove(place)
    return report


def _tasks(
    file: str, sha256: str, corpus: StageDirectory, place: str, others: Mapping[str, tuple[str, str]], share: float
) -> list[Task]:
    digests = {name: digest for name, (_, digest) in others.items()}
    return [
        Task(
            key=f"report-{index:05d}",
            function=measure_shard,
            arguments={
                "corpus_shard": storage.absolute(corpus.path(shard)),
                "directory": place,
                "name": f"report-{index:05d}",
                "tokenizer": (storage.absolute(file), sha256),
                "others": dict(others),
                "share": share,
            },
            inputs=fingerprint("tokenizer report", CODE_VERSION, sha256, digests, share, shard.sha256),
            weight=shard.text_bytes,
            kernels=KERNELS,
        )
        for index, shard in enumerate(corpus.shards)
    ]


def measure_shard(
    corpus_shard: str,
    directory: str,
    name: str,
    tokenizer: tuple[str, str],
    others: Mapping[str, tuple[str, str]],
    share: float,
) -> dict[str, Any]:
    """Task: encode one shard, decode it again, count what the report tells.

    Args:
        corpus_shard: Its Arrow file.
        directory: Where counts go.
        name: Of the file of counts.
        tokenizer: Path and sha256.
        others: Path and sha256 of each vocabulary to compare with, by name.
        share: Of the documents, for the comparison.

    Returns the record: `groups` and `compared`, lists of source, language and their sums; how often each token occurs
    is in `<name>.arrow`.

    Raises:
        RuntimeError: a text did not survive encoding and decoding.
    """
    own = encoder_of_worker(*tokenizer)
    texts, offsets = _token_texts(*tokenizer)
    uses = np.zeros(len(offsets) - 1, np.int64)
    groups, compared = _Sums(), _Sums()
    classes = characters.classes()
    for table in read_batches(corpus_shard):
        column = text_column(table["text"])
        encoded = own.encode(column)
        changed = token_texts.first_changed(column.data, column.offsets, encoded.ids, encoded.starts, texts, offsets)
        if changed >= 0:
            raise RuntimeError(f"document {table['id'][changed].as_py()} does not survive encoding and decoding")
        uses += np.bincount(encoded.ids, minlength=len(uses))
        counted = {
            "text_bytes": np.diff(column.offsets),
            "words": token_texts.count_words(column.data, column.offsets, classes),
            "tokens": np.diff(encoded.starts),
        }
        groups.add(table, counted)
        if others:
            sample = np.asarray(chosen(table["text"], share, "tokenizer comparison"))
            _compare(compared, table.filter(pa.array(sample)), sample, counted, others)
    used = np.flatnonzero(uses)
    with storage.write_atomically(storage.join(directory, f"{name}.arrow")) as sink:
        writer = ArrowWriter(sink, _USES)
        writer.write(pa.table([used.astype(np.uint32), uses[used]], schema=_USES))
        digest, _ = writer.close()
    return {"files": {f"{name}.arrow": digest}, "groups": groups.listed(), "compared": compared.listed()}


def _compare(
    sums: _Sums,
    table: pa.Table,
    sample: np.ndarray,
    counted: Mapping[str, np.ndarray],
    others: Mapping[str, tuple[str, str]],
) -> None:
    """Add the tokens of other vocabularies for the documents of a sample."""
    column: TextColumn = text_column(table["text"])
    found = {name: values[sample] for name, values in counted.items() if name != "tokens"}
    found[THIS] = counted["tokens"][sample]
    for name, (url, sha256) in others.items():
        found[name] = np.diff(_other_encoder(url, sha256).encode(column).starts)
    sums.add(table, found)


@lru_cache(maxsize=8)
def _other_encoder(url: str, sha256: str) -> Encoder:
    return Encoder.from_tokenizer(storage.read_bytes(url), url, sha256)


@lru_cache(maxsize=1)
def _token_texts(url: str, sha256: str) -> tuple[np.ndarray, np.ndarray]:
    """The texts of all tokens and where each begins."""
    texts = token_bytes(encoder_of_worker(url, sha256).tokenizer)
    return np.frombuffer(bytearray(b"".join(texts)), np.uint8), np.cumsum([0, *map(len, texts)], dtype=np.int64)


@dataclass
class _Sums:
    """What was counted, by source and language."""

    groups: dict[Group, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))

    @staticmethod
    def of(listed: Any) -> _Sums:
        """The sums of what tasks listed."""
        sums = _Sums()
        for rows in listed:
            for source, language, counts in rows:
                for name, value in counts.items():
                    sums.groups[source, language][name] += value
        return sums

    def add(self, documents: pa.Table, counted: Mapping[str, np.ndarray]) -> None:
        """Add counts of documents, int64 [documents] each."""
        languages = pc.coalesce(documents["language"], pa.scalar("", pa.string()))
        keys = pa.table([documents["source"], languages], ["source", "language"])
        values = {"documents": np.ones(len(documents), np.int64), **counted}
        for name, column in values.items():
            keys = keys.append_column(name, pa.array(column))
        for row in keys.group_by(["source", "language"]).aggregate([(name, "sum") for name in values]).to_pylist():
            group = self.groups[row["source"], row["language"] or UNKNOWN_LANGUAGE]
            for name in values:
                group[name] += row[f"{name}_sum"]

    def listed(self) -> list[tuple[str, str, dict[str, int]]]:
        """For a record."""
        return [(source, language, dict(self.groups[source, language])) for source, language in sorted(self.groups)]

    def overall(self) -> dict[str, int]:
        """All groups added up."""
        total: dict[str, int] = defaultdict(int)
        for counts in self.groups.values():
            for name, value in counts.items():
                total[name] += value
        return total

    def total(self, tokens: str) -> dict[str, Any]:
        """What is told of all documents; `tokens`: the name of the count of tokens."""
        return _told(self.overall(), tokens)

    def rows(self, tokens: str) -> list[dict[str, Any]]:
        """What is told of each group."""
        return [
            {"source": source, "language": language, **_told(self.groups[source, language], tokens)}
            for source, language in sorted(self.groups)
        ]


def _told(counts: Mapping[str, int], tokens: str) -> dict[str, Any]:
    found = {name: counts.get(name, 0) for name in _COUNTS}
    number = counts.get(tokens, 0)
    return {
        **found,
        "tokens": number,
        "tokens_per_byte": _ratio(number, found["text_bytes"]),
        "tokens_per_word": _ratio(number, found["words"]),
    }


def _comparison(
    file: str, sha256: str, others: Mapping[str, tuple[str, str]], sums: _Sums
) -> Sequence[Mapping[str, Any]]:
    """The tokenizer and those it is compared with, on the same sample; nothing without others."""
    if not others:
        return []
    return [
        {
            "name": name,
            "vocab_size": load_tokenizer(*opened_file).get_vocab_size(),
            "sample": sums.total(name),
            "by_source_and_language": sums.rows(name),
        }
        for name, opened_file in {THIS: (file, sha256), **others}.items()
    ]


def _vocabulary(texts: list[bytes], uses: np.ndarray) -> dict[str, Any]:
    lengths = np.array([len(text) for text in texts])
    ordinary, single = lengths > 0, lengths == 1
    longest = sorted(np.flatnonzero(ordinary).tolist(), key=lambda index: (-lengths[index], index))[:LONGEST_TOKENS]
    return {
        "unused_share": _ratio(int((ordinary & (uses == 0)).sum()), int(ordinary.sum())),
        "single_byte_share": _ratio(int(uses[single].sum()), int(uses.sum())),
        "longest_tokens": [
            {
                "id": index,
                "text": texts[index].decode("utf-8", "backslashreplace"),
                "bytes": int(lengths[index]),
                "uses": int(uses[index]),
            }
            for index in longest
        ],
    }


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
