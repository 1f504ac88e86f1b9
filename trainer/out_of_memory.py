"""What a user can do about a process that ran out of memory."""

from trainer.job import TrainingJob

_SIGNS = (
    "out of memory",  # torch.OutOfMemoryError, CUDA and cuBLAS
    "can't allocate memory",  # torch's allocator on CPU
    "not enough memory",
    "std::bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def explain_memory(error: BaseException, job: TrainingJob) -> str | None:
    """What failed and what to lower, most effective first; None when the error is not one of memory."""
    text = str(error)
    if not isinstance(error, MemoryError) and not any(sign in text for sign in _SIGNS):
        return None
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return f"out of memory ({first}). To need less: {'; '.join(remedies(job))}"


def remedies(job: TrainingJob) -> list[str]:
    """Settings that are not yet at their most sparing value, the ones that cost least time first."""
    settings, found = job.settings, []
    if settings.micro_batch_size > 1:
        found.append(f"lower micro_batch_size (now {settings.micro_batch_size}; the result does not change)")
    if settings.activation_checkpointing == "none":
        found.append("set activation_checkpointing: blocks (a third more arithmetic)")
    most = 1 if settings.parallel.pipeline > 1 else 3
    if settings.zero < most:
        found.append(f"raise zero (now {settings.zero}, at most {most} here), with more than one data-parallel copy")
    if not settings.offload_optimizer and settings.zero > 0:
        found.append("set offload_optimizer: true (slower steps)")
    found.append(
        f"raise parallel.tensor or parallel.pipeline (now {settings.parallel.tensor}, {settings.parallel.pipeline})"
    )
    found.append("choose a smaller model or a shorter context; `--dry-run` prints the memory by kind")
    return found
