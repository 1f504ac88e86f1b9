"""A process that ran out of memory says what the run needs and what would lower it."""

from pathlib import Path

import pytest
import torch

from tests.trainer.test_identity import inputs
from trainer.out_of_memory import explain_memory, is_out_of_memory


def torchs_own() -> BaseException:
    try:
        torch.empty(1 << 60)
    except RuntimeError as error:
        return error
    raise AssertionError("an exabyte was there")


def test_errors_of_memory_are_known_from_others() -> None:
    assert is_out_of_memory(torchs_own())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


@pytest.mark.parametrize("world", [1, 2])
def test_the_message_has_the_estimate_and_what_lowers_it(tmp_path: Path, world: int) -> None:
    message = explain_memory(torchs_own(), inputs(tmp_path), world, "cpu")
    assert "out of memory (" in message
    assert "By estimate each process needs" in message
    assert "activation_checkpointing blocks (" in message
    assert "micro_batch_size " in message
    assert ("zero 2 (" in message) is (world == 2), "sharding needs another process"
