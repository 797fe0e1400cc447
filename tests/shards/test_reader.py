from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate import storage
from curate.errors import ShardError
from curate.shards.reader import ShardSet


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
def test_every_token_leads_to_its_document(toy: Any, tmp_path: Path, packing: str) -> None:
    documents = toy.documents([5, 3, 20, 1, 0, 90, 7])
    toy.write_set(tmp_path, [documents], toy.spec(packing=packing))
    tokens_of = {doc_id: (("web", "code")[source], tokens) for doc_id, source, tokens in documents}
    shards, padding = ShardSet.open(str(tmp_path)), 0
    for sample in range(len(shards)):
        for column, token in enumerate(shards[sample].tolist()):
            trace = shards.trace(sample, column)
            if trace is None:
                padding += 1
                assert token == 999
                continue
            source, tokens = tokens_of[trace.doc_id]
            assert tokens[trace.offset] == token
            assert trace.source == source
    assert padding == shards.manifest["totals"]["padding_tokens"]
    with pytest.raises(IndexError):
        shards.trace(0, 8)


@pytest.mark.parametrize("context_length", [1, 6, 17, 40])
def test_windows_over_documents_trace_back_too(toy: Any, tmp_path: Path, context_length: int) -> None:
    documents = toy.documents([5, 3, 0, 20, 1, 0, 0, 60, 7])
    manifest = toy.write_set(tmp_path, [documents], toy.spec(layout="documents", shard_bytes=120))
    tokens_of = {doc_id: tokens for doc_id, _, tokens in documents}
    shards = ShardSet.open(str(tmp_path), context_length=context_length)
    assert len(shards) == sum(entry["tokens"] // context_length for entry in manifest["shards"])
    for sample in range(len(shards)):
        row = shards.row(sample)
        assert len(row.ids) == row.lengths.sum() == context_length
        assert row.cu_seqlens[-1] == context_length
        for column in range(context_length):
            trace = shards.trace(sample, column)
            assert trace is not None
            assert tokens_of[trace.doc_id][trace.offset] == row.ids[column]


def test_layout_documents_gives_whole_documents(toy: Any, tmp_path: Path) -> None:
    documents = toy.documents([5, 0, 20])
    toy.write_set(tmp_path, [documents], toy.spec(layout="documents"))
    shards = ShardSet.open(str(tmp_path))
    assert [shards[i].tolist() for i in range(3)] == [tokens for _, _, tokens in documents]
    assert shards.row(2).doc_ids == [documents[2][0]]
    assert shards.row(1).doc_ids == []
    assert shards.context_length is None


def test_a_row_is_a_read_only_view_of_the_mapped_file(two_partitions: Callable[..., Path]) -> None:
    shards = ShardSet.open(str(two_partitions()))
    before = pa.total_allocated_bytes()
    views = [shards[i] for i in range(len(shards))]
    assert pa.total_allocated_bytes() - before < 1 << 16
    assert not any(view.flags.writeable or view.flags.owndata for view in views)
    again = [shards[i] for i in range(len(shards))]
    assert all(np.shares_memory(a, b) for a, b in zip(views, again, strict=True))
    del shards
    assert sum(int(view.sum()) for view in views) == sum(int(view.sum()) for view in again)


def test_no_file_stays_open(two_partitions: Callable[..., Path]) -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("/proc is not here to count open files")
    shards = ShardSet.open(str(two_partitions(shard_bytes=16)))
    before = len(list(open_files.iterdir()))
    for i in range(len(shards)):
        assert len(shards[i]) == 8
    assert len(list(open_files.iterdir())) <= before


def test_indices_count_from_both_ends(two_partitions: Callable[..., Path]) -> None:
    shards = ShardSet.open(str(two_partitions()))
    assert shards[-1].tolist() == shards[len(shards) - 1].tolist()
    for wrong in (len(shards), -len(shards) - 1):
        with pytest.raises(IndexError):
            shards[wrong]


def test_a_set_travels_between_processes(two_partitions: Callable[..., Path]) -> None:
    for changes, view in (({}, None), ({"layout": "documents"}, 6)):
        shards = ShardSet.open(str(two_partitions(**changes)), context_length=view)
        assert len(shards[0]) > 0
        copy = pickle.loads(pickle.dumps(shards))
        assert copy.fingerprint == shards.fingerprint
        assert all((copy[i] == shards[i]).all() for i in range(len(shards)))


def test_opening_notices_files_that_are_not_whole(two_partitions: Callable[..., Path]) -> None:
    folder = two_partitions()
    first = min(folder.glob("*.arrow"))
    data = bytearray(first.read_bytes())
    first.write_bytes(data[:-1])
    with pytest.raises(ShardError, match="bytes, the manifest says"):
        ShardSet.open(str(folder))
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    assert ShardSet.open(str(folder))
    with pytest.raises(ShardError, match="sha256"):
        ShardSet.open(str(folder), verify="hash")
    first.unlink()
    with pytest.raises(ShardError, match="missing"):
        ShardSet.open(str(folder))
    with pytest.raises(ShardError, match="missing"):
        ShardSet.open(str(folder), verify="none")[0]


def test_opening_with_settings_that_do_not_fit_is_refused(two_partitions: Callable[..., Path]) -> None:
    folder = str(two_partitions())
    with pytest.raises(ShardError, match="no view of context_length 9"):
        ShardSet.open(folder, context_length=9)
    with pytest.raises(ShardError, match="none, size or hash"):
        ShardSet.open(folder, verify="all")
    with pytest.raises(ShardError, match="at least 1"):
        ShardSet.open(str(two_partitions(layout="documents")), context_length=0)


def test_a_shard_of_another_tokenizer_is_refused(toy: Any, tmp_path: Path) -> None:
    spec = toy.spec()
    toy.write_set(tmp_path / "a", [toy.documents([20])], spec)
    other = toy.spec(tokenizer={**toy.tokenizer, "sha256": "1" * 64})
    toy.write_set(tmp_path / "b", [toy.documents([20])], other)
    name = "shard-000000-00000.arrow"
    (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
    with pytest.raises(ShardError, match="its tokenizer is not the manifest's"):
        ShardSet.open(str(tmp_path / "a"))[0]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket on a loopback S3 server, as a URI."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys).create_bucket(Bucket="shards")
    yield f"s3://testing:testing@shards/run?scheme=http&region=us-east-1&endpoint_override={host}:{port}"
    server.stop()


@pytest.mark.parametrize("cached", [True, False])
def test_remote_shards_are_read_from_a_cache_or_from_memory(
    two_partitions: Callable[..., Path], bucket: str, tmp_path: Path, cached: bool
) -> None:
    folder = two_partitions()
    for path in folder.iterdir():
        storage.write_bytes(storage.join(bucket, path.name), path.read_bytes())
    local = ShardSet.open(str(folder))
    cache = str(tmp_path / "cache") if cached else None
    for _ in range(2):
        remote = ShardSet.open(bucket, cache=cache)
        assert remote.fingerprint == local.fingerprint
        assert all((remote[i] == local[i]).all() for i in range(len(local)))
    if cached:
        # a cached file of the wrong size is fetched again
        files = sorted((tmp_path / "cache").iterdir())
        assert len(files) == len(local.manifest["shards"])
        files[0].write_bytes(b"")
        assert sum(map(len, ShardSet.open(bucket, cache=cache))) == sum(map(len, local))
