from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from curate.errors import AssetError, RecipeError
from curate.report import show
from curate.report.charts import Point, dot_plot, stacked_bars
from curate.report.compare_page import comparison_page
from curate.report.comparison import compare_tokenizers, load_tokenizers, read_sample
from curate.report.terminal import make_console
from curate.tokenize import bpe, registry, train, train_spm
from curate.tokenize.compare import CompareSettings, compare
from curate.tokenize.compare_samples import Document, Sample
from curate.tokenize.tokenizer import Tokenizer

FEW = CompareSettings(resamples=20)
HOSTILE = "</code></style><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202eevil\u202c & \"'"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def lossy_tokenizer() -> Tokenizer:
    """A tokenizer that has hostile tokens, some of them dead, and loses bytes."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    for token in (b"<s", b"cr", b"ip", b"t>", b"<script>", HOSTILE.encode(), b"\x1b["):
        ranks[token] = len(ranks)
    whole = bpe.from_ranks(bpe.format_ranks(ranks), where="x", specials=("<|end|>",))
    decode = whole.token_bytes
    fields = {name: getattr(whole, name) for name in whole.__dataclass_fields__}
    return Tokenizer(**{**fields, "token_bytes": lambda ids: decode(ids).replace(b"alert", b"-lert")})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    texts = ["the river runs down to the sea, and the sea runs down to nothing. "] * 5
    registry.save(train.train_bpe(texts, 280), str(folder / "small"))
    registry.save(train_spm.train_sentencepiece(texts, 300), str(folder / "pieces"))
    return folder


@pytest.fixture(scope="module")
def hostile() -> dict[str, Any]:
    names = {HOSTILE: lossy_tokenizer(), "a_name_that_is_much_too_long_for_a_column_of_a_table": lossy_tokenizer()}
    names |= {f"{number}": lossy_tokenizer() for number in range(4)}
    texts = [HOSTILE, f"{HOSTILE} again", "12 words"] * 2
    documents = [Document(text, HOSTILE if number % 2 else "en", HOSTILE) for number, text in enumerate(texts)]
    return compare(names, Sample(documents, 9, 999, 1), on=HOSTILE, settings=FEW)


@pytest.fixture(scope="module")
def ordinary(trained: Path) -> dict[str, Any]:
    both = [str(trained / name) for name in ("small", "pieces")]
    return compare_tokenizers(both, settings=FEW, speed=True)


# What is compared, on what


def test_tokenizers_are_called_after_their_folder_or_as_they_are_named(trained: Path) -> None:
    found = load_tokenizers([str(trained / "small"), f"other={trained / 'small'}"])
    assert list(found) == ["small", "other"]
    assert len({tokenizer.sha256 for tokenizer in found.values()}) == 1
    with pytest.raises(RecipeError, match="already there; say NAME="):
        load_tokenizers([str(trained / "small"), str(trained / "small")])
    with pytest.raises(AssetError, match="no tokenizer"):
        load_tokenizers([str(trained / "nothing")])


def test_files_are_sources_and_can_be_named(tmp_path: Path) -> None:
    rows = [json.dumps({"content": f"text number {number}"}) for number in range(5)]
    (tmp_path / "a.jsonl").write_text("\n".join([*rows, "{broken"]) + "\n")
    (tmp_path / "b.txt").write_text("plain text\n")
    options = {"text_column": "content", "seed": 0, "max_documents": 100}
    name, sample, errors = read_sample([str(tmp_path / "*.jsonl"), f"notes={tmp_path / 'b.txt'}"], **options)
    assert name == "*.jsonl, notes"
    assert sum(errors.values()) == 1
    found = {(document.source, document.text.strip()) for document in sample.documents}
    assert found == {("a.jsonl", f"text number {number}") for number in range(5)} | {("notes", "plain text")}
    # what no run has told is identified
    assert all(document.language for document in sample.documents)
    with pytest.raises(RecipeError, match=r"^--on .*no file matches"):
        read_sample([str(tmp_path / "*.parquet")], **options)


def test_of_a_run_the_kept_documents_are_read_with_their_languages(little_run: Any) -> None:
    _, sample, errors = read_sample([str(little_run.folder)], text_column="text", seed=0, max_documents=100)
    assert (len(sample.documents), sample.seen_documents, errors) == (3, 3, {})
    assert {document.source for document in sample.documents} <= {"web", "books"}
    assert all(document.language in {"en", "de"} for document in sample.documents)


def test_the_same_comparison_gives_the_same_page(trained: Path) -> None:
    first, second = (comparison_page(compare_tokenizers([str(trained / "small")], settings=FEW)) for _ in range(2))
    assert first == second
    assert str(trained) not in first


def test_speed_is_measured_only_when_asked_for(trained: Path, ordinary: dict[str, Any]) -> None:
    assert all(
        item["speed"]["encode_mb_per_s"] > 0 < item["speed"]["decode_mb_per_s"] for item in ordinary["tokenizers"]
    )
    assert "Speed" in comparison_page(ordinary)
    without = compare_tokenizers([str(trained / "small")], settings=FEW)
    assert "speed" not in without["tokenizers"][0]
    assert "Speed" not in comparison_page(without)


# The tables


@pytest.mark.parametrize("which", ["hostile", "ordinary"])
def test_tables_fit_into_eighty_columns_and_show_nothing_that_a_terminal_obeys(
    which: str, request: pytest.FixtureRequest
) -> None:
    stream = io.StringIO()
    show.show_comparison(make_console(file=stream, width=80), request.getfixturevalue(which))
    printed = stream.getvalue()
    assert [line for line in printed.splitlines() if cell_len(line) > 80] == []
    assert not {"\x1b", "\u202e", "\r"} & set(printed)
    for heading in ("all documents", "same sentences", "vocabulary", "cost, 8e9"):
        assert heading in printed


def test_round_trip_failures_are_listed(hostile: dict[str, Any]) -> None:
    stream = io.StringIO()
    show.show_comparison(make_console(file=stream, width=200), hostile)
    assert "4 documents did not come back" in stream.getvalue()
    assert "-lert(1)" in stream.getvalue()


# The page


class Tags(HTMLParser):
    """Every tag with its attributes, and whether they nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_no_text_of_others_becomes_markup(hostile: dict[str, Any], ordinary: dict[str, Any]) -> None:
    page = comparison_page(hostile)
    tags = Tags(page)
    assert tags.open == []
    # the hostile page has no tag and no attribute that an ordinary one lacks, and both lack those that do something
    usual = {(tag, name) for tag, attributes in Tags(comparison_page(ordinary)).seen for name in attributes}
    found = {(tag, name) for tag, attributes in tags.seen for name in attributes}
    assert found - usual <= {("path", "d")}  # the marks of further tokenizers
    assert not {"script", "img", "iframe", "object", "link", "a", "form"} & {tag for tag, _ in tags.seen}
    assert not any(name.startswith("on") or name in {"src", "href", "style"} for _, name in found)
    assert not {"\x1b", "\u202e", "\u202c", "\x00"} & set(page)
    assert "&lt;script&gt;alert(1)" in page


