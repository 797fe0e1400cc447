"""The stages of a semantic dedup step.

1. *train* (skipgram only): word vectors from a sample of the kept documents, chosen by their ids.
2. *embed*: each part writes the fixed-point vector of each kept document.
3. *centroids*: k-means over a sample of the vectors, chosen by document ids and taken in the order of these choices.
4. *assign*: each vector goes to the key of its nearest centroid, in the order of the scheme.
5. *pairs*: each cluster is searched by itself, scope by scope; what goes comes back to the parts as in every dedup
   step.

A task holds one cluster at most: vectors of two bytes a coordinate, and seven words for each document of it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import storage
from curate.dedup import skipgram
from curate.dedup.embedders import EMBEDDERS, checked
from curate.dedup.fixed_point import Vectors, nearest, to_cosine, to_fixed
from curate.dedup.kmeans import find_centroids, find_centroids_faiss
from curate.dedup.semantic import SemanticSettings, find_similar
from curate.engine.exchange import merge, write_run
from curate.engine.tasks import FileRef, Task
from curate.pipelines import mixing
from curate.pipelines.duplicates import CHANGE_ROW, CHANGE_SORT
from curate.pipelines.parts import part_handle, read_batches, read_kept, read_parquet
from curate.pipelines.quarantine import pieces
from curate.pipelines.standing import read_standing
from curate.pipelines.views import edits_column, view_text
from curate.schema import id_words

KEY_SPAN: Final = 1 << 64
CLUSTER: Final = ("cluster", "scope")
CLUSTER_SORT: Final = (*CLUSTER, "priority", "order", "id_hi", "id_lo", "part", "row")
LEAST_PRODUCT: Final = 1 << 31
"""Added to products, which are 32-bit integers with a sign, so that they sort as unsigned ones."""


def cluster_schema(dim: int) -> pa.Schema:
    """Return the rows that go to clusters. `order` is what the scheme sorts by, smallest first; `bytes` is the length
    of the text."""
    words = [pa.field(name, pa.uint64(), nullable=False) for name in (*CLUSTER_SORT, "bytes")]
    return pa.schema([*words, pa.field("vector", pa.binary(2 * dim), nullable=False)])


def _settings(task: Task) -> SemanticSettings:
    return SemanticSettings.model_validate(task.settings["settings"])


def _model(task: Task) -> str:
    """Return the local path of the embedder's model: the folder that its files are in, or the run's word vectors."""
    refs, names = task.inputs("model"), task.settings["model_files"]
    folder = task.local(refs, names)
    return folder if names else os.path.join(folder, os.path.basename(refs[0].path))


def train_vectors(task: Task) -> None:
    """Train word vectors on the kept documents whose selection key is not above `last_key`, in the order of keys."""
    settings = _settings(task)
    chosen: list[tuple[int, bytes, str]] = []
    views = task.settings["views"]
    for documents, verdicts in zip(task.inputs("documents"), task.inputs("verdicts"), strict=True):
        keep = read_parquet(task, verdicts, ["keep"]).column("keep").to_numpy()
        for first, batch in read_batches(task, documents, ["id", "text", *(edits_column(view) for view in views)]):
            keys = mixing.selection_keys(batch.column("id"), settings.seed)
            last = np.uint64(int(task.settings["last_key"]))
            numbers = np.flatnonzero(keep[first : first + len(batch)] & (keys <= last))
            for piece in pieces(task, batch.take(pa.array(numbers))):
                ids = piece.column("id")
                text = view_text(piece, views, task.settings["view"]).to_pylist()
                chosen += zip(mixing.selection_keys(ids, settings.seed).tolist(), ids.to_pylist(), text, strict=True)
    chosen.sort(key=lambda entry: entry[:2])
    with task.folder("dedup") as folder, task.beating("training"):
        model = skipgram.train([text for _, _, text in chosen], settings.dim, settings.epochs, folder)
    task.stats["words"] = len(model.words)
    with task.write("model", "dedup/{key}-words.arrow") as output:
        skipgram.write(output.path, model)
        output.rows = len(model.words)


def embed_part(task: Task) -> None:
    """Write the vectors of the kept documents of one part: row, id, text bytes and fixed-point vector."""
    embedder = EMBEDDERS[task.settings["embedder"]]
    model = _model(task)
    views = task.settings["views"]
    keep = read_kept(task, task.input("documents").rows)
    columns = ["id", "text", *(edits_column(view) for view in views)]

    def batches() -> Iterator[pa.RecordBatch]:
        for first, batch in read_batches(task, task.input("documents"), columns):
            numbers = np.flatnonzero(keep[first : first + len(batch)])
            chosen = batch.take(pa.array(numbers)).append_column("row", pa.array((first + numbers).astype(np.uint64)))
            for piece in pieces(task, chosen):
                yield embedded(piece)

    def embedded(chosen: pa.RecordBatch) -> pa.RecordBatch:
        task.flows["in"].add(chosen.column("id"))
        task.flows["kept"].add(chosen.column("id"))
        text = view_text(chosen, views, task.settings["view"])
        vectors, known = embedder.function(text, model, task.settings["max_chars"])
        checked(vectors, len(text))
        fixed, nonzero = to_fixed(vectors)
        valid = pa.array(known & nonzero)
        task.stats["without_vector"] += valid.false_count
        sizes = pc.binary_length(text.cast(pa.large_binary())).cast(pa.uint64())
        arrays = [column.filter(valid) for column in (chosen.column("row"), chosen.column("id"), sizes, _packed(fixed))]
        return pa.record_batch(arrays, names=["row", "id", "bytes", "vector"])

    found = batches()
    # a part of which nothing is kept has no vectors, and no width of them
    first_batch = next(found, None)
    schema = first_batch.schema if first_batch is not None else pa.schema([])
    with task.write("vectors", "dedup/{key}-vectors.arrow") as output, pa.ipc.new_file(output.path, schema) as writer:
        for batch in () if first_batch is None else itertools.chain([first_batch], found):
            writer.write_batch(batch)
            output.rows += len(batch)


def _packed(vectors: Vectors) -> pa.Array:
    """Return vectors (int16 [rows, dim]) as fixed_size_binary of little-endian words."""
    data = np.ascontiguousarray(vectors, dtype="<i2")
    return pa.Array.from_buffers(pa.binary(2 * vectors.shape[1]), len(vectors), [None, pa.py_buffer(data.tobytes())])


def unpacked(column: pa.Array) -> Vectors:
    """Return what `_packed` packed."""
    width = column.type.byte_width
    start = column.offset * width
    data = np.frombuffer(column.buffers()[1] or b"", dtype=np.uint8)[start : start + len(column) * width]
    return data.view("<i2").reshape(len(column), width // 2).astype(np.int16, copy=False)


def read_vectors(task: Task, ref: FileRef) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a vectors file."""
    with storage.open_input(task.uri(ref)) as stream:
        file = pa.ipc.open_file(stream)
        for number in range(file.num_record_batches):
            task.heartbeat("batch")
            yield file.get_batch(number)


