"""Leader clustering against its definition, for any chunks and any memory; and how much work hostile stars make."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.leaders import ALONE, ANY, JOINS, LEADS, LEFT, Leaders

Kind = Literal["jaccard", "containment"] | None
Star = list[list[int]]


def plain_similarity(one: list[int], other: list[int], kind: Kind) -> float:
    if kind is None:
        return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
    common = len(set(one) & set(other))
    whole = min(len(one), len(other)) if kind == "containment" else len(one) + len(other) - common
    return common / whole if one and other else 0.0


def plain_leaders(star: Star, threshold: float, kind: Kind) -> list[tuple[int, float]]:
    """The number of each set's leader in the star, and the similarity to it: the definition."""
    leaders: list[int] = []
    found = []
    for row, mine in enumerate(star):
        for leader in leaders:
            similarity = plain_similarity(mine, star[leader], kind)
            if similarity >= threshold:
                found.append((leader, similarity))
                break
        else:
            leaders.append(row)
            found.append((row, 1.0))
    return found


def settle(
    stars: list[Star], threshold: float, kind: Kind, cuts: list[int], **limits: int
) -> tuple[list[list[tuple[int, float]]], int]:
    """What `Leaders` says of whole stars, in as many rounds as it takes; and how many these were."""
    result: list[list[tuple[int, float]]] = [[(-1, 0.0)] * len(star) for star in stars]
    waiting = [(number, row) for number, star in enumerate(stars) for row in range(len(star))]
    rounds = 0
    while waiting:
        rounds += 1
        before = len(waiting)
        waiting = one_round(stars, waiting, Leaders(threshold, kind, **limits), cuts, result)
        assert len(waiting) < before
    return result, rounds


def one_round(
    stars: list[Star],
    waiting: list[tuple[int, int]],
    leaders: Leaders,
    cuts: list[int],
    result: list[list[tuple[int, float]]],
) -> list[tuple[int, int]]:
    left: list[tuple[int, int]] = []
    known: list[tuple[int, int]] = []
    places = sorted({min(cut, len(waiting)) for cut in cuts} | {0, len(waiting)})
    for start, end in zip(places, [*places[1:], len(waiting)], strict=True):
        rows = waiting[start:end]
        starts = [at == 0 or waiting[at - 1][0] != waiting[at][0] for at in range(start, end)]
        sets = [stars[number][row] for number, row in rows]
        hashes = np.array([value for one in sets for value in one], dtype=np.uint32)
        bounds = np.cumsum([0, *map(len, sets)], dtype=np.int64)
        known = known[len(known) - leaders.open :] if leaders.open else []
        done = leaders.take(
            np.array(starts, dtype=bool), np.full(len(rows), ANY, np.int8), hashes, bounds[:-1], bounds[1:]
        )
        known += [row for row, leads in zip(rows, done.leads.tolist(), strict=True) if leads]
        for place, leader, similarity in zip(rows, done.leader.tolist(), done.similarity.tolist(), strict=True):
            if leader == LEFT:
                left.append(place)
            else:
                assert known[leader][0] == place[0]
                result[place[0]][place[1]] = (known[leader][1], similarity)
    return left


SETS = st.sets(st.integers(0, 12), min_size=1, max_size=10).map(sorted)
STARS = st.lists(st.lists(SETS, min_size=1, max_size=14), min_size=1, max_size=4)
CUTS = st.lists(st.integers(0, 40), max_size=6)
THRESHOLDS = st.sampled_from([0.0, 0.3, 0.5, 2 / 3, 0.75, 0.8, 0.9, 1.0])


@settings(max_examples=300, deadline=None)
@given(STARS, THRESHOLDS, st.sampled_from(["jaccard", "containment"]), CUTS, st.integers(4, 200), st.integers(1, 14))
def test_leaders_are_those_of_the_definition_in_any_chunks_and_any_memory(
    stars: list[Star], threshold: float, kind: Kind, cuts: list[int], memory_bytes: int, max_leaders: int
) -> None:
    expected = [plain_leaders(star, threshold, kind) for star in stars]
    assert settle(stars, threshold, kind, cuts)[0] == expected
    found, _ = settle(stars, threshold, kind, cuts, memory_bytes=memory_bytes, max_leaders=max_leaders)
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=1, max_size=14), min_size=1),
    THRESHOLDS,
    CUTS,
)
def test_signatures_are_similar_by_their_equal_values(stars: list[Star], threshold: float, cuts: list[int]) -> None:
    expected = [plain_leaders(star, threshold, None) for star in stars]
    assert settle(stars, threshold, None, cuts, memory_bytes=100)[0] == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([0.3, 0.5, 0.8]), st.integers(0, 60))
