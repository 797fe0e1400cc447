"""Quantiles by rounds of histograms, against sorting everything."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import InvariantError
from curate.filters.decide import Columns, decide
from curate.filters.quantiles import (
    Search,
    histogram,
    merge,
    narrow,
    ordered_words,
    rank_of,
    resolve_in_memory,
    rule_histogram,
    value_of_word,
    with_limits,
)
from curate.filters.rules import GroupLimits, ResolvedRule, Rule, resolve
from curate.schema import ID

INTEGERS = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
FLOATS = st.one_of(st.sampled_from([-0.0, 0.0, 0.5, 5e-324, -1.0]), st.floats(allow_nan=False, allow_infinity=False))


def _rule(**keys: Any) -> ResolvedRule:
    rule = Rule.model_validate({"signal": "v", **keys})
    return resolve(rule, "t.r", {name: name for condition in (rule, *rule.when) for name in condition.signals()})


def _table(values: list[Any], groups: list[Any], dtype: pa.DataType) -> pa.Table:
    ids = [(number * 7919 % 1013 << 64 | number).to_bytes(16, "big") for number in range(len(values))]
    return pa.table({"id": pa.array(ids, ID), "v": pa.array(values, dtype), "g": pa.array(groups, pa.string())})


def _resolve_over(parts: list[pa.Table], rule: ResolvedRule, kept: list[np.ndarray]) -> ResolvedRule:
    """What the engine does: one histogram per part and round, JSON between the rounds."""
    resolved = rule
    for side in rule.waits_for():
        bound = rule.low if side == "low" else rule.high
        search = Search()
        while not search.finished:
            counted = [
                json.loads(json.dumps(rule_histogram(Columns(part), rule, side, mask, search)))
                for part, mask in zip(parts, kept, strict=True)
            ]
            search = narrow(search, merge(reversed(counted)), bound.quantile, side)  # type: ignore[union-attr]
            search = Search.model_validate(json.loads(search.model_dump_json()))
        resolved = with_limits(resolved, side, search, integer=pa.types.is_integer(parts[0].schema.field("v").type))
    return ResolvedRule.model_validate(resolved.model_dump(mode="json"))


def _expected(table: pa.Table, quantile: float, side: str, kept: np.ndarray) -> list[bool]:
    """Sort each group by (value, id) and cut off the share."""
    rows = table.to_pylist()
    passes = [True] * len(rows)
    for group in {row["g"] for row in rows}:
        members = [at for at, row in enumerate(rows) if kept[at] and row["g"] == group]
        members.sort(key=lambda at: (rows[at]["v"], rows[at]["id"]))
        share = Fraction(repr(quantile)) * len(members)
        below = math.floor(share) if side == "min" else math.ceil(share)
        for place, at in enumerate(members):
            passes[at] = place >= below if side == "min" else place < below
    return passes


@settings(max_examples=150, deadline=None)
@given(
    st.data(),
    st.sampled_from(["int64", "float64"]),
    st.sampled_from(["min", "max"]),
    st.sampled_from([0.9, 0.5, 0.1, 0.29, 0.999]),
    st.lists(st.integers(0, 40), max_size=4),
    st.booleans(),
)
def test_a_quantile_cuts_the_exact_share_however_the_documents_are_split(
    data: st.DataObject, dtype: str, side: str, quantile: float, cuts: list[int], grouped: bool
) -> None:
    values = data.draw(st.lists(INTEGERS if dtype == "int64" else FLOATS, min_size=1, max_size=40))
    groups = data.draw(
        st.lists(st.sampled_from(["en", "de"] if grouped else ["x"]), min_size=len(values), max_size=len(values))
    )
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    table = _table(values, groups, pa.int64() if dtype == "int64" else pa.float64())
    rule = _rule(**{side: {"quantile": quantile, **({"per": "g"} if grouped else {})}})

    edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    spans = list(itertools.pairwise(edges))
    resolved = _resolve_over([table.slice(a, b - a) for a, b in spans], rule, [kept[a:b] for a, b in spans])
    assert resolved == resolve_in_memory(table, rule, kept)

    passed = decide(table, [resolved]).column("keep").to_numpy()
    expected = np.array(_expected(table, quantile, side, kept))
    assert (passed[kept] == expected[kept]).all()


def test_the_top_tenth_of_ten_thousand_is_a_thousand_in_spite_of_ties() -> None:
    table = _table([at % 3 for at in range(10_000)], ["x"] * 10_000, pa.int64())
    everything = np.ones(10_000, dtype=bool)
    kept = decide(table, [resolve_in_memory(table, _rule(min={"quantile": 0.9}), everything)]).column("keep")
    assert kept.to_numpy().sum() == 1000
    kept = decide(table, [resolve_in_memory(table, _rule(max={"quantile": 0.9}), everything)]).column("keep")
    assert kept.to_numpy().sum() == 9000


def test_above_and_below_leave_out_all_that_equal_the_quantile() -> None:
    table = _table([1, 2, 2, 2, 3], ["x"] * 5, pa.int64())
    everything = np.ones(5, dtype=bool)
    above = resolve_in_memory(table, _rule(above={"quantile": 0.5}), everything)
    assert decide(table, [above]).column("keep").to_pylist() == [False, False, False, False, True]
    below = resolve_in_memory(table, _rule(below={"quantile": 0.5}), everything)
    assert decide(table, [below]).column("keep").to_pylist() == [True, False, False, False, False]


def test_a_rule_can_have_a_quantile_on_both_sides() -> None:
    table = _table(list(range(100)), ["x"] * 100, pa.int64())
    rule = _rule(min={"quantile": 0.1}, max={"quantile": 0.9})
    resolved = _resolve_over([table], rule, [np.ones(100, dtype=bool)])
    assert np.flatnonzero(decide(table, [resolved]).column("keep").to_numpy()).tolist() == list(range(10, 90))


def test_the_quantile_is_taken_where_the_rule_applies_and_the_signal_is_measured() -> None:
    table = _table([0, 1, 2, 3, None, 100, 100], ["en"] * 5 + ["de"] * 2, pa.int64())
    rule = _rule(min={"quantile": 0.5}, missing="pass", when=[{"signal": "g", "any_of": ["en"]}])
    resolved = resolve_in_memory(table, rule, np.ones(7, dtype=bool))
    assert isinstance(resolved.low, GroupLimits)
    assert resolved.low.limits[""].value == 2
    assert decide(table, [resolved]).column("keep").to_pylist() == [False, False, True, True, True, True, True]


def test_a_group_that_was_empty_when_the_quantile_was_taken_passes() -> None:
    table = _table([1, 2, 3], ["en", "en", "de"], pa.int64())
    rule = resolve_in_memory(table, _rule(min={"quantile": 0.9, "per": "g"}), np.array([True, True, False]))
    assert decide(table, [rule]).column("keep").to_pylist() == [False, True, True]
    nobody = resolve_in_memory(table, _rule(min={"quantile": 0.9}), np.zeros(3, dtype=bool))
    assert decide(table, [nobody]).column("keep").to_pylist() == [True, True, True]


def test_a_share_is_counted_without_rounding() -> None:
    assert [rank_of(0.29, 100, side) for side in ("low", "high")] == [29, 28]
    assert [rank_of(0.9, 1, side) for side in ("low", "high")] == [0, 0]
    assert [rank_of(0.9, 15, side) for side in ("low", "high")] == [13, 13]


@settings(max_examples=200)
@given(st.lists(INTEGERS, min_size=2, max_size=2), st.lists(FLOATS, min_size=2, max_size=2))
def test_words_keep_the_order_of_values_and_lead_back_to_them(integers: list[int], floats: list[float]) -> None:
    for values, dtype in ((integers, np.int64), (floats, np.float64)):
        low, high = ordered_words(np.array(values, dtype=dtype)).tolist()
        assert (low < high) == (values[0] < values[1])
        assert (low == high) == (values[0] == values[1])
        assert value_of_word(low, integer=dtype is np.int64) == values[0]


def test_counts_that_do_not_belong_together_are_our_bug() -> None:
    search = narrow(Search(), {"": {"0001": 2}}, 0.5, "low")
    with pytest.raises(InvariantError, match="lost documents"):
        narrow(search, {"": {"0001": 1}}, 0.5, "low")


def test_a_histogram_has_at_most_one_count_for_every_sixteen_bits() -> None:
    values = np.arange(200_000, dtype=np.int64)
    counts = histogram(values, values.astype(np.uint64), {"": np.arange(200_000)}, Search())
    assert counts == {"": {"8000": 200_000}}
