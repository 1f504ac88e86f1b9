"""What every training process needs, imported once in the process that others are forked from (`bench.forked_run`).

A fault in an import shows in the run that needs it, not here.
"""

from contextlib import suppress

import networkx  # type: ignore[import-untyped]
import numba
import torch
import torch._inductor

with suppress(Exception):
    import trainer.run
    import trainer.worker
    from trainer.engine import import_deepspeed

    import_deepspeed("cpu")

with suppress(Exception):
    import pipeline.kernels.mapped_rows
    import pipeline.kernels.permutation

__all__ = ["networkx", "numba", "pipeline", "torch", "trainer"]
