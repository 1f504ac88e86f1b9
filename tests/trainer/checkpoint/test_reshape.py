"""Rewriting for another layout: every tensor's hash stays, there and back; nothing is published when one changes."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import UserError
from tests.trainer.checkpoint.synthetic import SHAPE, Cut, full_state, write_checkpoint
from trainer.checkpoint import reshape as reshaping
from trainer.checkpoint import state_file
from trainer.checkpoint.index import STATE_FOLDER
from trainer.checkpoint.reading import StateReader
from trainer.checkpoint.reshape import layout_of_world, reshape
from trainer.checkpoint.seal import damage

LAYOUTS = [(8, 1, 1, 1), (2, 4, 1, 0), (2, 1, 4, 1), (1, 1, 1, 1), (2, 2, 2, 1), (3, 2, 1, 3)]


@pytest.mark.parametrize("target", LAYOUTS, ids=str)
def test_there_and_back_every_tensor_is_what_it_was(tmp_path: Path, target: tuple[int, int, int, int]) -> None:
    state = full_state(4)
    before = write_checkpoint(tmp_path / "before", 12, Cut(2, 3), state)
    layout = layout_of_world(*target)
    there = reshape(before, layout, tmp_path / "there")
    assert there.path == tmp_path / "there" / before.name
    assert damage(there.path) is None
    assert len(list((there.path / STATE_FOLDER).iterdir())) == layout.world
    with StateReader(there.path) as reader:
        for key, value in state.items():
            assert np.array_equal(reader.full(key), value)
    back = reshape(there.path, layout_of_world(2, 2, 1, 1), tmp_path / "back")
    assert back.state_sha256 == there.state_sha256
    assert back.tensors == there.tensors == len(state)
    saved = json.loads((there.path / "trainer.json").read_text())
    assert saved["state_sha256"] == there.state_sha256
    assert saved["layout"] == {
        "parallel.data": target[0],
        "parallel.tensor": target[1],
        "parallel.pipeline": target[2],
        "zero": target[3],
    }
    assert saved["step"] == 12


def test_each_process_finds_its_stage_and_share_in_its_own_file(tmp_path: Path) -> None:
    layout = layout_of_world(2, 1, 2, 1)
    done = reshape(write_checkpoint(tmp_path, 1, Cut(1, 1), full_state(4)), layout, tmp_path / "there")
    with StateReader(done.path) as reader:
        for (name, _), tensor in reader.index.tensors.items():
            stages = {layout.coordinates(int(place.file[-17:-12])).pipeline for place in tensor.places}
            assert len(stages) == 1
            if name.startswith(("token_embedding", "blocks.0")):
                assert stages == {0}
            if name.startswith(("final_norm", "output")):
                assert stages == {1}
            assert len(tensor.places) == 2
            assert abs(tensor.places[0].count - tensor.places[1].count) <= 1


def test_what_cannot_be_is_refused_with_the_reason(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, 1, Cut(1, 1), full_state(4))
    assert SHAPE.layers == 3
    for layout, reason in (
        ((1, 3, 1, 1), "the model cannot be cut that way: .*query_key_value"),
        ((1, 1, 6, 1), "5 layers cannot be divided among 6 pipeline stages"),
    ):
        with pytest.raises(UserError, match=reason):
            reshape(checkpoint, layout_of_world(*layout), tmp_path / "there")
    with pytest.raises(UserError, match="ZeRO 3 does not go with pipeline=2"):
        layout_of_world(1, 1, 2, 3)
    reshape(checkpoint, layout_of_world(1, 1, 1, 1), tmp_path / "there")
    with pytest.raises(UserError, match="exists already"):
        reshape(checkpoint, layout_of_world(1, 1, 1, 1), tmp_path / "there")
    (checkpoint / "trainer.json").write_text("{}")
    with pytest.raises(UserError, match=r"is damaged \(trainer\.json has 2 bytes"):
        reshape(checkpoint, layout_of_world(1, 1, 1, 1), tmp_path / "elsewhere")


def test_a_value_that_changes_on_the_way_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = write_checkpoint(tmp_path, 1, Cut(1, 1), full_state(4))
    write = state_file.write_state_file

    def flipping(path: Path, *arguments: object) -> object:
        written = write(path, *arguments)  # type: ignore[arg-type]
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(bytes(content))
        return written

    monkeypatch.setattr(reshaping, "write_state_file", flipping)
    with pytest.raises(UserError, match="changed on the way: nothing was published"):
        reshape(checkpoint, layout_of_world(2, 1, 1, 1), tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []
