"""`gptmill inspect tokens`: what a person reads is what is in the rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from jobs.inspect import inspect_tokens, visible
from pipeline.errors import SettingError, UserError
from pipeline.shard import StageDirectory
from pipeline.tokenizer.load import load_tokenizer
from pipeline.tokenizer.settings import TokenizerSettings
from pipeline.tokenizer.train import train_tokenizer
from pipeline.tokens.settings import TokensSettings
from pipeline.tokens.write import write_tokens
from tests.jobs.test_cli import gptmill
from tests.pipeline.corpora import write_corpus
from tests.pipeline.runner import SerialRunner
from tests.pipeline.tokens.reading import Row, rows_of

TEXTS = {
    "sea": [f"She sells sea shells number {number} by the sea shore, 世界 größer." for number in range(50)],
    "hostile": [f"\x1b[31mred\u202e <|endoftext|> [bold]{number}[/bold] x" for number in range(4)],
}


def _corpus(folder: Path) -> StageDirectory:
    documents = [
        {"id": f"{source}-{number}", "text": text, "source": source}
        for source, texts in TEXTS.items()
        for number, text in enumerate(texts)
    ]
    return write_corpus(folder, [documents])


def _write(folder: Path, packing: Literal["split", "best_fit"]) -> Path:
    documents = _corpus(folder / "corpus")
    train_tokenizer(TokenizerSettings(vocab_size=300), documents, str(folder / "tokenizer"), SerialRunner())
    fields = TokensSettings(context_length=64, validation_fraction=0.2, packing=packing)
    write_tokens(fields, documents, str(folder / "tokenizer"), str(folder / "tokens"), SerialRunner())
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("run"), "split")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("packed"), "best_fit")


def show(
    capsys: pytest.CaptureFixture[str],
    place: Path,
    count: int = 3,
    split: str = "train",
    row: int | None = None,
    source: str | None = None,
    with_tokens: bool = False,
) -> str:
    inspect_tokens(str(place), count, split, row, source, with_tokens)
    return capsys.readouterr().out


def documents_shown(output: str) -> Iterator[tuple[str, str]]:
    """(headline, text) of each document."""
    for part in re.split(r"^(?=document |padding|row )", output, flags=re.MULTILINE):
        if part.startswith("document "):
            headline, *lines = part.rstrip("\n").split("\n")
            yield headline, "\n".join(line.removeprefix("│ ") for line in lines if line)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_document_of_every_row_is_shown_with_its_text_place_and_source(
    run: Path, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = load_tokenizer(str(run / "tokenizer" / "tokenizer.json"))
    rows = rows_of(run / "tokens", split)
    found = list(documents_shown(show(capsys, run, count=len(rows), split=split)))
    assert len(found) == sum(len(row.ends) for row in rows)
    shown = iter(found)
    for row in rows:
        start = 0
        for (context, targets), end, source in zip(row.pieces(), row.ends, row.sources, strict=True):
            headline, text = next(shown)
            # Sources are numbered by name.
            assert f"source {sorted(TEXTS)[source]}, targets {start} to {end - 1} ({end - start} tokens)" in headline
            assert ("begins" in headline) == (context == 0)
            assert headline.endswith("ends" if targets[-1] == 0 else "is cut here")
            decoded = visible(tokenizer.decode([index for index in targets if index], skip_special_tokens=False))
            assert text == decoded + ("⟦<|endoftext|>⟧" if targets[-1] == 0 else "")
            start = end


def test_a_document_cut_at_a_row_names_the_token_before_the_cut(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(run / "tokens", "train")
    number = next(number for number, row in enumerate(rows) if row.ids[0] != 0)
    tokenizer = load_tokenizer(str(run / "tokenizer" / "tokenizer.json"))
    before = tokenizer.decode([rows[number].ids[0]])
    headline, _ = next(documents_shown(show(capsys, run, row=number)))
    assert f"goes on after “{before}”, where it was cut" in headline


def test_padding_is_told(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(packed / "tokens", "train")
    number = next(number for number, row in enumerate(rows) if row.ends[-1] < 64)
    used = rows[number].ends[-1]
    output = show(capsys, packed / "tokens", row=number)
    assert f"row {number} of train" in output
    assert f"padding, targets {used} to 63 ({64 - used} tokens)" in output


def test_only_rows_with_a_source_are_shown_when_one_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(run / "tokens", "train")
    wanted = [number for number, row in enumerate(rows) if sorted(TEXTS).index("hostile") in row.sources]
    assert 0 < len(wanted) < len(rows)
    output = show(capsys, run, count=1000, source="hostile")
    assert [int(number) for number in re.findall(r"^row (\d+) of", output, re.MULTILINE)] == wanted


def test_tokens_are_shown_with_their_ids_in_order(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row: Row = rows_of(run / "tokens", "train")[1]
    lines = [line for line in show(capsys, run, row=1, with_tokens=True).splitlines() if line.startswith("│")]
    assert all(len(line) <= 112 for line in lines)
    ids = re.findall(r"(\d+) (?:“[^”]*”|⟦[^⟧]*⟧)  ", "".join(line.removeprefix("│ ") for line in lines))
    assert tuple(map(int, ids)) == row.ids[1:]


def test_what_texts_hold_cannot_reach_the_terminal(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = show(capsys, run, count=1000, source="hostile")
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert "\\x1b[31mred\\u202e <|endoftext|> [bold]" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row": 9999}, r"--row 9999: rows are numbered from 0 to \d+"),
        ({"row": -1}, r"--row -1: rows are numbered"),
        ({"source": "web"}, r"--source web: the dataset has the sources hostile, sea"),
    ],
)
def test_a_row_or_source_that_is_not_there_is_named(
    run: Path, options: dict[str, int], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingError, match=message):
        show(capsys, run, **options)  # type: ignore[arg-type]


def test_the_command_writes_plain_text_to_standard_output_and_exits_with_1_on_damage(tmp_path: Path) -> None:
    run = _write(tmp_path, "split")
    code, output = gptmill(tmp_path, "inspect", "tokens", str(run), "--rows", "2", "--split", "validation")
    assert code == 0, output
    assert len(re.findall(r"^row \d+ of validation", output, re.MULTILINE)) == 2
    assert "\x1b" not in output
    shard = min((run / "tokens" / "train").glob("shard-*.arrow"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    code, output = gptmill(tmp_path, "inspect", "tokens", str(run), "--rows", "1000")
    assert code == 1
    assert f"{shard} does not have the sha256 that tokens.json gives" in output
    code, output = gptmill(tmp_path, "inspect", "tokens", str(tmp_path / "nothing"))
    assert code == 1
    assert "tokens.json does not exist" in output


def test_a_changed_tokenizer_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = _write(tmp_path, "split")
    copy = run / "tokens" / "tokenizer.json"
    copy.write_text(copy.read_text().replace("endoftext", "endoftxet"))
    with pytest.raises(UserError, match=r"tokenizer.json was changed"):
        show(capsys, run)
