"""What a training run can be told: the classes are the only list of its options.

Each field is a key of the recipe; its docstring is its help. Importing this module loads neither torch
nor deepspeed, so that `gptmill --help` and `--dry-run` answer at once.

A number that a user thinks in (`global_batch_tokens`) is a field; what follows from it (accumulation steps,
data-parallel size) is derived in `trainer.parallel.layout` and printed, never set twice. Nothing here depends
on wall time: the same settings, data and seed give the same steps on any machine.
"""

import math
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from trainer.model.presets import PRESETS


class Settings(BaseModel):
    """Base of every settings class: unknown keys are errors, values cannot be changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelSettings(Settings):
    """The shape and style of the GPT, without what the token dataset decides (vocabulary, context)."""

    preset: str | None = None
    """Name of a shape in trainer/model/presets.py; the fields given beside it override it. None: give
    `layers`, `width` and `heads` yourself."""
    layers: int = Field(gt=0)
    """Number of transformer blocks."""
    width: int = Field(gt=0)
    """Width of the residual stream, in features."""
    heads: int = Field(gt=0)
    """Attention heads; must divide `width`."""
    kv_heads: int | None = Field(default=None, gt=0)
    """Heads of keys and values (grouped-query attention); must divide `heads`. None: as many as `heads`."""
    feed_forward_width: int | None = Field(default=None, gt=0)
    """Inner width of the feed-forward layer. None: 4 x width for gelu; for swiglu 8/3 x width rounded up to a
    multiple of 64, which has as many parameters."""
    positions: Literal["rope", "learned"] = "rope"
    """How a token knows its place: rotary embedding in attention, or a learned table (GPT-2)."""
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    """Normalisation before each layer."""
    activation: Literal["swiglu", "gelu"] = "swiglu"
    """Feed-forward kind: gated SiLU, or tanh-approximated GELU (GPT-2)."""
    bias: bool = False
    """Biases in linear layers and LayerNorm (GPT-2 has them)."""
    tied_embeddings: bool = True
    """Whether the output layer shares the token embedding's matrix; saves vocabulary x width parameters."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping an activation in training. 0: the data is seen about once, nothing to gain."""
    rope_theta: float = Field(default=10_000.0, gt=1.0)
    """Base of the rotary wavelengths; larger for longer contexts. Only read with `positions: rope`."""
    norm_epsilon: float = Field(default=1e-5, gt=0.0)
    """Added to the variance before the square root in the norms."""
    initial_std: float = Field(default=0.02, gt=0.0)
    """Standard deviation of initial weights; layers that write to the residual stream get it divided by
    sqrt(2 x layers) (GPT-2)."""

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("preset") is None:
            return given
        if given["preset"] not in PRESETS:
            raise ValueError(f"preset {given['preset']!r} does not exist; known: {', '.join(PRESETS)}")
        return {**PRESETS[given["preset"]], **given}

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        if self.heads % self.key_value_heads:
            raise ValueError(f"heads {self.heads} is not divisible by kv_heads {self.kv_heads}")
        if self.positions == "rope" and self.head_width % 2:
            raise ValueError(f"rope needs an even head width, width / heads is {self.head_width}")
        return self

    @property
    def head_width(self) -> int:
        """Features of one attention head."""
        return self.width // self.heads

    @property
    def key_value_heads(self) -> int:
        """Heads of keys and values."""
        return self.kv_heads or self.heads

    @property
    def inner_width(self) -> int:
        """Inner width of the feed-forward layer."""
        if self.feed_forward_width is not None:
            return self.feed_forward_width
        if self.activation == "gelu":
            return 4 * self.width
        return math.ceil(8 * self.width / 3 / 64) * 64

    def shaped(self, vocab_size: int, context_length: int) -> "ModelShape":
        """The full shape once the token dataset has said its vocabulary and context length."""
        return ModelShape(**self.model_dump(), vocab_size=vocab_size, context_length=context_length)


class ModelShape(ModelSettings):
    """A model's full shape; what `model.json` beside the weights holds."""

    vocab_size: int = Field(gt=0)
    """Rows of the token embedding; from the token dataset."""
    context_length: int = Field(gt=0)
    """Longest sequence in tokens; from the token dataset."""


class ParallelSettings(Settings):
    """How the work is spread: world = data x tensor x pipeline processes."""

    data: int | None = Field(default=None, gt=0)
    """Data-parallel copies. None: one per GPU; on CPU two, or fewer where there are fewer cores."""
    tensor: int = Field(default=1, gt=0)
    """Processes that share each layer. Only 1 in this version."""
    pipeline: int = Field(default=1, gt=0)
    """Groups of consecutive layers, each on its own process. Only 1 in this version."""


