"""Reading ahead: the loop gets the step it asks for, errors where they belong, and nothing else changes."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.prefetch import Prefetcher


@settings(max_examples=30, deadline=None)
@given(asked=st.lists(st.integers(0, 12), max_size=20), depth=st.integers(0, 4))
def test_whatever_was_read_ahead_each_step_is_its_own(asked: list[int], depth: int) -> None:
    reader = Prefetcher(lambda step: step * step, steps=10, depth=depth)
    assert [reader.get(step) for step in asked] == [step * step for step in asked]
    reader.close()


def test_the_next_steps_are_read_while_the_loop_works_and_none_behind_the_last() -> None:
    loaded: list[int] = []
    third = threading.Event()

    def load(step: int) -> str:
        loaded.append(step)
        if step == 2:
            third.set()
        return threading.current_thread().name

    reader = Prefetcher(load, steps=4)
    assert reader.get(0).startswith("prefetch")
    assert third.wait(timeout=10)
    for step in (1, 2, 3):
        reader.get(step)
    assert loaded == [0, 1, 2, 3]
    reader.close()


def test_an_error_is_raised_where_its_step_is_asked_for() -> None:
    def load(step: int) -> int:
        if step == 2:
            raise OSError("the disk is gone")
        return step

    reader = Prefetcher(load, steps=5)
    assert [reader.get(0), reader.get(1)] == [0, 1]
    time.sleep(0.05)
    with pytest.raises(OSError, match="the disk is gone"):
        reader.get(2)
    assert reader.get(3) == 3
    reader.close()


def test_after_closing_nothing_more_is_read() -> None:
    loaded: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def load(step: int) -> int:
        loaded.append(step)
        if step == 1:
            started.set()
            go_on.wait(timeout=10)
        return step

    reader = Prefetcher(load, steps=100, depth=3)
    reader.get(0)
    assert started.wait(timeout=10)
    reader.close()
    go_on.set()
    time.sleep(0.05)
    assert loaded == [0, 1]
