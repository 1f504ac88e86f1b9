"""What every rank needs, imported once in the process that ranks are forked from (see `launcher`).

torch._inductor and networkx are loaded by DeepSpeed's first engine: seconds a rank when eight ranks do it at once. A
fault in an import shows in the test that needs it, not here.
"""

from contextlib import suppress

import hypothesis
import networkx  # type: ignore[import-untyped]
import pytest
import torch
import torch._inductor
import torch.distributed

from trainer.devices import count_gpus

with suppress(Exception):
    from trainer.engine import import_deepspeed

    import_deepspeed("cuda" if count_gpus() else "cpu")

__all__ = ["hypothesis", "networkx", "pytest", "torch"]
