"""What to do about a process that ran out of memory: what the run needs by estimate, and what would lower it."""

from trainer.devices import count_cores
from trainer.estimate import estimate_training, smaller_settings
from trainer.identity import Inputs
from trainer.parallel.layout import plan_layout

_SIGNS = (
    "out of memory",  # torch.OutOfMemoryError, CUDA and cuBLAS
    "can't allocate memory",  # torch's allocator on CPU
    "not enough memory",
    "std::bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
_SHOWN = 5
GIGABYTE = 1e9


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory, of Python, torch, or the C++ library."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS)


def explain_memory(error: BaseException, inputs: Inputs, world: int, device_type: str) -> str:
    """What failed, what each device needs by estimate, and single changes with what it would need then, cheap first."""
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    settings, shape = inputs.job.settings, inputs.shape
    layout = plan_layout(settings, inputs.data.context_length, gpus=0, cores=count_cores(), model=shape, devices=world)
    precision = settings.precision if settings.precision != "auto" else ("bf16" if device_type == "cuda" else "fp32")
    cuda = device_type == "cuda"
    now = estimate_training(shape, settings, layout, precision=precision, cuda=cuda).fullest
    changes = [
        (words, smaller.fullest.total)
        for words, smaller in smaller_settings(shape, settings, layout, precision=precision, cuda=cuda)
        if smaller.fullest.total < now.total
    ]
    lower = "; ".join(f"{words} ({_size(total)})" for words, total in changes[:_SHOWN])
    return (
        f"out of memory ({first}). By estimate each process needs {_size(now.total)}: weights {_size(now.weights)}, "
        f"gradients {_size(now.gradients)}, optimizer {_size(now.optimizer)}, activations {_size(now.activations)}, "
        f"logits {_size(now.logits)}. To need less: {lower or 'a smaller model or a shorter context'}; or more devices "
        "(parallel.tensor, parallel.pipeline, and data with zero)"
    )


def _size(amount: float) -> str:
    return f"{amount / GIGABYTE:.1f} GB" if amount >= GIGABYTE / 10 else f"{amount / 1e6:.1f} MB"