class OptimizerSettings(Settings):
    """AdamW (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    """Which optimizer."""
    lr: float = Field(default=6e-4, gt=0.0, allow_inf_nan=False)
    """Peak learning rate. 6e-4 suits about 100 M parameters; smaller models take more."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the first and second moment. 0.95, not 0.999, as in GPT-3: follows the loss of large models."""
    eps: float = Field(default=1e-8, gt=0.0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.1, ge=0.0)
    """Decoupled decay, of matrices only: norms and biases are not decayed."""

    @model_validator(mode="after")
    def _check_betas(self) -> Self:
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {list(self.betas)}")
        return self


class ScheduleSettings(Settings):
    """Learning rate over the run: linear warm-up, then one of three ways down."""

    kind: Literal["cosine", "wsd", "linear"] = "cosine"
    """cosine: half a cosine down; linear: a straight line down; wsd: constant, then a line down over the
    last `decay_fraction` of the run (warm-up, stable, decay)."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps from 0 to the peak. None: `warmup_fraction` of the run."""
    warmup_fraction: float = Field(default=0.02, ge=0.0, le=1.0)
    """Part of the run spent warming up; read when `warmup_steps` is not given."""
    decay_fraction: float = Field(default=0.2, gt=0.0, le=1.0)
    """Part of the run in which wsd goes down."""
    final_fraction: float = Field(default=0.1, ge=0.0, le=1.0)
    """Learning rate at the end, as a part of the peak."""


class TrainingSettings(Settings):
    """What pretraining and finetuning share: everything the loop reads."""

    steps: int | None = Field(default=None, gt=0)
    """Optimizer steps of the run. Give one of steps, epochs (or tokens, in pretraining)."""
    epochs: float | None = Field(default=None, gt=0.0)
    """Passes over the training rows; partial ones are allowed."""
    micro_batch_size: int = Field(default=8, gt=0)
    """Rows in one forward pass of one process: as many as fit. It does not change the result, only how many
    passes are accumulated into a step."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """How weights follow the gradient."""
    schedule: ScheduleSettings = ScheduleSettings()
    """Learning rate over the run."""
    gradient_clipping: float = Field(default=1.0, ge=0.0)
    """Largest norm of the whole gradient; longer ones are scaled down to it. 0: off."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of forward and backward. bf16: matrix products in bfloat16 (autocast) over fp32 weights and
    gradients. auto: bf16 on a GPU that has it and on a CPU with bfloat16 instructions, fp32 elsewhere."""
    zero: Literal[0, 1, 2, 3] = 1
    """ZeRO stage: 0 copies everything on each process, 1 shards the optimizer's state, 2 also gradients,
    3 also weights. Higher saves memory and costs messages."""
    parallel: ParallelSettings = ParallelSettings()
    """How the work is spread over processes."""
    threads_per_process: int | None = Field(default=None, gt=0)
    """CPU threads of each process. None: the cores divided by the processes."""
    validation_every: int = Field(default=100, ge=0)
    """Steps between validations; one is always made at the end. 0: only at the end."""
    validation_rows: int | None = Field(default=256, gt=0)
    """Rows of a validation during the run, the first ones; the last validation takes all. None: all, always."""
    checkpoint_every: int = Field(default=500, ge=0)
    """Steps between checkpoints. 0: only on interruption and at the end."""
    keep_last: int = Field(default=2, gt=0)
    """Checkpoints kept; older ones are removed once a newer one is complete."""
    sample_every: int = Field(default=0, ge=0)
    """Steps between texts generated from `sample_prompts`. 0: none."""
    sample_prompts: tuple[str, ...] = ()
    """Beginnings that the model continues, to see it learn."""
    log_every: int = Field(default=10, gt=0)
    """Steps between lines of metrics.jsonl and step events."""
    deepspeed_extra: dict[str, Any] = {}
    """DeepSpeed configuration merged over ours, last, and logged. Keys that gptmill derives itself (batch,
    zero, precision, clipping, optimizer, scheduler, checkpoint) are refused."""

    @field_validator("deepspeed_extra")
    @classmethod
    def _check_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if owned := sorted(set(extra) & OWNED_DEEPSPEED_KEYS):
            raise ValueError(f"deepspeed_extra may not set {', '.join(owned)}: use gptmill's own settings")
        return extra

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        given = [name for name in ("steps", "epochs", "tokens") if getattr(self, name, None) is not None]
        if len(given) > 1:
            raise ValueError(f"give only one of steps, epochs and tokens, got {' and '.join(given)}")
        return self

    def rows_per_step(self, context_length: int) -> int:
        """Rows of the token dataset in one optimizer step, over all processes."""
        raise NotImplementedError

    def total_steps(self, rows: int, context_length: int) -> int:
        """Optimizer steps of the whole run on a dataset of `rows` rows."""
        if self.steps is not None:
            return self.steps
        epochs = 1.0 if self.epochs is None else self.epochs
        return max(1, int(epochs * rows / self.rows_per_step(context_length)))


OWNED_DEEPSPEED_KEYS = frozenset(
    {
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "gradient_accumulation_steps",
        "gradient_clipping",
        "gradient_predivide_factor",
        "prescale_gradients",
        "optimizer",
        "scheduler",
        "fp16",
        "bf16",
        "amp",
        "torch_autocast",
        "data_types",
        "zero_optimization",
        "zero_allow_untested_optimizer",
        "checkpoint",
        "pipeline",
        "tensor_parallel",
    }
)
"""Top-level DeepSpeed keys derived from our settings."""


class MixtureDataset(Settings):
    """One token dataset of a mixture, and how much of it a run takes."""

    name: str = Field(min_length=1)
    """What the plan calls it; also chooses its order of rows, so that no two datasets share one."""
    data: str = "own"
    """Folder or fsspec URL of a token dataset, or of a run that has one; `own`: the dataset of this run. All datasets
    of a mixture must have one tokenizer and one context length."""
    weight: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Part of the run's tokens in proportion to the other weights, after budgets were taken off."""
    tokens: int | None = Field(default=None, gt=0)
    """Budget: so many tokens of the run. Give this or `weight`."""
    max_epochs: float = Field(default=4.0, gt=0.0)
    """A run that would go through the dataset more often is refused. Up to four times repeated text teaches nearly as
    much as new text (Muennighoff et al. 2023)."""

    @model_validator(mode="after")
    def _check_amount(self) -> Self:
        if (self.weight is None) == (self.tokens is None):
            raise ValueError(f"give {self.name} a weight or a budget of tokens, not both or none")
        return self


