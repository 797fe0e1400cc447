from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.report.interval import clopper_pearson


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        # none of n: 1 - (α/2)^(1/n); all of n: (α/2)^(1/n)
        (0, 10, 0.0, 1 - 0.025 ** (1 / 10)),
        (10, 10, 0.025 ** (1 / 10), 1.0),
        (0, 1000, 0.0, 1 - 0.025 ** (1 / 1000)),
        (1, 1, 0.025, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_the_bounds_with_a_closed_form(hits: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_equal_to_the_quantiles_of_beta_distributions(hits: int, more: int, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    trials, tail = hits + more, (1 - confidence) / 2
    low = stats.beta.ppf(tail, hits, more + 1) if hits else 0.0
    high = stats.beta.isf(tail, hits + 1, more) if more else 1.0
    assert clopper_pearson(hits, trials, confidence) == pytest.approx((low, high), abs=1e-10)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.3, 0.5])
def test_the_interval_misses_the_truth_no_more_often_than_it_says(share: float) -> None:
    trials = 60
    missed = 0.0
    for hits in range(trials + 1):
        low, high = clopper_pearson(hits, trials)
        if not low <= share <= high:
            missed += math.comb(trials, hits) * share**hits * (1 - share) ** (trials - hits)
    assert missed <= 0.05


def test_more_hits_than_trials_are_no_share() -> None:
    with pytest.raises(ValueError, match="5 of 4"):
        clopper_pearson(5, 4)
