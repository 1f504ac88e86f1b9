"""What works together and what does not: one table, read by every plan and printed by `gptmill layouts`.

Each entry is a condition, the reason and what to do. Everything that no entry refuses is supported and tested. A plan
reports all entries that apply, not the first one, so that a recipe is put right in one go. Arithmetic only: no torch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainer.finetune.settings import FinetuneSettings
from trainer.parallel.compatibility import Refusal, Request, divisors, nearest_multiple
from trainer.settings import ModelSettings, PretrainSettings

PADDED_TO = 8
"""Finetuning pads the rows of a batch to a multiple of this."""


def problems_of(request: Request) -> list[tuple[str, str]]:
    """(key of the section, message) of every entry of the table that applies."""
    return [(refusal.key, refusal.message(request)) for refusal in REFUSALS if refusal.applies(request)]


def _listed(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _model(request: Request) -> ModelSettings:
    assert request.model is not None
    return request.model


def _tensor(request: Request) -> int:
    return request.settings.parallel.tensor


def _pipeline(request: Request) -> int:
    return request.settings.parallel.pipeline


def _optimizer(request: Request) -> str:
    return request.settings.optimizer.kind


def _looks_at_matrices(request: Request) -> bool:
    return _optimizer(request) in ("adafactor", "muon")


def _cannot_be_cut(size: Callable[[ModelSettings], int]) -> Callable[[Request], bool]:
    return lambda request: request.model is not None and size(request.model) % _tensor(request) != 0


def _kv_heads_cannot_be_cut(request: Request) -> bool:
    """Where there are fewer than heads: otherwise the heads' own entry has said it."""
    if request.model is None or request.model.key_value_heads == request.model.heads:
        return False
    return request.model.key_value_heads % _tensor(request) != 0


def _heads(request: Request) -> str:
    both = [number for number in divisors(_model(request).heads) if _model(request).key_value_heads % number == 0]
    return f"heads and kv_heads allow {_listed(both)}"


def _processes(request: Request) -> str:
    parallel = request.settings.parallel
    copies = "" if parallel.data is None else f"data {parallel.data} x "
    return f"{copies}tensor {parallel.tensor} x pipeline {parallel.pipeline}"


def _needed(request: Request) -> int:
    return (request.settings.parallel.data or 1) * request.share


def _world_does_not_divide(request: Request) -> bool:
    if request.devices is not None:
        wrong_product = request.settings.parallel.data is not None and _needed(request) != request.devices
        return wrong_product or request.devices % request.share != 0
    if request.most_devices is None or request.settings.parallel.data is not None:
        return False
    return request.most_devices >= request.share and request.most_devices % request.share != 0


def _world_choices(request: Request) -> str:
    devices = request.devices or request.most_devices or 1
    if devices < request.share:
        return f"{request.share} devices make one copy"
    below = devices // request.share * request.share
    return f"{below} or {below + request.share} devices would do"


def _batch_does_not_divide(request: Request) -> bool:
    return request.rows is not None and request.copies is not None and request.rows % request.copies != 0


def _batch_tokens(request: Request) -> int:
    assert isinstance(request.settings, PretrainSettings)
    return request.settings.global_batch_tokens


def _batch(request: Request) -> str:
    tokens = f" ({_batch_tokens(request)} tokens)" if isinstance(request.settings, PretrainSettings) else ""
    return f"a global batch of {request.rows} rows{tokens}"


def _batch_choices(request: Request) -> str:
    assert request.rows is not None
    assert request.copies is not None
    nearest = nearest_multiple(request.rows, request.copies)
    tokens = f" ({nearest * request.context_length} tokens)" if isinstance(request.settings, PretrainSettings) else ""
    return f"the nearest that can is {nearest} rows{tokens}"


def _ramp_step(request: Request) -> int:
    """Tokens that every batch of a ramp must be a multiple of."""
    return (request.copies or 1) * request.context_length


def _ramp_amounts(request: Request) -> dict[str, int]:
    if not isinstance(request.settings, PretrainSettings) or request.settings.batch_ramp is None:
        return {}
    ramp = request.settings.batch_ramp
    amounts = {"start_tokens": ramp.start_tokens}
    return amounts if ramp.increment_tokens is None else {**amounts, "increment_tokens": ramp.increment_tokens}


def _odd_amounts(request: Request) -> dict[str, int]:
    step = _ramp_step(request)
    return {key: amount for key, amount in _ramp_amounts(request).items() if amount % step}


