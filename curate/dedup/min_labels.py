"""Connected components of more edges than memory holds: large-star and small-star in turn, until nothing changes.

Kiveris, Lattanzi, Mirrokni, Rastogi, Vassilvitskii: Connected Components in MapReduce and Beyond (SoCC 2014). A
*large star* connects all larger neighbours of a node with the smallest of its neighbours and itself; a *small star*
connects the smaller neighbours of a node, and itself, with the smallest of them. Neither splits a component or joins
two, no step adds an edge, and after at most O(log² n) of them (in practice a handful) each component is a star around
its smallest node: the same labels as `curate.dedup.components` finds in memory.

Both walk through sorted links and remember the smallest neighbour of the node at hand, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

NODE: Final = ("node_hi", "node_lo", "node_part", "node_row")
OTHER: Final = ("other_hi", "other_lo", "other_part", "other_row")
LINK: Final = (*NODE[:2], *OTHER[:2], *NODE[2:], *OTHER[2:])
"""The columns of a link between two nodes: their ids, then their places, which go where the ids go. Links are sorted by
the first four columns."""

Columns = dict[str, np.ndarray]


class Links(NamedTuple):
    """Links that a step made, each directed from the larger node to the smaller one, and how many of them are new."""

    links: Columns
    changed: int


def large_star(chunks: Iterable[Mapping[str, np.ndarray]]) -> Iterator[Links]:
    """Yield the links that large stars are made of. `chunks` hold every link in both directions, in order."""
    for rows, least in _with_least(chunks):
        up = _is_less(rows, NODE, rows, OTHER)
        # itself, where all neighbours are larger
        own = _is_less(rows, NODE, least, OTHER)
        smallest = [np.where(own, rows[node], least[other])[up] for node, other in zip(NODE, OTHER, strict=True)]
        links = dict(zip(NODE, (rows[name][up] for name in OTHER), strict=True))
        yield Links(links | dict(zip(OTHER, smallest, strict=True)), int((up & ~own).sum()))


def small_star(chunks: Iterable[Mapping[str, np.ndarray]]) -> Iterator[Links]:
    """Yield the links that small stars are made of. `chunks` hold links from larger to smaller nodes, in order."""
    for rows, least in _with_least(chunks):
        first = (rows["other_hi"] == least["other_hi"]) & (rows["other_lo"] == least["other_lo"])
        # the node itself where the smaller end is the smallest, that smaller end elsewhere
        moved = [np.where(first, rows[node], rows[other]) for node, other in zip(NODE, OTHER, strict=True)]
        links = dict(zip(NODE, moved, strict=True)) | {name: least[name] for name in OTHER}
        yield Links(links, int((~first).sum()))


def both_ways(links: Columns) -> Columns:
    """Return each link in both directions."""
    turned = dict(zip((*NODE, *OTHER), (links[name] for name in (*OTHER, *NODE)), strict=True))
    return {name: np.concatenate([links[name], turned[name]]) for name in LINK}


def _with_least(chunks: Iterable[Mapping[str, np.ndarray]]) -> Iterator[tuple[Columns, Columns]]:
    """Yield each chunk without repeated links, and for each of its rows the smallest neighbour of its node."""
    last: Columns | None = None
    least: Columns | None = None
    for chunk in chunks:
        rows = {name: chunk[name] for name in LINK}
        if not len(rows["node_hi"]):
            continue
        rows = _take(rows, np.flatnonzero(_differs(rows, last, LINK[:4])))
        if not len(rows["node_hi"]):
            continue
        begins = _differs(rows, last, LINK[:2])
        heads = {name: rows[name][begins] for name in OTHER}
        group = np.cumsum(begins) - 1
        if not begins[0]:
            assert least is not None
            heads = {name: np.concatenate([least[name], heads[name]]) for name in OTHER}
            group += 1
        yield rows, {name: heads[name][group] for name in OTHER}
        least = {name: heads[name][-1:] for name in OTHER}
        last = _take(rows, np.array([-1]))


def _differs(rows: Columns, last: Columns | None, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which rows differ from the one before (`last` comes before the first), bool [rows]."""
    found = np.zeros(len(rows[names[0]]), dtype=bool)
    found[0] = last is None or any(rows[name][0] != last[name][0] for name in names)
    for name in names:
        found[1:] |= rows[name][1:] != rows[name][:-1]
    return found


def _is_less(left: Columns, left_names: tuple[str, ...], right: Columns, right_names: tuple[str, ...]) -> np.ndarray:
    """Return where the id on the left is smaller than that on the right, bool [rows]."""
    (high, low), (other_high, other_low) = (
        (columns[names[0]], columns[names[1]]) for columns, names in ((left, left_names), (right, right_names))
    )
    less: np.ndarray = (high < other_high) | ((high == other_high) & (low < other_low))
    return less


def _take(rows: Columns, index: np.ndarray) -> Columns:
    return {name: column[index] for name, column in rows.items()}
