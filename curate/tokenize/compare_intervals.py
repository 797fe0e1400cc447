"""Ratios of sums over documents with bootstrap confidence intervals (Efron 1979; percentile intervals, 95%).

Documents are drawn with replacement, the same draws for every tokenizer, so that ratios between tokenizers are paired.
Draws come from the raw 64-bit stream of PCG64, which no version of NumPy changes, and sums of integers are exact: equal
counts give equal intervals on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

LOWER: Final = 0.025
UPPER: Final = 0.975
DIGITS: Final = 6
_AT_A_TIME: Final = 1 << 20

Sums = npt.NDArray[np.float64]


def totals(counts: npt.NDArray[np.int64], *, resamples: int, seed: int) -> Sums:
    """Return sums of `counts` (int64 [documents, columns]) as float64 [1 + resamples, columns]: row 0 of the documents
    as they are, each other row of as many documents drawn with replacement (none for fewer than two documents)."""
    documents, columns = counts.shape
    rounds = resamples if documents > 1 else 0
    sums = np.empty((1 + rounds, columns), dtype=np.float64)
    sums[0] = counts.sum(axis=0)
    exact = counts.astype(np.float64)
    stream = np.random.PCG64(seed)
    step = max(1, _AT_A_TIME // max(1, documents))
    for first in range(0, rounds, step):
        number = min(step, rounds - first)
        raw = np.asarray(stream.random_raw(number * documents), dtype=np.uint64)
        # the upper 32 bits, scaled to 0 … documents - 1; rows are told apart by an offset
        drawn = ((raw >> np.uint64(32)) * np.uint64(documents)) >> np.uint64(32)
        drawn += np.repeat(np.arange(number, dtype=np.uint64) * np.uint64(documents), documents)
        weights = np.bincount(drawn.astype(np.int64), minlength=number * documents).reshape(number, documents)
        sums[1 + first : 1 + first + number] = weights.astype(np.float64) @ exact
    return sums


def interval(values: npt.NDArray[np.float64]) -> dict[str, Any] | None:
    """Return {value, low, high} of a statistic: `values[0]` is its value, the others those of the resamples; None if
    it has no value, low and high None if there are no resamples. Resamples without a value are left out."""
    if not np.isfinite(values[0]):
        return None
    spread = np.sort(values[1:][np.isfinite(values[1:])])
    if not len(spread):
        return {"value": rounded(values[0]), "low": None, "high": None}
    low, high = spread[int(LOWER * len(spread))], spread[min(int(UPPER * len(spread)), len(spread) - 1)]
    return {"value": rounded(values[0]), "low": rounded(low), "high": rounded(high)}


def ratio(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return `above` over `below`, NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)


def rounded(value: Any) -> float:
    """Return a number with six significant digits: what machines may compute differently is cut off."""
    return float(f"{float(value):.{DIGITS}g}")


def or_none(compute: Callable[[], float]) -> float | None:
    """Return the rounded result of `compute`, None where it divides by zero."""
    try:
        return rounded(compute())
    except ZeroDivisionError:
        return None
