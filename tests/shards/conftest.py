from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from curate.shards.layout import ShardSpec
from curate.shards.manifest import build_manifest, write_manifest
from curate.shards.writer import DocumentsWriter, PackedWriter

TOKENIZER = {
    "name": "toy", "kind": "bpe", "sha256": "0" * 64, "vocab_size": 1000,
    "bos_id": 997, "eos_id": 998, "pad_id": 999, "unk_id": None,
}  # fmt: skip

Documents = list[tuple[bytes, int, list[int]]]


def spec_of(layout: str = "packed", context_length: int = 8, shard_bytes: int = 160, **changes: Any) -> ShardSpec:
    values = {"tokenizer": TOKENIZER, "sources": ("web", "code"), "run": "r1", **changes}
    return ShardSpec(layout=layout, context_length=context_length, shard_bytes=shard_bytes, **values)


def make_documents(lengths: list[int], seed: int = 0) -> Documents:
    """Documents of the given lengths with random ids and tokens."""
    rng = np.random.default_rng(seed)
    return [(rng.bytes(16), i % 2, rng.integers(0, 997, length).tolist()) for i, length in enumerate(lengths)]


def to_batch(documents: Documents, spec: ShardSpec) -> pa.RecordBatch:
    ids, sources, tokens = zip(*documents, strict=True) if documents else ((), (), ())
    return pa.record_batch(
        {
            "id": pa.array(ids, pa.binary(16)),
            "source": pa.array(sources, pa.uint16()),
            "tokens": pa.array(tokens, pa.list_(pa.from_numpy_dtype(spec.dtype))),
        }
    )


def write_set(folder: Path, partitions: list[Documents], spec: ShardSpec, step: int = 1000) -> dict[str, Any]:
    """Write a folder of shards, one partition per list of documents, `step` documents per batch."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for number, documents in enumerate(partitions):
        writer = make_writer(str(folder), spec, number)
        for start in range(0, len(documents), step):
            writer.write(to_batch(documents[start : start + step], spec))
        shards += writer.close()
    manifest = build_manifest(shards, spec, settings={"mix": {"seed": 1}}, epochs={"web": 1.0})
    write_manifest(manifest, str(folder))
    return manifest


def make_writer(folder: str, spec: ShardSpec, partition: int) -> Any:
    if spec.layout == "documents":
        return DocumentsWriter(folder, spec, partition)
    if spec.packing == "best_fit":
        from curate.shards.best_fit import BestFitWriter

        return BestFitWriter(folder, spec, partition)
    return PackedWriter(folder, spec, partition)


class Toy(NamedTuple):
    """What the tests of this folder share; a fixture, for test folders are no packages to import from."""

    tokenizer: dict[str, Any] = TOKENIZER
    spec: Callable[..., ShardSpec] = spec_of
    documents: Callable[..., Documents] = make_documents
    batch: Callable[..., pa.RecordBatch] = to_batch
    writer: Callable[..., Any] = make_writer
    write_set: Callable[..., dict[str, Any]] = write_set


@pytest.fixture(scope="session")
def toy() -> Toy:
    return Toy()


@pytest.fixture
def two_partitions(tmp_path: Path) -> Callable[..., Path]:
    """Writes a set of 23 documents in two partitions and several shards, and returns its folder."""

    def make(**changes: Any) -> Path:
        spec = spec_of(**changes)
        write_set(tmp_path / "set", [make_documents([5, 3, 20, 1, 0, 90, 7] * 3), make_documents([40, 2], 1)], spec)
        return tmp_path / "set"

    return make
