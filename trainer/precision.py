"""Which arithmetic pays on this device.

bf16 here means autocast: matrix products in bfloat16; weights, gradients, norms, softmax and loss in fp32. Measured
with 7 M parameters on one core with avx512_bf16: 1.5 times the tokens/s of fp32. DeepSpeed's own bf16 mode (bfloat16
weights with fp32 copies) reached 0.88 of plain autocast's speed on such a core. A CPU without bfloat16
instructions emulates them, slower than fp32.
"""

from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def choose_precision(asked: Literal["auto", "fp32", "bf16"], device_type: str) -> Precision:
    """What was asked, or for "auto" the faster one."""
    if asked != "auto":
        return asked
    return "bf16" if _has_fast_bfloat16(device_type) else "fp32"


def _has_fast_bfloat16(device_type: str) -> bool:
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