def test_the_index_finds_every_first_leader(seed: int, threshold: float, shared: int) -> None:
    dice = np.random.default_rng(seed)
    template = dice.choice(1 << 32, 60, replace=False)
    star = []
    for _ in range(120):
        own = dice.choice(1 << 32, int(dice.integers(1, 40)), replace=False)
        base = star[int(dice.integers(len(star)))] if star and dice.random() < 0.5 else template[:shared]
        star.append(sorted({*dice.permutation(base)[: int(len(base) * 0.95)].tolist(), *own[: own.size // 3].tolist()}))
    star = [one or [7] for one in star]
    assert settle([star], threshold, "jaccard", [50])[0] == [plain_leaders(star, threshold, "jaccard")]


def test_who_leads_is_compared_with_nobody_and_who_joins_never_leads() -> None:
    leaders = Leaders(0.5, "jaccard")
    sets = [[1, 2], [1, 2], [5, 6], [1, 2, 3], [8], [8], [5, 6, 7]]
    hashes = np.array([value for one in sets for value in one], dtype=np.uint32)
    bounds = np.cumsum([0, *map(len, sets)], dtype=np.int64)
    may = np.array([LEADS] * 3 + [JOINS] * 4, dtype=np.int8)
    found = leaders.take(np.arange(7) == 0, may, hashes, bounds[:-1], bounds[1:])
    assert found.leader.tolist() == [0, 1, 2, 0, ALONE, ALONE, 2]
    assert found.leads.tolist() == [True] * 3 + [False] * 4


@settings(max_examples=100, deadline=None)
@given(st.lists(SETS, min_size=1, max_size=9), st.lists(SETS, max_size=9), THRESHOLDS, st.integers(4, 100), CUTS)
def test_members_find_the_first_of_those_that_lead_in_any_memory(
    first: Star, members: Star, threshold: float, memory_bytes: int, cuts: list[int]
) -> None:
    star = first + members
    waiting = list(range(len(star)))
    found: dict[int, int] = {}
    while waiting:
        leaders = Leaders(threshold, "jaccard", memory_bytes)
        known: list[int] = []
        left: list[int] = []
        for rows in np.split(np.array(waiting), sorted({min(cut, len(waiting)) for cut in cuts})):
            if not len(rows):
                continue
            sets = [star[row] for row in rows]
            hashes = np.array([value for one in sets for value in one], dtype=np.uint32)
            bounds = np.cumsum([0, *map(len, sets)], dtype=np.int64)
            may = np.where(rows < len(first), LEADS, JOINS).astype(np.int8)
            done = leaders.take(rows == waiting[0], may, hashes, bounds[:-1], bounds[1:])
            known += rows[done.leads].tolist()
            for row, leader in zip(rows.tolist(), done.leader.tolist(), strict=True):
                if leader == LEFT:
                    left.append(row)
                elif leader >= 0:
                    found[row] = known[leader]
        assert len(left) < len(waiting)
        waiting = left
    near = [
        next((at for at, one in enumerate(first) if plain_similarity(mine, one, "jaccard") >= threshold), None)
        for mine in members
    ]
    expected = {len(first) + at: leader for at, leader in enumerate(near) if leader is not None}
    assert found == expected | {row: row for row in range(len(first))}


def one_star(leaders: Leaders, sets: list[Any]) -> np.ndarray:
    hashes = np.concatenate(sets).astype(np.uint32)
    bounds = np.cumsum([0, *map(len, sets)], dtype=np.int64)
    return leaders.take(
        np.arange(len(sets)) == 0, np.full(len(sets), ANY, np.int8), hashes, bounds[:-1], bounds[1:]
    ).leader


@pytest.mark.parametrize("own", [300, 100, 80, 57, 50])
@pytest.mark.parametrize("templates", [1, 20])
def test_boilerplate_with_a_little_of_its_own_is_compared_with_few_others(own: int, templates: int) -> None:
    dice = np.random.default_rng(5)
    headers = dice.integers(0, 1 << 32, (templates, 400 - own))
    pages = [
        np.unique(np.concatenate([headers[number % templates], dice.integers(0, 1 << 32, own)]))
        for number in range(3000)
    ]
    leaders = Leaders(0.8, "jaccard")
    # similarities up to 0.78: all are different, and nearly all of 4.5 million pairs need no look
    assert (one_star(leaders, pages) == np.arange(3000)).all()
    assert leaders.compared < 150_000


@pytest.mark.parametrize("copies", [100_000])
def test_a_page_repeated_a_hundred_thousand_times_costs_a_comparison_each(copies: int) -> None:
    page = np.unique(np.random.default_rng(6).integers(0, 1 << 32, 60))
    leaders = Leaders(0.8, "jaccard", memory_bytes=1000)
    assert (one_star(leaders, [page] * copies) == 0).all()
    assert leaders.compared == copies - 1
