from __future__ import annotations

import os
import pathlib

import pytest

from curate import storage
from curate.errors import InputError, StorageFullError


def test_join_puts_names_before_the_query() -> None:
    assert (
        storage.join("s3://bucket/run?endpoint_override=x", "a", "b.json")
        == "s3://bucket/run/a/b.json?endpoint_override=x"
    )
    assert storage.join("/runs/one/", "a") == "/runs/one/a"
    assert storage.join("runs", "a") == "runs/a"


def test_commit_publishes_all_or_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = str(tmp_path / "out" / "file.bin")
    seen: list[tuple[str, bool]] = []
    monkeypatch.setattr(storage, "on_commit_step", lambda step: seen.append((step, os.path.exists(target))))
    path = storage.staging_path(target, "")
    pathlib.Path(path).write_bytes(b"data")
    storage.commit(path, target)
    assert seen == [("staged", False), ("synced", False), ("renamed", True), ("committed", True)]
    assert storage.list_names(str(tmp_path / "out")) == ["file.bin"]


def test_names_are_relative_to_the_part_of_the_pattern_without_wildcards(tmp_path: pathlib.Path) -> None:
    for name in ("a/x.warc", "b/x.warc", "b/y.txt", "b/.hidden.warc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    assert [file.name for file in storage.list_inputs(str(tmp_path / "*" / "*.warc"))] == ["a/x.warc", "b/x.warc"]
    assert [file.name for file in storage.list_inputs(str(tmp_path / "b"))] == ["x.warc", "y.txt"]
    assert [file.name for file in storage.list_inputs(str(tmp_path / "b" / "x.warc"))] == ["x.warc"]
    both = [str(tmp_path / "a" / "*"), str(tmp_path / "b" / "x.warc")]
    assert [file.name for file in storage.list_inputs(both)] == ["a/x.warc", "b/x.warc"]


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="no file matches"):
        storage.list_inputs(str(tmp_path / "*.warc"))


def test_the_content_id_knows_neither_name_nor_time(tmp_path: pathlib.Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"x" * 5_000_000)
    two.write_bytes(b"x" * 5_000_000)
    os.utime(two, (0, 0))
    assert storage.content_id(str(one)) == storage.content_id(str(two))
    two.write_bytes(b"x" * 2_500_000 + b"y" + b"x" * 2_499_999)
    assert storage.content_id(str(one)) == storage.content_id(str(two))
    assert storage.content_id(str(one), full=True) != storage.content_id(str(two), full=True)
    two.write_bytes(b"y" + b"x" * 4_999_999)
    assert storage.content_id(str(one)) != storage.content_id(str(two))


def test_a_file_size_limit_reads_as_no_space(tmp_path: pathlib.Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageFullError, match="no space left"):
            storage.write_bytes(str(tmp_path / "big"), b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
