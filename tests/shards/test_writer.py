from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError, ShardError
from curate.shards.layout import ShardSpec
from curate.shards.reader import ShardSet
from curate.shards.verify import verify

KINDS = [{"layout": "packed"}, {"layout": "packed", "packing": "best_fit"}, {"layout": "documents"}]
lengths_lists = st.lists(st.one_of(st.integers(0, 12), st.integers(0, 120)), min_size=1, max_size=25)


def rebuilt(shards: ShardSet) -> Counter[tuple[bytes, str, tuple[int, ...]]]:
    """Every document of the set, put together from its segments alone."""
    parts: dict[tuple[bytes, int], list[tuple[int, list[int]]]] = {}
    for i in range(len(shards)):
        row, column = shards.row(i), 0
        assert len(row.ids) == row.cu_seqlens[-1]
        for doc_id, start, length, source in zip(row.doc_ids, row.starts, row.lengths, row.sources, strict=True):
            parts.setdefault((doc_id, int(source)), []).append((int(start), row.ids[column : column + length].tolist()))
            column += length
    whole = {}
    for (doc_id, source), pieces in parts.items():
        tokens: list[int] = []
        for start, ids in sorted(pieces):
            assert start == len(tokens)
            tokens += ids
        whole[(doc_id, shards.sources[source], tuple(tokens))] = 1
    return Counter(whole)


def expected(documents: Any) -> Counter[tuple[bytes, str, tuple[int, ...]]]:
    return Counter(
        {(doc_id, ("web", "code")[source], tuple(tokens)): 1 for doc_id, source, tokens in documents if tokens}
    )


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(lengths=lengths_lists, context_length=st.integers(1, 40), shard_bytes=st.integers(1, 400))
def test_every_document_can_be_put_together_again(
    toy: Any,
    tmp_path_factory: pytest.TempPathFactory,
    kind: dict[str, Any],
    lengths: list[int],
    context_length: int,
    shard_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("set")
    documents = toy.documents(lengths)
    spec = toy.spec(context_length=context_length, shard_bytes=shard_bytes, **kind)
    manifest = toy.write_set(folder, [documents], spec)
    assert verify(str(folder)) == []
    assert rebuilt(ShardSet.open(str(folder))) == expected(documents)
    assert manifest["totals"]["tokens"] == sum(lengths)
    begun = len(lengths) if kind["layout"] == "documents" else sum(1 for length in lengths if length)
    assert manifest["totals"]["documents"] == begun


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(lengths=lengths_lists, cuts=st.lists(st.integers(0, 25), max_size=5), shard_bytes=st.integers(1, 400))
def test_any_split_into_batches_gives_the_same_bytes(
    toy: Any,
    tmp_path_factory: pytest.TempPathFactory,
    kind: dict[str, Any],
    lengths: list[int],
    cuts: list[int],
    shard_bytes: int,
) -> None:
    spec = toy.spec(context_length=7, shard_bytes=shard_bytes, **kind)
    batch = toy.batch(toy.documents(lengths), spec)
    results = []
    for edges in ([0, len(lengths)], [0, *sorted(min(cut, len(lengths)) for cut in cuts), len(lengths)]):
        writer = toy.writer(str(tmp_path_factory.mktemp("set")), spec, 3)
        for start, end in itertools.pairwise(edges):
            writer.write(batch.slice(start, end - start))
        results.append(writer.close())
    assert results[0] == results[1]


def test_documents_are_concatenated_and_chopped(toy: Any, tmp_path: Path) -> None:
    documents = [(b"a" * 16, 0, [1, 2, 3, 4, 5]), (b"b" * 16, 1, [6]), (b"c" * 16, 0, [7, 8, 9, 10])]
    toy.write_set(tmp_path, [documents], toy.spec(context_length=4))
    shards = ShardSet.open(str(tmp_path))
    assert [shards[i].tolist() for i in range(len(shards))] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 999, 999]]
    row = shards.row(1)
    assert row.doc_ids == [b"a" * 16, b"b" * 16, b"c" * 16]
    assert row.starts.tolist() == [4, 0, 0]
    assert row.lengths.tolist() == [1, 1, 2]
    assert row.sources.tolist() == [0, 1, 0]
    assert row.cu_seqlens.tolist() == [0, 1, 2, 4]
    assert shards.row(2).starts.tolist() == [2]
    assert shards.row(2).cu_seqlens.tolist() == [0, 2, 4]


