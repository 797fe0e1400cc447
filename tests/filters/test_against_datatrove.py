"""Decisions of the shipped tables against datatrove's filters, on the English pages of the sample crawl.

(a) Fed datatrove's own words, the plain definitions decide as datatrove does on every page.
(b) End to end, with our segmentation in the kernel, nearly always; the differences are printed by class of word
    (``pytest -s``).
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate.filters.c4_lines import VARIANTS, clean_lines
from curate.filters.decide import Columns, passes
from curate.filters.edits import apply_edits
from curate.filters.rules import resolve
from curate.filters.tables import load_filter
from curate.filters.text_statistics import measure_text

pytest.importorskip("spacy")
pytest.importorskip("datatrove")
pytestmark = pytest.mark.slow


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = _load("plain_text_statistics")
plain_c4 = _load("plain_c4_lines")

FILTERS = ("gopher_quality", "gopher_repetition", "fineweb_code", "c4", "c4 without terminal marks")


class Oracle(NamedTuple):
    """What datatrove decided about each page, the text that its C4 filter left, and the plain signals of its words."""

    keeps: dict[str, list[bool]]
    cleaned: list[str | None]
    plain_signals: pa.Table


@pytest.fixture(scope="module")
def pages(crawl_texts: pa.Table) -> list[str]:
    """The main text of the English pages."""
    is_english = pc.and_(
        pc.equal(crawl_texts["language.code"], "en"), pc.greater_equal(crawl_texts["language.score"], 0.65)
    )
    english: list[str] = crawl_texts.filter(is_english)["text"].to_pylist()
    assert len(english) > 500
    return english


@pytest.fixture(scope="module")
def oracle(pages: list[str]) -> Oracle:
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    filters = (
        GopherQualityFilter(),
        GopherRepetitionFilter(),
        FineWebQualityFilter(),
        C4QualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
    )
    keeps: dict[str, list[bool]] = {name: [] for name in FILTERS}
    cleaned: list[str | None] = []
    plain_signals: list[dict[str, int | float]] = []
    for text in pages:
        plain_signals.append(_plain_signals(text))  # first: datatrove remembers the words of the last five texts
        for name, judge in zip(FILTERS, filters, strict=True):
            document = Document(text=text, id="")
            keep = judge.filter(document) is True
            keeps[name].append(keep)
            if name == "c4":
                cleaned.append(document.text if keep else None)
    return Oracle(keeps, cleaned, pa.Table.from_pylist(plain_signals))


def _decisions(table: str, signals: pa.Table) -> list[bool]:
    found, mistakes = load_filter(table)
    assert not mistakes
    columns = Columns(signals)
    keep = pa.array([True] * signals.num_rows).to_numpy(zero_copy_only=False)
    for reason, rule in found.rules.items():
        keep = keep & passes(resolve(rule, reason, {rule.signal: rule.signal}), columns, must_know=keep)
    return [bool(value) for value in keep]


def _agreement(ours: list[bool], theirs: list[bool]) -> float:
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(theirs)


def _plain_signals(text: str) -> dict[str, int | float]:
    """Every signal from datatrove's words, but for sentences, which would need the words of each line."""
    signals: dict[str, int | float] = plain.measure(text, lambda part: _datatrove_words(part) if part == text else [])
    return signals


class TestPlainDefinitions:
    """Fed datatrove's own words."""

    @pytest.mark.parametrize("table", ["gopher_quality", "gopher_repetition", "fineweb_code"])
    def test_decide_as_datatrove_on_every_page(self, table: str, oracle: Oracle) -> None:
        assert _agreement(_decisions(table, oracle.plain_signals), oracle.keeps[table]) == 1.0

    @pytest.mark.parametrize("variant", ["c4_lines_datatrove", "c4_lines_fineweb"])
    def test_c4_decides_as_datatrove_on_every_page(self, variant: str, pages: list[str], oracle: Oracle) -> None:
        end_marks = VARIANTS[variant].end_marks
        views = [plain_c4.clean(text, *VARIANTS[variant]).text for text in pages]
        keeps = _decisions("c4", pa.Table.from_pylist([_c4_signals(view) for view in views]))
        assert _agreement(keeps, oracle.keeps["c4" if end_marks else "c4 without terminal marks"]) == 1.0
        if end_marks:
            kept = [(view, theirs) for view, keep, theirs in zip(views, keeps, oracle.cleaned, strict=True) if keep]
            assert all(view == theirs for view, theirs in kept)


