"""The grammar of rules: what is accepted, what is refused, and what a rule becomes."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from curate.errors import RecipeError
from curate.filters.rules import (
    Limit,
    Quantile,
    ResolvedRule,
    Rule,
    check_language_codes,
    resolve,
    signal_type_mistake,
)


def _rule(**keys: Any) -> Rule:
    return Rule.model_validate({"signal": "words.count", **keys})


def _resolved(rule: Rule, reason: str = "table.rule") -> ResolvedRule:
    conditions = (rule, *rule.when)
    return resolve(rule, reason, {name: name for condition in conditions for name in condition.signals()})


ACCEPTED: list[dict[str, Any]] = [
    {"min": 0},
    {"min": 1, "max": 1},
    {"above": 0.5, "below": 0.75},
    {"min": "off", "max": 3},
    {"min": "off", "max": "off"},
    {"min": "off", "above": 3},
    {"any_of": ["en", "de"]},
    {"none_of": [True]},
    {"min": 3, "none_of": [7]},
    {"min": {"quantile": 0.9}},
    {"max": {"quantile": 0.9, "per": "language.code"}, "missing": "pass"},
    {"min": 3, "action": "mark", "missing": "drop", "when": [{"signal": "language.code", "any_of": ["en"]}]},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "needs a bound"),
    ({"min": 1, "above": 1}, "min and above exclude each other"),
    ({"max": 1, "below": 1}, "max and below exclude each other"),
    ({"any_of": ["a"], "none_of": ["b"]}, "any_of and none_of exclude each other"),
    ({"min": 2, "max": 1}, "no value lies between min 2 and max 1"),
    ({"above": 1, "max": 1}, "no value lies between above 1 and max 1"),
    ({"min": {"quantile": 0.9}, "max": {"quantile": 0.9}}, "no value lies between the quantiles"),
    ({"min": "on"}, "a bound is a number"),
    ({"min": True}, "a bound is a number"),
    ({"min": float("nan")}, "a bound is finite"),
    ({"max": float("inf")}, "a bound is finite"),
    ({"min": {"quantile": 1}}, "less than 1"),
    ({"min": {"quantile": 0}}, "greater than 0"),
    ({"min": {"quantile": 0.5, "by": "x"}}, "Extra inputs"),
    ({"any_of": "en"}, "a list of strings"),
    ({"any_of": [["en"]]}, "a list of strings"),
    ({"minimum": 3}, "Extra inputs"),
    ({"min": 1, "action": "keep"}, "'drop' or 'mark'"),
    ({"min": 1, "missing": "fail"}, "'pass' or 'drop'"),
    ({"min": 1, "when": [{"signal": "language.code"}]}, "needs a bound"),
    ({"min": 1, "when": [{"signal": "x", "min": {"quantile": 0.5}}]}, "belongs to the rule itself"),
    ({"min": 1, "when": [{"signal": "x", "min": 1, "when": []}]}, "Extra inputs"),
    ({"min": 1, "signal": ""}, "at least 1 character"),
]


@pytest.mark.parametrize("keys", ACCEPTED)
def test_a_rule_of_the_grammar_is_accepted_and_survives_json_and_pickle(keys: dict[str, Any]) -> None:
    rule = _rule(**keys)
    assert Rule.model_validate(rule.model_dump(exclude_none=True)) == rule
    resolved = _resolved(rule)
    assert ResolvedRule.model_validate(resolved.model_dump(mode="json")) == resolved
    assert ResolvedRule.model_validate_json(resolved.model_dump_json()) == resolved
    assert pickle.loads(pickle.dumps(resolved)) == resolved


@pytest.mark.parametrize(("keys", "message"), REFUSED)
def test_a_wrong_rule_is_refused_with_the_cause(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _rule(**keys)


def test_zero_is_a_bound_and_off_is_none() -> None:
    assert _resolved(_rule(min=0, max="off")).low == Limit(value=0)
    assert _resolved(_rule(min=0, max="off")).high is None


def test_integers_of_any_size_stay_exact() -> None:
    assert _resolved(_rule(min=2**53 + 1)).low == Limit(value=2**53 + 1)


def test_min_and_max_include_the_bound_above_and_below_do_not() -> None:
    assert _resolved(_rule(min=1, max=2)).low_inclusive
    assert _resolved(_rule(min=1, max=2)).high_inclusive
    assert not _resolved(_rule(above=1, below=2)).low_inclusive
    assert not _resolved(_rule(above=1, below=2)).high_inclusive


def test_resolving_gives_every_signal_its_view() -> None:
    rule = _rule(min={"quantile": 0.9, "per": "language.code"}, when=[{"signal": "lines.count", "min": 3}])
    names = {"words.count": "words.count@c4", "language.code": "language.code", "lines.count": "lines.count@c4"}
    resolved = resolve(rule, "t.r", names)
    assert resolved.signals() == ("words.count@c4", "lines.count@c4", "language.code")
    assert resolved.waits_for() == ("low",)
    assert resolved.low == Quantile(quantile=0.9, per="language.code")


TYPE_MISTAKES = [
    ({"min": 3}, "string", "use any_of or none_of"),
    ({"min": 3}, "bool", "use any_of or none_of"),
    ({"any_of": ["a"]}, "int64", "cannot be one of"),
    ({"any_of": [1.5]}, "int64", "cannot be one of"),
    ({"any_of": [True]}, "float64", "cannot be one of"),
    ({"any_of": [1]}, "string", "cannot be one of"),
    ({"any_of": [1]}, "bool", "cannot be one of"),
]


@pytest.mark.parametrize(("keys", "dtype", "message"), TYPE_MISTAKES)
def test_a_rule_that_does_not_fit_the_type_of_its_signal_is_a_mistake(
    keys: dict[str, Any], dtype: str, message: str
) -> None:
    assert message in str(signal_type_mistake(_rule(**keys), dtype))


def test_a_rule_that_fits_the_type_of_its_signal_is_none() -> None:
    for keys, dtype in [
        ({"min": 3}, "int64"),
        ({"min": 3, "any_of": [4, 5.5]}, "float64"),
        ({"any_of": [True]}, "bool"),
    ]:
        assert signal_type_mistake(_rule(**keys), dtype) is None


def test_a_language_that_the_model_does_not_know_is_an_error_wherever_it_stands() -> None:
    rules = [
        _resolved(Rule(signal="language.code", any_of=("en", "xx")), "language.code"),
        _resolved(_rule(min=1, when=[{"signal": "language.code", "none_of": ["eng"]}]), "t.when"),
        _resolved(Rule(signal="other.code", any_of=("zz",)), "t.other"),
    ]
    with pytest.raises(RecipeError) as caught:
        check_language_codes(rules, {"en", "de"})
    assert caught.value.mistakes == (
        "filters.language.code: the language model knows no language 'xx'",
        "filters.t.when: the language model knows no language 'eng'",
    )
    check_language_codes(rules, {"en", "xx", "eng"})
