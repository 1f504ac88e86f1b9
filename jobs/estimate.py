"""What a training would need and how long it would take: the training part of `--dry-run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jobs.recipe import LoadedRecipe
from jobs.terminal import duration, note, show_table, size, warn
from jobs.training_plan import Target, model_shape, plan_trainings
from trainer.data.mixed_rows import RunData
from trainer.estimate import USABLE, Estimate, estimate_training, smaller_settings
from trainer.settings import ModelShape, TrainingSettings


def show_trainings(loaded: LoadedRecipe, steps: Sequence[str], target: Target, data: RunData | None) -> None:
    """Print the plan of each training. `data`: what pretraining goes through; None where that is not known yet."""
    recipe, shape = loaded.recipe, model_shape(loaded.recipe)
    if data is not None and shape is not None:
        shape = shape.model_copy(update={"vocab_size": data.datasets[0].manifest["vocab_size"]})
    layouts = plan_trainings(loaded, steps, target)
    for step, layout in layouts.items():
        settings = getattr(recipe, step)
        if shape is None:
            continue
        estimate = estimate_training(shape, settings, layout, precision=target.precision(settings), cuda=target.is_gpu)
        rows = [("model", _model(estimate))] if step == "pretrain" else []
        rows += [("layout", _layout(estimate)), ("batch", _batch(estimate, step))]
        drawn = None if data is None else data.plan.rows
        length = _length(settings, estimate, drawn) if step == "pretrain" else None
        rows += _arithmetic(estimate, target, length)
        if step == "finetune":
            rows.append(("data", recipe.finetune.data if recipe.finetune and recipe.finetune.data else _QUESTIONS))
        show_table(step, ("", "what"), rows, prose="what")
        _show_memory(estimate, step)
        _show_fit(shape, settings, estimate, target)


_QUESTIONS = "questions made from the corpus"


def _model(estimate: Estimate) -> str:
    shape = estimate.shape
    kinds = ", ".join(f"{kind} {values:,}" for kind, values in estimate.parameters.items())
    return f"{estimate.parameter_count:,} parameters ({kinds}); {shape.layers} layers of width {shape.width}"


def _layout(estimate: Estimate) -> str:
    layout = estimate.layout
    sequence = " with sequence parallelism" if layout.sequence else ""
    processes = f"{layout.world:,} processes" if layout.world > 1 else "1 process"
    return (
        f"{processes} = data {layout.data} x pipeline {layout.pipeline} x tensor {layout.tensor}{sequence}, "
        f"ZeRO-{layout.zero}, {estimate.precision}"
    )


def _batch(estimate: Estimate, step: str) -> str:
    layout = estimate.layout
    tokens = f" ({estimate.tokens_per_step:,} tokens)" if step == "pretrain" else ""
    text = (
        f"{layout.rows_per_step:,} rows{tokens} a step; a copy goes through {layout.rows_per_rank:,} in "
        f"{layout.accumulation_steps:,} micro-batches of {layout.micro_batch_size}"
    )
    if layout.pipeline > 1:
        text += f"; bubble {estimate.bubble:.1%} = (p - 1) / (m + p - 1)"
    return text


@dataclass(frozen=True)
class _Length:
    steps: int
    tokens: int


def _length(settings: TrainingSettings, estimate: Estimate, rows_drawn: int | None) -> _Length | None:
    """Steps and tokens of the run; None where the token dataset, still to be written, decides."""
    context = estimate.shape.context_length
    batches = settings.batches(context)
    is_given = settings.steps is not None or getattr(settings, "tokens", None) is not None
    if is_given or getattr(settings, "has_only_budgets", False):
        steps = settings.total_steps(0, context)
    elif rows_drawn is not None:
        steps = batches.steps_within(rows_drawn)
    else:
        return None
    return _Length(steps, batches.samples_before(steps) * context)


def _arithmetic(estimate: Estimate, target: Target, length: _Length | None) -> Iterator[tuple[str, str]]:
    flops = estimate.flops.total
    again = f", and {estimate.recomputed:.2e} that activation checkpointing adds" if estimate.recomputed else ""
    yield "FLOP", f"{flops:.3e} a token (6 N + 12 L d T, forward and backward){again}"
    if length is None:
        yield "length", "epochs of the token dataset, whose size is known when it is written"
    else:
        total = flops * length.tokens
        yield "length", f"{length.steps:,} steps, {length.tokens:,} tokens, {total:.2e} FLOP"
    traffic = estimate.traffic
    sent = {"data": traffic.data, "tensor": traffic.tensor, "pipeline": traffic.pipeline}
    if any(sent.values()):
        amounts = ", ".join(f"{axis} {size(amount)}" for axis, amount in sent.items() if amount)
        yield "messages", f"a process sends in a step: {amounts}"
    if target.device is not None:
        seconds = estimate.step_seconds(target.device, target.mfu)
        speed = estimate.tokens_per_step / seconds
        text = f"{seconds:.3g} s a step, {speed:,.0f} tokens/s"
        if length is not None:
            text = f"{duration(length.tokens / speed)} ({text})"
        devices = f"{estimate.layout.world:,} x {target.device.name}"
        yield "time", f"{text} at {target.mfu:.0%} of the peak of {devices}, validation and checkpoints not counted"


_KINDS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "16-bit copies": "copies",
    "activations": "activations",
    "logits": "logits",
    "buckets": "buckets",
    "sum": "total",
}
_MOST_STAGES = 6


def _show_memory(estimate: Estimate, step: str) -> None:
    """A column a stage; of many stages the first and the last ones."""
    stages = list(range(len(estimate.stages)))
    if len(stages) > _MOST_STAGES:
        stages = [*stages[: _MOST_STAGES // 2], *stages[-_MOST_STAGES // 2 :]]
    held = [range(estimate.bounds[stage], estimate.bounds[stage + 1]) for stage in stages]
    rows = [("layers", *(_layers(layers, estimate.shape.layers) for layers in held))]
    for kind, field in _KINDS.items():
        rows.append((kind, *(size(getattr(estimate.stages[stage], field)) for stage in stages)))
    show_table(f"{step}: memory of a device", ("", *(f"stage {stage}" for stage in stages)), rows)
    if (host := max(memory.host for memory in estimate.stages)) > 0:
        note(f"  the optimizer's {size(host)} of each process lie in the host's memory")


def _layers(held: range, layers: int) -> str:
    blocks = [number for number in held if 1 <= number <= layers]
    parts = ["embed"] if 0 in held else []
    parts += [f"{blocks[0] - 1}-{blocks[-1] - 1}" if len(blocks) > 1 else str(blocks[0] - 1)] if blocks else []
    return " ".join(parts + (["head"] if layers + 1 in held else []))


def _show_fit(shape: ModelShape, settings: TrainingSettings, estimate: Estimate, target: Target) -> None:
    """Whether it fits the device, and if not what would help."""
    if target.device is None:
        return
    memory, needed = target.device.memory_bytes, estimate.fullest.total
    if estimate.fits(memory):
        note(f"  {size(needed)} fit the {size(memory)} of {target.device.name}, of which {USABLE:.0%} are planned with")
        return
    warn(
        f"{size(needed)} do not fit the {size(memory)} of {target.device.name}, of which {USABLE:.0%} are planned "
        "with; what would help, each by itself:"
    )
    found = smaller_settings(shape, settings, estimate.layout, precision=estimate.precision, cuda=target.is_gpu)
    for words, changed in found:
        if changed.fullest.total < needed:
            verdict = "fits" if changed.fits(memory) else "not enough alone"
            note(f"    {words}: {size(changed.fullest.total)}, {verdict}")
    note("    more tensor or pipeline ranks: gptmill layouts RECIPE --devices N lists what fits")
