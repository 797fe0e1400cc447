"""From signals to verdicts: evaluate rules on columns, without a Python step per document.

Every comparison happens in the type that the signal is stored in: a bound on an int64 signal becomes the nearest whole
number on the right side, a bound on a float64 signal that no double can hold moves to the next double, so no value is
ever rounded across a threshold. A verdict lists *all* failing rules in recipe order (so that thresholds can be moved
later), but only the first failing ``drop`` rule becomes its reason, and a reason once set never changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import InvariantError, TaskError
from curate.filters.rules import GroupLimits, Limit, Quantile, ResolvedCondition, ResolvedRule
from curate.schema import ID, VERDICT, id_words

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1

Mask = np.ndarray
"""A bool [rows] numpy array."""


class Columns:
    """The columns of one batch of signals as numpy arrays, each converted once and only when a rule asks for it."""

    def __init__(self, signals: pa.RecordBatch | pa.Table) -> None:
        self.rows = signals.num_rows
        self._signals = signals
        self._arrays: dict[str, pa.Array] = {}
        self._values: dict[str, np.ndarray] = {}
        self._nulls: dict[str, Mask | None] = {}
        self._ties: np.ndarray | None = None

    def array(self, name: str) -> pa.Array:
        """Return column `name` as one Arrow array."""
        if name not in self._arrays:
            if name not in self._signals.schema.names:
                raise InvariantError(f"no column {name} among the signals; the plan did not ask for its measure")
            self._arrays[name] = _one_array(self._signals.column(name))
        return self._arrays[name]

    def values(self, name: str) -> np.ndarray:
        """Return column `name` as int64, float64 or bool [rows]; what stands at a null is arbitrary."""
        if name not in self._values:
            array = self.array(name)
            if array.null_count:
                array = pc.fill_null(array, pa.scalar(0, pa.int64()).cast(array.type))
            self._values[name] = array.to_numpy(zero_copy_only=False)
        return self._values[name]

    def nulls(self, name: str) -> Mask | None:
        """Return where column `name` is null, as bool [rows]; None when it is nowhere."""
        if name not in self._nulls:
            array = self.array(name)
            self._nulls[name] = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
        return self._nulls[name]

    def ties(self) -> np.ndarray:
        """Return the first 64 bits of each document id, uint64 [rows]."""
        if self._ties is None:
            self._ties = np.ascontiguousarray(id_words(self.array("id"))[:, 0])
        return self._ties

    def id_hex(self, row: int) -> str:
        """Return the id of one row in hexadecimal."""
        return bytes(self.array("id")[row].as_py()).hex()


def decide(
    signals: pa.RecordBatch | pa.Table, rules: Sequence[ResolvedRule], previous: pa.Table | None = None
) -> pa.Table:
    """Return one verdict per row of `signals` (schema ``VERDICT``, same order).

    `signals` holds ``id`` and every column that a rule reads; `previous` holds the verdicts of the same documents from
    the steps before, whose reason, failures, marks, kept id and cluster size are carried on. All rules are evaluated,
    also on documents that are dropped already.

    Raises TaskError when a signal is null, no `missing` says what to do, and the document is not dropped already.
    """
    columns = Columns(signals)
    check_rows(columns, previous)
    keep = np.ones(columns.rows, dtype=bool) if previous is None else _bools(previous.column("keep"))
    fails = [~passes(rule, columns, must_know=keep) for rule in rules]
    drops = [(rule.reason, failed) for rule, failed in zip(rules, fails, strict=True) if rule.action == "drop"]
    marks = [(rule.reason, failed) for rule, failed in zip(rules, fails, strict=True) if rule.action == "mark"]
    return _verdicts(columns, previous, keep, drops, marks)


def check_rows(columns: Columns, previous: pa.Table | None) -> None:
    """Raise InvariantError unless `previous` holds verdicts of exactly these documents in this order."""
    if previous is None:
        return
    if previous.num_rows != columns.rows or not _one_array(previous.column("id")).equals(columns.array("id")):
        raise InvariantError("verdicts and signals are not of the same documents in the same order")


def passes(rule: ResolvedRule, columns: Columns, must_know: Mask) -> Mask:
    """Return which rows pass `rule`, as bool [rows].

    A null without `missing` is an error on the rows of `must_know`; elsewhere (documents that are dropped already,
    whose expensive signals were never measured) it passes.
    """
    within = applies(rule, columns, must_know)
    return _holds(rule, columns, within & must_know, rule.reason) | ~within


def applies(rule: ResolvedRule, columns: Columns, must_know: Mask) -> Mask:
    """Return the rows on which all `when` conditions of `rule` hold, as bool [rows]."""
    within = np.ones(columns.rows, dtype=bool)
    for condition in rule.when:
        within &= _holds(condition, columns, within & must_know, rule.reason)
    return within


def _holds(condition: ResolvedCondition, columns: Columns, must_know: Mask, reason: str) -> Mask:
    """Return which rows satisfy the bounds and lists of one condition."""
    holds = np.ones(columns.rows, dtype=bool)
    if condition.low is not None:
        holds &= _within(condition, "low", columns, must_know, reason)
    if condition.high is not None:
        holds &= _within(condition, "high", columns, must_know, reason)
    if condition.any_of is not None:
        holds &= _listed(columns.array(condition.signal), condition.any_of)
    if condition.none_of is not None:
        holds &= ~_listed(columns.array(condition.signal), condition.none_of)
    return _settle_nulls(holds, condition, condition.signal, columns, must_know, reason)


def _settle_nulls(
    holds: Mask, condition: ResolvedCondition, name: str, columns: Columns, must_know: Mask, reason: str
) -> Mask:
    nulls = columns.nulls(name)
    if nulls is None:
        return holds
    if condition.missing is None and bool((nulls & must_know).any()):
        row = int(np.flatnonzero(nulls & must_know)[0])
        raise TaskError(
            f"filters.{reason}: signal {name} of document {columns.id_hex(row)} is not measured; "
            'give the rule missing = "pass" or missing = "drop"'
        )
    return np.where(nulls, condition.missing != "drop", holds)


def _within(condition: ResolvedCondition, side: str, columns: Columns, must_know: Mask, reason: str) -> Mask:
    """Return which rows are on the right side of the lower or upper bound of `condition`."""
    low = side == "low"
    bound = condition.low if low else condition.high
    inclusive = condition.low_inclusive if low else condition.high_inclusive
    if isinstance(bound, Quantile):
        raise InvariantError(
            f"filters.{reason}: the quantile {bound.quantile} was not resolved before the rule was used"
        )
    if isinstance(bound, Limit):
        return _beyond(columns, condition.signal, bound, low, inclusive, slice(None))
    assert isinstance(bound, GroupLimits)
    if bound.per is None:
        limit = bound.limits.get("")
        everywhere = np.ones(columns.rows, dtype=bool)
        return everywhere if limit is None else _beyond(columns, condition.signal, limit, low, inclusive, slice(None))
    holds = np.ones(columns.rows, dtype=bool)
    for group, rows in group_rows(columns.array(bound.per)).items():
        limit = bound.limits.get(group)
        if limit is not None:
            holds[rows] = _beyond(columns, condition.signal, limit, low, inclusive, rows)
    return _settle_nulls(holds, condition, bound.per, columns, must_know, reason)


def _beyond(columns: Columns, name: str, limit: Limit, low: bool, inclusive: bool, rows: Any) -> Mask:
    """Return where values of `name` on `rows` are >=, >, <= or < the limit, in the type that they are stored in."""
    values = columns.values(name)[rows]
    if limit.tie is not None:
        value = values.dtype.type(limit.value)
        ties = columns.ties()[rows]
        beyond = values > value if low else values < value
        tied = ties >= np.uint64(limit.tie) if low else ties <= np.uint64(limit.tie)
        return beyond | ((values == value) & tied)
    if values.dtype == np.int64:
        return _compare_integers(values, limit.value, low, inclusive)
    if values.dtype == np.float64:
        return _compare_doubles(values, limit.value, low, inclusive)
    raise InvariantError(f"signal {name} is {values.dtype}: a bound needs int64 or float64")


def _compare_integers(values: np.ndarray, bound: int | float, low: bool, inclusive: bool) -> Mask:
    """Compare through the nearest whole number that passes: ``x >= 2.5`` is ``x >= 3``, ``x < 2.5`` is ``x <= 2``."""
    if low:
        nearest = math.ceil(bound) if inclusive else math.floor(bound) + 1
        return np.zeros(len(values), dtype=bool) if nearest > INT64_MAX else values >= max(nearest, INT64_MIN)
    nearest = math.floor(bound) if inclusive else math.ceil(bound) - 1
    return np.zeros(len(values), dtype=bool) if nearest < INT64_MIN else values <= min(nearest, INT64_MAX)


def _compare_doubles(values: np.ndarray, bound: int | float, low: bool, inclusive: bool) -> Mask:
    """Compare with the bound itself; a whole number that no double can hold lies strictly between two doubles."""
    try:
        nearest = float(bound)
    except OverflowError:
        nearest = math.inf if bound > 0 else -math.inf
    if nearest != bound:
        # the double next to the bound passes exactly when it lies on the passing side of it
        inclusive = nearest > bound if low else nearest < bound
    if low:
        return values >= nearest if inclusive else values > nearest
    return values <= nearest if inclusive else values < nearest


def _listed(array: pa.Array, items: Sequence[Any]) -> Mask:
    """Return which values are one of `items`; nulls are none of them."""
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    if pa.types.is_integer(array.type):
        items = [item for item in items if INT64_MIN <= item <= INT64_MAX]
    found = pc.is_in(array, value_set=pa.array(items, type=array.type), skip_nulls=True)
    return found.to_numpy(zero_copy_only=False)


def group_rows(groups: pa.Array) -> dict[str, np.ndarray]:
    """Return the row numbers of each value of a ``per`` column, by the value as text; nulls are in no group."""
    encoded = groups if isinstance(groups, pa.DictionaryArray) else groups.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    names = [group_name(value) for value in encoded.dictionary.to_pylist()]
    return {name: order[edges[at] : edges[at + 1]] for at, name in enumerate(names) if edges[at + 1] > edges[at]}


def group_name(value: object) -> str:
    """Return how a value of a ``per`` signal is written as the key of its group."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _verdicts(
    columns: Columns,
    previous: pa.Table | None,
    keep: Mask,
    drops: Sequence[tuple[str, Mask]],
    marks: Sequence[tuple[str, Mask]],
) -> pa.Table:
    rows = columns.rows
    first = np.full(rows, -1, dtype=np.int32)
    for at in range(len(drops) - 1, -1, -1):
        first[drops[at][1]] = at
    reasons = pa.array([reason for reason, _ in drops], pa.string())
    reason = pc.take(reasons, pa.array(first, mask=first < 0))
    if previous is not None:
        reason = pc.coalesce(_one_array(previous.column("reason")), reason)
    carried: Mapping[str, pa.Array] = {
        "kept_id": pa.nulls(rows, ID) if previous is None else previous.column("kept_id"),
        "cluster_size": pa.nulls(rows, pa.int64()) if previous is None else previous.column("cluster_size"),
        "similarity": pa.nulls(rows, pa.float64()) if previous is None else previous.column("similarity"),
    }
    return pa.table(
        {
            "id": columns.array("id"),
            "keep": pa.array(keep & (first < 0)),
            "reason": reason,
            "failed": append_lists(None if previous is None else _one_array(previous.column("failed")), drops, rows),
            "marks": append_lists(None if previous is None else _one_array(previous.column("marks")), marks, rows),
            **carried,
        },
        schema=VERDICT,
    )


