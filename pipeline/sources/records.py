"""What sources of records share: which fields hold the text, the id and the URL, and how a record becomes a document.

All other fields of a record are kept as metadata.
"""

from __future__ import annotations

from abc import ABC
from typing import Any

from pydantic import Field

from pipeline.sources.source import Source, metadata_text


class RecordFiles(Source, ABC):
    """Files of records, each a document."""

    path: str
    """File, folder (read to the bottom) or glob pattern; local or any fsspec URL (s3://bucket/crawl/*.jsonl.zst)."""
    text_field: str = "text"
    """Field of the document's text."""
    id_field: str = "id"
    """Field of the document's id; a record without it is named after source, file and place in the file."""
    url_field: str = "url"
    """Field of the document's URL, where there is one."""
    slice_bytes: int = Field(default=256 << 20, ge=1)
    """Uncompressed size in bytes of the parts that become one shard each; a compressed file is one part."""

    def document(self, record: dict[str, Any], place: str) -> dict[str, Any]:
        """The document of a record that holds a text; `place` is its id when it brings none."""
        text, identity = record.pop(self.text_field), record.pop(self.id_field, None)
        url, language = record.pop(self.url_field, None), record.pop("language", None)
        return {
            "id": place if identity is None else str(identity),
            "text": text,
            "source": self.label,
            "url": None if url is None else str(url),
            "language": language if isinstance(language, str) else None,
            "metadata": metadata_text(record),
        }
