from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.errors import ShardError
from curate.shards.manifest import build_manifest, read_manifest, write_manifest
from curate.shards.reader import ShardSet
from curate.shards.verify import verify

FIRST, SECOND = "shard-000000-00000.arrow", "shard-000000-00001.arrow"


def kinds(folder: Path) -> list[tuple[str, str]]:
    return [(problem.path, problem.kind) for problem in verify(str(folder))]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "changes", [{}, {"packing": "best_fit"}, {"layout": "documents"}, {"context_length": 1}, {"shard_bytes": 1 << 20}]
)
def test_a_whole_set_has_no_problems(two_partitions: Callable[..., Path], changes: dict[str, Any]) -> None:
    assert verify(str(two_partitions(**changes))) == []


def test_a_flipped_bit_is_found(two_partitions: Callable[..., Path]) -> None:
    folder = two_partitions()
    flip(folder / SECOND)
    assert kinds(folder) == [(SECOND, "sha256")]


def test_a_truncated_and_an_empty_shard_are_found(two_partitions: Callable[..., Path]) -> None:
    folder = two_partitions()
    (folder / FIRST).write_bytes((folder / FIRST).read_bytes()[:-1])
    (folder / SECOND).write_bytes(b"")
    assert kinds(folder) == [(FIRST, "truncated"), (SECOND, "truncated")]


def test_a_missing_and_an_extra_shard_are_found(two_partitions: Callable[..., Path]) -> None:
    folder = two_partitions()
    (folder / FIRST).rename(folder / "shard-000009-00000.arrow")
    assert kinds(folder) == [("shard-000009-00000.arrow", "extra"), (FIRST, "missing")]


def test_swapped_shards_are_found(two_partitions: Callable[..., Path]) -> None:
    folder = two_partitions()
    one, two = (folder / FIRST).read_bytes(), (folder / SECOND).read_bytes()
    (folder / FIRST).write_bytes(two)
    (folder / SECOND).write_bytes(one)
    assert kinds(folder) == [(FIRST, "swapped"), (SECOND, "swapped")]


def test_shards_swapped_in_the_manifest_too_are_found_by_what_they_say_of_themselves(
    two_partitions: Callable[..., Path], toy: Any
) -> None:
    folder = two_partitions()
    one, two = (folder / FIRST).read_bytes(), (folder / SECOND).read_bytes()
    (folder / FIRST).write_bytes(two)
    (folder / SECOND).write_bytes(one)
    entries = read_manifest(str(folder))["shards"]
    entries[0]["path"], entries[1]["path"] = SECOND, FIRST
    write_manifest(build_manifest(entries, toy.spec()), str(folder))
    assert kinds(folder) == [(FIRST, "swapped"), (SECOND, "swapped")]


def test_a_missing_or_edited_manifest_is_found(two_partitions: Callable[..., Path]) -> None:
    folder = two_partitions()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "run": "other"}))
    assert kinds(folder) == [("manifest.json", "manifest")]
    (folder / "manifest.json").unlink()
    assert kinds(folder) == [("manifest.json", "manifest")]


