"""Connected components of near-duplicate pairs: union-find (Tarjan 1975) over the edges alone.

Documents without an edge are never seen, so memory follows the duplicates and not the corpus: about 130 bytes per edge.
A component is labelled with its smallest node, so that neither the order of edges nor their direction, nor how often
one is given, changes the result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from curate.text.compiled import Ints, Words, cached, compiled, source_digest


class Components(NamedTuple):
    """Every node that has an edge, and the smallest node of its component (the smallest itself has its own place).

    nodes uint64 [nodes, 2], 128-bit ids as big-endian words, ascending, each once; places of nodes, all int64: smallest
    [nodes], and of both ends of each edge, left and right [edges].
    """

    nodes: Words
    smallest: Ints
    left: Ints
    right: Ints

    @property
    def labels(self) -> Words:
        """The smallest node of each node's component, uint64 [nodes, 2]."""
        return self.nodes[self.smallest]


def components(left: Words, right: Words) -> Components:
    """Return the components of the graph with the edges (left[i], right[i]), both uint64 [edges, 2]; see `Components`.

    Cost: about 0.5 µs per edge on one core, most of it for sorting ids.
    """
    if left.shape != right.shape or left.shape[1:] != (2,):
        raise ValueError(f"edges are two uint64 [edges, 2] arrays, not {left.shape} and {right.shape}")
    nodes, places = _compact(np.concatenate([left, right]))
    edges = len(left)
    parents = np.arange(len(nodes), dtype=np.int64)
    _JOIN(places[:edges], places[edges:], parents)
    return Components(nodes, parents, places[:edges], places[edges:])


def _compact(ids: Words) -> tuple[Words, Ints]:
    """Return the distinct ids in ascending order, and for each id its place among them."""
    order = np.argsort(ids[:, 0])
    first, second = ids[order, 0], ids[order, 1]
    if bool(np.any((first[1:] == first[:-1]) & (second[1:] < second[:-1]))):
        # ids that share their first word are rare where ids are hashes, and not worth two sorts in every other case
        order = np.lexsort((ids[:, 1], ids[:, 0]))
        first, second = ids[order, 0], ids[order, 1]
    new = np.ones(len(ids), dtype=bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    places = np.empty(len(ids), dtype=np.int64)
    places[order] = np.cumsum(new) - 1
    return np.stack([first[new], second[new]], axis=1), places


@compiled
def _root(parents: Ints, node: int) -> int:
    """The smallest node known to be connected; the path to it is halved on the way."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


def _compile(sources: str) -> Any:
    """Return the compiled union of all edges; `sources` is a `source_digest`."""

    @cached
    def _join(left: Ints, right: Ints, parents: Ints) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        for edge in range(left.size):
            a, b = _root(parents, left[edge]), _root(parents, right[edge])
            # a parent is never larger than its child: roots are minima, whatever the order of edges
            if a < b:
                parents[b] = a
            else:
                parents[a] = b
        for node in range(parents.size):
            parents[node] = parents[parents[node]]  # the parent is smaller, and so final already

    return _join


_JOIN = _compile(source_digest())
