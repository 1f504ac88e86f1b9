"""What pretraining and finetuning share: everything the loop reads."""

from abc import abstractmethod
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from trainer.batch_ramp import BatchRamp
from trainer.settings.base import Settings
from trainer.settings.logging import ProfileSettings, WandbSettings
from trainer.settings.optimizer import AdamWSettings, OptimizerSettings, ScheduleSettings
from trainer.settings.parallel import ParallelSettings
from trainer.settings.precision import LossScaleSettings
from trainer.settings.stability import StabilitySettings
from trainer.settings.watch import WatchSettings


class TrainingSettings(Settings):
    """What pretraining and finetuning share: everything the loop reads."""

    steps: int | None = Field(default=None, gt=0)
    """Optimizer steps of the run. Give one of steps, epochs (or tokens, in pretraining)."""
    epochs: float | None = Field(default=None, gt=0.0)
    """Passes over the training rows; partial ones are allowed."""
    micro_batch_size: int = Field(default=8, gt=0)
    """Rows in one forward pass of one process: as many as fit. It does not change the result, only how many
    passes are accumulated into a step."""
    optimizer: OptimizerSettings = AdamWSettings()
    """How weights follow the gradient."""
    schedule: ScheduleSettings = ScheduleSettings()
    """Learning rate over the run."""
    gradient_clipping: float = Field(default=1.0, ge=0.0)
    """Largest norm of the whole gradient; longer ones are scaled down to it. 0: off."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of forward and backward. bf16, fp16: matrix products in that type (autocast) over fp32 weights and
    gradients; fp16 with a loss scale. auto: bf16 on a GPU that has it and on a CPU with bfloat16 instructions, fp32
    elsewhere."""
    loss_scale: LossScaleSettings = LossScaleSettings()
    """By how much losses are multiplied in fp16, so that small gradients do not vanish."""
    compile: bool = False
    """Compile the blocks with torch.compile: about a minute at the start, then fewer and larger kernels."""
    activation_checkpointing: Literal["none", "blocks"] = "none"
    """blocks: keep only the input of each block and compute the rest again in the backward pass: a third more
    arithmetic, far less memory."""
    z_loss: float = Field(default=0.0, ge=0.0)
    """Weight of the squared log of the softmax's denominator in the loss (PaLM, section 5); 1e-4 keeps logits from
    drifting. 0: off."""
    document_attention: bool = False
    """Whether attention stays within a document where a row holds several; positions then start anew with each."""
    objective: Literal["causal", "prefix"] = "causal"
    """causal: every token sees those before it. prefix: the beginning of a row (its question; in pretraining a random
    part) also sees itself backwards and has no loss (prefix decoder)."""
    zero: Literal[0, 1, 2, 3] = 1
    """ZeRO stage: 0 copies everything on each process, 1 shards the optimizer's state, 2 also gradients,
    3 also weights. Higher saves memory and costs messages."""
    offload_optimizer: bool = False
    """Keep the optimizer's state in the host's memory and step there; needs ZeRO 1, 2 or 3."""
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
    keep_every: int = Field(default=0, ge=0)
    """Checkpoints whose step is a multiple of this are kept for ever, beside the last ones. 0: none."""
    asynchronous_checkpoints: bool = True
    """Whether training goes on while a checkpoint is written: it waits for the copy only, which takes as much memory
    as the state of a process. A save that fails is an error at the next step."""
    checkpoint_copy: str | None = None
    """Folder or fsspec URL to which each finished checkpoint is copied. None: nowhere."""
    watch: WatchSettings = WatchSettings()
    """Limits after which a run that stands still is ended, and when it must end by itself."""
    stability: StabilitySettings = StabilitySettings()
    """What is done about steps whose loss or gradient is out of the ordinary."""
    sample_every: int = Field(default=0, ge=0)
    """Steps between texts generated from `sample_prompts`. 0: none."""
    sample_prompts: tuple[str, ...] = ()
    """Beginnings that the model continues, to see it learn."""
    log_every: int = Field(default=10, gt=0)
    """Steps between lines of metrics.jsonl and step events."""
    device_teraflops: float | None = Field(default=None, gt=0.0)
    """Peak of one device in 10^12 FLOP/s at this run's precision, for MFU. None: that of the GPU's name in
    trainer/estimate/flops.py; on a CPU MFU is then left out."""
    norms_every: int = Field(default=0, ge=0)
    """Steps between lines with the norms of weights, gradients and updates by layer. 0: never."""
    tensorboard: bool = False
    """Whether to write TensorBoard's files too, to `tensorboard/` of the training directory."""
    wandb: WandbSettings | None = None
    """Where to log to Weights & Biases. None: nowhere."""
    profile: ProfileSettings | None = None
    """Which steps to trace with torch's profiler. None: none."""
    deepspeed_extra: dict[str, Any] = Field(default_factory=dict)
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

    @model_validator(mode="after")
    def _check_rollback(self) -> Self:
        if self.stability.rollback_after and not self.checkpoint_every:
            raise ValueError("stability.rollback_after goes back to checkpoints: set checkpoint_every above 0")
        return self

    @abstractmethod
    def rows_per_step(self, context_length: int) -> int:
        """Rows of the token dataset in one optimizer step, over all processes."""

    def batches(self, context_length: int) -> BatchRamp:
        """Rows of each step; raises ValueError when one is no whole number of rows."""
        return BatchRamp(self.rows_per_step(context_length))

    def total_steps(self, rows: int, context_length: int) -> int:
        """Optimizer steps of the whole run on a dataset of `rows` rows."""
        if self.steps is not None:
            return self.steps
        epochs = 1.0 if self.epochs is None else self.epochs
        return max(1, self.batches(context_length).steps_within(int(epochs * rows)))


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
