"""Which arithmetic pays on this device.

bf16 and fp16 here mean autocast: matrix products in that type; weights, gradients, norms, softmax and loss in fp32.
fp16 needs a loss scale too (`trainer.optim.loss_scale`), bfloat16 has the range of fp32. Measured by hand with
7 M parameters on one core with avx512_bf16: bf16 gives 1.5 times the tokens/s of fp32; DeepSpeed's own bf16 mode
(bfloat16 weights with fp32 copies) reached 0.88 of plain autocast's speed on such a core. A CPU without bfloat16
instructions emulates them, slower than fp32; fp16 on a CPU is for tests.
"""

from typing import Literal

import torch

Precision = Literal["fp32", "bf16", "fp16"]

_AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(asked: Literal["auto", "fp32", "bf16", "fp16"], device_type: str) -> Precision:
    """What was asked, or for "auto" the faster one that needs no loss scale."""
    if asked != "auto":
        return asked
    return "bf16" if _has_fast_bfloat16(device_type) else "fp32"


def autocast(device_type: str, precision: Precision) -> torch.autocast:
    """The context of a forward pass."""
    return torch.autocast(device_type, _AUTOCAST.get(precision), enabled=precision in _AUTOCAST)


def _has_fast_bfloat16(device_type: str) -> bool:
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