class PretrainSettings(TrainingSettings):
    """Training from random (or given) weights on token datasets."""

    global_batch_tokens: int = Field(default=524_288, gt=0)
    """Tokens in one optimizer step over all processes: a multiple of context length x data-parallel copies.
    About half a million for 100 M parameters (GPT-3, table 2.1); small models take far fewer."""
    tokens: int | None = Field(default=None, gt=0)
    """Length of the run in training tokens, rounded down to whole steps."""
    mixture: tuple[MixtureDataset, ...] = ()
    """Token datasets to draw from, by weight or by budget of tokens. Empty: the run's own, all of it. The run's length
    is `steps` or `tokens`, or where all datasets have budgets their sum. `--dry-run` prints the plan."""
    shard_cache: str | None = None
    """Folder of this machine for shards of datasets in object stores, shared by all runs. None: `gptmill/shards` in the
    user's cache folder."""
    shard_cache_bytes: int = Field(default=100 << 30, gt=0)
    """Most bytes kept there: what was used longest ago goes. Make it as large as the datasets, since rows are drawn in
    random order."""

    @model_validator(mode="after")
    def _check_mixture(self) -> Self:
        names = [dataset.name for dataset in self.mixture]
        if len(set(names)) < len(names):
            raise ValueError(f"mixture: names must differ, got {', '.join(names)}")
        if len(names) > 1 and self.epochs is not None:
            raise ValueError("epochs has no meaning with a mixture: give steps or tokens")
        if len(names) > 1 and self.steps is None and self.tokens is None and not self.has_only_budgets:
            raise ValueError("mixture: with weights the run's length must be given: steps or tokens")
        return self

    @property
    def has_only_budgets(self) -> bool:
        """Whether the mixture says by itself how long the run is."""
        return bool(self.mixture) and all(dataset.tokens is not None for dataset in self.mixture)

    def rows_per_step(self, context_length: int) -> int:
        """Rows in one step; raises ValueError when the batch is no whole number of rows."""
        if self.global_batch_tokens % context_length:
            nearest = max(1, round(self.global_batch_tokens / context_length)) * context_length
            raise ValueError(
                f"global_batch_tokens {self.global_batch_tokens} is no multiple of the context length "
                f"{context_length}; the nearest is {nearest}"
            )
        return self.global_batch_tokens // context_length

    def total_steps(self, rows: int, context_length: int) -> int:
        """Optimizer steps of the whole run on a dataset of `rows` rows."""
        if self.tokens is not None:
            return max(1, self.tokens // self.global_batch_tokens)
        if self.steps is None and self.epochs is None and self.has_only_budgets:
            budgets = sum(dataset.tokens or 0 for dataset in self.mixture)
            return max(1, budgets // self.global_batch_tokens)
        return super().total_steps(rows, context_length)
