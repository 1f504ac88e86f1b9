"""Processes that are not alike are named, with both values, by all of them alike."""

import threading
from pathlib import Path

import pytest

from pipeline.errors import UserError
from tests.trainer.test_identity import inputs
from trainer.consistency import description, difference, require_same


class Dictionary:
    """A store for threads instead of processes."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.changed = threading.Condition()

    def set(self, key: str, value: str) -> None:
        with self.changed:
            self.values[key] = value
            self.changed.notify_all()

    def get(self, key: str) -> bytes:
        with self.changed:
            assert self.changed.wait_for(lambda: key in self.values, timeout=10)
            return self.values[key].encode()


def verdicts(descriptions: list[dict[str, str]]) -> list[str | None]:
    store = Dictionary()
    found: list[str | None] = [None] * len(descriptions)

    def ask(rank: int) -> None:
        try:
            require_same(store, rank, len(descriptions), descriptions[rank])
        except UserError as error:
            found[rank] = str(error)

    threads = [threading.Thread(target=ask, args=(rank,)) for rank in range(len(descriptions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_alike_processes_go_on(tmp_path: Path) -> None:
    own = description(inputs(tmp_path), 3)
    assert {"version of torch", "source code of gptmill", "settings.optimizer.lr", "data", "tokenizer"} <= set(own)
    assert verdicts([own, own, own]) == [None] * 3


def test_the_odd_one_is_named_with_both_values_to_all(tmp_path: Path) -> None:
    own = description(inputs(tmp_path), 4)
    odd = {**own, "version of torch": "9.9"}
    found = verdicts([odd, own, own, own])
    assert len(set(found)) == 1
    assert found[0] is not None
    assert "version of torch is 9.9 on rank 0 (" in found[0]
    assert f"{own['version of torch']} on the others" in found[0]


def test_in_a_tie_the_first_process_is_right_and_many_differences_are_counted() -> None:
    first, second = ({f"key {number}": str(value) for number in range(9)} for value in (1, 2))
    found = difference([first, second], ["a", "b"])
    assert found is not None
    assert "key 0 is 2 on rank 1 (b), 1 on the others" in found
    assert "and 3 more differences" in found


def test_another_recipe_on_one_process_is_found_by_its_settings(tmp_path: Path) -> None:
    one, other = description(inputs(tmp_path), 2), description(inputs(tmp_path, optimizer={"lr": 0.5}), 2)
    (found, _) = verdicts([one, other])
    assert found is not None
    assert "settings.optimizer.lr is 0.5 on rank 1" in found


def test_a_key_that_one_process_does_not_have_differs() -> None:
    with pytest.raises(AssertionError):
        assert difference([{"a": "1"}, {}], ["x", "y"]) is None
    assert difference([{"a": "1"}], ["x"]) is None
