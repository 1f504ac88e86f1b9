"""Near-duplicate removal by MinHash and locality-sensitive hashing: of similar documents only one is kept.

    signatures -> band keys (a file a shard) -> candidate pairs (a file a partition of the keys)
    -> verified pairs (a file a shard) -> groups (some a file) -> removals (a file a shard) -> the applying stage

A corpus can also be compared with indexes of earlier ones, and leave an index for later ones: `near_index` and
`near_index_search`.

Every phase runs out of core: memory is bounded by a shard, by a partition of the keys, or (groups) by 4 bytes a
document that has a twin. Which document of a group is kept is a rule, whatever the order in which tasks ended.

Decisions: word 5-grams and 112 permutations, as published for RefinedWeb and FineWeb (14 bands x 8 rows at 0.8).
Candidates are verified by true Jaccard similarity, so bands only decide how many twins are found, never wrongly
remove a document.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from pipeline import storage
from pipeline.dedup import candidates, components, shingles, signatures, verification
from pipeline.dedup.keeping import KeepingStage
from pipeline.dedup.minhash_costs import INDEX_KEY_BYTES, amount, costs, curve, index_bytes
from pipeline.dedup.near_index import MANIFEST, IndexSettings, power_of_two, write_near_index
from pipeline.dedup.near_index_reading import NearIndexes
from pipeline.dedup.near_index_search import KnownDocuments, find_known
from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.partitions import partition_name
from pipeline.dedup.phases import partition_tasks, run_phase, shard_tasks, text_tasks
from pipeline.dedup.removals import Action, GiantGroups, RemoveDuplicates, label_columns, plan_removals
from pipeline.dedup.signatures import Scheme, choose_bands
from pipeline.dedup.sketches import SKETCH_BYTES
from pipeline.shard import StageDirectory, fingerprint, shard_name
from pipeline.stage import DocumentStage, Runner, Task

_PERMUTATIONS = 112


class MinhashDedup(KeepingStage):
    """Keeps one of all documents with nearly the same text."""

    name = "minhash_dedup"
    version = 3
    kernels = shingles.KERNELS + signatures.KERNELS + components.KERNELS

    threshold: float = Field(default=0.8, gt=0.0, le=1.0)
    """Jaccard similarity of the sets of shingles from which two documents are duplicates; 0.8 is the usual choice."""
    bands: int | None = Field(default=None, ge=1, le=1000)
    """Bands of a signature; by default what fits the threshold best with 112 permutations (14 at 0.8)."""
    rows: int | None = Field(default=None, ge=1, le=1000)
    """Values in a band; set both or neither of `bands` and `rows` (8 at 0.8)."""
    shingle_words: int = Field(default=5, ge=1, le=100)
    """Words in a shingle; characters in scripts without spaces."""
    verify: bool = True
    """Compute the true similarity of candidates; otherwise whatever shares a band counts as a duplicate."""
    seed: int = Field(default=1, ge=0, lt=1 << 32)
    """Seed of the permutations, as in `datasketch.MinHash`."""
    scheme: Scheme = "affine32"
    """Permutations of 32 bits, or of 64 (ten times as much work, for documents of more than a million words)."""
    partition_keys: int = Field(default=16_000_000, ge=1)
    """Band keys that one reducer handles: about 100 bytes of memory each. Changes no result."""
    action: Action = "drop"
    """`drop` the others of a group, or `label` all documents with group, kept id, similarity and size as columns
    `near_duplicate_*` and drop none."""
    giant_groups: GiantGroups = "direct"
    """What happens to groups of 1000 or more documents, which are often chains of boilerplate: `direct` drops only what
    itself is as similar to the kept document as `threshold`, `keep` drops none, `drop` treats them as the others, `cap`
    keeps the best `giant_group_keeps` of each. They are counted in any case."""
    giant_group_keeps: int | None = Field(default=None, ge=1)
    """Documents that stay of a giant group with `giant_groups: cap`: the best by `keep`; the others name the best."""
    against: tuple[str, ...] = ()
    """Folders or URLs of indexes of earlier corpora: what is near to a document of one of them is dropped first, or
    labelled. The similarity is estimated, because those texts are not read. The indexes must have these bands, rows,
    shingles, seed and scheme."""
    write_index: str | None = Field(default=None, min_length=1)
    """Folder or URL where to write an index of the documents that this stage keeps, for `against` of a later run; one
    that is there is replaced."""

    @model_validator(mode="after")
    def _other_index(self) -> MinhashDedup:
        if self.write_index is not None and storage.absolute(self.write_index) in self._indexes().urls:
            raise ValueError("`write_index` must be another folder than those of `against`, which are only read")
        return self

    @model_validator(mode="after")
    def _both_or_neither(self) -> MinhashDedup:
        if (self.bands is None) != (self.rows is None):
            raise ValueError("set both `bands` and `rows`, or neither to have them chosen from `threshold`")
        return self

    @model_validator(mode="after")
    def _number_when_capped(self) -> MinhashDedup:
        if (self.giant_groups == "cap") != (self.giant_group_keeps is not None):
            raise ValueError("set `giant_group_keeps` exactly when `giant_groups` is `cap`")
        return self

    def banding(self) -> tuple[int, int]:
        """Bands and rows as used."""
        if self.bands is None or self.rows is None:
            return choose_bands(self.threshold, _PERMUTATIONS)
        return self.bands, self.rows

    def files(self) -> list[str]:
        """The manifests of the indexes."""
        return [storage.join(url, MANIFEST) for url in self._indexes().urls]

    def plan_lines(self, text_bytes: int, shards: int | None = None) -> list[str]:
        """What the stage will take for so much text (in so many shards, if that is known), and what it will find."""
        bands, rows = self.banding()
        found = costs(text_bytes, shards, bands, self.partition_keys, self.verify)
        lines = [
            f"{bands} bands x {rows} rows find of pairs with similarity {curve(bands, rows)}",
            f"{amount(text_bytes)} of text would be about {found.documents:,} documents: "
            f"{found.files:,} files, {amount(found.key_bytes)} of band keys; reducers: {found.partitions:,} with "
            f"{amount(found.reducer_bytes)} of memory each; groups in {amount(found.group_bytes)}; "
            f"{found.cpu_hours:,.2g} CPU-hours",
        ]
        if self.against:
            indexes = self._indexes()
            error = (self.threshold * (1 - self.threshold) / SKETCH_BYTES) ** 0.5
            lines.append(
                f"before that, compared with {indexes.documents:,} documents in {', '.join(self.against)}: "
                f"{amount(indexes.documents * bands * INDEX_KEY_BYTES)} of their band keys are read, reducers: "
                f"{self.partitions(found.documents):,}; similarity is estimated, at {self.threshold:g} with a standard "
                f"error of {error:.3f}"
            )
        if self.write_index is not None:
            lines.append(
                f"index {self.write_index}: at most {amount(index_bytes(found.documents, bands))} "
                f"({index_bytes(1, bands)} bytes a document); the text is read once more for it"
            )
        return lines

    def partitions(self, documents: int) -> int:
        """Partitions of the band keys of so many documents; with those of the indexes a power of two, as theirs are."""
        bands, _ = self.banding()
        if not self.against:
            return -(-documents * bands // self.partition_keys) or 1
        return power_of_two(-(-(documents + self._indexes().documents) * bands // self.partition_keys))

    def _indexes(self) -> NearIndexes:
        bands, rows = self.banding()
        settings = IndexSettings(bands, rows, self.shingle_words, self.seed, self.scheme)
        return NearIndexes(tuple(storage.absolute(url) for url in self.against), settings)

    def survey(self, corpus: StageDirectory, directory: str, runner: Runner) -> DocumentStage:
        """Find the groups of near-duplicates, plan the removals."""
        self.check_columns(corpus, label_columns(RemoveNearDuplicates.rule) if self.action == "label" else [])
        plan = _Plan(self, corpus, directory, runner)
        stamp = plan.write_bands()
        known = plan.find_known(self._indexes(), stamp) if self.against else None
        stamp = plan.write_pairs(known.stamp if known else stamp)
        if self.verify:
            stamp = plan.write_verified(stamp)
        stamp, groups = plan.write_groups(stamp)
        removals = storage.join(directory, "removals")
        result = plan_removals(
            runner,
            f"{self.name}: removals",
            removals,
            corpus.url,
            groups,
            plan.content("groups"),
            fingerprint(stamp, known.stamp if known else None),
            self.shingle_words,
            (storage.join(directory, "verified"), plan.content("verified")) if self.verify else None,
            (known.folder, known.content) if known else None,
        )
        decision = RemoveNearDuplicates(
            directory=removals,
            result=result,
            threshold=self.threshold,
            action=self.action,
            giant_groups=self.giant_groups,
            giant_group_keeps=self.giant_group_keeps,
        )
        if self.write_index is not None:
            write_near_index(
                storage.absolute(self.write_index),
                corpus,
                decision,
                self._indexes().settings,
                self.partition_keys,
                runner,
                f"{self.name}: index",
            )
        return decision


class RemoveNearDuplicates(RemoveDuplicates):
    """Applies what `minhash_dedup` found."""

    name = "minhash_dedup"
    rule: ClassVar[str] = "near_duplicate"


class _Plan:
    """The tasks of the survey, phase by phase; each phase takes and returns a fingerprint of the files before it."""

    def __init__(self, settings: MinhashDedup, corpus: StageDirectory, directory: str, runner: Runner) -> None:
        self._settings = settings
        self._corpus = corpus
        self._numbered = NumberedCorpus(corpus.url)
        self._directory = directory
        self._runner = runner
        self._bands, self._rows = settings.banding()
        self._partitions = settings.partitions(self._numbered.documents)
        self._band_files = self._folder("bands")
        found_by = (
            settings.version,
            self._bands,
            self._rows,
            settings.shingle_words,
            settings.seed,
            settings.scheme,
            self._partitions,
        )
        self._stamp = fingerprint(found_by, corpus.fingerprint)

    def content(self, phase: str) -> str:
        """What the files of a phase say they hold."""
        return f"minhash {phase} {self._stamp}"

    def write_bands(self) -> str:
        arguments = {
            "partitions": self._partitions,
            "content": self.content("bands"),
            "bands": self._bands,
            "rows": self._rows,
            "shingle_words": self._settings.shingle_words,
            "seed": self._settings.seed,
            "scheme": self._settings.scheme,
        }
        tasks = text_tasks(
            candidates.write_bands,
            self._folder("bands"),
            self._corpus,
            arguments,
            (arguments,),
            shingles.KERNELS + signatures.KERNELS,
            self._numbered.starts,
        )
        return self._run("bands", tasks)

    def find_known(self, indexes: NearIndexes, stamp: str) -> KnownDocuments:
        known = find_known(
            self._runner,
            self._settings.name,
            self._directory,
            self._corpus.url,
            (self._band_files, self.content("bands")),
            self._partitions,
            indexes,
            self._settings.threshold if self._settings.verify else 0.0,
            self._settings.partition_keys,
            stamp,
        )
        self._band_files = known.remaining
        return known

    def write_pairs(self, stamp: str) -> str:
        arguments = {"partitions": self._partitions, "content": self.content("bands")}
        tasks = partition_tasks(
            candidates.write_pairs,
            self._folder("pairs"),
            self._partitions,
            {
                "corpus": self._corpus.url,
                "bands": self._band_files,
                "pairs_content": self.content("pairs"),
                **arguments,
            },
            (stamp, arguments),
        )
        return self._run("pairs", tasks)

    def write_verified(self, stamp: str) -> str:
        arguments = {
            "content": self.content("pairs"),
            "verified_content": self.content("verified"),
            "shingle_words": self._settings.shingle_words,
            "threshold": self._settings.threshold,
        }
        tasks = shard_tasks(
            verification.write_verified,
            self._folder("verified"),
            self._numbered.shards,
            {"corpus": self._corpus.url, "pairs": self._pair_files(), **arguments},
            (stamp, arguments),
            shingles.KERNELS,
        )
        return self._run("verified", tasks)

    def write_groups(self, stamp: str) -> tuple[str, list[str]]:
        keep = self._settings.keep_rule
        if self._settings.verify:
            names = [f"{shard_name(shard)}.arrow" for shard in range(self._numbered.shards)]
            pairs, partitions = [storage.join(self._folder("verified"), name) for name in names], 1
        else:
            pairs, partitions = self._pair_files(), self._numbered.shards
        task = Task(
            key="groups",
            function=verification.write_groups,
            arguments={
                "directory": self._folder("groups"),
                "corpus": self._corpus.url,
                "pairs": pairs,
                "partitions": partitions,
                "content": self.content("verified" if self._settings.verify else "pairs"),
                "groups_content": self.content("groups"),
                "keep": keep,
            },
            inputs=fingerprint(stamp, self.content("groups"), keep.measure, keep.column, keep.sources),
            kernels=components.KERNELS,
        )
        [record] = self._runner.map(self._folder("groups"), f"{self._settings.name}: groups", [task])
        files = [storage.join(self._folder("groups"), name) for name in sorted(record["files"])]
        return fingerprint(record["files"]), files

    def _pair_files(self) -> list[str]:
        folder = self._folder("pairs")
        return [storage.join(folder, f"{partition_name(partition)}.arrow") for partition in range(self._partitions)]

    def _folder(self, phase: str) -> str:
        return storage.join(self._directory, phase)

    def _run(self, phase: str, tasks: list[Task]) -> str:
        return run_phase(self._runner, self._folder(phase), f"{self._settings.name}: {phase}", tasks)
