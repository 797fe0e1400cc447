"""How near a signal is to the bounds of a rule: ``|value - bound| / |bound|``, or ``|value|`` for a bound of 0.

Relative, so that bounds of any scale compare; for people to look at, so float64 is exact enough. Lists, missing
signals, groups without a bound and a 0 that passes have no distance.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curate.filters.decide import Columns, group_name, group_rows
from curate.filters.rules import GroupLimits, Limit, ResolvedRule

NO_DISTANCE: Final = math.inf


def distances_to(
    columns: Columns, rule: ResolvedRule | None, rows: NDArray[np.int64], *, failing: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the relative distance of each row to the bound that it breaks (`failing`), else to the nearer one, and
    which side that is (0 low, 1 high): float64 and int64 [rows]. `NO_DISTANCE` where no numeric bound is to blame."""
    best = np.full(len(rows), NO_DISTANCE)
    sides = np.zeros(len(rows), dtype=np.int64)
    if rule is None:
        return best, sides
    for side, bound in enumerate((rule.low, rule.high)):
        if not isinstance(bound, Limit | GroupLimits):
            continue
        limits = _limit_values(columns, bound)[rows]
        values = columns.values(rule.signal)[rows].astype(np.float64)
        beyond = values <= limits if side == 0 else values >= limits
        scale = np.where(limits == 0, 1.0, np.abs(limits))
        with np.errstate(over="ignore", invalid="ignore"):
            distance = np.abs(values - limits) / scale
        nulls = columns.nulls(rule.signal)
        # no signal is negative: who passes at 0 is at the floor of the scale, as most are, and nearly fails nothing
        at_floor = (values == 0) & (not failing)
        unknown = np.isnan(distance) | at_floor | (nulls[rows] if nulls is not None else False) | (failing & ~beyond)
        distance = np.where(unknown, NO_DISTANCE, distance)
        sides[distance < best] = side
        best = np.minimum(best, distance)
    return best, sides


def _limit_values(columns: Columns, bound: Limit | GroupLimits) -> NDArray[np.float64]:
    """Return the bound of each row as float64 [rows]; NaN where it has none."""
    if isinstance(bound, Limit):
        return np.full(columns.rows, _double(bound.value))
    limits = np.full(columns.rows, np.nan)
    if bound.per is None:
        limits[:] = _double(bound.limits[""].value) if "" in bound.limits else np.nan
        return limits
    for group, rows in group_rows(columns.array(bound.per)).items():
        if group in bound.limits:
            limits[rows] = _double(bound.limits[group].value)
    return limits


def _double(value: int | float) -> float:
    """Return a bound as float64; one beyond its range has no distance to anything."""
    try:
        return float(value)
    except OverflowError:
        return math.nan


def bound_text(columns: Columns, rule: ResolvedRule, row: int, side: str, distance: float) -> str | None:
    """Return the bound that a row was measured against, as a recipe would say it."""
    if distance == NO_DISTANCE:
        listed = [("any_of", rule.any_of), ("none_of", rule.none_of)]
        told = [f"{key} {', '.join(map(str, items))}" for key, items in listed if items is not None]
        return "; ".join(told) or None
    bound = rule.low if side == "low" else rule.high
    inclusive = rule.low_inclusive if side == "low" else rule.high_inclusive
    word = {"low": ("above", "min"), "high": ("below", "max")}[side][inclusive]
    if isinstance(bound, Limit):
        return f"{word} {bound.value}"
    assert isinstance(bound, GroupLimits)
    group = "" if bound.per is None else columns.array(bound.per)[row].as_py()
    found = bound.limits[group_name(group)]
    per = f" of {group}" if bound.per else ""
    return f"{word} {found.value} (quantile {bound.quantile}{per})"
