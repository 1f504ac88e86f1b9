"""What may end a process early: a signal, a time limit, a hang, or the death of the process that started it."""

from trainer.watch.signals import SIGNALS, StopRequest

__all__ = ["SIGNALS", "StopRequest"]
