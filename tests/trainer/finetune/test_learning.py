"""Rows, mask, template and generation agree: what was learned by heart is what is answered."""

import json
from pathlib import Path

import torch

from tests.trainer.chat_tokenizer import chat_tokenizer
from trainer.finetune.dataset import prepare_conversations
from trainer.finetune.rows import open_conversations
from trainer.finetune.settings import FinetuneSettings
from trainer.finetune.template import Message
from trainer.generate.generator import Generator
from trainer.generate.settings import GenerateSettings
from trainer.model.gpt import loss_sum
from trainer.model.init import build_model
from trainer.settings import ModelSettings

ANSWERS = {"what is one?": "the first\nnumber 🙂", "what is two?": "one and one", "who?": "me.", "why?": "so"}
CONTEXT = 64


def test_a_model_that_learned_its_conversations_answers_with_them_and_stops(tmp_path: Path) -> None:
    tokenizer, conversations = tmp_path / "tokenizer.json", tmp_path / "conversations.jsonl"
    tokenizer.write_text(chat_tokenizer().to_str())
    with conversations.open("w") as file:
        for question, answer in ANSWERS.items():
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": turns}) + "\n")
    prepare_conversations(conversations, tokenizer, tmp_path / "rows", FinetuneSettings(), CONTEXT)
    data = open_conversations(tmp_path / "rows", tokenizer)
    batches = [split.batch(range(split.rows)) for split in (data.train, data.validation)]

    shape = ModelSettings(layers=2, width=64, heads=4).shaped(data.vocab_size, data.context_length)
    model = build_model(shape, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(80):
        for batch in batches:
            assert batch.mask is not None
            inputs, targets, mask = map(torch.from_numpy, (batch.inputs, batch.targets, batch.mask))
            loss = loss_sum(model(inputs, chosen_BT=mask), targets[mask]) / batch.valid_tokens
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()

    generator = Generator(model, chat_tokenizer())
    settings = GenerateSettings(temperature=0, max_new_tokens=30)
    for question, answer in ANSWERS.items():
        assert "".join(generator.chat([Message("user", question)], settings)) == answer
