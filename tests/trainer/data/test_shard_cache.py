"""Datasets in object stores: fetched shard by shard, checked, kept within a limit, the same rows as from disk."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
import pytest

from pipeline import storage
from pipeline.errors import UserError
from tests.trainer.datasets import CONTEXT, write_token_dataset
from trainer.data.shard_cache import ShardCache, cache_folder
from trainer.data.token_dataset import find_dataset, open_token_dataset

ROOMY = 1 << 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[Path, Path, str]]:
    """A dataset on disk, its tokenizer, and the URL of a copy of it in an object store."""
    tokens, tokenizer = write_token_dataset(tmp_path / "written", shards=(40, 24, 30))
    memory = fsspec.filesystem("memory")
    for path in tokens.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/reader/{path.relative_to(tokens)}", path.read_bytes())
    yield tokens, tokenizer, "memory://reader"
    memory.rm("/reader", recursive=True)


def fetched(folder: Path) -> int:
    return len(list(folder.glob("*.arrow")))


def test_rows_are_those_of_the_dataset_on_disk_and_shards_come_on_first_touch(
    store: tuple[Path, Path, str], tmp_path: Path
) -> None:
    tokens, tokenizer, url = store
    local = open_token_dataset(tokens, tokenizer).train
    cache = ShardCache(tmp_path / "cache", ROOMY)
    remote = open_token_dataset(url, tokenizer, cache=cache).train
    assert fetched(cache.folder) == 0
    assert remote.batch([70]).digest() == local.batch([70]).digest()
    assert fetched(cache.folder) == 1
    rows = np.array([93, 0, 41, 40, 39, 63, 64, 0])
    assert remote.batch(rows).digest() == local.batch(rows).digest()
    assert fetched(cache.folder) == 3


def test_a_second_reader_fetches_nothing_and_a_file_that_was_changed_is_fetched_again(
    store: tuple[Path, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tokenizer, url = store
    cache = ShardCache(tmp_path / "cache", ROOMY)
    first = open_token_dataset(url, tokenizer, cache=cache).train.batch([0]).digest()
    opened: list[str] = []
    original = storage.open_binary

    def recorded(url: str) -> IO[bytes]:
        opened.append(url)
        return original(url)

    monkeypatch.setattr("pipeline.storage.open_binary", recorded)
    assert open_token_dataset(url, tokenizer, cache=cache).train.batch([0]).digest() == first
    assert not [name for name in opened if name.endswith(".arrow")]
    (file,) = cache.folder.glob("*.arrow")
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes(bytes(content))
    assert open_token_dataset(url, tokenizer, cache=cache).train.batch([0]).digest() == first
    assert f"{url}/train/shard-00000.arrow" in opened


def _damage(url: str, change: Any) -> None:
    path = f"{url}/train/shard-00001.arrow".removeprefix("memory:/")
    memory = fsspec.filesystem("memory")
    memory.pipe_file(path, change(memory.cat_file(path)))


DAMAGES = {
    "one bit": lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    "cut short": lambda content: content[:-100],
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_shard_is_named_and_never_read(kind: str, store: tuple[Path, Path, str], tmp_path: Path) -> None:
    _, tokenizer, url = store
    _damage(url, DAMAGES[kind])
    cache = ShardCache(tmp_path / "cache", ROOMY)
    train = open_token_dataset(url, tokenizer, cache=cache).train
    assert train.batch([0]).valid_tokens == CONTEXT
    for _ in range(2):
        with pytest.raises(UserError, match=r"memory://reader/train/shard-00001.arrow does not have the sha256"):
            train.batch([40])
    assert fetched(cache.folder) == 1


def test_a_missing_shard_is_named(store: tuple[Path, Path, str], tmp_path: Path) -> None:
    _, tokenizer, url = store
    fsspec.filesystem("memory").rm("/reader/train/shard-00001.arrow")
    train = open_token_dataset(url, tokenizer, cache=ShardCache(tmp_path / "cache", ROOMY)).train
    with pytest.raises(UserError, match=r"reader/train/shard-00001.arrow does not exist, but tokens.json lists it"):
        train.batch([40])


def test_what_was_used_longest_ago_goes_and_every_row_stays_readable(
    store: tuple[Path, Path, str], tmp_path: Path
) -> None:
    tokens, tokenizer, url = store
    local = open_token_dataset(tokens, tokenizer).train
    sizes = [(tokens / shard["file"]).stat().st_size for shard in find_dataset(str(tokens)).shards()]
    cache = ShardCache(tmp_path / "cache", limit=sum(sorted(sizes)[-2:]))
    remote = open_token_dataset(url, tokenizer, cache=cache).train
    for _ in range(3):
        for row in (0, 45, 80, 10):
            assert remote.batch([row]).digest() == local.batch([row]).digest()
            assert sum(path.stat().st_size for path in cache.folder.glob("*.arrow")) <= cache.limit
    rows = np.arange(94)
    assert remote.batch(rows).digest() == local.batch(rows).digest()


def test_a_shard_larger_than_the_cache_is_refused(store: tuple[Path, Path, str], tmp_path: Path) -> None:
    _, tokenizer, url = store
    train = open_token_dataset(url, tokenizer, cache=ShardCache(tmp_path / "cache", 100)).train
    with pytest.raises(UserError, match=r"shard-00000.arrow has [\d,]+ bytes, the cache .* holds 100: raise"):
        train.batch([0])


def test_a_fetch_that_was_killed_leaves_nothing_that_is_read(store: tuple[Path, Path, str], tmp_path: Path) -> None:
    tokens, tokenizer, url = store
    shard = json.loads((tokens / "tokens.json").read_text())["splits"]["train"]["shards"][0]
    cache = ShardCache(tmp_path / "cache", ROOMY)
    cache.folder.mkdir()
    (cache.folder / f".tmp-{shard['sha256']}.arrow-1-abcd").write_bytes(b"half of it")
    (cache.folder / f"{shard['sha256']}.arrow").write_bytes(b"written without a stamp")
    local = open_token_dataset(tokens, tokenizer).train
    remote = open_token_dataset(url, tokenizer, cache=cache).train
    assert remote.batch([0]).digest() == local.batch([0]).digest()
    assert not list(cache.folder.glob(".tmp-*"))


def test_without_a_cache_an_object_store_is_not_read(store: tuple[Path, Path, str]) -> None:
    _, tokenizer, url = store
    with pytest.raises(UserError, match="read through a cache"):
        open_token_dataset(url, tokenizer)


def test_the_folder_is_the_recipes_or_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / "gptmill" / "shards"
    assert cache_folder(str(tmp_path / "fast")) == tmp_path / "fast"