def rewrite(folder: Path, toy: Any, change: Callable[[dict[str, Any]], None], **entry: Any) -> None:
    """Rewrite the first shard with changed columns, and the manifest with its new size and sha256: a wrong builder."""
    table = pa.ipc.open_file(str(folder / FIRST)).read_all()
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    change(columns)
    batch = pa.record_batch([pa.array(columns[f.name], f.type) for f in table.schema], schema=table.schema)
    with pa.OSFile(str(folder / FIRST), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_batch(batch)
    data = (folder / FIRST).read_bytes()
    entries = read_manifest(str(folder))["shards"]
    entries[0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **entry}
    write_manifest(build_manifest(entries, toy.spec()), str(folder))


def set_token(columns: dict[str, Any]) -> None:
    columns["input_ids"][0][0] = 1000


def shorten(columns: dict[str, Any]) -> None:
    columns["segment_lengths"][0][0] -= 1


def lose_list(columns: dict[str, Any]) -> None:
    columns["sources"][0].pop()


def jump(columns: dict[str, Any]) -> None:
    row = next(i for i, starts in enumerate(columns["segment_starts"]) if starts[0] > 0)
    columns["segment_starts"][row][0] += 1


def other_document(columns: dict[str, Any]) -> None:
    row = next(i for i, starts in enumerate(columns["segment_starts"]) if starts[0] > 0)
    columns["doc_ids"][row][0] = b"?" * 16


def other_source(columns: dict[str, Any]) -> None:
    columns["sources"][0][0] = 9


@pytest.mark.parametrize(
    ("change", "kind", "detail"),
    [
        (set_token, "tokens", "1000 is outside the vocabulary"),
        (shorten, "segments", "do not tile row 0"),
        (lose_list, "segments", "not parallel"),
        (jump, "segments", "does not go on"),
        (other_document, "segments", "does not go on"),
        (other_source, "segments", "source 9 has no name"),
    ],
)
def test_content_that_a_wrong_builder_made_is_found(
    two_partitions: Callable[..., Path], toy: Any, change: Callable[[dict[str, Any]], None], kind: str, detail: str
) -> None:
    folder = two_partitions()
    rewrite(folder, toy, change)
    first = verify(str(folder))[0]
    assert (first.path, first.kind) == (FIRST, kind)
    assert detail in first.detail


@pytest.mark.parametrize("key", ["rows", "documents", "tokens", "padding_tokens"])
def test_wrong_counts_are_found(two_partitions: Callable[..., Path], toy: Any, key: str) -> None:
    folder = two_partitions()
    rewrite(folder, toy, lambda columns: None, **{key: 77})
    assert [(p.kind, p.detail.split(":")[0]) for p in verify(str(folder))] == [("counts", key)]


def test_padding_that_is_not_the_fill_id_is_found(toy: Any, tmp_path: Path) -> None:
    toy.write_set(tmp_path, [toy.documents([5])], toy.spec())

    def scribble(columns: dict[str, Any]) -> None:
        columns["input_ids"][-1][-1] = 3

    rewrite(tmp_path, toy, scribble)
    assert [p.detail for p in verify(str(tmp_path))] == ["padding is not all 999"]


@pytest.mark.parametrize("metadata", [{}, {b"curate.schema": b"shard/2"}, {b"curate.schema": b"shard/1"}, None])
def test_an_arrow_file_that_is_no_such_shard_is_found(
    two_partitions: Callable[..., Path], toy: Any, metadata: dict[bytes, bytes] | None
) -> None:
    folder = two_partitions()
    table = pa.ipc.open_file(str(folder / FIRST)).read_all()
    # None: good metadata over the wrong columns
    wrong = table.drop_columns(["sources"]) if metadata is None else table.replace_schema_metadata(metadata)
    with pa.OSFile(str(folder / FIRST), "wb") as sink, pa.ipc.new_file(sink, wrong.schema) as writer:
        writer.write_table(wrong)
    data = (folder / FIRST).read_bytes()
    entries = read_manifest(str(folder))["shards"]
    entries[0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    write_manifest(build_manifest(entries, toy.spec()), str(folder))
    assert kinds(folder) == [(FIRST, "schema")]
    with pytest.raises(ShardError):
        ShardSet.open(str(folder))[0]


def test_a_shard_of_another_run_is_found(two_partitions: Callable[..., Path], toy: Any, tmp_path: Path) -> None:
    folder = two_partitions()
    toy.write_set(tmp_path / "other", [toy.documents([20] * 5)], toy.spec(run="r2"))
    data = (tmp_path / "other" / FIRST).read_bytes()
    (folder / FIRST).write_bytes(data)
    entries = read_manifest(str(folder))["shards"]
    entries[0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    write_manifest(build_manifest(entries, toy.spec()), str(folder))
    assert (FIRST, "schema") in kinds(folder)
    (folder / FIRST).write_bytes(b"ARROW1 but nothing of it")
    data = (folder / FIRST).read_bytes()
    entries[0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    write_manifest(build_manifest(entries, toy.spec()), str(folder))
    assert (FIRST, "schema") in kinds(folder)