def append_lists(before: pa.Array | None, named: Sequence[tuple[str, Mask]], rows: int) -> pa.Array:
    """Return a list<string> array [rows]: each row's list `before`, then every name whose mask is true there, in
    order."""
    hit_rows, hit_names = (np.zeros(0, dtype=np.int64),) * 2
    if named:
        # transposed by numpy in one pass: nonzero then walks row by row, names in order
        hit_rows, hit_names = np.nonzero(np.ascontiguousarray(np.stack([mask for _, mask in named], axis=1)))
    names = pa.array([name for name, _ in named], pa.string())
    added = np.bincount(hit_rows, minlength=rows)
    if before is None or len(pc.list_flatten(before)) == 0:
        offsets = np.concatenate([[0], np.cumsum(added)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(hit_names)))
    old_values = pc.list_flatten(before)
    old_counts = pc.list_value_length(before).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(old_counts + added)]).astype(np.int64)
    # where each entry of the result comes from: first the old values, then the added names behind them
    source = np.empty(int(offsets[-1]), dtype=np.int64)
    old_starts = np.cumsum(old_counts) - old_counts
    source[_ranges(offsets[:-1], old_starts, old_counts)] = np.arange(len(old_values))
    new_starts = np.cumsum(added) - added
    source[_ranges(offsets[:-1] + old_counts, new_starts, added)] = len(old_values) + hit_names
    values = pa.concat_arrays([old_values.cast(pa.string()), names]).take(pa.array(source))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)


def _ranges(targets: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return where entry k of a flat list array goes, when the list of each row moves from `starts` to `targets`."""
    return np.repeat(targets - starts, counts) + np.arange(int(counts.sum()))


def _bools(column: pa.ChunkedArray) -> Mask:
    return np.array(_one_array(column).to_numpy(zero_copy_only=False), dtype=bool)


def _one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    # combine_chunks copies even a single chunk
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
