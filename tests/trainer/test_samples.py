"""The texts that a model writes during training are the same however its weights are cut."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.parallel.launcher import run_ranks
from tests.trainer.chat_tokenizer import chat_tokenizer
from trainer.engine import TrainingEngine
from trainer.generate.generator import Generator
from trainer.generate.settings import GenerateSettings
from trainer.model.init import build_model, initial_value
from trainer.parallel.layout import Layout
from trainer.ranks import Ranks
from trainer.samples import NEW_TOKENS, Sampler
from trainer.settings import ModelSettings, PretrainSettings

SHAPE = ModelSettings(layers=2, width=32, heads=2, initial_std=0.1).shaped(vocab_size=300, context_length=48)
PROMPTS = ("the user", "say ")
LAYOUTS = [Layout(*sizes, rows_per_step=2, micro_batch_size=1) for sizes in ((2, 1, 1, 1), (2, 1, 1, 3))] + [
    Layout(1, 2, 1, 1, 2, 1),
    Layout(1, 1, 2, 1, 2, 1),
]


def write(ranks: Ranks, directory: Path) -> list[list[tuple[str, str]]]:
    settings = PretrainSettings(sample_every=1, sample_prompts=PROMPTS)
    job: Any = SimpleNamespace(settings=settings, seed=9, tokenizer=directory / "tokenizer.json")
    sampler, found = Sampler(SimpleNamespace(job=job)), []  # type: ignore[arg-type]
    for layout in LAYOUTS:
        engine = TrainingEngine(SHAPE, partial(initial_value, seed=4), settings, layout, "fp32", ranks)
        found.append(sampler.texts(engine, ranks))
        engine.close()
    return found


def test_the_first_process_writes_the_same_texts_in_every_layout(tmp_path: Path) -> None:
    chat_tokenizer().save(str(tmp_path / "tokenizer.json"))
    plain = Generator(build_model(SHAPE, seed=4), chat_tokenizer())
    drawn = GenerateSettings(max_new_tokens=NEW_TOKENS, seed=9)
    expected = [(prompt, "".join(plain.stream(prompt, drawn))) for prompt in PROMPTS]
    assert min(len(text) for _, text in expected) > 10
    first, second = run_ranks(2, write, tmp_path)
    assert first == [expected] * len(LAYOUTS)
    assert second == [[]] * len(LAYOUTS)


def test_without_prompts_nothing_is_read() -> None:
    job: Any = SimpleNamespace(settings=PretrainSettings(sample_every=5), seed=9, tokenizer=Path("missing"))
    assert Sampler(SimpleNamespace(job=job)).texts(None, None) == []  # type: ignore[arg-type]
