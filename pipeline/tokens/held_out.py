"""Which documents are validated on: never a duplicate, as far as deduplication has labelled them, of a training text.

A document's side is decided by a hash of its duplicate cluster where it has one, else of its text. A cluster is what
the label columns of exact and near-duplicates (`action: label`) connect: a corpus with both has documents of one exact
and several near groups and the other way round, so their groups are joined first (union-find over the pairs of groups
that share a document). Cost: the label columns are read once more when there are two; memory: the groups.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from pipeline import storage
from pipeline.sampling import HASH_RANGE, chosen
from pipeline.shard import ArrowWriter, StageDirectory, fingerprint, open_table, schema_of
from pipeline.stage import Runner, Task
from pipeline.tokens.format import CODE_VERSION, VALIDATION
from pipeline.tokens.shuffling import mixed

GROUP_COLUMNS = ("exact_duplicate_group", "near_duplicate_group")
"""Group numbers that the deduplication stages write; null where a document has no twin."""
CLUSTERS = "clusters"
_PAIRS_SCHEMA = pa.schema([("first", pa.int64()), ("second", pa.int64())])
_CLUSTERS_SCHEMA = pa.schema([("column", pa.uint8()), ("group", pa.int64()), ("cluster", pa.int64())])
_NO_GROUP = -1


def join_clusters(corpus: StageDirectory, directory: str, runner: Runner) -> tuple[str, str] | None:
    """Join the groups of both label columns; the file that says which group is in which cluster, and its sha256.

    None when the corpus has at most one of the columns: its groups are the clusters.
    """
    if not corpus.shards:
        return None
    if not set(GROUP_COLUMNS) <= set(schema_of(corpus.path(corpus.shards[0])).names):
        return None
    place = storage.join(directory, CLUSTERS)
    tasks = [
        Task(
            key=shard.name,
            function=write_pairs,
            arguments={"corpus_shard": storage.absolute(corpus.path(shard)), "directory": place, "name": shard.name},
            inputs=fingerprint(CODE_VERSION, shard.sha256),
        )
        for shard in corpus.shards
    ]
    records = runner.map(place, "tokens: pairs of groups", tasks)
    joined = Task(
        key=CLUSTERS,
        function=write_clusters,
        arguments={"directory": place, "names": [shard.name for shard in corpus.shards]},
        inputs=fingerprint(CODE_VERSION, [record["files"] for record in records]),
        kernels=("union_find",),
    )
    [record] = runner.map(place, "tokens: duplicate clusters", [joined])
    name, sha256 = next(iter(record["files"].items()))
    return storage.join(place, name), sha256


def write_pairs(corpus_shard: str, directory: str, name: str) -> dict[str, Any]:
    """Task: the pairs of groups that share a document of the shard."""
    groups = _groups(open_table(corpus_shard).select(GROUP_COLUMNS))
    both = groups[:, (groups != _NO_GROUP).all(axis=0)]
    pairs = np.unique(both, axis=1)
    return _written(directory, f"{name}.arrow", pa.table(list(pairs), schema=_PAIRS_SCHEMA))


def write_clusters(directory: str, names: list[str]) -> dict[str, Any]:
    """Task: number the clusters that the pairs of all shards form."""
    from pipeline.kernels.union_find import flatten, join_pairs

    tables = [open_table(storage.join(directory, f"{name}.arrow")) for name in names]
    pairs = pa.concat_tables(tables).combine_chunks()
    sides = [np.unique(pairs[column].to_numpy(), return_inverse=True) for column in _PAIRS_SCHEMA.names]
    (exact, first), (near, second) = sides
    parents = np.arange(len(exact) + len(near))
    links = [np.ascontiguousarray(places, np.int64) for places in (first, second + len(exact))]
    for array in links:
        array.flags.writeable = False
    join_pairs(parents, *links)
    flatten(parents)
    column = np.repeat(np.array([0, 1], np.uint8), [len(exact), len(near)])
    # A root is the smallest member, so it is always an exact group: its number names the cluster.
    table = pa.table([column, np.concatenate([exact, near]), exact[parents]], schema=_CLUSTERS_SCHEMA)
    return _written(directory, f"{CLUSTERS}.arrow", table)


def held_out(table: pa.Table, fraction: float, seed: int, clusters: tuple[str, str] | None) -> np.ndarray:
    """Mask of the documents of a batch that are validated on: `fraction` (0..1) of the clusters on average.

    Args:
        table: Documents with `text` and perhaps group columns.
        fraction: Share of the clusters.
        seed: Another one chooses others.
        clusters: What `join_clusters` gave.
    """
    mask = np.asarray(chosen(table["text"], fraction, VALIDATION, seed), bool)
    groups = _groups(table)
    for column in range(len(GROUP_COLUMNS)):
        members = np.flatnonzero(groups[column] != _NO_GROUP)
        if not len(members):
            continue
        space = np.full(len(members), column, np.uint64)
        numbers = groups[column][members]
        if clusters is not None:
            known, numbers = _cluster_of(clusters, column, numbers)
            space[known] = 0
        salt = np.uint64(xxhash.xxh3_64_intdigest(f"{VALIDATION} cluster/{seed}".encode()))
        hashes = mixed(mixed(numbers.astype(np.uint64) + salt) + space)
        mask[members] = hashes < np.uint64(int(fraction * HASH_RANGE))
    return mask


def _groups(table: pa.Table) -> np.ndarray:
    """int64[columns, documents]: group numbers, -1 where a document has none."""
    groups = np.full((len(GROUP_COLUMNS), table.num_rows), _NO_GROUP, np.int64)
    for place, column in enumerate(GROUP_COLUMNS):
        if column in table.column_names:
            groups[place] = table[column].fill_null(_NO_GROUP).to_numpy()
    return groups


def _cluster_of(clusters: tuple[str, str], column: int, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the groups belong to a joined cluster, and the numbers of cluster or, where not, group."""
    known_groups, numbers = _clusters(*clusters)[column]
    places = np.minimum(np.searchsorted(known_groups, groups), max(0, len(known_groups) - 1))
    known = known_groups[places] == groups if len(known_groups) else np.zeros(len(groups), bool)
    return known, np.where(known, numbers[places], groups) if len(known_groups) else groups


@lru_cache(maxsize=1)
def _clusters(url: str, sha256: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each column its groups, ascending, and their clusters."""
    table = open_table(url)
    column, group, cluster = (table[name].to_numpy() for name in _CLUSTERS_SCHEMA.names)
    return [(group[column == place], cluster[column == place]) for place in range(len(GROUP_COLUMNS))]


def _written(directory: str, name: str, table: pa.Table) -> dict[str, Any]:
    with storage.write_atomically(storage.join(directory, name)) as file:
        writer = ArrowWriter(file, table.schema)
        writer.write(table)
        sha256, _ = writer.close()
    return {"files": {name: sha256}}
