"""Which near-duplicates are connected: components of all edges, in memory or, for more edges than that, in files.

Either way each component is known by its smallest id, and all its documents are asked for as one star, which begins
with the best of them. In memory, a component in which the best document has an edge to every other one is settled at
once: comparing them again would find the same. In files (`curate.dedup.min_labels`), a step is one exchange of links,
in memory of a few blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.dedup.components import Components, components
from curate.dedup.min_labels import LINK, both_ways, large_star, small_star
from curate.engine.exchange import merge, write_run
from curate.engine.tasks import Task
from curate.pipelines.duplicates import CHANGE_ROW, CHANGE_SORT
from curate.pipelines.near_duplicate_sets import MEMBER, REQUEST_ROW, REQUEST_SORT
from curate.pipelines.near_duplicates import EDGE_ROW, NODE, changes_of
from curate.pipelines.signatures import word_fields

Columns = dict[str, Any]
Index = NDArray[np.int64]

LINK_SORT: Final = LINK[:4]
LINK_ROW: Final = pa.schema(word_fields(*LINK))
CHANGED: Final = "changed"
NODES_AT_A_TIME: Final = 1 << 15


def join_components(task: Task) -> None:
    """Find the components of all edges in memory; write what becomes of the documents of those that edges settle, and
    ask for the comparison of the documents of each other one."""
    found, node, given = _read_graph(task)
    own = np.arange(len(found.nodes))
    number = (np.cumsum(found.smallest == own) - 1)[found.smallest]
    sizes = np.bincount(number)
    for size, count in enumerate(np.bincount(sizes)):
        if count:
            task.stats[f"components|{1 << (size.bit_length() - 1)}"] += int(count)
    best = _best(node, number)
    similarity = _similarity_to_best(best[number], found.left, found.right, given)
    settled = (np.bincount(number, weights=~np.isnan(similarity)) == sizes)[number]
    drop = np.flatnonzero(settled & (best[number] != own))
    heads = best[settled[best]]

    def changes() -> Iterator[pa.RecordBatch]:
        for start in range(0, max(len(drop), len(heads)), NODES_AT_A_TIME):
            gone, kept = (some[start : start + NODES_AT_A_TIME] for some in (drop, heads))
            members, leaders, ended = (
                {name: column[at] for name, column in node.items()} for at in (gone, best[number[gone]], kept)
            )
            yield changes_of(members, leaders, similarity[gone], ended, sizes[number[kept]] - 1)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, changes(), CHANGE_ROW, CHANGE_SORT)
    asked = np.flatnonzero(~settled)
    labels = found.nodes[found.smallest[asked]]
    _ask(task, iter([_requests(node["part"][asked], node["row"][asked], labels[:, 0], labels[:, 1])]))


def _read_graph(task: Task) -> tuple[Components, Columns, NDArray[np.float64]]:
    """Return the components of all edges, what is known of each node, and the similarity of each edge. Of the edges
    themselves nothing else stays in memory."""
    batches = [batch for ref in task.inputs("runs") for batch in merge([task.uri(ref)])]
    table = pa.Table.from_batches(batches, schema=EDGE_ROW)
    batches.clear()

    def ids(prefix: str) -> NDArray[np.uint64]:
        return np.stack([table.column(f"{prefix}id_{word}").to_numpy() for word in ("hi", "lo")], axis=1)

    found = components(ids("leader_"), ids(""))
    node: Columns = {"id_hi": found.nodes[:, 0], "id_lo": found.nodes[:, 1]}
    for name in NODE[2:]:
        node[name] = np.zeros(len(found.nodes), dtype=np.uint64)
        node[name][found.left] = table.column(f"leader_{name}").to_numpy()
        node[name][found.right] = table.column(name).to_numpy()
    return found, node, table.column("similarity").to_numpy()


def _best(node: Columns, number: Index) -> Index:
    """Return the best node of each component (`number` int64 [nodes] tells which one a node belongs to). Nodes are in
    the order of their ids."""
    order = np.lexsort([node["quality"], node["priority"], number])
    firsts = np.ones(len(order), dtype=bool)
    firsts[1:] = number[order[1:]] != number[order[:-1]]
    return order[firsts]


def _similarity_to_best(best: Index, left: Index, right: Index, similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how similar each node is to the best of its component, which is `best` of it, by the edges between `left`
    and `right`; 1 for that itself, NaN where no edge tells."""
    told = np.full(len(best), np.nan)
    for node, other in ((left, right), (right, left)):
        known = best[node] == other
        told[node[known]] = similarity[known]
    told[best] = 1.0
    return told


def link_edges(task: Task) -> None:
    """Write each edge of one range as a link in both directions."""

    def links() -> Iterator[pa.RecordBatch]:
        for rows in _ranges(task):
            nodes = [rows[name] for name in NODE[:4]]
            others = [rows[f"leader_{name}"] for name in NODE[:4]]
            yield _links(dict(zip(LINK, (*nodes[:2], *others[:2], *nodes[2:], *others[2:]), strict=True)), both=True)

    _write_links(task, links())


def shrink_links(task: Task) -> None:
    """Take one step of large or small stars over one range of nodes."""
    large = bool(task.settings["large"])

    def links() -> Iterator[pa.RecordBatch]:
        for found in (large_star if large else small_star)(_ranges(task)):
            task.stats[CHANGED] += found.changed
            # a small star needs links from larger to smaller nodes only
            yield _links(found.links, both=not large)

    _write_links(task, links())


def ask_components(task: Task) -> None:
    """Ask for the documents of each component; the links of one range are stars around the smallest ids."""

    def requests() -> Iterator[pa.RecordBatch]:
        for rows in _ranges(task):
            # both directions are there: what has only larger neighbours is a centre, and asks for itself
            larger = (rows["other_hi"] > rows["node_hi"]) | (
                (rows["other_hi"] == rows["node_hi"]) & (rows["other_lo"] > rows["node_lo"])
            )
            star = [np.where(larger, rows[f"node_{word}"], rows[f"other_{word}"]) for word in ("hi", "lo")]
            yield _requests(rows["node_part"], rows["node_row"], *star)

    _ask(task, requests())


def _ranges(task: Task) -> Iterator[Columns]:
    low, high = (int(bound) for bound in task.settings["range"])
    for batch in merge([task.uri(ref) for ref in task.inputs("runs")], low, high):
        task.heartbeat("batch")
        task.stats["rows"] += len(batch)
        yield {name: batch.column(name).to_numpy() for name in batch.schema.names}


def _links(links: Columns, *, both: bool) -> pa.RecordBatch:
    directed = both_ways(links) if both else links
    return pa.record_batch([pa.array(directed[name]) for name in LINK], schema=LINK_ROW)


def _write_links(task: Task, links: Iterator[pa.RecordBatch]) -> None:
    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, links, LINK_ROW, LINK_SORT)


def _requests(part: Any, row: Any, star_hi: Any, star_lo: Any) -> pa.RecordBatch:
    # no role: the best of a component comes first
    columns = [part, row, star_hi, star_lo, np.full(len(row), MEMBER, np.uint64)]
    return pa.record_batch([pa.array(column) for column in columns], schema=REQUEST_ROW)


def _ask(task: Task, requests: Iterator[pa.RecordBatch]) -> None:
    with task.write("requests", "dedup/{key}-requests-{number}.run") as output:
        output.rows = write_run(output.path, requests, REQUEST_ROW, REQUEST_SORT)