def train_centroids(task: Task) -> None:
    """Find the centroids from the vectors of documents whose selection key is not above `last_key`."""
    settings = _settings(task)
    clusters = int(task.settings["clusters"])
    keys: list[NDArray[np.uint64]] = []
    ids: list[NDArray[np.uint64]] = []
    vectors: list[Vectors] = []
    for ref in task.inputs("vectors"):
        for batch in read_vectors(task, ref):
            found = mixing.selection_keys(batch.column("id"), settings.seed)
            taken = found <= np.uint64(int(task.settings["last_key"]))
            keys.append(found[taken])
            ids.append(id_words(batch.column("id"))[taken])
            vectors.append(unpacked(batch.column("vector"))[taken])
    words = np.concatenate(ids)
    order = np.lexsort((words[:, 1], words[:, 0], np.concatenate(keys)))
    points = np.concatenate(vectors)[order]
    with task.beating("k-means"):
        if settings.kmeans == "faiss":
            centroids = find_centroids_faiss(points, clusters, settings.iterations, settings.seed)
        else:
            centroids = find_centroids(points, clusters, settings.iterations)
    task.stats["points"] = len(points)
    with task.write("centroids", "dedup/{key}-centroids.arrow") as output:
        batch = pa.record_batch([_packed(centroids)], names=["vector"])
        with pa.ipc.new_file(output.path, batch.schema) as writer:
            writer.write_batch(batch)
        output.rows = len(centroids)


