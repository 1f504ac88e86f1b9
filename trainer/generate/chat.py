"""A conversation that goes on: what was said so far, and the next answer."""

from collections.abc import Iterator

from trainer.finetune.template import Message
from trainer.generate.generator import Generator
from trainer.generate.settings import GenerateSettings


class Chat:
    """Remembers the turns; each answer is drawn with a seed of its own, so repeating a question may vary."""

    def __init__(self, generator: Generator, settings: GenerateSettings, system: str | None = None) -> None:
        self._generator = generator
        self._settings = settings
        self.messages: list[Message] = [Message("system", system)] if system else []

    def ask(self, question: str) -> Iterator[str]:
        """The answer, piece by piece. It joins the conversation as far as it was read, also when one stops early."""
        self.messages.append(Message("user", question))
        settings = self._settings.model_copy(update={"seed": self._settings.seed + len(self.messages)})
        pieces: list[str] = []
        try:
            for piece in self._generator.chat(self.messages, settings):
                pieces.append(piece)
                yield piece
        finally:
            self.messages.append(Message("assistant", "".join(pieces)))

    def forget(self) -> None:
        """Begin anew; a system message stays."""
        self.messages = [message for message in self.messages if message.role == "system"]
