"""Filling a run's live state from a checkpoint, whatever layout either has.

A process asks for the pieces that it holds and reads only what overlaps them; in the layout that wrote the checkpoint
that is its own file, straight into place. Memory: one piece beside a GPU, nothing on a CPU.
"""

from collections.abc import Sequence

from trainer.checkpoint.reading import StateReader
from trainer.checkpoint.slices import slicing_of
from trainer.model.declaration import ParameterDeclaration
from trainer.state import StatePiece


def restore(reader: StateReader, pieces: Sequence[StatePiece], declarations: Sequence[ParameterDeclaration]) -> int:
    """Write a checkpoint's values into the pieces; returns the bytes filled.

    Raises:
        UserError: the checkpoint lacks one of them, has another shape of it, or is damaged.
    """
    import torch

    by_name = {declaration.name: declaration for declaration in declarations}
    filled = 0
    for piece in pieces:
        values = piece.values.detach()
        in_place = values.device.type == "cpu" and values.is_contiguous()
        host = values if in_place else torch.empty(values.numel(), dtype=torch.float32)
        slicing = slicing_of(by_name[piece.name], piece.kind, piece.tensor_size)
        reader.read((piece.name, piece.kind), slicing, piece.tensor_rank, piece.start, host.numpy())
        if not in_place:
            values.copy_(host)
        filled += host.nbytes
    return filled
