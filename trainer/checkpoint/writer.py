"""Saving a run's state while training goes on: training waits for a copy in memory, a thread does the rest.

Each process copies its pieces to host memory (pinned beside a GPU, kept between saves) and a thread of it writes them
to one file, hashes them on the way and flushes them. That a part is on disk is told to the others with the numbers
that the loop sums over all processes in each step anyway (`signals`, `agree`); when all parts are there the thread of
the first process seals and publishes the checkpoint. So a checkpoint costs no message of its own but one at its
beginning, and bears its name only when it is whole. A part that could not be written is an error of all processes at
the next step. The directory of checkpoints must be one that all processes see.

Synchronous: the thread writes from the live state, and training waits for it. No copy, no memory.
"""

import errno
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.errors import UserError
from trainer.checkpoint import directory as on_disk
from trainer.checkpoint.copies import CheckpointCopies
from trainer.checkpoint.index import INDEX, STATE_FOLDER, PieceRecord, build_index, write_index
from trainer.checkpoint.seal import STATE, checkpoint_name
from trainer.checkpoint.state_file import BLOCK, VALUE_BYTES, write_state_file
from trainer.model.declaration import ParameterDeclaration
from trainer.ranks import Ranks
from trainer.state import StatePiece

if TYPE_CHECKING:
    from torch import Tensor

_MARGIN = 1 << 20
"""Bytes beside the tensors: headers, index, seal."""
_FULL = (errno.ENOSPC, errno.EDQUOT)

Report = Callable[..., None]
"""Called as `report(kind, **details)` for what is worth knowing; `Journal.event`."""


@dataclass
class _Save:
    """A checkpoint on its way; shared by the loop and the thread."""

    step: int
    temporary: Path
    state: dict[str, Any]
    pieces: list[PieceRecord]
    total_bytes: int
    began: float
    spare: int | None = None
    blocked_seconds: float = 0.0
    part_written: threading.Event = field(default_factory=threading.Event)
    all_written: threading.Event = field(default_factory=threading.Event)
    settled: threading.Event = field(default_factory=threading.Event)
    """Published, or failed, or given up; where this process does not publish, its part is written."""
    given_up: bool = False
    agreed: bool = False
    failure: BaseException | None = None
    published: Path | None = None
    seconds: float = 0.0
    thread: threading.Thread | None = None