def test_a_copy_of_a_document_is_a_segment_of_its_own(toy: Any, tmp_path: Path) -> None:
    document = (b"a" * 16, 0, [1, 2, 3])
    manifest = toy.write_set(tmp_path, [[document, document]], toy.spec(context_length=6))
    assert ShardSet.open(str(tmp_path)).row(0).starts.tolist() == [0, 0]
    assert manifest["mix"]["web"] == {"documents": 2, "tokens": 6, "share": 1.0, "epochs": 1.0}


def test_packing_never_crosses_a_partition(toy: Any, tmp_path: Path) -> None:
    manifest = toy.write_set(tmp_path, [toy.documents([5]), toy.documents([6], 1)], toy.spec(context_length=4))
    assert [entry["path"] for entry in manifest["shards"]] == ["shard-000000-00000.arrow", "shard-000001-00000.arrow"]
    assert [entry["padding_tokens"] for entry in manifest["shards"]] == [3, 2]


def test_a_partition_without_tokens_has_no_shards(toy: Any, tmp_path: Path) -> None:
    for kind in KINDS[:2]:
        writer = toy.writer(str(tmp_path), toy.spec(**kind), 0)
        writer.write(toy.batch(toy.documents([0, 0]), toy.spec()))
        writer.write(toy.batch([], toy.spec()))
        assert writer.close() == []


def test_a_shard_rolls_at_its_size(toy: Any, tmp_path: Path) -> None:
    spec = toy.spec(context_length=8, shard_bytes=8 * 2 * 3)
    manifest = toy.write_set(tmp_path, [toy.documents([100])], spec)
    assert [entry["rows"] for entry in manifest["shards"]] == [3, 3, 3, 3, 1]
    assert [entry["documents"] for entry in manifest["shards"]] == [1, 0, 0, 0, 0]


def test_a_document_is_never_cut_in_layout_documents(toy: Any, tmp_path: Path) -> None:
    spec = toy.spec(layout="documents", shard_bytes=20)
    manifest = toy.write_set(tmp_path, [toy.documents([4, 4, 50, 0, 0, 3, 8])], spec)
    assert [entry["tokens"] for entry in manifest["shards"]] == [8, 50, 3, 8]
    assert [entry["rows"] for entry in manifest["shards"]] == [2, 3, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_is_a_plain_arrow_file_that_identifies_itself(toy: Any, tmp_path: Path, kind: dict[str, Any]) -> None:
    manifest = toy.write_set(tmp_path, [toy.documents([9, 30, 4])], toy.spec(shard_bytes=1 << 20, **kind))
    path = tmp_path / manifest["shards"][0]["path"]
    reader = pa.ipc.open_file(str(path))
    assert reader.num_record_batches == 1
    batch = reader.get_batch(0)
    assert all(column.null_count == 0 for column in batch.columns)
    assert not any(pa.types.is_dictionary(field.type) or field.nullable for field in reader.schema)
    meta = json.loads(reader.schema.metadata[b"curate.shard"])
    assert reader.schema.metadata[b"curate.schema"] == b"shard/1"
    assert meta["tokenizer"] == toy.tokenizer
    assert meta["sources"] == ["web", "code"]
    assert meta["run"] == "r1"
    assert (meta["layout"], meta["partition"], meta["index"]) == (kind["layout"], 0, 0)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == manifest["shards"][0]["sha256"]


def test_the_values_buffer_reshaped_is_the_token_array(toy: Any, tmp_path: Path) -> None:
    manifest = toy.write_set(tmp_path, [toy.documents([64])], toy.spec(shard_bytes=1 << 20))
    with pa.memory_map(str(tmp_path / manifest["shards"][0]["path"])) as source:
        before = pa.total_allocated_bytes()
        column = pa.ipc.open_file(source).get_batch(0).column("input_ids")
        array = np.frombuffer(column.values.buffers()[1], dtype=np.uint16).reshape(-1, 8)
        assert pa.total_allocated_bytes() - before < 4096
    assert array.tolist() == column.to_pylist()


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, pa.uint16()), (65_537, pa.uint32())])
def test_ids_are_as_wide_as_the_vocabulary_needs(toy: Any, tmp_path: Path, vocab_size: int, dtype: pa.DataType) -> None:
    spec = toy.spec(tokenizer={**toy.tokenizer, "vocab_size": vocab_size})
    manifest = toy.write_set(tmp_path, [toy.documents([9])], spec)
    schema = pa.ipc.open_file(str(tmp_path / manifest["shards"][0]["path"])).schema
    assert schema.field("input_ids").type.value_type == dtype