def assign_part(task: Task) -> None:
    """Send each vector of one part to its cluster, in the order in which the scheme looks at them."""
    settings = _settings(task)
    part = part_handle(task.settings["part"])
    (batch,) = read_vectors(task, task.input("centroids"))
    centroids = unpacked(batch.column("vector"))
    schema = cluster_schema(centroids.shape[1])
    starts = np.array([number * KEY_SPAN // len(centroids) for number in range(len(centroids))], dtype=np.uint64)
    standing = read_standing(task, task.settings)

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in read_vectors(task, task.input("vectors")):
            if not len(batch):
                continue
            vectors = unpacked(batch.column("vector"))
            number, product = nearest(vectors, centroids)
            row = batch.column("row").to_numpy()
            ids = id_words(batch.column("id"))
            farthest_first = (product.astype(np.int64) + LEAST_PRODUCT).astype(np.uint64)
            columns = [
                starts[number],
                standing.scope[row, 0],
                standing.priority[row],
                farthest_first if settings.scheme == "semdedup" else standing.quality[row],
                ids[:, 0],
                ids[:, 1],
                np.full(len(row), part, np.uint64),
                row,
            ]
            arrays = [*(pa.array(column) for column in columns), batch.column("bytes"), batch.column("vector")]
            yield pa.record_batch(arrays, schema=schema)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, rows(), schema, CLUSTER_SORT)


def clusters_of(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the rows of one cluster and scope after the other from sorted rows."""
    pending: list[pa.RecordBatch] = []
    open_key: tuple[int, ...] = ()
    for batch in batches:
        keys = np.stack([batch.column(name).to_numpy() for name in CLUSTER], axis=1)
        cuts = [0, *(np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1)) + 1).tolist(), len(keys)]
        for start, stop in itertools.pairwise(cuts):
            key = tuple(keys[start].tolist())
            if pending and key != open_key:
                yield pa.Table.from_batches(pending)
                pending = []
            open_key = key
            pending.append(batch.slice(start, stop - start))
    if pending:
        yield pa.Table.from_batches(pending)


def cluster_vectors(cluster: pa.Table) -> Vectors:
    """Return the vectors of a cluster, int16 [rows, dim]."""
    return np.concatenate([unpacked(chunk) for chunk in cluster.column("vector").chunks])


def find_pairs(task: Task) -> None:
    """Search each cluster of a key range and write, for each document of a group, what becomes of it."""
    settings = _settings(task)
    low, high = (int(bound) for bound in task.settings["range"])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in merge([task.uri(ref) for ref in task.inputs("runs")], low, high):
            task.heartbeat("batch")
            task.stats["rows"] += len(batch)
            yield batch

    def changes() -> Iterator[pa.RecordBatch]:
        for cluster in clusters_of(batches()):
            vectors = cluster_vectors(cluster)
            task.stats["clusters"] += 1
            task.stats[f"cluster_rows|{1 << (len(vectors).bit_length() - 1)}"] += 1
            with task.beating("cluster"):
                (found,) = find_similar(vectors, settings.scheme, [settings.epsilon], settings.max_cluster)
            yield _changes(cluster, vectors, found.match)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, changes(), CHANGE_ROW, CHANGE_SORT)


def _changes(cluster: pa.Table, vectors: Vectors, match: NDArray[np.int64]) -> pa.RecordBatch:
    """Return the CHANGE rows of the documents that go, each with its similarity to the one kept, and of those kept."""
    going = np.flatnonzero(match >= 0)
    kept, sizes = np.unique(match[going], return_counts=True)
    who = np.concatenate([going, kept])
    root = np.concatenate([match[going], kept])
    products = (vectors[going].astype(np.int64) * vectors[match[going]]).sum(axis=1)
    column: dict[str, Any] = {name: cluster.column(name).to_numpy() for name in ("part", "row", "id_hi", "id_lo")}
    arrays = [
        column["part"][who],
        column["row"][who],
        np.arange(len(who)) < len(going),
        column["id_hi"][root],
        column["id_lo"][root],
        np.concatenate([np.zeros(len(going), dtype=np.int64), sizes + 1]),
        np.concatenate([to_cosine(products), np.ones(len(kept))]),
    ]
    return pa.record_batch([pa.array(array) for array in arrays], schema=CHANGE_ROW)
