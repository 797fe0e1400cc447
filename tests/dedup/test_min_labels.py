"""Components by stars against union-find in memory, for any graph and any chunks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.components import components
from curate.dedup.min_labels import LINK, Columns, Links, both_ways, large_star, small_star

EDGES = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda edge: edge[0] != edge[1]), min_size=1)


def links_of(edges: list[tuple[int, int]]) -> Columns:
    """Links in one direction; a node's words, part and row all follow from its number."""
    columns: Columns = {}
    for side, numbers in zip(("node", "other"), np.array(edges, dtype=np.uint64).T, strict=True):
        columns |= {f"{side}_hi": numbers // 4, f"{side}_lo": numbers % 4}
        columns |= {f"{side}_part": numbers + 100, f"{side}_row": numbers + 200}
    return columns


def in_order(columns: Columns, size: int) -> Iterator[Columns]:
    order = np.lexsort([columns[name] for name in reversed(LINK[:4])])
    for start in range(0, len(order), size):
        yield {name: columns[name][order[start : start + size]] for name in LINK}


def joined(parts: Iterator[Links]) -> tuple[Columns, int]:
    found = list(parts)
    return {name: np.concatenate([part.links[name] for part in found]) for name in LINK}, sum(p.changed for p in found)


def labels_by_stars(edges: list[tuple[int, int]], size: int) -> tuple[dict[int, int], int]:
    links, rounds, changed = both_ways(links_of(edges)), 0, 1
    while changed:
        rounds += 1
        large, first = joined(large_star(in_order(links, size)))
        small, second = joined(small_star(in_order(large, size)))
        links, changed = both_ways(small), first + second
    numbers = {side: (small[f"{side}_hi"] * 4 + small[f"{side}_lo"]).tolist() for side in ("node", "other")}
    for side in ("node", "other"):
        assert small[f"{side}_part"].tolist() == [number + 100 for number in numbers[side]]
        assert small[f"{side}_row"].tolist() == [number + 200 for number in numbers[side]]
    found = dict(zip(numbers["node"], numbers["other"], strict=True))
    return found | {label: label for label in found.values()}, rounds


def labels_in_memory(edges: list[tuple[int, int]]) -> dict[int, int]:
    links = links_of(edges)
    ends = [np.stack([links[f"{side}_hi"], links[f"{side}_lo"]], axis=1) for side in ("node", "other")]
    found = components(*ends)
    nodes, labels = ((words[:, 0] * 4 + words[:, 1]).tolist() for words in (found.nodes, found.labels))
    return dict(zip(nodes, labels, strict=True))


@settings(max_examples=300, deadline=None)
@given(EDGES, st.integers(1, 20))
def test_stars_and_union_find_agree(edges: list[tuple[int, int]], size: int) -> None:
    assert labels_by_stars(edges, size)[0] == labels_in_memory(edges)


def test_a_long_path_needs_few_rounds() -> None:
    dice = np.random.default_rng(3)
    names = dice.permutation(2000).tolist()
    path = list(itertools.pairwise(names))
    labels, rounds = labels_by_stars(path, 128)
    assert set(labels.values()) == {0}
    assert rounds <= 12
