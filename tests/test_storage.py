from __future__ import annotations

import errno
import os
import pathlib
from typing import Any

import pytest

from curate import storage
from curate.errors import InputError, RecipeError, StorageFullError


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


def test_every_pattern_that_matches_nothing_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError) as caught:
        storage.list_inputs([str(tmp_path / "*.warc"), str(tmp_path), str(tmp_path / "x")])
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [
        str(tmp_path / "*.warc"),
        str(tmp_path),
        str(tmp_path / "x"),
    ]


def test_a_link_that_leads_nowhere_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "good.warc").write_bytes(b"")
    (tmp_path / "lost.warc").symlink_to(tmp_path / "moved.warc")
    for pattern in (tmp_path, tmp_path / "*.warc", tmp_path / "lost.warc"):
        with pytest.raises(InputError, match=r"/lost\.warc: the link leads nowhere"):
            storage.list_inputs(str(pattern))


def test_links_to_folders_are_followed_and_no_folder_is_read_twice(tmp_path: pathlib.Path) -> None:
    crawl, other = tmp_path / "crawl", tmp_path / "other"
    for folder in (crawl / "b", other):
        folder.mkdir(parents=True)
        (folder / f"{folder.name}.warc").write_bytes(b"")
    (crawl / "a").symlink_to(crawl / "b")
    (crawl / "b" / "up").symlink_to(crawl)
    (crawl / "c").symlink_to(other)
    assert [file.name for file in storage.list_inputs(str(crawl))] == ["a/b.warc", "c/other.warc"]


def test_pipes_are_no_inputs(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.warc").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.warc")
    for pattern in (tmp_path, tmp_path / "*"):
        assert [file.name for file in storage.list_inputs(str(pattern))] == ["x.warc"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "x.warc").write_bytes(b"")
    scan = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    # root may read everything
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"/closed: cannot be read \(Permission denied\)"):
        storage.list_inputs(str(tmp_path))


def test_what_may_not_be_read_or_written_is_a_mistake_with_its_place(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "makedirs", refuse)
    with pytest.raises(RecipeError, match=f"^{tmp_path}/new: permission denied"):
        storage.make_folder(str(tmp_path / "new"))


def test_a_name_that_is_not_utf8_is_named(tmp_path: pathlib.Path) -> None:
    bad = os.fsencode(tmp_path) + b"/bad\xff.jsonl"
    pathlib.Path(os.fsdecode(bad)).write_bytes(b"{}")
    (tmp_path / "good.jsonl").write_bytes(b"{}")
    with pytest.raises(InputError, match=r"/bad\\xff\.jsonl: the name is not UTF-8; rename it"):
        storage.list_inputs(str(tmp_path))
    with pytest.raises(RecipeError, match=r"/bad\\xff\.jsonl: the name is not UTF-8; rename it"):
        storage.exists(os.fsdecode(bad))


def test_a_storage_that_does_not_exist_is_a_mistake_without_its_keys() -> None:
    with pytest.raises(RecipeError, match=r"^gopher://x/y: no such storage \(Unrecognized filesystem type") as caught:
        storage.exists("gopher://key:secret@x/y?token=secret")
    assert "secret" not in str(caught.value)
    with pytest.raises(RecipeError, match="no such storage") as caught:
        storage.exists("s3://key:secret@bucket/y?endpoint_override=secret x")
    assert "secret" not in str(caught.value)


def test_a_file_in_the_place_of_a_folder_is_a_mistake(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for place in (file, file / "below"):
        with pytest.raises(RecipeError, match=f"{place}: a file stands where a folder is needed"):
            storage.make_folder(str(place))
    with pytest.raises(RecipeError, match="a file stands where a folder is needed"):
        storage.is_empty(str(file), besides="x")
