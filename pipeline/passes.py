"""One pass over the corpus: read each shard once, put it through the fused stages, write it once.

A pass is the stages between two barriers. Its first input are the sources' slices, later the shards of the pass
before. Each input becomes one output shard of the same index, so shard boundaries depend on input and recipe alone.
Memory is bounded by a batch, plus the drop log of one shard.

A stage that raises on a batch is tried on its documents one by one: those that break it go to quarantine with the
error, the others go on. A job whose share of quarantined records exceeds `max_bad_fraction` fails, and so does a
pass that would leave no document.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute

from pipeline import storage
from pipeline.arrays import arrow_array, empty_table, repeated_text, text_array
from pipeline.errors import SettingError, UserError
from pipeline.funnel import READ, Tally, merge_funnels
from pipeline.shard import (
    DOCUMENT_SCHEMA,
    DROPPED_SCHEMA,
    FORMAT_VERSION,
    MANIFEST,
    ArrowWriter,
    StageDirectory,
    fingerprint,
    open_table,
    read_batches,
    remove_stale_shards,
    shard_name,
    write_dataset_files,
    write_dropped,
)
from pipeline.sources.source import Quarantine, Slice, Source
from pipeline.stage import (
    EXCERPT_CHARACTERS,
    DocumentStage,
    Drops,
    Outcome,
    Position,
    Runner,
    Task,
    add_examples,
)


@dataclass(frozen=True)
class SliceInput:
    """A slice of a source as the input of one shard."""

    source: Source
    part: Slice

    @property
    def label(self) -> str:
        """What a person would call the input."""
        return self.part.label

    @property
    def weight(self) -> int:
        """Expected work, in bytes."""
        return max(1, self.part.input_bytes)

    def stamp(self) -> str:
        """Fingerprint of everything that decides the documents read."""
        settings = self.source.model_dump(mode="json")
        return fingerprint(self.source.kind, self.source.version, settings, self.part.arguments, self.part.stamp)

    def batches(self, quarantine: Quarantine) -> Iterator[pa.Table]:
        """The documents, batch by batch."""
        return self.source.read(self.part, quarantine)


@dataclass(frozen=True)
class ShardInput:
    """A finished shard of the pass before as the input of one shard."""

    path: str
    sha256: str
    text_bytes: int

    @property
    def label(self) -> str:
        """What a person would call the input."""
        return self.path

    @property
    def weight(self) -> int:
        """Expected work, in bytes."""
        return max(1, self.text_bytes)

    def stamp(self) -> str:
        """The content of the shard."""
        return self.sha256

    def batches(self, quarantine: Quarantine) -> Iterator[pa.Table]:
        """The documents, batch by batch."""
        return read_batches(self.path)


def inputs_of(corpus: StageDirectory) -> list[SliceInput | ShardInput]:
    """The shards of a finished pass as inputs of the next."""
    return [ShardInput(corpus.path(shard), shard.sha256, shard.text_bytes) for shard in corpus.shards]


def run_pass(
    directory: str,
    label: str,
    inputs: Sequence[SliceInput | ShardInput],
    stages: Sequence[DocumentStage],
    runner: Runner,
    max_bad_fraction: float,
    kernels: Sequence[str] = (),
) -> StageDirectory:
    """Run the stages over all inputs and write the manifest last; `kernels` are compiled first, beside the stages' own.

    Raises:
        ShardsFailed: some shards failed; the others are kept.
        UserError: nothing was read, every document was dropped, or too much was quarantined.
    """
    stage_stamps = [stage.fingerprint() for stage in stages]
    tasks = [
        Task(
            key=shard_name(index),
            function=process_shard,
            arguments={"directory": directory, "index": index, "item": item, "stages": list(stages)},
            inputs=fingerprint(item.stamp(), stage_stamps),
            weight=item.weight,
            kernels=(*(name for stage in stages for name in stage.kernels), *kernels),
        )
        for index, item in enumerate(inputs)
    ]
    plan = fingerprint([task.inputs for task in tasks])
    result = StageDirectory(directory)
    records = runner.map(directory, label, tasks)
    funnel = merge_funnels([record["funnel"] for record in records])
    _check(
        directory,
        f"{label} ({inputs[0].label}{', ...' if len(inputs) > 1 else ''})",
        funnel,
        sum(record["quarantined"] for record in records),
        max_bad_fraction,
    )
    manifest = {
        "format_version": FORMAT_VERSION,
        "plan": plan,
        "fingerprint": fingerprint([record["shard"]["sha256"] for record in records]),
        "stages": [
            {"name": stage.name, "version": stage.version, "settings": stage.model_dump(mode="json")}
            for stage in stages
        ],
        "shards": [record["shard"] for record in records],
        "funnel": funnel,
        "quarantined": sum(record["quarantined"] for record in records),
        "documents_in": funnel[0]["documents_in"],
        "documents_out": funnel[-1]["documents_out"],
    }
    _write_manifest(result, manifest)
    return result


def _write_manifest(result: StageDirectory, manifest: dict[str, Any]) -> None:
    path = storage.join(result.url, MANIFEST)
    if storage.exists(path) and storage.read_json(path) == manifest:
        return
    names = [entry["name"] for entry in manifest["shards"]]
    folders = [result.url, *(storage.join(result.url, name) for name in ("dropped", "quarantine"))]
    remove_stale_shards(folders, names)
    files = [f"{name}.arrow" for name in names]
    schema = open_table(storage.join(result.url, files[0])).schema
    write_dataset_files(result.url, schema, files, manifest["fingerprint"])
    storage.write_json(path, manifest)


def _check(directory: str, label: str, funnel: list[dict[str, Any]], quarantined: int, allowed: float) -> None:
    read = funnel[0]["documents_in"]
    if quarantined and quarantined / (read + quarantined) > allowed:
        raise UserError(
            f"{label}: {quarantined} of {read + quarantined} records could not be used "
            f"({quarantined / (read + quarantined):.1%}), more than max_bad_fraction={allowed:g}: see "
            f"{storage.join(directory, 'quarantine')}, mend the input or raise max_bad_fraction"
        )
    if read == 0:
        left_out = [f"{count} were {reason}" for reason, count in sorted(funnel[0]["counts"].items())]
        left_out += [f"{quarantined} could not be used, see {storage.join(directory, 'quarantine')}"] * bool(
            quarantined
        )
        raise UserError(
            f"{label}: no document was read: "
            + (f"of the records {'; '.join(left_out)}" if left_out else "the input files are empty")
        )
    for entry in funnel:
        if entry["documents_in"] and not entry["documents_out"]:
            rules = ", ".join(f"{rule} {count}" for rule, count in sorted(entry["dropped"].items()))
            raise UserError(
                f"stage {entry['stage']} dropped all {entry['documents_in']} documents ({rules}): see "
                f"{storage.join(directory, 'dropped')} and loosen the stage's thresholds"
            )


def process_shard(
    directory: str, index: int, item: SliceInput | ShardInput, stages: Sequence[DocumentStage]
) -> dict[str, Any]:
    """Put one input through the stages; write the shard, its drop log and its quarantine; return its record."""
    name = shard_name(index)
    files = [f"{name}.arrow", f"dropped/{name}.parquet", f"quarantine/{name}.jsonl"]
    quarantine = Quarantine()
    reading = Tally(READ)
    tallies = [Tally(stage.name) for stage in stages]
    dropped: list[pa.Table] = []
    with storage.write_atomically(storage.join(directory, files[0])) as file:
        writer: ArrowWriter | None = None
        first_row = 0
        for batch in item.batches(quarantine):
            if writer is None:
                writer = ArrowWriter(file, _output_schema(batch.schema, stages))
            reading.count(batch, batch)
            position = Position(index, first_row)
            first_row += batch.num_rows
            for stage, tally in zip(stages, tallies, strict=True):
                batch = _apply(stage, batch, position, tally, dropped, quarantine)
            writer.write(batch)
        reading.counts.update(quarantine.skipped)
        if writer is None:
            writer = ArrowWriter(file, _output_schema(_empty_schema(item), stages))
        sha256, file_bytes = writer.close()
    with storage.write_atomically(storage.join(directory, files[1])) as file:
        write_dropped(file, dropped)
    if quarantine.entries:
        with storage.write_atomically(storage.join(directory, files[2])) as file:
            file.writelines(json.dumps(entry, ensure_ascii=False).encode() + b"\n" for entry in quarantine.entries)
    else:
        storage.remove(storage.join(directory, files.pop()))
    funnel = [tally.entry() for tally in ([reading] if isinstance(item, SliceInput) else []) + tallies]
    return {
        "input": item.label,
        "files": {entry: storage.sha256_of(storage.join(directory, entry)) for entry in files[1:]} | {files[0]: sha256},
        "shard": {
            "name": name,
            "rows": writer.rows,
            "text_bytes": (tallies[-1] if tallies else reading).text_bytes_out,
            "file_bytes": file_bytes,
            "sha256": sha256,
        },
        "funnel": funnel,
        "quarantined": len(quarantine.entries),
        "documents": reading.documents_in,
        "text_bytes": reading.text_bytes_in,
    }


def _empty_schema(item: SliceInput | ShardInput) -> pa.Schema:
    return DOCUMENT_SCHEMA if isinstance(item, SliceInput) else open_table(item.path).schema


def _output_schema(schema: pa.Schema, stages: Sequence[DocumentStage]) -> pa.Schema:
    """What the stages make of the schema, found out with an empty batch."""
    empty = empty_table(schema)
    for stage in stages:
        empty = stage.apply(empty, Position(0, 0)).documents
        if twice := [name for name, count in Counter(empty.schema.names).items() if count > 1]:
            raise SettingError(
                f"stage {stage.name} adds the columns {', '.join(twice)}, which the documents have already: name "
                "others, or label in one stage only"
            )
    return empty.schema


def _apply(
    stage: DocumentStage,
    batch: pa.Table,
    position: Position,
    tally: Tally,
    dropped: list[pa.Table],
    quarantine: Quarantine,
) -> pa.Table:
    """One stage on one batch: keep what it keeps, log what it drops, quarantine what breaks it."""
    try:
        outcome = stage.apply(batch, position)
    except (UserError, OSError, MemoryError):
        raise
    except Exception:
        batch, outcome = _one_by_one(stage, batch, position, quarantine)
    if outcome.documents.num_rows != batch.num_rows:
        raise UserError(
            f"stage {stage.name} returned {outcome.documents.num_rows} documents for {batch.num_rows}: a stage must "
            "return every document and name in `drops` those to remove"
        )
    kept = outcome.documents
    if len(outcome.drops):
        dropped.append(_drop_log(stage.name, batch, outcome.drops, tally))
        mask = np.ones(batch.num_rows, dtype=bool)
        mask[outcome.drops.columns()[0]] = False
        kept = kept.filter(arrow_array(mask))
    tally.count(batch, kept)
    tally.counts.update(outcome.counts)
    add_examples(tally.examples, outcome.examples)
    return kept


def _one_by_one(
    stage: DocumentStage, batch: pa.Table, position: Position, quarantine: Quarantine
) -> tuple[pa.Table, Outcome]:
    """Apply a stage that raises on a batch to its documents singly; those that break it go to quarantine."""
    good: list[int] = []
    outcomes: list[Outcome] = []
    for row in range(batch.num_rows):
        try:
            outcome = stage.apply(batch.slice(row, 1), Position(position.shard, position.first_row + row))
        except (UserError, OSError, MemoryError):
            raise
        except Exception as fault:
            identity, text = batch["id"][row].as_py(), batch["text"][row].as_py()
            quarantine.add(identity, "", f"stage {stage.name} raised {type(fault).__name__}: {fault}", text)
        else:
            good.append(row)
            outcomes.append(outcome)
    batch = batch.take(pa.array(good, pa.int64()))
    return batch, Outcome.joined(outcomes) if outcomes else stage.apply(batch, position)


def _drop_log(stage: str, batch: pa.Table, drops: Drops, tally: Tally) -> pa.Table:
    rows, reasons = drops.columns()
    chosen = batch.select(["id", "text", "source"]).take(arrow_array(rows))
    text = chosen["text"]
    excerpts = text_array([drops.excerpt(row) for row in rows.tolist()]).cast(text.type)
    tally.dropped.update(reasons["rule"].to_pylist())
    columns: dict[str, Any] = {
        "id": chosen["id"],
        "source": chosen["source"],
        "stage": repeated_text(stage, len(rows)),
        "text_bytes": compute.cast(compute.binary_length(text), pa.int64()),
        "excerpt": compute.coalesce(excerpts, compute.utf8_slice_codeunits(text, 0, EXCERPT_CHARACTERS)),
        **reasons,
    }
    return pa.table({field.name: columns[field.name] for field in DROPPED_SCHEMA}, schema=DROPPED_SCHEMA)
