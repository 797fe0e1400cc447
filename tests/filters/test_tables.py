"""Filter tables: shipped ones, what a recipe lays over them, and what is wrong with either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.filters import tables
from curate.filters.rules import Rule
from curate.filters.tables import Filter, load_filter, shipped

WORDS = """
title = "Words"
citation = "A paper, section 1"
provenance = "paper"

[word_count]
signal = "words.count"
min = 50
max = 100

[mean_word_length]
signal = "words.mean_length"
min = 3
"""
WORDS_CODE = """
title = "Words, as coded"
citation = "The code of that paper"
provenance = "reference-impl"
extends = "words"

[mean_word_length]
min = 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "words.toml").write_text(WORDS)
    (tmp_path / "words_code.toml").write_text(WORDS_CODE)
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    _clear()
    yield tmp_path
    _clear()


def _clear() -> None:
    tables.shipped.cache_clear()
    tables._shipped_table.cache_clear()


def _load(name: str, **own: Any) -> Filter:
    found, mistakes = load_filter(name, own)
    assert not mistakes
    return found


def _mistakes(name: str, **own: Any) -> list[str]:
    return [f"{'.'.join(map(str, mistake.place))}: {mistake.message}" for mistake in load_filter(name, own)[1]]


def test_every_shipped_table_is_complete_and_tells_its_source() -> None:
    assert {"language", "gopher_quality", "gopher_repetition", "c4", "fineweb"} <= set(shipped())
    for name in shipped():
        table = _load(name)
        assert table.rules
        assert table.title, name
        assert table.citation, name


@pytest.mark.usefixtures("folder")
class TestTables:
    def test_a_shipped_table_loads_with_its_citation(self) -> None:
        table = _load("words")
        assert (table.title, table.citation, table.provenance) == ("Words", "A paper, section 1", "paper")
        assert list(table.rules) == ["word_count", "mean_word_length"]

    def test_extending_changes_a_rule_key_by_key(self) -> None:
        table = _load("words_code")
        assert table.provenance == "reference-impl"
        assert table.rules["mean_word_length"] == Rule(signal="words.mean_length", min=2)
        assert table.rules["word_count"] == _load("words").rules["word_count"]

    def test_a_recipe_moves_one_bound_and_keeps_the_others(self) -> None:
        rule = _load("words", words={"word_count": {"max": 12000}}).rules["word_count"]
        assert (rule.min, rule.max) == (50, 12000)

    def test_above_takes_the_place_of_min(self) -> None:
        rule = _load("words", words={"word_count": {"above": 10}}).rules["word_count"]
        assert (rule.min, rule.above, rule.max) == (None, 10, 100)

    def test_a_rule_can_be_switched_off_and_another_added(self) -> None:
        own = {"word_count": "off", "mine": {"signal": "lines.count", "min": 1}}
        assert list(_load("words", words=own).rules) == ["mean_word_length", "mine"]

    def test_a_table_of_the_recipe_can_extend_a_shipped_one(self) -> None:
        table = _load("strict", strict={"extends": "words", "word_count": {"min": 100}})
        assert table.rules["word_count"].min == 100
        assert "mean_word_length" in table.rules

    def test_a_table_can_extend_what_the_recipe_changed(self) -> None:
        table = _load("strict", strict={"extends": "words"}, words={"word_count": {"min": 7}})
        assert table.rules["word_count"].min == 7

    def test_a_change_of_one_table_stays_out_of_the_shipped_ones_that_extend_it(self) -> None:
        assert _load("words_code", words={"word_count": {"min": 7}}).rules["word_count"].min == 50

    def test_extends_off_forgets_the_shipped_table(self) -> None:
        table = _load("words", words={"extends": "off", "mine": {"signal": "lines.count", "min": 1}})
        assert list(table.rules) == ["mine"]

    def test_the_complete_form_loads_to_an_equal_filter_without_the_shipped_one(self, folder: Path) -> None:
        table = _load("words", words={"word_count": {"max": 12, "min": 3}})
        (folder / "words.toml").write_text(WORDS + '\n[new_rule]\nsignal = "x"\nmin = 1\n')
        _clear()
        assert _load("words", words=table.as_table()) == table

    def test_an_unknown_rule_is_named_with_a_suggestion(self) -> None:
        assert _mistakes("words", words={"mean_word_lenght": {"min": 3}}) == [
            "filters.words.mean_word_lenght: unknown rule; did you mean mean_word_length? "
            "(a rule of your own names its signal)"
        ]
        assert "unknown rule" in _mistakes("words", words={"nothing": "off"})[0]

    def test_all_mistakes_of_a_table_are_told_and_the_good_rules_stay(self) -> None:
        own = {"word_count": {"mn": 3}, "mean_word_length": {"min": "x"}, "titel": "T", "ok": {"signal": "a", "min": 1}}
        assert _mistakes("words", words=own) == [
            "filters.words.titel: not a rule; did you mean title?; "
            'a rule is a table with a signal and a bound, or "off"',
            "filters.words.word_count.mn: unknown key; did you mean min?",
            'filters.words.mean_word_length.min: a bound is a number, "off" or {quantile = 0.9, per = "signal"}',
        ]
        assert list(load_filter("words", {"words": own})[0].rules) == ["ok"]

    def test_a_rule_without_a_signal_says_so(self) -> None:
        assert _mistakes("mine", mine={"rule": {"min": 3}}) == [
            "filters.mine.rule.signal: is missing; it must be given"
        ]

    def test_extending_in_a_circle_or_nothing_known_is_a_mistake(self) -> None:
        assert "extends itself: a -> b -> a" in _mistakes("a", a={"extends": "b"}, b={"extends": "a"})[0]
        assert "no filter 'wrds' to extend; did you mean words?" in _mistakes("a", a={"extends": "wrds"})[0]

    def test_a_filter_without_a_rule_is_a_mistake(self) -> None:
        assert "holds no rule" in _mistakes("words", words={"word_count": "off", "mean_word_length": "off"})[0]

    def test_a_wrong_provenance_is_a_mistake(self) -> None:
        assert "'paper', 'reference-impl' or 'ours'" in _mistakes("words", words={"provenance": "mine"})[0]
