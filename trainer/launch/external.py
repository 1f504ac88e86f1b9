"""Being one process of a run that another launcher started: torchrun, `deepspeed`, or srun.

Each process opens the job by itself, and all compare what they found (`trainer.consistency`). The first one also does
what is done once: it puts an older finished run aside and writes job.json.
"""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from trainer.exit_codes import DONE
from trainer.job import TrainingJob
from trainer.launch.embedded import prepare, recorded, write_job
from trainer.launch.family import OnEvent
from trainer.launch.requests import AskedBefore, nobody_asked
from trainer.rendezvous import Launcher, adopt, in_environment
from trainer.watch.signals import SIGNALS, StopRequest
from trainer.worker import take_part


def launch_external(
    job: TrainingJob, on_event: OnEvent, launcher: Launcher, asked_before: AskedBefore = nobody_asked
) -> int:
    """Take part in a run to its end and return the exit code; `on_event` is called on the first process alone.

    Where `asked_before` says that a signal came during the preparations, all processes save and end after one step.
    After another code than 0 the process must end by `os._exit`: the communication library would wait for its peers.

    Raises:
        UserError: this process was not started by that launcher, or data, settings and layout do not fit together.
    """
    adopt(os.environ, launcher)
    rank, _ = in_environment()
    if rank == 0:
        if prepare(job, recorded(job, on_event)) is None:
            return DONE
        write_job(job)
    with listening() as stop, _lines_to(on_event) as events:
        if asked_before():
            stop.ask("a signal during the preparations")
        return take_part(job, events, stop)


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Take over the signals that ask for a stop, and give them back."""
    stop = StopRequest()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop.listen()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _lines_to(on_event: OnEvent) -> Iterator[IO[str]]:
    """A file whose lines, one JSON object each, reach a function: what is a pipe to another process elsewhere."""
    receiving, sending = os.pipe()

    def read() -> None:
        with os.fdopen(receiving, encoding="utf-8") as lines:
            for line in lines:
                on_event(json.loads(line))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with os.fdopen(sending, "w", encoding="utf-8") as events:
        yield events
    reader.join()
