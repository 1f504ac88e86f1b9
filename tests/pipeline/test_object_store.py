"""A whole data run on an S3-compatible server: same bytes as on local disk, nothing done twice, one job at a time.

The server is moto's, in this process; everything reaches it over HTTP through s3fs, told only by environment
variables, as Ray's workers are in production.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import fsspec
import pytest

from jobs.run_directory import LOCK, RunDirectory, locked
from pipeline import storage
from pipeline.corpus import build_corpus, open_corpus
from pipeline.dedup.exact import ExactDedup
from pipeline.engine import Engine
from pipeline.errors import UserError
from pipeline.filters.gopher_quality import GopherQuality
from pipeline.sources.jsonl import JsonLines
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.write import write_tokens
from tests.s3_server import s3_bucket

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")

WORDS = ["mill", "grain", "stone", "water", "wheel", "flour", "sack", "miller", "stream", "bread", "oven", "field"]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("gptmill-test") as url:
        yield url


def documents(shard: int) -> bytes:
    """Texts of 30 to 99 words, each twice, and a line that is no JSON."""
    random = Random(shard)
    texts = [" ".join(random.choices(WORDS, k=random.randint(30, 99))) for _ in range(60)]
    lines = [json.dumps({"id": f"{shard}-{number}", "text": text}) for number, text in enumerate(texts * 2)]
    return "\n".join([*lines, "{broken"]).encode()


def write_sources(folder: str) -> None:
    for shard in range(2):
        plain = documents(shard)
        ending, content = (".gz", gzip.compress(plain, mtime=0)) if shard == 1 else ("", plain)
        with storage.write_atomically(storage.join(folder, f"part-{shard}.jsonl{ending}")) as file:
            file.write(content)


@pytest.fixture(scope="module")
def engine(bucket: str) -> Iterator[Engine]:
    with Engine(workers=1) as engine:
        yield engine


def make_run(sources: str, run: str, engine: Engine) -> int:
    """Corpus, tokenizer and tokens; returns how many tasks were really run."""
    source = JsonLines(path=sources, slice_bytes=30_000)
    corpus, tokenizer = storage.join(run, "corpus"), storage.join(run, "tokenizer")
    tokens = TokensSettings(context_length=32, validation_fraction=0.2)
    before = engine.tasks_done
    stages = [GopherQuality(words_min=40, stop_words_min=0), ExactDedup()]
    build_corpus([source], stages, corpus, engine, max_bad_fraction=0.1)
    train_tokenizer(TokenizerSettings(vocab_size=300), open_corpus(corpus), tokenizer, engine)
    write_tokens(tokens, open_corpus(corpus), tokenizer, storage.join(run, "tokens"), engine)
    return engine.tasks_done - before


def contents(run: str) -> dict[str, Any]:
    """Every file below a run; task records without how long the task took and where its input lay."""
    filesystem, root = fsspec.core.url_to_fs(run, use_listings_cache=False)
    found: dict[str, Any] = {}
    for path in filesystem.find(root):
        name = path.removeprefix(filesystem._strip_protocol(root)).lstrip("/")
        content = filesystem.cat_file(path)
        found[name] = content
        if name.endswith(".json") and "seconds" in (record := json.loads(content)):
            found[name] = {key: value for key, value in record.items() if key not in ("seconds", "input")}
    return found


def test_a_run_on_s3_has_the_bytes_of_the_same_run_on_local_disk_and_is_not_done_twice(
    bucket: str, engine: Engine, tmp_path: Path
) -> None:
    sources = f"{bucket}/raw"
    write_sources(sources)
    on_disk, on_s3 = str(tmp_path / "run"), f"{bucket}/runs/one"
    tasks = make_run(sources, on_disk, engine)
    assert make_run(sources, on_s3, engine) == tasks > 0
    local, remote = contents(on_disk), contents(on_s3)
    assert sorted(local) == sorted(remote)
    assert [name for name in local if local[name] != remote[name]] == []
    shards = [name for name in remote if name.endswith(".arrow")]
    assert {name.split("/")[0] for name in shards} == {"corpus", "tokenizer", "tokens"}
    assert any(name.startswith("corpus/00-read/quarantine/") for name in remote), "the broken lines were found"
    funnel = json.loads(remote["corpus/manifest.json"])["funnel"]
    assert all(entry["documents_out"] < entry["documents_in"] for entry in funnel if entry["stage"] == "exact_dedup")

    assert make_run(sources, on_s3, engine) == 0, "a finished run does nothing"
    assert contents(on_s3) == remote


def test_a_lost_shard_on_s3_is_made_again_and_nothing_else(bucket: str, engine: Engine) -> None:
    sources, run = f"{bucket}/raw-lost", f"{bucket}/runs/lost"
    write_sources(sources)
    make_run(sources, run, engine)
    whole = contents(run)
    storage.remove(f"{run}/corpus/00-read/shard-00001.arrow")
    assert make_run(sources, run, engine) == 1
    assert contents(run) == whole


def test_files_that_another_process_writes_or_removes_are_seen_at_once(bucket: str) -> None:
    folder = f"{bucket}/shared"
    storage.write_json(f"{folder}/mine.json", 1)
    assert storage.list_names(folder) == ["mine.json"]
    other = fsspec.filesystem("s3", skip_instance_cache=True)
    other.pipe_file(f"{folder}/theirs.json", b"2")
    assert storage.exists(f"{folder}/theirs.json")
    assert storage.list_names(folder) == ["mine.json", "theirs.json"]
    other.rm_file(f"{folder}/mine.json")
    assert not storage.exists(f"{folder}/mine.json")
    other.pipe_file(f"{folder}/theirs.json", b"333")
    assert storage.size_of(f"{folder}/theirs.json") == 3


def test_a_second_job_is_refused_while_the_first_holds_the_run_on_s3(bucket: str) -> None:
    run = RunDirectory(f"{bucket}/runs/held")
    with locked(run):
        with pytest.raises(UserError, match=rf"{LOCK}: in use by process \d+ of .*remove this object"), locked(run):
            pytest.fail("two jobs hold the same run")
        assert storage.exists(run.path(LOCK)), "the refused job leaves the lock of the first alone"
    assert not storage.exists(run.path(LOCK))
    with locked(run):
        pass
