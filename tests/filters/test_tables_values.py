"""Every threshold of every shipped table: a document just inside stays, its neighbour just outside goes.

Each bound has a family of texts, one for each k, whose signal moves by a small step with k. The test measures them,
finds where the bound changes its mind, and asks that it does so exactly at the threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from curate.filters.decide import Columns, passes
from curate.filters.measures import MEASURES, signal_types
from curate.filters.rules import Rule, resolve, signal_type_mistake
from curate.filters.tables import load_filter, shipped

Family = Callable[[int], str]


class Case(NamedTuple):
    """A threshold, texts around it (k in `tries`), and how near a neighbour must come (relative, or absolute at 0)."""

    threshold: float
    family: Family
    tries: range
    step: float


def words(count: int, tag: str = "") -> list[str]:
    """Different words of five letters."""
    letters = "bcdfghjklmnpqrstvwxz"
    return [tag + letters[i // 400 % 20] + "a" + letters[i // 20 % 20] + "e" + letters[i % 20] for i in range(count)]


def lines(count: int, special: int, change: Callable[[str], str], join: str = "\n") -> str:
    """`count` different lines of 43 characters, `special` of them changed."""
    plain = [" ".join(words(4, tag)) for tag in words(count)]
    return join.join([change(line) for line in plain[:special]] + plain[special:])


def repeated(count: int, join: str) -> Family:
    """`count` lines or paragraphs of one length, k of them copies of another."""

    def family(k: int) -> str:
        different = [" ".join(words(4, tag)) for tag in words(count - k)]
        return join.join(different + different[:1] * k)

    return family


def with_phrase(size: int) -> Family:
    """Different words, and between them k times the same phrase of `size` words."""

    def family(k: int) -> str:
        filler = words(2000)
        phrase = " ".join(words(size, "o"))
        return " ".join(f"{filler[i]} {phrase}" if i < k else filler[i] for i in range(2000))

    return family


def mixed(extra: str, total: int = 100) -> Family:
    """`total` white-space words, k of them `extra`."""
    return lambda k: " ".join(words(total - k) + [extra] * k)


def stop_words(k: int) -> str:
    return " ".join(words(50) + ["the", "be", "to", "of", "and"][:k])


QUALITY = {
    "word_count.min": Case(50, lambda k: " ".join(words(k)) + " - !", range(40, 60), 0.02),
    "word_count.max": Case(100_000, lambda k: "word " * k, range(99_998, 100_003), 1e-5),
    "mean_word_length.min": Case(3, lambda k: "abc " * (200 - k) + "ab " * k, range(5), 0.002),
    "mean_word_length.max": Case(10, lambda k: "abcdefghij " * (200 - k) + "abcdefghijk " * k, range(5), 0.002),
    "bullet_lines.max": Case(0.9, lambda k: lines(100, k, lambda line: "- " + line), range(80, 100), 0.012),
    "ellipsis_lines.max": Case(0.3, lambda k: lines(100, k, lambda line: line + "..."), range(20, 40), 0.04),
    "alphabetic_words.min": Case(0.8, mixed("12"), range(10, 30), 0.013),
    "stop_words.min": Case(2, stop_words, range(5), 0.51),
}
CASES: dict[str, dict[str, Case]] = {
    "gopher_quality": QUALITY
    | {
        "hashes.max": Case(0.1, mixed("#"), range(5, 15), 0.11),
        "ellipses.max": Case(0.1, mixed("…"), range(5, 15), 0.11),
    },
    "gopher_quality_paper": QUALITY
    | {
        "hashes.max": Case(0.1, mixed("#"), range(5, 15), 0.12),
        "ellipses.max": Case(0.1, mixed("…"), range(5, 15), 0.12),
    },
    "gopher_quality_dclm": QUALITY
    | {
        "symbols.max": Case(0.1, mixed("#", 1000), range(90, 110), 0.011),
        "bullet_lines.max": Case(0.9, lambda k: lines(100, k, lambda line: "* " + line), range(80, 100), 0.012),
        "stop_words.min": Case(2, lambda k: " ".join(words(50) + ["The"] * k), range(5), 0.51),
    },
    "gopher_repetition": {
        "duplicate_lines.max": Case(0.3, repeated(100, "\n"), range(20, 40), 0.04),
        "duplicate_line_chars.max": Case(0.2, repeated(400, "\n"), range(70, 95), 0.02),
        "duplicate_paragraphs.max": Case(0.3, repeated(100, "\n\n"), range(20, 40), 0.04),
        "duplicate_paragraph_chars.max": Case(0.2, repeated(400, "\n\n"), range(70, 105), 0.02),
    }
    | {
        f"top_{n}_gram.max": Case(limit, with_phrase(n), range(10, 700), 0.01)
        for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16))
    }
    | {
        f"duplicate_{n}_grams.max": Case(limit, with_phrase(n), range(10, 300), 0.04)
        for n, limit in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    },
    "c4": {
        "curly_brackets.max": Case(0, lambda k: "A function has a body " + "{" * k, range(3), 1),
        "lorem_ipsum.max": Case(0, lambda k: "It begins with " + "Lorem ipsum " * k, range(3), 1),
        "sentences.min": Case(5, lambda k: "This is one sentence. " * k, range(1, 9), 0.21),
    },
    "fineweb": {
        "terminal_punctuation.above": Case(0.12, lambda k: lines(100, k, lambda line: line + "."), range(5, 20), 0.09),
        "duplicate_line_chars.below": Case(0.1, repeated(1000, "\n"), range(90, 110), 0.011),
        "short_lines.below": Case(0.67, lambda k: lines(100, k, lambda line: line[:29]), range(60, 75), 0.02),
    },
    "fineweb_code": {
        "terminal_punctuation.min": Case(0.12, lambda k: lines(100, k, lambda line: line + "."), range(5, 20), 0.09),
        "duplicate_line_chars.max": Case(0.01, repeated(1000, "\n"), range(5, 20), 0.11),
        "short_lines.max": Case(0.67, lambda k: lines(100, k, lambda line: line[:30]), range(60, 75), 0.02),
        "newlines.max": Case(0.3, lambda k: " ".join(words(100)) + "\n" * k, range(20, 40), 0.04),
    },
}  # fmt: skip
CASES["gopher_repetition_paper"] = CASES["gopher_repetition"]
CASES["c4_tfds"] = CASES["c4"] | {"sentences.min": CASES["c4"]["sentences.min"]._replace(threshold=3, step=0.34)}
LANGUAGE = {"language": {"score.min": 0.65}, "language_c4": {"score.min": 0.5}, "language_ccnet": {"score.min": 0.5}}
BOUNDS = ("min", "above", "max", "below")


def thresholds(table: str) -> dict[str, float]:
    found, mistakes = load_filter(table)
    assert not mistakes
    return {
        f"{reason}.{bound}": getattr(rule, bound)
        for reason, rule in found.rules.items()
        for bound in BOUNDS
        if getattr(rule, bound) is not None
    }


def rule_of(table: str, place: str) -> Rule:
    """The rule of a threshold with that bound alone."""
    reason, bound = place.split(".")
    rule = load_filter(table)[0].rules[reason]
    return Rule(signal=rule.signal, **{bound: getattr(rule, bound)})


def kept(rule: Rule, signals: dict[str, pa.Array]) -> np.ndarray:
    columns = Columns(pa.table(signals))
    everything = np.ones(columns.rows, dtype=bool)
    return passes(resolve(rule, "reason", {rule.signal: rule.signal}), columns, must_know=everything)


def test_every_threshold_of_every_shipped_table_is_tested_at_its_value() -> None:
    tested = {
        table: {place: case.threshold for place, case in cases.items()} for table, cases in CASES.items()
    } | LANGUAGE
    assert {table: thresholds(table) for table in tested} == tested
    assert set(shipped()) >= set(tested)


@pytest.mark.parametrize(("length", "paper", "code"), [(29, False, False), (30, True, False), (31, True, True)])
def test_lines_of_30_characters_are_short_to_finewebs_code_and_not_to_its_paper(
    length: int, paper: bool, code: bool
) -> None:
    signals = MEASURES["text"].function(pa.array([lines(10, 10, lambda line: line[:length])]), {})
    for table, stays in (("fineweb", paper), ("fineweb_code", code)):
        assert kept(load_filter(table)[0].rules["short_lines"], signals).tolist() == [stays], table


@pytest.mark.parametrize(
    ("reason", "text", "paper", "datatrove"),
    [
        ("alphabetic_words", " ".join(words(100) + ["-"] * 30), True, False),  # 1 of words; 100/130 of words and marks
        ("alphabetic_words", " ".join(words(79) + ["12"] * 21), False, False),
        ("hashes", " ".join(words(95) + ["#"] * 10), False, True),  # 10/95 and 10/105
        ("ellipses", " ".join(words(95) + ["…"] * 10), False, True),
        ("hashes", " ".join(words(100) + ["#"] * 10), True, True),
    ],
)
def test_a_mark_is_a_word_to_datatroves_gopher_and_not_to_the_papers(
    reason: str, text: str, paper: bool, datatrove: bool
) -> None:
    signals = MEASURES["text"].function(pa.array([text]), {})
    for table, stays in (("gopher_quality_paper", paper), ("gopher_quality", datatrove)):
        assert kept(load_filter(table)[0].rules[reason], signals).tolist() == [stays], table


def test_a_repeated_passage_counts_in_full_to_gophers_paper_and_in_multiples_of_n_to_datatrove() -> None:
    passage = " ".join(words(9))  # 45 characters of words, of which datatrove counts one 5-gram of 25
    signals = MEASURES["text"].function(pa.array([passage + " | " + passage + " " + " ".join(words(14, "x"))]), {})
    size = signals["text.characters"][0].as_py()
    for table, characters, stays in (("gopher_repetition_paper", 45, False), ("gopher_repetition", 25, True)):
        rule = load_filter(table)[0].rules["duplicate_5_grams"]
        assert signals[rule.signal].to_pylist() == [characters / size]
        assert kept(rule, signals).tolist() == [stays], table


def test_provenance_tells_a_paper_from_its_code_and_from_us() -> None:
    provenance = {name: load_filter(name)[0].provenance for name in shipped()}
    assert {name for name, kind in provenance.items() if kind == "reference-impl"} == {
        *("gopher_quality", "gopher_quality_dclm", "gopher_repetition", "fineweb_code", "c4_tfds")
    }
    assert {name for name, kind in provenance.items() if kind == "ours"} == {"language_c4"}


@pytest.mark.parametrize("table", shipped())
def test_every_rule_reads_a_signal_that_is_measured(table: str) -> None:
    types = signal_types()
    for rule in load_filter(table)[0].rules.values():
        assert signal_type_mistake(rule, types[rule.signal.partition("@")[0]]) is None


@pytest.mark.parametrize(("table", "place"), [(table, place) for table, cases in CASES.items() for place in cases])
def test_a_document_just_inside_stays_and_its_neighbour_just_outside_goes(table: str, place: str) -> None:
    case = CASES[table][place]
    rule = rule_of(table, place)
    signals = MEASURES["text"].function(pa.array([case.family(k) for k in case.tries], type=pa.large_string()), {})
    values = signals[rule.signal].to_numpy()
    keep = kept(rule, signals)
    inside, outside = values[keep], values[~keep]
    bound = place.split(".")[1]
    low = bound in ("min", "above")
    nearest_inside = inside.min() if low else inside.max()
    nearest_outside = outside.max() if low else outside.min()
    assert (nearest_inside > nearest_outside) == low
    for value in (nearest_inside, nearest_outside):
        assert abs(value - case.threshold) <= case.step * max(case.threshold, 1 if case.threshold == 0 else 0), value
    exact = values == case.threshold
    assert np.array_equal(keep[exact], np.full(exact.sum(), bound in ("min", "max")))


@pytest.mark.parametrize(("table", "place"), [(table, place) for table, cases in LANGUAGE.items() for place in cases])
def test_a_language_score_just_inside_stays_and_just_outside_goes(table: str, place: str, lid_model: str) -> None:
    english = ["This", "is", "a", "sentence", "about", "the", "weather", "in", "the", "north", "of", "the", "country"]
    other = ["und", "dieser", "Satz", "handelt", "von", "dem", "Wetter", "im", "Norden", "des", "Landes", "heute"]
    texts = [" ".join(english[:i] + other[:j]) for i in range(1, 13) for j in range(1, 13)]
    signals = MEASURES["language"].function(pa.array(texts, type=pa.large_string()), {"lid.176": lid_model})
    scores = signals["language.score"].to_numpy()
    keep = kept(rule_of(table, place), signals)
    threshold = LANGUAGE[table][place]
    assert threshold <= scores[keep].min() < threshold + 0.05
    assert threshold - 0.05 < scores[~keep].max() < threshold


def test_the_language_table_keeps_english_until_a_recipe_says_otherwise(lid_model: str) -> None:
    texts = [
        "The weather in the north of the country is very nice today.",
        "Das Wetter im Norden ist heute sehr schön.",
    ]
    signals = MEASURES["language"].function(pa.array(texts, type=pa.large_string()), {"lid.176": lid_model})
    ours = load_filter("language")[0].rules["code"]
    german = load_filter("language", {"language": {"code": {"any_of": ["de"]}}})[0].rules["code"]
    assert kept(ours, signals).tolist() == [True, False]
    assert kept(german, signals).tolist() == [False, True]