def _ramp_choices(request: Request) -> str:
    step = _ramp_step(request)
    found = _odd_amounts(request).items()
    return ", ".join(f"{key} {nearest_multiple(amount, step)} is the nearest" for key, amount in found)


REFUSALS = (
    Refusal(
        what="devices that tensor x pipeline (x data) does not divide",
        key="parallel",
        applies=_world_does_not_divide,
        found=lambda r: f"{_processes(r)} = {_needed(r)} processes do not fit {r.devices or r.most_devices} devices",
        reason="world = data x tensor x pipeline, one process a device",
        remedy="change tensor or pipeline, leave data out, or use another number of devices",
        choices=_world_choices,
    ),
    Refusal(
        what="more processes than this machine has GPUs",
        key="parallel",
        applies=lambda r: r.devices is None and r.most_devices is not None and _needed(r) > r.most_devices,
        found=lambda r: f"{_processes(r)} = {_needed(r)} processes, but this machine has {r.most_devices} GPUs",
        reason="each process needs a GPU of its own",
        remedy="lower them, or start the run on several machines; --dry-run --devices N plans it from here",
    ),
    Refusal(
        what="heads that parallel.tensor does not divide",
        key="parallel.tensor",
        applies=_cannot_be_cut(lambda model: model.heads),
        found=lambda r: f"tensor {_tensor(r)} does not divide the {_model(r).heads} attention heads",
        reason="each process of a group computes whole heads",
        remedy="choose a divisor",
        choices=_heads,
    ),
    Refusal(
        what="kv_heads that parallel.tensor does not divide",
        key="parallel.tensor",
        applies=_kv_heads_cannot_be_cut,
        found=lambda r: f"tensor {_tensor(r)} does not divide the {_model(r).key_value_heads} heads of keys and values",
        reason="each process of a group computes whole heads, and keys and values are not copied",
        remedy="choose a divisor, or a model with more kv_heads",
        choices=_heads,
    ),
    Refusal(
        what="a feed-forward width that parallel.tensor does not divide",
        key="parallel.tensor",
        applies=_cannot_be_cut(lambda model: model.inner_width),
        found=lambda r: f"tensor {_tensor(r)} does not divide the feed-forward width {_model(r).inner_width}",
        reason="each process of a group computes an equal part of it",
        remedy="choose a divisor, or another model.feed_forward_width",
        choices=lambda r: f"the nearest width is {nearest_multiple(_model(r).inner_width, _tensor(r))}",
    ),
    Refusal(
        what="parallel.sequence without parallel.tensor",
        key="parallel.sequence",
        applies=lambda r: r.settings.parallel.sequence and _tensor(r) == 1,
        reason="tokens are shared out among the tensor ranks, and there is only one",
        remedy="leave sequence out, or set tensor above 1",
    ),
    Refusal(
        what="parallel.sequence with a context length that parallel.tensor does not divide",
        key="parallel.sequence",
        applies=lambda r: r.settings.parallel.sequence and r.context_length % _tensor(r) != 0,
        found=lambda r: f"tensor {_tensor(r)} does not divide the {r.context_length} tokens of a row",
        reason="with sequence parallelism each tensor rank holds an equal part of the tokens",
        remedy="change tensor or the context length, or leave sequence out",
        choices=lambda r: f"the nearest context length is {nearest_multiple(r.context_length, _tensor(r))}",
    ),
    Refusal(
        what="parallel.sequence in finetuning with a parallel.tensor that does not divide 8",
        key="parallel.sequence",
        applies=lambda r: (
            isinstance(r.settings, FinetuneSettings)
            and r.settings.parallel.sequence
            and r.context_length % _tensor(r) == 0
            and PADDED_TO % _tensor(r) != 0
        ),
        reason=f"conversations are padded to a multiple of {PADDED_TO} tokens, of which each tensor rank holds a part",
        remedy="leave sequence out, or set tensor to 2, 4 or 8",
    ),
    Refusal(
        what="fewer layers than parallel.pipeline stages",
        key="parallel.pipeline",
        applies=lambda r: r.model is not None and r.model.layers < _pipeline(r),
        found=lambda r: f"pipeline {_pipeline(r)} stages for {_model(r).layers} layers",
        reason="each stage needs a layer of its own",
        remedy="lower pipeline to the number of layers or below",
    ),
    Refusal(
        what="zero 2 or 3 with parallel.pipeline",
        key="zero",
        applies=lambda r: r.settings.zero >= 2 and _pipeline(r) > 1,
        found=lambda r: f"zero {r.settings.zero} with pipeline {_pipeline(r)}",
        reason=(
            "a stage keeps its gradients until its last micro-batch is done, so nothing would be saved, and DeepSpeed "
            "refuses it"
        ),
        remedy="set zero to 1, which shards the optimizer's state",
    ),
    Refusal(
        what="zero 2 or 3 with adafactor or muon",
        key="zero",
        applies=lambda r: r.settings.zero >= 2 and _looks_at_matrices(r),
        found=lambda r: f"zero {r.settings.zero} with optimizer {_optimizer(r)}",
        reason="it looks at whole matrices, which these stages cut into flat pieces",
        remedy="set zero to 1, which gives each process whole matrices to follow",
    ),
    Refusal(
        what="offload_optimizer with zero 0",
        key="offload_optimizer",
        applies=lambda r: r.settings.offload_optimizer and r.settings.zero == 0,
        reason="what is offloaded is a process's part of the optimizer's state, and zero 0 makes no parts",
        remedy="set zero to 1, 2 or 3",
    ),
    Refusal(
        what="offload_optimizer with adafactor or muon",
        key="offload_optimizer",
        applies=lambda r: r.settings.offload_optimizer and _looks_at_matrices(r),
        found=lambda r: f"offload_optimizer with optimizer {_optimizer(r)}",
        reason="their state is small and their steps are matrix products, which a CPU is slow at",
        remedy="leave offload_optimizer out, or use adamw",
    ),
    Refusal(
        what="global_batch_tokens that is no multiple of the context length",
        key="global_batch_tokens",
        applies=lambda r: isinstance(r.settings, PretrainSettings) and r.rows is None,
        found=lambda r: f"{_batch_tokens(r)} tokens are no multiple of the context length {r.context_length}",
        reason="a step takes whole rows",
        remedy="choose a multiple, best of context length x data-parallel copies",
        choices=lambda r: f"the nearest is {nearest_multiple(_batch_tokens(r), r.context_length * (r.copies or 1))}",
    ),
    Refusal(
        what="a global batch that the copies cannot share",
        key="parallel.data",
        applies=_batch_does_not_divide,
        found=lambda r: f"{_batch(r)} cannot be divided among {r.copies} data-parallel copies",
        reason="each copy computes as many rows",
        remedy="change the batch or the copies",
        choices=_batch_choices,
    ),
    Refusal(
        what="a batch_ramp whose batches cannot be divided",
        key="batch_ramp",
        applies=lambda r: bool(_odd_amounts(r)),
        found=lambda r: ", ".join(f"{key} {amount}" for key, amount in _odd_amounts(r).items()),
        reason="every batch of a ramp is shared out like the last one",
        remedy="use multiples of context length x data-parallel copies",
        choices=_ramp_choices,
    ),
)
"""The table: everything not listed is supported and tested."""


