"""What the first process of a run does alone while the others wait: they read what it has written.

Under torchrun, `deepspeed` or srun all processes start at once, but the conversations of a finetuning are prepared
once. The others wait for a word through the store at which they meet, not for a file: files of an earlier run would
look finished, and network file systems show new ones late. An error of the first process ends the others too, with its
message and exit code. A stop that is asked for meanwhile is the first one's to answer.

Cost: the others import torch and ask the store five times a second.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from pipeline.errors import UserError
from trainer.exit_codes import DONE, FAILED
from trainer.launch.external import listening
from trainer.rendezvous import Launcher, adopt, meet, patience
from trainer.settings import TrainingSettings
from trainer.worker import prepare_libraries

_WORD = "gptmill/first/word"
_HEARD = "gptmill/first/heard"
_POLL_SECONDS = 0.2
_FAREWELL_SECONDS = 10.0
"""How long a first process that has failed waits for the others to hear of it."""


class FirstProcessEnded(UserError):
    """The first process ended before the training began; carries its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def while_others_wait(launcher: Launcher, settings: TrainingSettings) -> Iterator[Callable[[], None]]:
    """On the first process: gives the function that lets the others go on; an error before that ends them too.

    The block must enclose the training: the store may live in this process.

    Raises:
        SettingError: this process was not started by that launcher.
    """
    store, _, world, limit = _meet(launcher, settings)
    told = False

    def tell(message: str, code: int, seconds: float) -> None:
        nonlocal told
        told = True
        store.set(_WORD, json.dumps({"message": message, "code": code}))
        for rank in range(1, world):
            _wait_for(store, f"{_HEARD}/{rank}", seconds)

    try:
        yield lambda: tell("", DONE, limit.total_seconds())
    except BaseException as fault:
        if not told:
            code = fault.exit_code if isinstance(fault, UserError) else FAILED
            with suppress(RuntimeError):  # the store's, which must not hide why
                tell(str(fault) or type(fault).__name__, code, _FAREWELL_SECONDS)
        raise


def wait_for_first(launcher: Launcher, settings: TrainingSettings) -> bool:
    """On the other processes: return when the first one has prepared what all read.

    Returns:
        Whether a signal has asked this process to stop meanwhile.

    Raises:
        FirstProcessEnded: it ended instead; its message and exit code.
        SettingError: this process was not started by that launcher.
        UserError: it is gone, or took longer than messages may.
    """
    try:
        with listening() as stop:
            word = _hear(launcher, settings)
    except RuntimeError as fault:  # the store's
        raise UserError(f"the first process cannot be reached, look at what it said: {fault}") from fault
    if word["code"] != DONE:
        raise FirstProcessEnded(f"the first process ended before the training: {word['message']}", word["code"])
    return stop.asked


def _hear(launcher: Launcher, settings: TrainingSettings) -> dict[str, Any]:
    store, rank, _, limit = _meet(launcher, settings)
    if not _wait_for(store, _WORD, limit.total_seconds()):
        raise UserError(
            f"the first process has prepared nothing to train on in {limit.total_seconds() / 60:.0f} minutes: raise "
            "finetune.watch.start_minutes, or run `gptmill finetune` in one process once"
        )
    word: dict[str, Any] = json.loads(store.get(_WORD))
    store.set(f"{_HEARD}/{rank}", "")
    return word


def _meet(launcher: Launcher, settings: TrainingSettings) -> tuple[Any, int, int, timedelta]:
    adopt(os.environ, launcher)
    prepare_libraries(settings)
    limit = patience(settings.watch)
    return *meet(limit), limit


def _wait_for(store: Any, key: str, seconds: float) -> bool:
    """Whether there is such a key within that time; asks again and again, so that signals are answered."""
    end = time.monotonic() + seconds
    while not store.check([key]):
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return True
