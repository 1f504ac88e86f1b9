"""Text from a small model with random weights: what is tested is how tokens are chosen and kept."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from pipeline.errors import UserError
from tests.trainer.chat_tokenizer import chat_tokenizer
from trainer.finetune.template import ChatTemplate, Message
from trainer.generate.chat import Chat
from trainer.generate.generator import Generator, load_generator
from trainer.generate.settings import GenerateSettings
from trainer.model.cache import KeyValueCache
from trainer.model.gpt import GPT
from trainer.model.init import build_model
from trainer.model.rows import RowContext
from trainer.settings import ModelSettings, ModelShape

CONTEXT = 32
GREEDY = GenerateSettings(temperature=0, max_new_tokens=20)
SHAPES = {
    "modern": ModelSettings(layers=2, width=32, heads=4, kv_heads=2, initial_std=0.3),
    "gpt2": ModelSettings(
        layers=2, width=32, heads=4, positions="learned", norm="layernorm", activation="gelu", initial_std=0.3
    ),
}
TEMPLATE = ChatTemplate(chat_tokenizer())


def shape_of(style: str) -> ModelShape:
    return SHAPES[style].shaped(chat_tokenizer().get_vocab_size(), CONTEXT)


def model_of(style: str = "modern") -> GPT:
    return build_model(shape_of(style), seed=3).eval()


def save(directory: Path, model: GPT) -> Path:
    directory.mkdir()
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, directory / "weights.safetensors"
    )
    (directory / "model.json").write_text(model.shape.model_dump_json())
    (directory / "tokenizer.json").write_text(chat_tokenizer().to_str())
    return directory


@torch.inference_mode()
def recomputed(model: GPT, prompt: Sequence[int], count: int) -> list[int]:
    """Greedy decoding by a full forward pass for each token, with the policy of a full context written out."""
    seen, answer = list(prompt), []
    for _ in range(count):
        if len(seen) > CONTEXT:
            seen = seen[-CONTEXT // 2 :]
        answer.append(int(model(torch.tensor([seen]))[0, -1].argmax()))
        seen.append(answer[-1])
    return answer


@pytest.mark.parametrize("style", SHAPES)
@pytest.mark.parametrize("count", [5, 100])
def test_greedy_text_with_the_cache_is_that_of_full_forward_passes(style: str, count: int) -> None:
    model, prompt = model_of(style), [0, 70, 80, 90]
    settings = GREEDY.model_copy(update={"max_new_tokens": count})
    assert list(Generator(model, chat_tokenizer()).tokens(prompt, settings, ())) == recomputed(model, prompt, count)


def test_generation_ends_before_a_stop_token_and_after_the_most_tokens() -> None:
    model, prompt = model_of(), [0, 70, 80]
    expected = recomputed(model, prompt, 20)
    stop = expected[6]
    generator = Generator(model, chat_tokenizer())
    assert list(generator.tokens(prompt, GREEDY, ())) == expected
    assert list(generator.tokens(prompt, GREEDY, (stop,))) == expected[: expected.index(stop)]


def test_a_prefix_decoder_reads_a_prompt_in_both_directions_and_its_own_text_in_one() -> None:
    model, prompt = model_of(), [0, 70, 80, 90]
    causal = list(Generator(model, chat_tokenizer()).tokens(prompt, GREEDY, ()))
    model.shape = model.shape.model_copy(update={"prefix_decoder": True})
    generator = Generator(model, chat_tokenizer())
    written, seen = list(generator.tokens(prompt, GREEDY, ())), list(prompt)
    context = RowContext(prefix_B=torch.tensor([len(prompt)], dtype=torch.int32))
    for token in written:
        assert int(model(torch.tensor([seen]), context=context)[0, -1].argmax()) == token
        seen.append(token)
    assert written != causal
    assert list(generator.tokens(prompt, GREEDY, (), prefix=1)) == causal


def test_a_prefix_decoder_reads_a_chat_in_both_directions_up_to_the_first_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of()
    model.shape = model.shape.model_copy(update={"prefix_decoder": True})
    generator, forward = Generator(model, chat_tokenizer()), model.forward
    ends: list[int] = []

    def watched(tokens: torch.Tensor, cache: KeyValueCache, *, context: RowContext) -> torch.Tensor:
        assert context.prefix_B is not None
        ends.append(int(context.prefix_B))
        return forward(tokens, cache, context=context)

    monkeypatch.setattr(model, "forward", watched)
    question, answer = Message("user", "q"), Message("assistant", "a")
    settings = GenerateSettings(temperature=0, max_new_tokens=1)
    for messages in ([question], [question, answer, question]):
        list(generator.chat(messages, settings))
    assert ends == [len(TEMPLATE.encode_prompt([question]))] * 2


def test_a_seed_draws_the_same_text_and_another_seed_another() -> None:
    generator = Generator(model_of(), chat_tokenizer())
    texts = ["".join(generator.stream("the", GenerateSettings(seed=seed))) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_text_goes_on_from_the_beginning_of_a_document() -> None:
    model = model_of()
    expected = recomputed(model, [TEMPLATE.end_of_text_id, *TEMPLATE.encode_text("the user")], 5)
    settings = GenerateSettings(temperature=0, max_new_tokens=5)
    written = "".join(Generator(model, chat_tokenizer()).stream("the user", settings))
    assert written == chat_tokenizer().decode(expected)


def test_a_prompt_longer_than_the_context_loses_its_beginning() -> None:
    generator = Generator(model_of(), chat_tokenizer())
    long, settings = "x" * 100 + "the user says", GenerateSettings(temperature=0, max_new_tokens=8)
    assert "".join(generator.stream(long, settings)) == "".join(generator.stream("x" + long, settings))


def test_an_empty_prompt_begins_a_document() -> None:
    assert list(Generator(model_of(), chat_tokenizer()).stream("", GREEDY))


def test_a_chat_that_does_not_fit_loses_its_oldest_turns_but_not_the_system_message() -> None:
    system = Message("system", "be")
    generator = Generator(model_of(), chat_tokenizer())
    old = [Message("user", "old question"), Message("assistant", "old answer")]
    new = Message("user", "hi")
    settings = GenerateSettings(temperature=0, max_new_tokens=4)
    answers = ["".join(generator.chat([system, *turns, new], settings)) for turns in ([], old, old * 3)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0] != "".join(generator.chat([new], settings))


def test_a_chat_remembers_what_was_said() -> None:
    chat = Chat(Generator(model_of(), chat_tokenizer()), GenerateSettings(max_new_tokens=5), system="be brief")
    answer = "".join(chat.ask("who?"))
    "".join(chat.ask("why?"))
    assert [message.role for message in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert chat.messages[2].content == answer
    chat.forget()
    assert [message.role for message in chat.messages] == ["system"]


def test_a_saved_model_writes_the_same_text(tmp_path: Path) -> None:
    model = model_of()
    loaded = load_generator(save(tmp_path / "model", model), device="cpu")
    settings = GenerateSettings(max_new_tokens=20)
    assert list(loaded.stream("the", settings)) == list(Generator(model, chat_tokenizer()).stream("the", settings))


def test_an_unfinished_model_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished model"):
        load_generator(tmp_path)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    directory = save(tmp_path / "model", model_of())
    weights = directory / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(UserError, match="is damaged"):
        load_generator(directory)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    directory = save(tmp_path / "model", model_of("gpt2"))
    (directory / "model.json").write_text(shape_of("modern").model_dump_json())
    with pytest.raises(UserError, match="is damaged"):
        load_generator(directory)


def test_the_tokenizer_of_a_larger_vocabulary_is_refused(tmp_path: Path) -> None:
    small = build_model(SHAPES["modern"].shaped(100, CONTEXT), seed=0)
    with pytest.raises(UserError, match="tokenizer of another model"):
        load_generator(save(tmp_path / "model", small))


def test_a_tokenizer_from_elsewhere_continues_texts_and_cannot_chat() -> None:
    gpt2 = Tokenizer.from_str(chat_tokenizer().to_str().replace("<|im_", "<|other_"))
    pieces = Generator(model_of(), gpt2).stream("the user", GREEDY)
    assert "".join(pieces) == "".join(Generator(model_of(), chat_tokenizer()).stream("the user", GREEDY))
    with pytest.raises(UserError, match=r"the tokenizer has no token <\|im_start\|>"):
        list(Generator(model_of(), gpt2).chat([Message("user", "hello")], GREEDY))
    with pytest.raises(UserError, match=r"the tokenizer has no token <\|endoftext\|>"):
        Generator(model_of(), Tokenizer.from_str(gpt2.to_str().replace("endoftext", "end")))