@dataclass(frozen=True)
class Way:
    """One way to spread a model, as a line of the table of `gptmill layouts`."""

    name: str
    fields: dict[str, object]
    """Settings of a training section that choose it."""


WAYS = (
    Way("data copies", {}),
    Way("+ tensor", {"parallel": {"tensor": 2}}),
    Way("+ tensor, sequence", {"parallel": {"tensor": 2, "sequence": True}}),
    Way("+ pipeline", {"parallel": {"pipeline": 2}}),
    Way("+ tensor, pipeline", {"parallel": {"tensor": 2, "pipeline": 2}}),
    Way("adafactor", {"optimizer": {"kind": "adafactor"}}),
    Way("muon", {"optimizer": {"kind": "muon"}}),
    Way("offload_optimizer", {"offload_optimizer": True}),
    Way("offload_optimizer, pipeline", {"offload_optimizer": True, "parallel": {"pipeline": 2}}),
)
"""What is combined with each ZeRO stage."""


def combinations() -> Iterator[tuple[str, list[str | None]]]:
    """(way, for each ZeRO stage 0 to 3 the `what` of the first refusal, None where it is supported)."""
    for way in WAYS:
        found = []
        for zero in range(4):
            fields = {"global_batch_tokens": 64 * 1024, **way.fields, "zero": zero}
            request = Request(PretrainSettings.model_validate(fields), context_length=1024)
            found.append(next((refusal.what for refusal in REFUSALS if refusal.applies(request)), None))
        yield way.name, found
