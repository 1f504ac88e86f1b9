"""How weights follow the gradient, and how fast over the run.

`OptimizerSettings` is one of three classes, chosen by `kind` (AdamW where it is missing). A key that the chosen
optimizer does not read is an error like any unknown key.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from trainer.settings.base import Settings

Betas = tuple[float, float]


class DecaySettings(Settings):
    """The step size, and which parameters are pulled towards zero."""

    lr: float = Field(default=6e-4, gt=0.0, allow_inf_nan=False)
    """Peak learning rate. 6e-4 suits about 100 M parameters; smaller models take more."""
    weight_decay: float = Field(default=0.1, ge=0.0, allow_inf_nan=False)
    """Decoupled decay: each step takes away this part of the weight, times the learning rate."""
    decay: Literal["matrices", "all", "none"] = "matrices"
    """What is decayed. matrices: no norms and biases, which have no scale to shrink; all: these too; none: nothing."""
    decay_embeddings: bool = True
    """Whether embeddings and the output layer count among what is decayed. A row of an embedding has a gradient only
    when its token occurs, so decay alone shrinks the rows of rare tokens."""


def _check_betas(betas: Betas) -> Betas:
    if not all(0.0 <= beta < 1.0 for beta in betas):
        raise ValueError(f"betas must lie in [0, 1), got {list(betas)}")
    return betas


class AdamWSettings(DecaySettings):
    """AdamW (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    """Which optimizer."""
    betas: Betas = (0.9, 0.95)
    """Decay of the first and second moment. 0.95, not 0.999, as in GPT-3: follows the loss of large models."""
    eps: float = Field(default=1e-8, gt=0.0, allow_inf_nan=False)
    """Added to the root of the second moment."""

    _betas = field_validator("betas")(_check_betas)


class AdafactorSettings(DecaySettings):
    """Adafactor (Shazeer & Stern 2018): the second moment of a matrix as one value a row and one a column."""

    kind: Literal["adafactor"]
    """Which optimizer."""
    second_moment_exponent: float = Field(default=0.8, gt=0.0, le=1.0)
    """The second moment of step t decays by 1 - t to the power of minus this."""
    update_clipping: float = Field(default=1.0, gt=0.0)
    """Largest root mean square of the update of one matrix, before the learning rate."""
    beta1: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Decay of a first moment, which takes one more value a parameter. None: no first moment."""
    relative_step: bool = False
    """Whether the learning rate is a part of the matrix's own root mean square. A peak of about 1e-2 then."""
    smallest_scale: float = Field(default=1e-3, gt=0.0)
    """Root mean square that a matrix counts as having at least, so that zeros can grow; read with `relative_step`."""
    eps: float = Field(default=1e-30, gt=0.0)
    """Added to the squared gradient."""


class MuonAdamWSettings(Settings):
    """AdamW for what Muon is not made for: embeddings, the output layer, norms and biases."""

    lr: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Peak learning rate. None: that of the matrices, whose steps are scaled to AdamW's size."""
    betas: Betas = (0.9, 0.95)
    """Decay of the first and second moment."""
    eps: float = Field(default=1e-8, gt=0.0, allow_inf_nan=False)
    """Added to the root of the second moment."""

    _betas = field_validator("betas")(_check_betas)


class MuonSettings(DecaySettings):
    """Muon (Jordan et al. 2024): the momentum of a matrix, made orthogonal; steps scaled as in Moonlight (Liu et al.
    2025), so that a learning rate for AdamW suits it."""

    kind: Literal["muon"]
    """Which optimizer."""
    momentum: float = Field(default=0.95, ge=0.0, lt=1.0)
    """Decay of the mean gradient."""
    nesterov: bool = True
    """Whether to look one step ahead along the momentum."""
    newton_schulz_steps: int = Field(default=5, gt=0, le=20)
    """Iterations that bring the singular values near to one."""
    newton_schulz_precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of these iterations. auto: bf16 on a GPU, fp32 on a CPU."""
    adamw: MuonAdamWSettings = MuonAdamWSettings()
    """What all other parameters get."""


def _kind_of(given: Any) -> str:
    """The tag of the class that a value is to become."""
    return str(given.get("kind", "adamw") if isinstance(given, dict) else getattr(given, "kind", "adamw"))


OptimizerSettings = Annotated[
    Annotated[AdamWSettings, Tag("adamw")]
    | Annotated[AdafactorSettings, Tag("adafactor")]
    | Annotated[MuonSettings, Tag("muon")],
    Discriminator(_kind_of),
]
"""Any optimizer's settings."""


class ScheduleSettings(Settings):
    """Learning rate over the run: linear warm-up, then one of five ways on. Measured in samples, so that steps of a
    growing batch count by their size."""

    kind: Literal["cosine", "wsd", "linear", "inverse_sqrt", "constant"] = "cosine"
    """cosine: half a cosine down; linear: a straight line down; wsd: constant, then a line down over the
    last `decay_fraction` of the run (warm-up, stable, decay); inverse_sqrt: the peak times the root of the length of
    the warm-up over the way gone, at the end a line down where `decay_fraction` says so; constant: the peak."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps from 0 to the peak. None: `warmup_fraction` of the run."""
    warmup_fraction: float = Field(default=0.02, ge=0.0, le=1.0)
    """Part of the run spent warming up; read when `warmup_steps` is not given."""
    decay_fraction: float | None = Field(default=None, gt=0.0, le=1.0)
    """Part of the run in which wsd and inverse_sqrt go down in a line at its end. None: 0.2 for wsd, none for
    inverse_sqrt."""
    final_fraction: float = Field(default=0.1, ge=0.0, le=1.0)
    """Learning rate at the end, as a part of the peak; what a line or a cosine goes down to."""


class BatchRampSettings(Settings):
    """Batches that grow while the gradient is still easy to estimate (GPT-3, appendix B: 32 k to 3.2 M tokens)."""

    start_tokens: int = Field(gt=0)
    """Tokens of the first step: like `global_batch_tokens` a multiple of context length x data-parallel copies."""
    over_tokens: int = Field(gt=0)
    """Training tokens over which the batch grows, in a straight line by samples, to `global_batch_tokens`."""
    increment_tokens: int | None = Field(default=None, gt=0)
    """The batch grows by multiples of this. None: `start_tokens`."""