def test_a_page_holds_every_figure_and_every_piece(ordinary: dict[str, Any]) -> None:
    page = comparison_page(ordinary)
    for heading in ("All documents", "by language", "Parity", "Code", "Vocabulary", "Cost", "Round trip", "are cut"):
        assert heading in page
    for item in ordinary["tokenizers"]:
        assert f"{item['all']['tokens']:,}" in page
    segments = sum(len(found) for segment in ordinary["segments"] for found in segment["pieces"])
    shown = [attributes for tag, attributes in Tags(page).seen if tag == "span" and attributes["class"] != "swatch"]
    assert sum(not str(attributes["class"]).startswith("swatch") for attributes in shown) == segments


def test_charts_place_marks_by_their_values() -> None:
    plain = dot_plot("t", ["a"], [("x", [Point(0.0, None, None)]), ("y", [Point(4.0, 2.0, 4.0)]), ("z", [None])])
    tags = Tags(plain).seen
    left, right = (float(attributes["cx"]) for tag, attributes in tags if tag == "circle")  # type: ignore[arg-type]
    whisker = [attributes for tag, attributes in tags if tag == "line" and "class" not in attributes]
    assert [float(whisker[0][end]) for end in ("x1", "x2")] == pytest.approx([(left + right) / 2, right], abs=0.1)
    logarithmic = dot_plot(
        "t", ["a"], [(str(value), [Point(value, None, None)]) for value in (1.0, 2.0, 4.0)], logarithmic=True
    )
    one, two, four = (float(found["cx"]) for tag, found in Tags(logarithmic).seen if tag == "circle")  # type: ignore[arg-type]
    assert two - one == pytest.approx(four - two, abs=0.2)
    bars = [found for tag, found in Tags(stacked_bars("t", ["k", "l"], [("x", [1.0, 3.0])])).seen if tag == "rect"]
    assert float(bars[1]["width"] or 0) == pytest.approx(3 * float(bars[0]["width"] or 0), abs=0.3)


