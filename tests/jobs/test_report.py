"""The report shows what a run did, loads nothing from elsewhere, and lets no document speak for itself."""

from __future__ import annotations

import html.parser
import json
import shutil
from pathlib import Path

import pytest

from jobs.report import render_report, write_report
from pipeline.errors import UserError
from tests.jobs.runs import HOSTILE, write_corpus, write_tokenizer_and_tokens, write_training

ATTRIBUTES_THAT_LOAD = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "formaction"}
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Elements, references, ids and text of a page; fails on elements that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name in ATTRIBUTES_THAT_LOAD:
                self.references.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """Everything a reader sees, with single spaces."""
        return " ".join(" ".join(self.words).replace("\N{NARROW NO-BREAK SPACE}", "").split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("report") / "hostile & <run>"
    write_tokenizer_and_tokens(directory, write_corpus(directory))
    samples = [{"step": 20, "prompt": "The fox", "text": f" {HOSTILE} jumps \ud800"}]
    write_training(directory / "pretrain", samples=samples)
    (directory / "resolved.yaml").write_text("run: '</pre><script>'\n")
    (directory / "environment.json").write_text('{"python": "3.11", "packages": {"ray": "2.60"}}')
    return directory


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(Path(write_report(str(run))).read_text(encoding="utf-8"))


def test_nothing_is_loaded_from_anywhere_and_nothing_runs(page: Page) -> None:
    assert all(reference.startswith("#") for reference in page.references)
    assert page.handlers == []
    assert not {"script", "img", "link", "iframe", "object", "embed", "form"} & set(page.elements)


def test_style_and_charts_load_nothing_either(run: Path) -> None:
    page = render_report(str(run))
    assert "@import" not in page
    assert page.count("url(") == page.count("url(#")


def test_the_page_forbids_loading_anything(run: Path) -> None:
    assert "default-src 'none'" in render_report(str(run))


def test_ids_are_unique_so_that_charts_do_not_borrow_from_each_other(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {reference.removeprefix("#") for reference in page.references} <= set(page.ids)


def test_hostile_text_is_shown_as_text(page: Page, run: Path) -> None:
    assert '<script>alert("x")</script>' in page.text
    raw = render_report(str(run))
    for character in ("\x00", "\N{RIGHT-TO-LEFT OVERRIDE}", "\ud800"):
        assert character not in raw


def test_the_tokenizer_is_shown_against_other_vocabularies(page: Page, run: Path) -> None:
    compared = json.loads((run / "tokenizer" / "tokenizer_report.json").read_text())["comparison"]
    ours = compared[0]["sample"]
    assert "Against other vocabularies" in page.text
    figures = f"300 {ours['tokens']} {1 / ours['tokens_per_byte']:.2f} {ours['tokens_per_word']:.2f}"
    assert f"this tokenizer {figures} bytes 256 {ours['text_bytes']} 1.00 " in page.text


def test_every_part_of_a_run_has_its_section(page: Page) -> None:
    sections = {"funnel", "reasons", "duplicates", "documents", "quarantine", "tokenizer", "tokens", "pretrain", "run"}
    assert sections <= set(page.ids)


def test_the_funnel_counts_what_each_stage_let_through(page: Page) -> None:
    assert "read 39" in page.text
    assert "language 34" in page.text
    assert "exact_dedup 31" in page.text
    assert "−3 (8.8%)" in page.text


def test_reasons_come_with_examples(page: Page) -> None:
    assert "other_language" in page.text
    assert "Dies ist ein ganz gewöhnlicher deutscher Satz" in page.text
    assert "same as <b>35</b>" in page.text


def test_the_trained_model_is_held_against_gzip(page: Page) -> None:
    assert "gzip -9 needs" in page.text
    assert "1.700" in page.text


def test_a_step_that_has_not_run_is_named_and_left_out(page: Page) -> None:
    assert "has not finished: finetune." in page.text
    assert "finetune" not in page.ids


def test_a_run_that_does_not_exist_is_not_made_up(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not there"):
        write_report(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_an_empty_run_still_gets_a_page(tmp_path: Path) -> None:
    page = Page(render_report(str(tmp_path / "new")))
    assert "has not finished: corpus, tokenizer, tokens, pretrain, finetune." in page.text


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    assert render_report(str(run)) == render_report(str(run))


def test_size_is_bounded_however_long_the_run_was(run: Path, tmp_path: Path) -> None:
    longer = tmp_path / "longer"
    shutil.copytree(run, longer)
    samples = [{"step": step, "prompt": "p", "text": "x" * 100_000} for step in range(100)]
    write_training(longer / "finetune", range(1, 20_000), samples)
    (longer / "resolved.yaml").write_text("key: value\n" * 100_000)
    assert len(render_report(str(longer))) < len(render_report(str(run))) + 400_000


def test_a_run_that_is_still_training_is_shown_as_unfinished(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "going"
    shutil.copytree(run, copy)
    (copy / "pretrain" / "manifest.json").unlink()
    assert "30 steps, not finished." in Page(render_report(str(copy))).text


def test_a_damaged_file_is_named(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "damaged"
    shutil.copytree(run, copy)
    (copy / "tokens" / "tokens.json").write_text("{")
    with pytest.raises(UserError, match=r"tokens\.json"):
        render_report(str(copy))


def test_a_missing_drop_log_is_named(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "missing"
    shutil.copytree(run, copy)
    next((copy / "corpus" / "00-read" / "dropped").iterdir()).unlink()
    with pytest.raises(UserError, match=r"dropped/shard-0000\d\.parquet"):
        render_report(str(copy))
