"""What a tokenizer is worth on its corpus: how densely it encodes, by source and language, and what it wastes.

Measured on a bounded sample of the documents, chosen by hash; every sampled document is also decoded again and must
come back to the byte. Cost: encoding and decoding `SAMPLE_BYTES`, about three CPU-seconds.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from pipeline.sampling import chosen
from pipeline.shard import StageDirectory
from pipeline.tokenizer.load import token_bytes

REPORT_FILE = "tokenizer_report.json"
SAMPLE_BYTES = 4 << 20
LONGEST_TOKENS = 30
UNKNOWN_LANGUAGE = "unknown"


@dataclass
class _Tally:
    """What was counted for one group of documents."""

    documents: int = 0
    text_bytes: int = 0
    words: int = 0
    tokens: int = 0

    def add(self, text: str, tokens: int) -> None:
        self.documents += 1
        self.text_bytes += len(text.encode())
        self.words += len(text.split())
        self.tokens += tokens

    def row(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "text_bytes": self.text_bytes,
            "words": self.words,
            "tokens": self.tokens,
            "tokens_per_byte": _ratio(self.tokens, self.text_bytes),
            "tokens_per_word": _ratio(self.tokens, self.words),
        }


def tokenizer_report(tokenizer: Tokenizer, corpus: StageDirectory) -> dict[str, Any]:
    """Measure the tokenizer on a sample of the corpus; the result is JSON-able and depends on both alone.

    Shares are between 0 and 1. A token is unused when the sample does not contain it. A word is what white space
    separates, so tokens per word say little for scripts that write without spaces.

    Raises:
        RuntimeError: a text did not survive encoding and decoding, which byte-level BPE rules out.
    """
    total = sum(shard.text_bytes for shard in corpus.shards)
    share = 1.0 if total <= SAMPLE_BYTES else SAMPLE_BYTES / total
    table_bytes = token_bytes(tokenizer)
    uses = np.zeros(len(table_bytes), dtype=np.int64)
    groups: dict[tuple[str, str], _Tally] = defaultdict(_Tally)
    overall = _Tally()
    for table in corpus.batches():
        sample = table.filter(pa.array(chosen(table["text"], share, "tokenizer report")))
        for document, text, ids in _encoded(tokenizer, sample):
            if b"".join(table_bytes[index] for index in ids) != text.encode():
                raise RuntimeError(f"document {document['id']} does not survive encoding and decoding")
            np.add.at(uses, ids, 1)
            overall.add(text, len(ids))
            groups[document["source"], document["language"] or UNKNOWN_LANGUAGE].add(text, len(ids))
    return {
        "vocab_size": len(table_bytes),
        "sample": overall.row(),
        "round_trip": {"documents": overall.documents, "failures": 0},
        "by_source_and_language": [
            {"source": source, "language": language, **groups[source, language].row()}
            for source, language in sorted(groups)
        ],
        **_vocabulary(tokenizer, table_bytes, uses),
    }


def _encoded(tokenizer: Tokenizer, sample: pa.Table) -> list[tuple[dict[str, Any], str, list[int]]]:
    texts = sample["text"].to_pylist()
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    documents = sample.select(["id", "source", "language"]).to_pylist()
    return [
        (document, text, encoding.ids) for document, text, encoding in zip(documents, texts, encodings, strict=True)
    ]


def _vocabulary(tokenizer: Tokenizer, table_bytes: list[bytes], uses: np.ndarray) -> dict[str, Any]:
    lengths = np.array([len(text) for text in table_bytes])
    ordinary = lengths > 0
    single = lengths == 1
    longest = sorted(np.flatnonzero(ordinary).tolist(), key=lambda index: (-lengths[index], index))[:LONGEST_TOKENS]
    return {
        "unused_share": _ratio(int((ordinary & (uses == 0)).sum()), int(ordinary.sum())),
        "single_byte_share": _ratio(int(uses[single].sum()), int(uses.sum())),
        "longest_tokens": [
            {
                "id": index,
                "text": table_bytes[index].decode("utf-8", "backslashreplace"),
                "bytes": int(lengths[index]),
                "uses": int(uses[index]),
            }
            for index in longest
        ],
        "special_tokens": sorted(
            token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special
        ),
    }


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