# The page in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, from the extra test")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs a browser on the PATH: one of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        # as root, a browser refuses its sandbox
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = driver.chromium.launch(executable_path=found, args=options)
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["hostile", "ordinary"])
def test_a_browser_shows_the_page_readably_and_asks_for_nothing(
    which: str, scheme: str, width: int, browser: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = tmp_path / "page.html"
    place.write_text(comparison_page(request.getfixturevalue(which)), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.on("console", lambda one: said.append(one.text))
    page.on("dialog", lambda one: said.append(one.message))
    page.goto(place.as_uri())
    assert (asked, said) == ([place.as_uri()], [])
    # nothing sticks out, each chart is as wide as its place and its text is large enough to read
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert all(
        size >= 300 for size in page.evaluate("[...document.querySelectorAll('.chart')].map(c => c.clientWidth)")
    )
    heights = page.evaluate("[...document.querySelectorAll('.chart text')].map(t => t.getBoundingClientRect().height)")
    assert min(heights) >= 10
    style = "const of = (s, p) => getComputedStyle(document.querySelector(s))[p];"
    ink, dim, paper = page.evaluate(
        f"() => {{{style} return [of('body', 'color'), of('.dim', 'color'), of('body', 'backgroundColor')]}}"
    )
    assert contrast(ink, paper) >= 7
    assert contrast(dim, paper) >= 4.5
    for number in range(2):
        colour = page.evaluate(f"() => {{{style} return of('.chart .s{number}', 'color')}}")
        assert contrast(colour, paper) >= 3
    assert (luminance(paper) < 0.1) == (scheme == "dark")
    context.close()


@pytest.mark.slow
def test_tables_of_four_tokenizers_fit_into_a_telephone(trained: Path, browser: Any, tmp_path: Path) -> None:
    names = ("llama3-tokenizer", "mistral-v1-32k", "own-bpe-32k", "own-spm-16k")
    four = [f"{name}={trained / kind}" for name, kind in zip(names, ("small", "pieces") * 2, strict=True)]
    place = tmp_path / "page.html"
    place.write_text(comparison_page(compare_tokenizers(four, settings=FEW)), encoding="utf-8")
    context = browser.new_context(viewport={"width": 400, "height": 900})
    page = context.new_page()
    page.goto(place.as_uri())
    widths = page.evaluate("[...document.querySelectorAll('.table')].map(t => [t.scrollWidth, t.clientWidth])")
    assert len(widths) > 6
    assert [pair for pair in widths if pair[0] > pair[1]] == []
    context.close()


def luminance(colour: str) -> float:
    """The relative luminance of ``rgb(r, g, b)`` (WCAG 2)."""
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    assert math.isfinite(high)
    return (high + 0.05) / (low + 0.05)
