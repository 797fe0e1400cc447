"""Exact quantiles over any number of documents, by rounds of small integer histograms.

Each document is a 128-bit key: its value as an order-preserving uint64, then the first 64 bits of its id, so that no
two documents tie. Round k counts, per group, the next 16 bits of the keys that start with the prefix found so far; the
counts of all tasks are added (in any order), and the bin that holds the wanted rank extends the prefix. After eight
rounds the key is known: the value, and the id that decides among equal values. The result depends on the set of
documents alone, never on how they are split into files or tasks; memory is at most 65,536 counts a group.

The rank: ``min = {quantile = q}`` drops the lowest ``floor(q * n)`` documents and ``max = {quantile = q}`` the highest
``floor((1 - q) * n)``, so a quantile never drops more than its share, and a group of one document keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.errors import InvariantError
from curate.filters.decide import Columns, Mask, applies, group_rows
from curate.filters.rules import GroupLimits, Limit, Quantile, ResolvedRule, Settings, Side

ROUNDS: Final = 8
"""Rounds of 16 bits: 0 to 3 find the value, 4 to 7 the id among equal values."""

Histogram = dict[str, dict[str, int]]
"""Group -> bin (four hexadecimal digits) -> count: mergeable by addition, and plain JSON."""


class Search(Settings):
    """How far a quantile search has come: the `round` to count next, and per group the `prefixes` found so far
    (16 bits a round) and the `ranks` (0-based, ascending) of the wanted document among those with this prefix."""

    round: int = 0
    prefixes: dict[str, int] = Field(default_factory=dict)
    ranks: dict[str, int] = Field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """True when every bit of every key is known."""
        return self.round == ROUNDS


def rule_histogram(columns: Columns, rule: ResolvedRule, side: Side, kept: Mask, search: Search) -> Histogram:
    """Return this batch's counts for one round of the quantile bound on one `side` of `rule`.

    Counted are the documents that are still `kept` (bool [rows]), to which the rule applies (its `when`), and whose
    signal is not null.
    """
    bound = rule.low if side == "low" else rule.high
    if not isinstance(bound, Quantile):
        raise InvariantError(f"filters.{rule.reason}: its {side} bound is not a quantile to be found")
    population = kept & applies(rule, columns, must_know=kept)
    nulls = columns.nulls(rule.signal)
    if nulls is not None:
        population &= ~nulls
    groups = {"": np.arange(columns.rows)} if bound.per is None else group_rows(columns.array(bound.per))
    populated = {group: rows[population[rows]] for group, rows in groups.items()}
    return histogram(columns.values(rule.signal), columns.ties(), populated, search)


def histogram(values: np.ndarray, ties: np.ndarray, groups: Mapping[str, np.ndarray], search: Search) -> Histogram:
    """Return the counts of the next 16 bits, per group, of the rows whose key starts with the prefix found so far.

    `values` int64 or float64 [rows] (no NaN), `ties` uint64 [rows] the first 64 bits of the ids, `groups` the row
    numbers of each group.
    """
    value_round = search.round < ROUNDS // 2
    shift = np.uint64(48 - 16 * (search.round % (ROUNDS // 2)))
    counts: Histogram = {}
    for group, rows in groups.items():
        if search.round and group not in search.prefixes:
            continue
        prefix = search.prefixes.get(group, 0)
        keys = ordered_words(values[rows])
        if not value_round:
            found = np.uint64(prefix >> (16 * (search.round - ROUNDS // 2)))
            rows, prefix = rows[keys == found], prefix & ((1 << (16 * (search.round - ROUNDS // 2))) - 1)
            keys = ties[rows]
        if search.round % (ROUNDS // 2):
            keys = keys[(keys >> (shift + np.uint64(16))) == np.uint64(prefix)]
        bins, sizes = np.unique((keys >> shift) & np.uint64(0xFFFF), return_counts=True)
        if len(bins):
            pairs = zip(bins.tolist(), sizes.tolist(), strict=True)
            counts[group] = {f"{place:04x}": size for place, size in pairs}
    return counts


def ordered_words(values: np.ndarray) -> np.ndarray:
    """Return int64 or float64 values as uint64 words in the same order; -0.0 equals 0.0."""
    top = np.uint64(1 << 63)
    if values.dtype == np.int64:
        return values.view(np.uint64) ^ top
    if values.dtype != np.float64:
        raise InvariantError(f"a quantile needs an int64 or float64 signal, not {values.dtype}")
    words = (values + 0.0).view(np.uint64)
    return np.where(words & top, ~words, words | top)


def value_of_word(word: int, *, integer: bool) -> int | float:
    """Return the value that `ordered_words` wrote as `word`."""
    top = 1 << 63
    if integer:
        return word - top
    bits = word ^ top if word & top else word ^ ((1 << 64) - 1)
    return float(np.uint64(bits).view(np.float64))


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """Return the sum of histograms; their order does not matter."""
    total: Histogram = {}
    for counts in histograms:
        for group, bins in counts.items():
            into = total.setdefault(group, {})
            for place, size in bins.items():
                into[place] = into.get(place, 0) + size
    return total


def rank_of(quantile: float, documents: int, side: Side) -> int:
    """Return the 0-based ascending rank of the last document that the bound keeps: the lowest one that passes a lower
    bound, the highest one that passes an upper bound. Exact: 0.29 of 100 is 29."""
    share = Fraction(repr(quantile)) * documents
    return int(share) if side == "low" else -int(-share // 1) - 1


def narrow(search: Search, merged: Histogram, quantile: float, side: Side) -> Search:
    """Return the search one round further, after the counts of all tasks were `merged`."""
    prefixes: dict[str, int] = {}
    ranks: dict[str, int] = {}
    for group in merged if search.round == 0 else search.prefixes:
        bins = merged.get(group, {})
        rank = rank_of(quantile, sum(bins.values()), side) if search.round == 0 else search.ranks[group]
        for place in sorted(bins):
            if rank < bins[place]:
                prefixes[group] = search.prefixes.get(group, 0) << 16 | int(place, 16)
                ranks[group] = rank
                break
            rank -= bins[place]
        else:
            raise InvariantError(f"quantile {quantile}: group {group!r} lost documents between two rounds")
    return Search(round=search.round + 1, prefixes=prefixes, ranks=ranks)


def with_limits(rule: ResolvedRule, side: Side, search: Search, *, integer: bool) -> ResolvedRule:
    """Return `rule` with the quantile bound on `side` replaced by what the finished `search` found.

    `integer` tells whether the signal is int64 (else float64). ``above`` and ``below`` compare with the value alone.
    """
    bound = rule.low if side == "low" else rule.high
    if not isinstance(bound, Quantile) or not search.finished:
        raise InvariantError(f"filters.{rule.reason}: the {side} quantile is not finished")
    by_id = rule.low_inclusive if side == "low" else rule.high_inclusive
    limits = {
        group: Limit(value=value_of_word(key >> 64, integer=integer), tie=key & ((1 << 64) - 1) if by_id else None)
        for group, key in sorted(search.prefixes.items())
    }
    found = GroupLimits(quantile=bound.quantile, per=bound.per, limits=limits)
    return rule.model_copy(update={side: found})


def resolve_in_memory(signals: pa.Table, rule: ResolvedRule, kept: Mask) -> ResolvedRule:
    """Return `rule` with its quantile bounds found over one table: what the rounds of tasks do, in one process."""
    columns = Columns(signals)
    for side in rule.waits_for():
        bound = rule.low if side == "low" else rule.high
        assert isinstance(bound, Quantile)
        search = Search()
        while not search.finished:
            search = narrow(search, rule_histogram(columns, rule, side, kept, search), bound.quantile, side)
        rule = with_limits(rule, side, search, integer=columns.values(rule.signal).dtype == np.int64)
    return rule
