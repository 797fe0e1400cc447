"""The exact confidence interval of a share (Clopper and Pearson 1934): never narrower than it says, whatever the share.

The bounds are quantiles of beta distributions; here each is found by bisection on the binomial distribution itself, so
that no statistics library is needed. A sample without replacement, as an audit's, varies less: the interval is then on
the safe side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE: Final = 0.95
STEPS: Final = 60
"""Halvings of the interval from 0 to 1: more than a double has digits there."""


class Interval(NamedTuple):
    """Between which shares the true one lies, both 0 to 1."""

    low: float
    high: float


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval for a share of which `hits` of `trials` were seen; 0 to 1 for no trials.

    Each side is missed with a probability of at most (1 - confidence) / 2. Raises ValueError unless
    0 <= hits <= trials. Cost: a few milliseconds for a thousand trials.
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} of {trials} is no share")
    tail = (1 - confidence) / 2
    ways = _log_ways(trials)
    low = _bisect(lambda share: _tail(ways, share, hits, trials) < tail) if hits else 0.0
    high = _bisect(lambda share: _tail(ways, share, 0, hits) > tail) if hits < trials else 1.0
    return Interval(low, high)


def _log_ways(trials: int) -> NDArray[np.float64]:
    """Return the logarithms of the binomial coefficients of `trials`, float64 [trials + 1]."""
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    return factorials[-1] - factorials - factorials[::-1]


def _tail(ways: NDArray[np.float64], share: float, first: int, last: int) -> float:
    """Return the probability of `first` to `last` hits, both included, where each trial is one with `share`."""
    hits = np.arange(first, last + 1)
    logs = ways[first : last + 1] + hits * np.log(share) + (len(ways) - 1 - hits) * np.log1p(-share)
    return float(np.exp(logs).sum())


def _bisect(is_below: Callable[[float], bool]) -> float:
    """Return where `is_below`, true for small shares and false for large ones, changes."""
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if is_below(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2
