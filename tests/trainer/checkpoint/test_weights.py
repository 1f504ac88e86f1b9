"""Starting from the weights of a checkpoint: those and nothing else, as full tensors."""

from pathlib import Path

import pytest
import torch

from pipeline.errors import UserError
from tests.trainer.checkpoint.synthetic import SHAPE, Cut, declarations_of, full_state, write_checkpoint
from trainer.checkpoint.weights import checkpoint_fingerprint, checkpoint_shape, checkpoint_weights, is_checkpoint


def test_the_weights_are_the_full_tensors_whatever_the_layout(tmp_path: Path) -> None:
    state = full_state(1)
    checkpoint = write_checkpoint(tmp_path, 4, Cut(4, 2), state)
    assert is_checkpoint(checkpoint)
    assert not is_checkpoint(tmp_path)
    assert checkpoint_shape(checkpoint) == SHAPE
    read = checkpoint_weights(checkpoint, SHAPE)
    for name, declaration in declarations_of().items():
        assert torch.equal(read(declaration), torch.from_numpy(state[name, "weight"]))


def test_another_model_or_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, 4, Cut(1, 1), full_state(1))
    with pytest.raises(UserError, match=r"does not fit the model: blocks\.3\."):
        checkpoint_weights(checkpoint, SHAPE.model_copy(update={"layers": 4}))
    before = checkpoint_fingerprint(checkpoint)
    assert before != checkpoint_fingerprint(write_checkpoint(tmp_path, 5, Cut(1, 1), full_state(2)))
    (checkpoint / "index.json").write_text("{}")
    with pytest.raises(UserError, match=r"is damaged \(index\.json has 2 bytes"):
        checkpoint_weights(checkpoint, SHAPE)
