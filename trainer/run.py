"""One process of a training job from job to finished model: put the parts together, run the loop, write the result."""

from functools import partial
from typing import Any

import torch

from pipeline import storage
from trainer.checkpoint.weights import checkpoint_weights, is_checkpoint
from trainer.devices import count_cores
from trainer.engine import InitialWeights, TrainingEngine
from trainer.export.weights import weights_of, write_model
from trainer.identity import Inputs
from trainer.logging.journal import Journal
from trainer.logging.loggers import make_loggers
from trainer.loop import TrainingLoop
from trainer.manifest import MANIFEST, MODEL
from trainer.model.declaration import parameter_count
from trainer.model.init import initial_value
from trainer.parallel.layout import Layout, plan_layout
from trainer.precision import choose_precision
from trainer.ranks import Ranks
from trainer.watch.heartbeat import SILENT, Heartbeat
from trainer.watch.signals import StopRequest


def run_job(inputs: Inputs, ranks: Ranks, journal: Journal, stop: StopRequest, heartbeat: Heartbeat = SILENT) -> bool:
    """Train, or continue training, until the model is written; False when asked to stop before.

    Raises UserError for everything that the user can put right.
    """
    job, settings = inputs.job, inputs.job.settings
    layout = plan_layout(
        settings, inputs.data.context_length, gpus=0, cores=count_cores(), model=inputs.shape, devices=ranks.world
    )
    weights: InitialWeights = partial(initial_value, seed=job.seed)
    if job.initial_weights is not None:
        read = checkpoint_weights if is_checkpoint(job.initial_weights) else weights_of
        weights = read(job.initial_weights, inputs.shape)
    precision = choose_precision(settings.precision, ranks.device.type)
    engine = TrainingEngine(inputs.shape, weights, settings, layout, precision, ranks)
    described = _describe(inputs, layout, precision, engine)
    if ranks.is_first:
        given = {"settings": settings.model_dump(mode="json"), "model": inputs.shape.model_dump(mode="json")}
        journal.attach(make_loggers(settings, job.directory, {**given, **described}))
    journal.event("start", **described)
    loop = TrainingLoop(inputs, engine, ranks, journal, stop, heartbeat)
    outcome = loop.run()
    if outcome.validation is None:
        return False
    if outcome.progress.step != inputs.steps:
        raise RuntimeError(f"the loop ended after {outcome.progress.step} of {inputs.steps} planned steps")
    heartbeat.enter("end", inputs.steps)
    write_model(job.directory / MODEL, engine, ranks, job.tokenizer)
    if ranks.is_first:
        manifest = {
            "fingerprint": inputs.fingerprint,
            "kind": job.kind,
            "steps": outcome.progress.step,
            "tokens": outcome.progress.tokens,
            "seconds": round(outcome.progress.seconds, 3),
            "parameters": parameter_count(inputs.shape),
            "precision": precision,
            "processes": layout.world,
            **outcome.validation.as_line(),
            "changes": journal.messages("allowed"),
            "identity": inputs.identity,
        }
        storage.write_json(str(job.directory / MANIFEST), manifest)
        journal.event("done", **{key: value for key, value in manifest.items() if key != "identity"})
    ranks.barrier()
    return True


def _describe(inputs: Inputs, layout: Layout, precision: str, engine: TrainingEngine) -> dict[str, Any]:
    return {
        "step": 0,
        "steps": inputs.steps,
        "parameters": parameter_count(inputs.shape),
        "rows": inputs.data.train.rows,
        "plan": [] if inputs.plan is None else inputs.plan.table(),
        "rows_per_step": layout.rows_per_step,
        "processes": layout.world,
        "accumulation_steps": layout.accumulation_steps,
        "zero": layout.zero,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "device": engine.ranks.device.type,
        "deepspeed": engine.config,
    }
