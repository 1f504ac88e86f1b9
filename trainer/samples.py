"""Texts that the model writes during training, to see it learn; the first process writes them.

Where each process has the whole model it is used as it is. Where weights are cut (tensor parallelism, stages, ZeRO-3)
the whole is put together in the first process's host memory, 4 bytes a parameter, and generates there on the CPU with
the key-value cache; the other processes wait. The weights and the draws are the same in every layout, so are the texts,
but for the rounding.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.engine import TrainingEngine
from trainer.model.gpt import GPT
from trainer.model.init import empty_model
from trainer.ranks import Ranks

if TYPE_CHECKING:
    from trainer.identity import Inputs

NEW_TOKENS = 64
"""Most tokens of a text."""


class Sampler:
    """Continues the prompts of a run."""

    def __init__(self, inputs: "Inputs") -> None:
        """Raises UserError when the tokenizer cannot be read, or has no end-of-text token to begin with."""
        self.prompts: Sequence[str] = inputs.job.settings.sample_prompts if inputs.job.settings.sample_every else ()
        self._seed = inputs.job.seed
        if self.prompts:
            from trainer.finetune.template import END_OF_TEXT, load_tokenizer, special_id  # loads tokenizers

            self._tokenizer = load_tokenizer(inputs.job.tokenizer)
            special_id(self._tokenizer, END_OF_TEXT)

    def texts(self, engine: TrainingEngine, ranks: Ranks) -> list[tuple[str, str]]:
        """(prompt, continuation) of each prompt on the first process, nothing on others; all must call it."""
        if not self.prompts:
            return []
        model = whole_model(engine, ranks)
        if model is None:
            return []
        from trainer.generate.generator import Generator
        from trainer.generate.settings import GenerateSettings

        drawn = GenerateSettings(max_new_tokens=NEW_TOKENS, seed=self._seed)
        generator = Generator(model, self._tokenizer)
        return [(prompt, "".join(generator.stream(prompt, drawn))) for prompt in self.prompts]


def whole_model(engine: TrainingEngine, ranks: Ranks) -> GPT | None:
    """The model with all its weights, on the first process; every process must call it."""
    layout = engine.layout
    if layout.tensor == layout.pipeline == 1 and layout.zero < 3:
        return engine.model if ranks.is_first else None
    weights = {}
    for name, weight in engine.full_weights():
        if ranks.is_first:
            weights[name] = weight.clone()
    if not ranks.is_first:
        return None
    model = empty_model(engine.shape)
    model.load_state_dict(weights, strict=True, assign=True)
    return model
