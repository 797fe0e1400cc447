"""Verdicts from signals, against a readable definition, at the exact edges of every bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import InvariantError, TaskError
from curate.filters.decide import decide
from curate.filters.rules import GroupLimits, Limit, ResolvedRule, Rule, resolve
from curate.schema import ID, VERDICT

Rows = dict[str, list[Any]]
TYPES = {"n": pa.int64(), "x": pa.float64(), "b": pa.bool_(), "code": pa.string()}


def _rule(reason: str = "t.r", **keys: Any) -> ResolvedRule:
    rule = Rule.model_validate(keys)
    return resolve(rule, reason, {name: name for condition in (rule, *rule.when) for name in condition.signals()})


def _signals(**columns: list[Any]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    ids = [number.to_bytes(16, "big") for number in range(rows)]
    return pa.table(
        {"id": pa.array(ids, ID)} | {name: pa.array(values, TYPES[name]) for name, values in columns.items()}
    )


def _kept(rule: ResolvedRule, **columns: list[Any]) -> list[bool]:
    verdicts = decide(_signals(**columns), [rule])
    assert verdicts.schema.equals(VERDICT, check_metadata=True)
    verdicts.validate(full=True)
    return verdicts.column("keep").to_pylist()  # type: ignore[no-any-return]


def test_bounds_of_an_integer_signal_hold_at_the_edge() -> None:
    values = [2, 3, 4]
    assert _kept(_rule(signal="n", min=3), n=values) == [False, True, True]
    assert _kept(_rule(signal="n", above=3), n=values) == [False, False, True]
    assert _kept(_rule(signal="n", max=3), n=values) == [True, True, False]
    assert _kept(_rule(signal="n", below=3), n=values) == [True, False, False]


def test_a_fraction_bounds_an_integer_signal_between_two_numbers() -> None:
    for key in ("min", "above"):
        assert _kept(_rule(signal="n", **{key: 2.5}), n=[2, 3]) == [False, True]
    for key in ("max", "below"):
        assert _kept(_rule(signal="n", **{key: 2.5}), n=[2, 3]) == [True, False]


def test_bounds_of_a_float_signal_hold_at_the_edge() -> None:
    values = [math.nextafter(0.1, 0), 0.1, math.nextafter(0.1, 1)]
    assert _kept(_rule(signal="x", min=0.1), x=values) == [False, True, True]
    assert _kept(_rule(signal="x", above=0.1), x=values) == [False, False, True]
    assert _kept(_rule(signal="x", max=0.1), x=values) == [True, True, False]
    assert _kept(_rule(signal="x", below=0.1), x=values) == [True, False, False]


def test_zero_is_a_real_bound() -> None:
    assert _kept(_rule(signal="x", max=0), x=[-0.0, 0.0, 5e-324]) == [True, True, False]
    assert _kept(_rule(signal="n", above=0), n=[0, 1]) == [False, True]


def test_off_switches_a_bound_off() -> None:
    assert _kept(_rule(signal="n", min="off", max=3), n=[-(2**63), 3, 4]) == [True, True, False]


BIG = [-(2**63), -(2**63) + 1, -(2**53) - 1, -1, 0, 1, 2**53, 2**53 + 1, 2**53 + 2, 2**63 - 1]
BOUNDS = st.one_of(
    st.sampled_from(BIG),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([float(2**53), float(2**63), 1e308, 10**400, -(10**400), 0.5, -0.5]),
)
VALUES = {
    "n": st.one_of(st.sampled_from(BIG), st.integers(-(2**63), 2**63 - 1)),
    "x": st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([float(value) for value in BIG])),
}


@settings(max_examples=600, deadline=None)
@given(st.data(), st.sampled_from(["n", "x"]), st.sampled_from(["min", "above", "max", "below"]), BOUNDS)
def test_comparisons_are_exact_whatever_the_types(
    data: st.DataObject, signal: str, key: str, bound: int | float
) -> None:
    # Python compares int and float by value, without rounding either
    value = data.draw(VALUES[signal])
    expected = {"min": value >= bound, "above": value > bound, "max": value <= bound, "below": value < bound}[key]
    assert _kept(_rule(signal=signal, **{key: bound}), **{signal: [value]}) == [expected]


def test_lists_work_on_every_type() -> None:
    assert _kept(_rule(signal="code", any_of=["en", "de"]), code=["en", "fr", "de"]) == [True, False, True]
    assert _kept(_rule(signal="code", none_of=["en"]), code=["en", "fr", "de"]) == [False, True, True]
    assert _kept(_rule(signal="code", any_of=[]), code=["en"]) == [False]
    assert _kept(_rule(signal="code", none_of=[]), code=["en"]) == [True]
    assert _kept(_rule(signal="b", any_of=[True]), b=[True, False]) == [True, False]
    assert _kept(_rule(signal="n", any_of=[1, 2**70]), n=[1, 2]) == [True, False]
    assert _kept(_rule(signal="x", none_of=[1, 0.5]), x=[1.0, 0.5, 0.25]) == [False, False, True]
    assert _kept(_rule(signal="n", min=1, none_of=[2]), n=[0, 1, 2, 3]) == [False, True, False, True]


def test_outside_its_conditions_a_rule_passes() -> None:
    rule = _rule(signal="n", min=3, when=[{"signal": "code", "any_of": ["en"]}, {"signal": "x", "above": 0.5}])
    kept = _kept(rule, n=[1, 1, 1, 5], code=["en", "de", "en", "en"], x=[0.9, 0.9, 0.5, 0.9])
    assert kept == [False, True, True, True]


def test_a_null_without_missing_is_an_error_that_names_document_and_signal() -> None:
    with pytest.raises(
        TaskError, match=r"filters\.t\.r: signal n of document 0{31}1 is not measured; give the rule missing"
    ):
        _kept(_rule(signal="n", min=3), n=[5, None])


def test_missing_says_what_a_null_means() -> None:
    for keys in ({"signal": "n", "min": 3}, {"signal": "n", "none_of": [3]}):
        assert _kept(_rule(missing="pass", **keys), n=[None]) == [True]
        assert _kept(_rule(missing="drop", **keys), n=[None]) == [False]
    assert _kept(_rule(signal="code", any_of=["en"], missing="pass"), code=[None, "de", "en"]) == [True, False, True]
    assert _kept(_rule(signal="b", none_of=[True], missing="drop"), b=[None, True, False]) == [False, False, True]


def test_a_null_matters_only_where_the_conditions_hold() -> None:
    rule = _rule(signal="n", min=3, when=[{"signal": "code", "any_of": ["en"]}, {"signal": "x", "min": 0}])
    assert _kept(rule, n=[None, 1], code=["de", "en"], x=[None, 1.0]) == [True, False]
    with pytest.raises(TaskError, match="signal x of document"):
        _kept(rule, n=[5], code=["en"], x=[None])


def test_a_null_of_a_document_that_is_dropped_already_passes() -> None:
    first = decide(_signals(n=[1, 5]), [_rule("a.n", signal="n", min=3)])
    second = decide(_signals(x=[None, 0.5]), [_rule("b.x", signal="x", min=0.6)], first)
    assert second.column("failed").to_pylist() == [["a.n"], ["b.x"]]
    with pytest.raises(TaskError):
        decide(_signals(x=[0.5, None]), [_rule("b.x", signal="x", min=0.6)], first)


def test_large_integers_stay_exact_beside_a_null() -> None:
    rule = _rule(signal="n", min=2**53 + 1, missing="pass")
    assert _kept(rule, n=[None, 2**53, 2**53 + 1]) == [True, False, True]


def test_the_first_failing_drop_rule_is_the_reason_and_all_failures_are_listed() -> None:
    rules = [
        _rule("a.mark", signal="n", max=0, action="mark"),
        _rule("a.low", signal="n", min=2),
        _rule("a.lower", signal="n", min=3),
    ]
    verdicts = decide(_signals(n=[1, 2, 3, 0]), rules)
    assert verdicts.column("keep").to_pylist() == [False, False, True, False]
    assert verdicts.column("reason").to_pylist() == ["a.low", "a.lower", None, "a.low"]
    assert verdicts.column("failed").to_pylist() == [["a.low", "a.lower"], ["a.lower"], [], ["a.low", "a.lower"]]
    assert verdicts.column("marks").to_pylist() == [["a.mark"], ["a.mark"], ["a.mark"], []]


def test_later_steps_add_failures_but_never_change_a_reason() -> None:
    first = decide(_signals(n=[1, 5]), [_rule("a.n", signal="n", min=3)])
    first = first.set_column(5, VERDICT.field("kept_id"), pa.array([bytes(16), None], ID))
    first = first.set_column(6, VERDICT.field("cluster_size"), pa.array([None, 7], pa.int64()))
    second = decide(_signals(x=[0.1, 0.1]), [_rule("b.x", signal="x", min=0.5)], first)
    assert second.column("reason").to_pylist() == ["a.n", "b.x"]
    assert second.column("failed").to_pylist() == [["a.n", "b.x"], ["b.x"]]
    assert second.column("kept_id").to_pylist() == [bytes(16), None]
    assert second.column("cluster_size").to_pylist() == [None, 7]


def test_verdicts_of_other_documents_are_refused() -> None:
    verdicts = decide(_signals(n=[1, 2]), [])
    with pytest.raises(InvariantError, match="not of the same documents"):
        decide(_signals(n=[1, 2]).take(pa.array([1, 0])), [], verdicts)
    with pytest.raises(InvariantError, match="not of the same documents"):
        decide(_signals(n=[1]), [], verdicts)


def test_a_signal_that_was_never_planned_is_our_bug() -> None:
    with pytest.raises(InvariantError, match="no column x"):
        _kept(_rule(signal="x", min=1), n=[1])


def test_a_quantile_that_was_not_resolved_is_our_bug() -> None:
    with pytest.raises(InvariantError, match="was not resolved"):
        _kept(_rule(signal="n", min={"quantile": 0.5}), n=[1])


def test_equal_values_at_a_quantile_are_told_apart_by_id() -> None:
    tie = 1 << 62
    ids = [(first << 64).to_bytes(16, "big") for first in (tie - 1, tie, tie + 1)]
    signals = pa.table({"id": pa.array(ids, ID), "n": pa.array([5, 5, 5])})
    limits = GroupLimits(quantile=0.5, per=None, limits={"": Limit(value=5, tie=tie)})
    low = _rule(signal="n", min=0).model_copy(update={"low": limits})
    assert decide(signals, [low]).column("keep").to_pylist() == [False, True, True]
    high = _rule(signal="n", max=0).model_copy(update={"high": limits})
    assert decide(signals, [high]).column("keep").to_pylist() == [True, True, False]


def test_each_group_has_its_own_limit_and_an_unseen_group_passes() -> None:
    limits = GroupLimits(quantile=0.5, per="code", limits={"en": Limit(value=5), "de": Limit(value=2)})
    rule = _rule(signal="n", min=0).model_copy(update={"low": limits})
    assert _kept(rule, n=[4, 5, 1, 2, 0], code=["en", "en", "de", "de", "fr"]) == [False, True, False, True, True]
    with pytest.raises(TaskError, match="signal code of document"):
        _kept(rule, n=[4], code=[None])


def test_an_empty_batch_gives_an_empty_table() -> None:
    assert decide(_signals(n=[]), [_rule(signal="n", min=1)]).num_rows == 0
    assert decide(_signals(n=[]), []).schema.equals(VERDICT)


SMALL = st.one_of(st.none(), st.integers(0, 3))
ROWS = st.lists(st.tuples(SMALL, SMALL, st.sampled_from(["en", "de", None])), max_size=12)
RULES = st.lists(
    st.fixed_dictionaries(
        {
            "signal": st.sampled_from(["n", "x"]),
            "min": st.integers(0, 3),
            "action": st.sampled_from(["drop", "mark"]),
            "missing": st.sampled_from(["pass", "drop"]),
            "when": st.lists(st.just({"signal": "code", "any_of": ["en"], "missing": "pass"}), max_size=1),
        }
    ),
    max_size=6,
)


def _plain_verdicts(
    rows: list[Any], steps: list[list[dict[str, Any]]]
) -> list[tuple[bool, str | None, list[str], list[str]]]:
    verdicts = []
    for n, x, code in rows:
        failed: list[str] = []
        marks: list[str] = []
        for at, step in enumerate(steps):
            for number, rule in enumerate(step):
                value = {"n": n, "x": x}[rule["signal"]]
                within = not rule["when"] or code in ("en", None)
                passed = rule["missing"] == "pass" if value is None else value >= rule["min"]
                if within and not passed:
                    (failed if rule["action"] == "drop" else marks).append(f"s{at}.r{number}")
        verdicts.append((not failed, failed[0] if failed else None, failed, marks))
    return verdicts


@settings(max_examples=200, deadline=None)
@given(ROWS, st.lists(RULES, min_size=1, max_size=3), st.integers(0, 12))
def test_verdicts_equal_the_plain_definition_for_any_steps_and_any_split(
    rows: list[Any], steps: list[list[dict[str, Any]]], cut: int
) -> None:
    signals = _signals(n=[row[0] for row in rows], x=[row[1] for row in rows], code=[row[2] for row in rows])
    parts = []
    for part in (signals.slice(0, cut), signals.slice(cut)):
        verdicts = None
        for at, step in enumerate(steps):
            rules = [_rule(f"s{at}.r{number}", **rule) for number, rule in enumerate(step)]
            verdicts = decide(part, rules, verdicts)
        parts.append(verdicts)
    found = pa.concat_tables(parts)
    columns = [found.column(name).to_pylist() for name in ("keep", "reason", "failed", "marks")]
    assert list(zip(*columns, strict=True)) == _plain_verdicts(rows, steps)


def test_chunked_and_dictionary_columns_are_read_too() -> None:
    codes = pa.chunked_array([pa.array(["en", "de"]).dictionary_encode(), pa.array(["en"]).dictionary_encode()])
    ids = pa.array([number.to_bytes(16, "big") for number in range(3)], ID)
    table = pa.table({"id": ids, "code": codes.unify_dictionaries(), "n": pa.chunked_array([[1], [2, 3]])})
    rule = _rule(signal="n", min=2, when=[{"signal": "code", "any_of": ["en"]}])
    assert decide(table, [rule]).column("keep").to_pylist() == [False, True, True]


def test_the_order_of_many_verdicts_is_the_order_of_the_signals() -> None:
    values = np.arange(200_000) % 7
    table = pa.table({"id": pa.array(_ids(200_000), ID), "n": pa.array(values)})
    keep = decide(table, [_rule(signal="n", min=3)]).column("keep").to_numpy()
    assert (keep == (values >= 3)).all()


def _ids(count: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(count)]