def _c4_signals(view: str) -> dict[str, int]:
    return {
        "sentences.count": sum(plain.count_sentences(_datatrove_words(line)) for line in view.split("\n")),
        "text.curly_brackets": view.count("{"),
        "text.lorem_ipsum": plain.count_folded(view, "lorem ipsum"),
    }


def _datatrove_words(text: str) -> list[str]:
    from datatrove.utils.text import split_into_words

    words: list[str] = split_into_words(text)
    return words


class TestKernel:
    """End to end."""

    @pytest.mark.parametrize(
        ("table", "least"), [("gopher_quality", 0.98), ("gopher_repetition", 0.99), ("fineweb_code", 0.99)]
    )
    def test_agrees_with_datatrove(self, table: str, least: float, pages: list[str], oracle: Oracle) -> None:
        signals = pa.table(measure_text(pa.array(pages, type=pa.large_string())))
        agreement = _agreement(_decisions(table, signals), oracle.keeps[table])
        print(f"\n{table}: the same decision on {agreement:.2%} of {len(pages)} pages")
        assert agreement >= least

    @pytest.mark.parametrize(
        ("cleaner", "name"), [("c4_lines_datatrove", "c4"), ("c4_lines_fineweb", "c4 without terminal marks")]
    )
    def test_c4_agrees_with_datatrove(self, cleaner: str, name: str, pages: list[str], oracle: Oracle) -> None:
        text = pa.array(pages, type=pa.large_string())
        view = apply_edits(text, clean_lines(text, cleaner).edits)
        agreement = _agreement(_decisions("c4", pa.table(measure_text(view))), oracle.keeps[name])
        print(f"\n{cleaner} and c4: the same decision on {agreement:.2%} of {len(pages)} pages")
        assert agreement >= 0.99

    def test_words_are_spacys_but_for_a_few_classes(self, pages: list[str]) -> None:
        total, classes = 0, Counter[str]()
        for text in pages[::4]:
            words = _datatrove_words(text)
            total += len(words)
            classes += different_words(words, plain.segments(text))
        print(f"\nof {total} words {classes.total()} ({classes.total() / total:.3%}) are split differently:")
        print("\n".join(f"  {count:6} {name}" for name, count in classes.most_common()))
        assert classes.total() / total < 0.003


WORD_CLASSES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("emoticons and pairs of marks, which spaCy joins", lambda word: not any(c.isalnum() for c in word)),
    ("contractions without apostrophe, which spaCy splits", lambda word: word.isalpha() and word.isascii()),
    ("abbreviations and initials", lambda word: re.fullmatch(r"(\w{1,6}\.)+\w*", word) is not None),
    ("and/or, w/o", lambda word: "/" in word),
    ("numbers with a unit or sign", lambda word: any(c.isdigit() for c in word)),
    ("apostrophes", lambda word: "'" in word or "’" in word),
    ("other", lambda word: True),
)


def different_words(theirs: list[str], ours: list[str]) -> Counter[str]:
    """Count, by class, the words of either side that the other side splits."""
    found: Counter[str] = Counter()
    for words, others in ((theirs, ours), (ours, theirs)):
        ends = set(_ends(others))
        for word, end in zip(words, _ends(words), strict=True):
            bare = "".join(word.split())
            if any(place in ends for place in range(end - len(bare) + 1, end)):
                found[next(name for name, holds in WORD_CLASSES if holds(bare))] += 1
    return found


def _ends(words: list[str]) -> list[int]:
    ends, at = [], 0
    for word in words:
        at += len("".join(word.split()))
        ends.append(at)
    return ends
