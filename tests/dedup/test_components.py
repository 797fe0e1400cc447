"""Components against a union-find in dicts, for any order of edges."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.components import Components, components

Node = tuple[int, int]

WORD = st.sampled_from([0, 1, 2, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
NODE = st.tuples(WORD, WORD)
EDGES = st.lists(st.tuples(NODE, NODE), max_size=25)


def found(edges: list[tuple[Node, Node]]) -> dict[Node, Node]:
    sides = np.array(edges, dtype=np.uint64).reshape(-1, 2, 2)
    result = components(sides[:, 0], sides[:, 1])
    assert np.array_equal(result.nodes[result.left], sides[:, 0])
    assert np.array_equal(result.nodes[result.right], sides[:, 1])
    return as_dict(result)


def as_dict(result: Components) -> dict[Node, Node]:
    nodes, labels = (list(map(tuple, side.tolist())) for side in (result.nodes, result.labels))
    assert nodes == sorted(set(nodes))
    return dict(zip(nodes, labels, strict=True))


def definition(edges: list[tuple[Node, Node]]) -> dict[Node, Node]:
    members: dict[Node, set[Node]] = {}
    for left, right in edges:
        joined = members.get(left, {left}) | members.get(right, {right})
        for node in joined:
            members[node] = joined
    return {node: min(component) for node, component in members.items()}


@settings(max_examples=400, deadline=None)
@given(EDGES)
def test_labels_are_the_smallest_nodes_of_components(edges: list[tuple[Node, Node]]) -> None:
    assert found(edges) == definition(edges)


@settings(max_examples=100, deadline=None)
@given(EDGES, st.randoms(use_true_random=False))
def test_order_direction_and_repetition_of_edges_change_nothing(edges: list[tuple[Node, Node]], random) -> None:
    changed = [edge[::-1] if random.random() < 0.5 else edge for edge in edges + edges[:3]]
    random.shuffle(changed)
    assert found(changed) == found(edges)


@pytest.mark.parametrize("order", ["up", "down", "random"])
@pytest.mark.parametrize("shape", ["chain", "star"])
def test_one_giant_component_takes_linear_time(shape: str, order: str) -> None:
    size = 200_000
    generator = np.random.default_rng(5)
    numbers = np.arange(size - 1)
    left = numbers if shape == "chain" else np.full(size - 1, size - 1)
    chosen = {"up": numbers, "down": numbers[::-1], "random": generator.permutation(size - 1)}[order]
    right = numbers + 1 if shape == "chain" else numbers
    ids = np.sort(generator.integers(0, 2**64, (size, 2), dtype=np.uint64), axis=0)
    start = time.process_time()
    result = components(ids[left[chosen]], ids[right[chosen]])
    assert time.process_time() - start < 5.0  # a tenth of a second as it is
    assert np.array_equal(result.nodes, ids)
    assert np.all(result.labels == ids[0])


def test_no_edges_are_no_components() -> None:
    nothing = np.zeros((0, 2), dtype=np.uint64)
    assert as_dict(components(nothing, nothing)) == {}


def test_edges_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"uint64 \[edges, 2\]"):
        components(np.zeros(3, dtype=np.uint64), np.zeros(3, dtype=np.uint64))