@pytest.mark.parametrize(
    ("changes", "fill"), [({}, 999), ({"pad_id": None}, 998), ({"pad_id": None, "eos_id": None}, 0)]
)
def test_rows_are_padded_with_pad_else_eos_else_zero(
    toy: Any, tmp_path: Path, changes: dict[str, Any], fill: int
) -> None:
    toy.write_set(tmp_path, [toy.documents([3])], toy.spec(context_length=4, tokenizer={**toy.tokenizer, **changes}))
    assert ShardSet.open(str(tmp_path))[0][-1] == fill


def test_large_lists_are_accepted(toy: Any, tmp_path: Path) -> None:
    spec = toy.spec()
    batch = toy.batch(toy.documents([5, 9]), spec)
    large = batch.set_column(2, "tokens", batch.column("tokens").cast(pa.large_list(pa.uint16())))
    results = []
    for data, name in ((batch, "a"), (large, "b")):
        (tmp_path / name).mkdir()
        writer = toy.writer(str(tmp_path / name), spec, 0)
        writer.write(data)
        results.append(writer.close())
    assert results[0] == results[1]


def test_batches_that_do_not_fit_are_refused(toy: Any, tmp_path: Path) -> None:
    spec = toy.spec()
    writer = toy.writer(str(tmp_path), spec, 0)
    good = toy.batch(toy.documents([3]), spec)
    wide = good.set_column(2, "tokens", good.column("tokens").cast(pa.list_(pa.uint32())))
    flat = good.set_column(2, "tokens", pa.array([1], pa.uint16()))
    null = good.set_column(2, "tokens", pa.array([None], pa.list_(pa.uint16())))
    unknown = good.set_column(1, "source", pa.array([2], pa.uint16()))
    for batch, message in (
        (wide, "does not fit"),
        (flat, "not a list"),
        (null, "never null"),
        (unknown, "outside the 2"),
    ):
        with pytest.raises(ShardError, match=message):
            writer.write(batch)


def test_settings_that_make_no_sense_are_listed_at_once(toy: Any) -> None:
    with pytest.raises(RecipeError) as caught:
        ShardSpec("rows", 8, toy.tokenizer, (), shard_bytes=1 << 33, packing="tight")
    assert len(caught.value.mistakes) == 4
    with pytest.raises(RecipeError, match="context_length"):
        toy.spec(context_length=0)


def test_hugging_face_datasets_reads_the_files(toy: Any, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    manifest = toy.write_set(tmp_path, [toy.documents([64])], toy.spec(shard_bytes=1 << 20))
    files = [str(tmp_path / entry["path"]) for entry in manifest["shards"]]
    loaded = datasets.load_dataset("arrow", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[0]["input_ids"] == ShardSet.open(str(tmp_path))[0].tolist()