class CheckpointWriter:
    """What one process does for the checkpoints of a run. All processes call each method, in the same order."""

    def __init__(
        self,
        checkpoints: Path,
        ranks: Ranks,
        declarations: Sequence[ParameterDeclaration],
        report: Report,
        *,
        asynchronous: bool = True,
        keep_last: int = 2,
        keep_every: int = 0,
        copies: CheckpointCopies | None = None,
    ) -> None:
        self.checkpoints, self.ranks, self.report = checkpoints, ranks, report
        self.asynchronous, self.keep_last, self.keep_every = asynchronous, keep_last, keep_every
        self._declarations = {declaration.name: declaration for declaration in declarations}
        self._copies = copies if ranks.is_first else None
        self._buffer: Tensor | None = None
        self._save: _Save | None = None
        self._cleaning: threading.Thread | None = None
        self._warnings: list[str] = []

    def save(self, pieces: Sequence[StatePiece], state: Mapping[str, Any], spare: int | None = None) -> None:
        """Begin to save; returns when the state may change again. `state["step"]` is the number of steps done.

        `pieces` are those of this process; over all processes every value is there once. `state` is what the first
        process writes to trainer.json. The checkpoint of step `spare` stays, however old it is. A save that is still
        going on is waited for.

        Raises:
            UserError: the disk is too full, or the save before has failed.
        """
        self.settle()
        began = time.perf_counter()
        records = [
            PieceRecord(
                one.name, one.kind, one.local_shape, one.tensor_rank, one.tensor_size, one.start, one.values.numel()
            )
            for one in pieces
        ]
        own = VALUE_BYTES * sum(record.count for record in records)
        total = int(self.ranks.sum([own])[0])
        step = int(state["step"])
        attempt, problem = self.ranks.from_first(self._prepare(step, total) if self.ranks.is_first else None)
        if problem:
            raise UserError(problem)
        temporary = on_disk.temporary_directory(self.checkpoints, step, attempt)
        save = _Save(step, temporary, dict(state), records, total, began, spare)
        blocks = _blocks_of([self._copied(pieces)]) if self.asynchronous else _blocks_of([one.values for one in pieces])
        save.thread = threading.Thread(target=self._work, args=(save, blocks), name="checkpoint", daemon=True)
        save.blocked_seconds = time.perf_counter() - began
        self._save = save
        save.thread.start()
        if not self.asynchronous:
            self.finish()

    def signals(self) -> tuple[float, float]:
        """Whether this process's part is on disk, and whether its thread has failed: to be summed over all."""
        save = self._save
        if save is None:
            return 0.0, 0.0
        failed = save.failure is not None
        return float(save.part_written.is_set() and not failed and not save.agreed), float(failed)

    def agree(self, written: float, failed: float) -> None:
        """Act upon the sums of all processes' signals; at the end of each step.

        Raises:
            UserError: a process could not write its part, or the first one could not publish the checkpoint.
        """
        self._tell()
        if failed:
            self._give_up()
        save = self._save
        if save is None:
            return
        if written == self.ranks.world:
            save.agreed = True
            save.all_written.set()
        if save.agreed and (not self.ranks.is_first or save.published is not None):
            self._end(save)

    def finish(self) -> None:
        """Wait until what was begun is published and on disk; raises as `agree` does."""
        save = self._save
        # The first process may still hold a save that the others have seen the end of: all ask, so all answer.
        if not self.ranks.sum([float(save is not None)])[0]:
            return
        began = time.perf_counter()
        if save is not None:
            save.part_written.wait()
        self.agree(*self.ranks.sum(self.signals()))
        if save is not None:
            save.settled.wait()
            save.blocked_seconds += time.perf_counter() - began
        self.agree(*self.ranks.sum([0.0, self.signals()[1]]))

    def close(self) -> None:
        """At the end of a run: all is on disk, and copied where it is to be copied.

        Raises:
            UserError: the newest checkpoint could not be copied.
        """
        self.settle()
        problem = self._copies.close() if self._copies is not None else None
        self._tell()
        if problem := self.ranks.from_first(problem):
            raise UserError(problem)

    def _prepare(self, step: int, total: int) -> tuple[str, str | None]:
        """On the first process: a directory of its own for this attempt, or why there can be none."""
        attempt = secrets.token_hex(4)
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            if (free := shutil.disk_usage(self.checkpoints).free) < total + _MARGIN:
                return attempt, self._full(step, total, free)
            temporary = on_disk.temporary_directory(self.checkpoints, step, attempt)
            (temporary / STATE_FOLDER).mkdir(parents=True)
        except OSError as fault:
            return attempt, f"the checkpoint of step {step} cannot be written to {self.checkpoints}: {fault}"
        return attempt, None

    def _copied(self, pieces: Sequence[StatePiece]) -> "Tensor":
        """All values of the pieces, one after the other, in host memory that is kept for the next save."""
        import torch

        count = sum(piece.values.numel() for piece in pieces)
        on_gpu = any(piece.values.is_cuda for piece in pieces)
        if self._buffer is None or self._buffer.numel() != count:
            self._buffer = None  # two at once might not fit
            self._buffer = torch.empty(count, pin_memory=on_gpu)
        at = 0
        for piece in pieces:
            size = piece.values.numel()
            self._buffer[at : at + size].copy_(piece.values.detach(), non_blocking=True)
            at += size
        if on_gpu:
            torch.cuda.synchronize()
        return self._buffer

    def _work(self, save: _Save, blocks: Iterator[memoryview]) -> None:
        """The thread: write this process's part; on the first process also publish, when all parts are there."""
        try:
            file = f"{STATE_FOLDER}/rank_{self.ranks.rank:05d}.safetensors"
            tensors = [(piece.key, piece.count) for piece in save.pieces]
            written = write_state_file(save.temporary / file, tensors, blocks)
            storage.write_json(
                str(_part_record(save.temporary, self.ranks.rank)),
                {
                    "file": file,
                    "size": written.size,
                    "sha256": written.sha256,
                    "pieces": list(zip(map(astuple, save.pieces), written.offsets, strict=True)),
                },
            )
            save.part_written.set()
            if self.ranks.is_first:
                save.all_written.wait()
                if not save.given_up:
                    published = self._publish(save)
                    save.seconds = time.perf_counter() - save.began
                    save.published = published
            save.settled.set()
        except BaseException as fault:
            save.failure = fault
            save.part_written.set()
            save.settled.set()
            return
        if save.published is not None:
            self._clean_up(save.published, save)

    def _clean_up(self, published: Path, save: _Save) -> None:
        """Hand it on to be copied; then the old ones may go. Training waits for none of it."""
        try:
            spare = [] if save.spare is None else [checkpoint_name(save.spare)]
            if self._copies is not None:
                spare += self._copies.waiting()
                self._copies.add(published)
            on_disk.prune(self.checkpoints, self.keep_last, self.keep_every, spare=spare, newest=save.step)
        except Exception as fault:
            self._warnings.append(f"old checkpoints in {self.checkpoints} could not be removed: {fault}")

    def settle(self) -> None:
        """`finish`, and wait until old checkpoints are gone: nothing is at work in the folder any more."""
        self.finish()
        if self._cleaning is not None:
            self._cleaning.join()
            self._cleaning = None

    def _publish(self, save: _Save) -> Path:
        """Index, state and seal."""
        files: dict[str, dict[str, Any]] = {}
        pieces: dict[str, list[tuple[PieceRecord, int]]] = {}
        for rank in range(self.ranks.world):
            path = _part_record(save.temporary, rank)
            part = storage.read_json(str(path))
            files[part["file"]] = {"size": part["size"], "sha256": part["sha256"]}
            pieces[part["file"]] = [
                (PieceRecord(name, kind, tuple(shape), *numbers), offset)
                for (name, kind, shape, *numbers), offset in part["pieces"]
            ]
            path.unlink()
        write_index(save.temporary / INDEX, build_index(self._declarations, pieces))
        storage.write_json(str(save.temporary / STATE), save.state)
        return on_disk.publish(save.temporary, save.step, files)

    def _end(self, save: _Save) -> None:
        self._save, self._cleaning = None, save.thread
        if save.published is not None:
            self.report(
                "checkpoint",
                step=save.step,
                path=str(save.published),
                seconds=round(save.blocked_seconds, 3),
                durable_seconds=round(save.seconds, 3),
                bytes=save.total_bytes,
            )

    def _tell(self) -> None:
        warnings, self._warnings = self._warnings, []
        for message in [*warnings, *(self._copies.messages() if self._copies is not None else ())]:
            self.report("warning", message=message)

    def _give_up(self) -> None:
        """Raise on all processes what went wrong on some."""
        save, self._save = self._save, None
        cause = None
        if save is not None:
            save.given_up = True
            save.all_written.set()
            if save.thread is not None:
                save.thread.join()
            cause = None if save.failure is None else self._explained(save, save.failure)
        causes = [
            f"process {rank}: {found}" if self.ranks.world > 1 else found
            for rank, found in enumerate(self.ranks.from_all(cause))
            if found
        ]
        if save is not None and self.ranks.is_first:
            shutil.rmtree(save.temporary, ignore_errors=True)
        raise UserError("; ".join(dict.fromkeys(causes)))

    def _explained(self, save: _Save, fault: BaseException) -> str:
        cause: BaseException | None = fault
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno in _FULL:
                free = shutil.disk_usage(self.checkpoints).free
                return self._full(save.step, save.total_bytes, free)
            cause = cause.__cause__
        kind = "" if isinstance(fault, (OSError, UserError)) else f"{type(fault).__name__}: "
        return f"the checkpoint of step {save.step} could not be written to {self.checkpoints}: {kind}{fault}"

    def _full(self, step: int, total: int, free: int) -> str:
        kept = on_disk.list_checkpoints(self.checkpoints)
        last = f"; {kept[0].name} stays valid" if kept else ""
        return (
            f"the checkpoint of step {step} could not be written to {self.checkpoints}: the disk is full. It needs "
            f"{total + _MARGIN:,} bytes, {free:,} are free: free some space and run the same command again{last}"
        )


def _part_record(temporary: Path, rank: int) -> Path:
    """Where a process tells the first one what it has written."""
    return temporary / f"part_{rank:05d}.json"


def _blocks_of(tensors: Sequence["Tensor"]) -> Iterator[memoryview]:
    """The bytes of fp32 tensors, in blocks; those of a GPU pass through host memory block by block."""
    step = BLOCK // VALUE_BYTES
    for tensor in tensors:
        for start in range(0, tensor.numel(), step):
            block = tensor.detach()[start : start + step].cpu().contiguous()
            yield block.numpy().data.cast("B")
