"""Arithmetic of a training step, and what devices could do at most: the two sides of MFU.

Model FLOPs utilisation (Chowdhery et al. 2022, PaLM, appendix B) is

    MFU = model FLOPs per token x tokens per second / (devices x peak FLOP/s of a device)
    model FLOPs per token = 6 N + 12 x sum over the layers of (heads x head width x tokens attended to)

A multiplication with its addition counts as two, the backward pass as twice the forward pass. N is every parameter
that a token is multiplied with: all but the tables of token and position embeddings, which are looked up. The output
matrix is multiplied with, so it counts, tied or not. Attention is taken as if every token saw the whole context, or
the whole window where a layer has one: not halved for causality, as in PaLM, nanoGPT and torchtitan, so that figures
compare. What activation checkpointing computes again does not count: it is the machine's work, not the model's.

Peaks are those of the makers' data sheets for dense matrices, fp32 accumulation; nothing here needs torch.
"""

from dataclasses import dataclass

from trainer.model.declaration import declare_parameters
from trainer.settings import ModelShape

LOOKED_UP = ("token_embedding.weight", "position_embedding.weight")
"""Parameters that are tables: reading a row is no arithmetic."""


@dataclass(frozen=True)
class TokenFlops:
    """FLOPs of one token, forward and backward, without recomputation."""

    blocks: tuple[float, ...]
    """Of each block."""
    head: float
    """Of the last norm and the output matrix."""

    @property
    def total(self) -> float:
        """Of the whole model."""
        return sum(self.blocks) + self.head


@dataclass(frozen=True)
class Device:
    """What one accelerator can do by its data sheet."""

    name: str
    """As torch.cuda.get_device_name has it, or a distinctive part of it."""
    half: float
    """Peak FLOP/s of dense products of bf16 (fp16 where there is no bf16)."""
    single: float
    """Peak FLOP/s in fp32, without TF32."""
    memory_bytes: int
    """Of the smallest of that name."""

    def peak(self, precision: str) -> float:
        """FLOP/s for fp32, bf16 or fp16."""
        return self.single if precision == "fp32" else self.half


def _device(name: str, half_tera: float, single_tera: float, memory_giga: int) -> Device:
    return Device(name, half_tera * 1e12, single_tera * 1e12, memory_giga * 10**9)


DEVICES = (
    _device("V100", 125, 15.7, 16),
    _device("T4", 65, 8.1, 16),
    _device("A10", 125, 31.2, 24),
    _device("A10G", 70, 31.5, 24),
    _device("A30", 165, 10.3, 24),
    _device("A40", 149.7, 37.4, 48),
    _device("RTX A6000", 154.8, 38.7, 48),
    _device("A100", 312, 19.5, 40),
    _device("A100 80GB", 312, 19.5, 80),
    _device("A100-SXM4-80GB", 312, 19.5, 80),
    _device("L4", 60.5, 30.3, 24),
    _device("L40", 181, 90.5, 48),
    _device("L40S", 362, 91.6, 48),
    _device("H100", 989, 67, 80),
    _device("H100 PCIe", 756, 51, 80),
    _device("H100 NVL", 835, 60, 94),
    _device("H200", 989, 67, 141),
    _device("GH200", 989, 67, 96),
    _device("B200", 2250, 75, 180),
    _device("GB200", 2500, 80, 186),
    _device("B300", 2250, 75, 270),
    _device("MI300X", 1307, 163, 192),
    _device("RTX 3090", 71, 35.6, 24),
    _device("RTX 4090", 165, 82.6, 24),
    _device("RTX 5090", 209.5, 104.8, 32),
)
"""Known devices."""


def find_device(name: str) -> Device | None:
    """The known device whose name is part of this one, in whole words; the longest such. None: not known.

    Upper and lower case are the same, and so are space, hyphen and underscore: `h100-pcie` is found.
    """
    words = _words(name)
    fitting = [device for device in DEVICES if f" {_words(device.name)} " in f" {words} "]
    return max(fitting, key=lambda device: len(device.name), default=None)


def flops_per_token(shape: ModelShape, context_length: int) -> TokenFlops:
    """FLOPs that one token of a row of `context_length` tokens costs in training; see the module's formula."""
    of_block = [0.0] * shape.layers
    head = 0.0
    for declaration in declare_parameters(shape):
        if declaration.name in LOOKED_UP:
            continue
        part = declaration.name.split(".")
        if part[0] == "blocks":
            of_block[int(part[1])] += 6.0 * declaration.size
        else:
            head += 6.0 * declaration.size
    if shape.tied_embeddings:
        head += 6.0 * shape.vocab_size * shape.width
    for layer in range(shape.layers):
        attended = min(shape.window_of(layer) or context_length, context_length)
        of_block[layer] += 12.0 * shape.heads * shape.head_width * attended
    return TokenFlops(tuple(of_block), head)


def model_flops_utilisation(token_flops: float, tokens_per_second: float, devices: int, peak: float) -> float:
    """MFU, between 0 and 1; `peak` in FLOP/s of one device."""
    return token_flops * tokens_per_second / (devices * peak)


def _words(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())
