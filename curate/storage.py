"""Files on local disks and object stores, through ``pyarrow.fs``, with one way to publish: commit.

A path without ``scheme://`` is local. A query string of a URI (``s3://bucket/run?endpoint_override=…``) belongs to the
file system, so `join` puts names before it. Nothing here lists a folder to learn what is true: receipts and manifests
do that; listing only finds the inputs that a user names.
"""

from __future__ import annotations

import errno
import fnmatch
import functools
import glob
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs
import xxhash

from curate.errors import InputError, RecipeError, RetryableError, StorageFullError

COPY_BYTES: Final = 8 << 20
SAMPLE_BYTES: Final = 1 << 20
FULL_DISK_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
WILDCARDS: Final = frozenset("*?[")

on_commit_step: Callable[[str], None] | None = None
"""Called with the name of each step of each commit; crash tests replace it to stop the process there."""


class InputFile(NamedTuple):
    """One input: where it is, its name relative to its source ('/'-separated) and its size in bytes."""

    uri: str
    name: str
    size: int


def is_local(uri: str) -> bool:
    """Return whether `uri` names a file of this machine."""
    return "://" not in uri or uri.startswith("file://")


def local_path(uri: str) -> str:
    """Return the absolute local path of a local `uri`."""
    return os.path.abspath(uri.removeprefix("file://"))


def _split_query(uri: str) -> tuple[str, str]:
    if "://" not in uri:
        return uri, ""
    base, mark, query = uri.partition("?")
    return base, mark + query


def shown(uri: str) -> str:
    """Return `uri` as messages show it: without its query and user part, which may hold keys."""
    base = _split_query(uri)[0]
    return re.sub(r"://[^/@]*@", "://", base)


def join(uri: str, *parts: str) -> str:
    """Return the URI of `parts` below `uri`, keeping the file-system options in its query."""
    base, query = _split_query(uri)
    return "/".join([base.rstrip("/") or "/", *[part.strip("/") for part in parts]]) + query


def _is_utf8(name: str) -> bool:
    """Return whether a name can be written as UTF-8; those of Unix are bytes, and need not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _readable(name: str) -> str:
    """Return a name with each byte that is not UTF-8 as an escape."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@functools.lru_cache(maxsize=32)
def _remote(root: str, query: str) -> pafs.FileSystem:
    return pafs.FileSystem.from_uri(root + query)[0]


def filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of `uri` and the path of `uri` in it. Raises RecipeError if there is none, RetryableError
    if remote storage cannot be reached."""
    if not _is_utf8(uri):
        raise RecipeError(f"{_readable(shown(uri))}: the name is not UTF-8; rename it")
    if is_local(uri):
        return pafs.LocalFileSystem(), local_path(uri)
    base, query = _split_query(uri)
    scheme, rest = base.split("://", 1)
    bucket, _, path = rest.partition("/")
    # a file system is built once per bucket: building one costs a region look-up
    try:
        system = _remote(f"{scheme}://{bucket}", query)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        root = f"{scheme}://{bucket}"
        # Arrow repeats the URI, and its user part and query may hold keys
        why = str(error).partition("\n")[0].replace(root + query, shown(root)).replace(root, shown(root))
        if isinstance(error, OSError):  # the bucket's region is asked for
            raise RetryableError(f"{shown(uri)}: {why}") from None
        raise RecipeError(f"{shown(uri)}: no such storage ({why}); use a local path, s3:// or gs://") from None
    bucket = bucket.rpartition("@")[2]
    return system, f"{bucket}/{path}" if scheme in {"s3", "gs", "gcs"} else f"/{path}"


@contextmanager
def _named_errors(uri: str) -> Iterator[None]:
    """Turn storage failures into our errors; the query, which may hold keys, never reaches a message."""
    try:
        yield
    except FileNotFoundError:
        raise
    except PermissionError as error:
        if not is_local(uri):
            raise RetryableError(f"{shown(uri)}: {error}") from error
        raise RecipeError(f"{_readable(shown(uri))}: permission denied; allow it, or name another place") from None
    except (NotADirectoryError, FileExistsError):
        raise RecipeError(f"{shown(uri)}: a file stands where a folder is needed; name another place") from None
    except OSError as error:
        where = shown(uri)
        if error.errno in FULL_DISK_ERRNOS:
            raise StorageFullError(f"{where}: no space left; free some and run the same command again") from error
        if is_local(uri):
            raise
        raise RetryableError(f"{where}: {error}") from error


def open_input(uri: str) -> pa.NativeFile:
    """Open `uri` for random access. Raises FileNotFoundError, or RetryableError if remote storage fails."""
    system, path = filesystem(uri)
    with _named_errors(uri):
        return system.open_input_file(path)


def read_bytes(uri: str) -> bytes:
    """Return all bytes of `uri`."""
    with _named_errors(uri), open_input(uri) as stream:
        return bytes(stream.read())


def exists(uri: str) -> bool:
    """Return whether a file is at `uri`."""
    system, path = filesystem(uri)
    with _named_errors(uri):
        return bool(system.get_file_info(path).type == pafs.FileType.File)


def size(uri: str) -> int:
    """Return the size in bytes of the file at `uri`."""
    system, path = filesystem(uri)
    with _named_errors(uri):
        info = system.get_file_info(path)
    if info.type != pafs.FileType.File:
        raise FileNotFoundError(shown(uri))
    return int(info.size)


def delete(uri: str) -> None:
    """Delete the file at `uri`; one that is already gone is no error."""
    system, path = filesystem(uri)
    try:
        with _named_errors(uri):
            system.delete_file(path)
    except FileNotFoundError:
        return


def make_folder(uri: str) -> None:
    """Make a local folder and its parents; object stores have none."""
    if is_local(uri):
        with _named_errors(uri):
            os.makedirs(local_path(uri), exist_ok=True)


def list_names(uri: str) -> list[str]:
    """Return the names of the files directly below `uri`, sorted, without hidden ones; none if it does not exist."""
    system, path = filesystem(uri)
    with _named_errors(uri):
        infos = system.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    names = [info.base_name for info in infos if info.type == pafs.FileType.File]
    return sorted(name for name in names if not name.startswith("."))


def is_empty(uri: str, *, besides: str) -> bool:
    """Return whether nothing but hidden files and the file `besides` is below `uri`."""
    system, path = filesystem(uri)
    with _named_errors(uri):
        infos = system.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return all(info.base_name.startswith(".") or info.base_name == besides for info in infos)


def _step(name: str) -> None:
    if on_commit_step is not None:
        on_commit_step(name)


def _sync_folder(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def staging_path(uri: str, scratch: str) -> str:
    """Return a fresh local path to build the file in that `commit` will publish at `uri`: beside it on a local disk, so
    that the rename is atomic; else in the local folder `scratch`."""
    name = re.sub(r"[{}]", "", os.path.basename(_split_query(uri)[0]))
    folder = os.path.dirname(local_path(uri)) if is_local(uri) else scratch
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")


def commit(path: str, uri: str) -> None:
    """Publish the finished local file `path` at `uri`: fsync and rename on a local disk, one upload elsewhere.

    `path` comes from `staging_path` and is gone afterwards. Raises StorageFullError or RetryableError.
    """
    _step("staged")
    with _named_errors(uri):
        if is_local(uri):
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())
            _step("synced")
            os.makedirs(os.path.dirname(local_path(uri)), exist_ok=True)
            os.replace(path, local_path(uri))
            _step("renamed")
            _sync_folder(os.path.dirname(local_path(uri)))
        else:
            system, target = filesystem(uri)
            # the source is mapped before the stream opens: an error inside an open stream publishes what was written
            with pa.memory_map(path) if os.path.getsize(path) else pa.BufferReader(b"") as source:
                data = source.read_buffer()
                with system.open_output_stream(target) as stream:
                    for start in range(0, data.size, COPY_BYTES):
                        stream.write(data.slice(start, min(COPY_BYTES, data.size - start)))
            _step("uploaded")
            os.unlink(path)
    _step("committed")


def write_bytes(uri: str, data: bytes) -> None:
    """Write a small file atomically."""
    if is_local(uri):
        path = staging_path(uri, "")
        with _named_errors(uri):
            try:
                with open(path, "wb") as stream:
                    stream.write(data)
                commit(path, uri)
            finally:
                if os.path.exists(path):
                    os.unlink(path)
        return
    _step("ready")
    system, target = filesystem(uri)
    with _named_errors(uri), system.open_output_stream(target) as stream:
        stream.write(data)
    _step("committed")


def content_id(uri: str, *, full: bool = False) -> str:
    """Return what identifies the bytes at `uri` without its name or time: for local files the size and the xxh3-128
    of the first and last MiB (of everything if `full`), for remote ones the size and the ETag where the store has one.
    """
    with open_input(uri) as stream:
        total = int(stream.size())
        if not is_local(uri) and not full:
            etag = _etag(stream)
            if etag:
                return f"{total}-etag-{etag}"
        digest = xxhash.xxh3_128()
        if full or total <= 2 * SAMPLE_BYTES:
            while block := stream.read(COPY_BYTES):
                digest.update(block)
        else:
            digest.update(stream.read(SAMPLE_BYTES))
            stream.seek(total - SAMPLE_BYTES)
            digest.update(stream.read(SAMPLE_BYTES))
    return f"{total}-{digest.hexdigest()}"


def _etag(stream: Any) -> str:
    metadata = stream.metadata() or {}
    for key, value in metadata.items():
        name = key.decode() if isinstance(key, bytes) else key
        if name.lower() == "etag":
            return (value.decode() if isinstance(value, bytes) else str(value)).strip('"')
    return ""


def _static_folder(pattern: str) -> str:
    """Return the folder part of `pattern` that holds no wildcard."""
    parts = pattern.split("/")
    fixed = next((i for i, part in enumerate(parts) if WILDCARDS & set(part)), len(parts) - 1)
    return "/".join(parts[:fixed])


def _base_folder(pattern: str) -> str:
    """Return the folder that the names of a pattern's matches are relative to, in its file system."""
    system, path = filesystem(pattern)
    if WILDCARDS & set(path):
        return _static_folder(path)
    return path if system.get_file_info(path).type == pafs.FileType.Directory else os.path.dirname(path)


def _files_below(root: str) -> Iterator[str]:
    """Yield the paths of everything but folders below a local folder, each folder once however many links lead to it.
    Raises RecipeError for a folder that cannot be read."""

    def refuse(error: OSError) -> None:
        raise RecipeError(f"{_readable(str(error.filename))}: cannot be read ({error.strerror}); allow it or move it")

    seen: set[str] = set()
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        folders.sort()
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (os.path.join(folder, name) for name in names)


def _match_local(root: str) -> list[str]:
    """Return the local files that a file, folder or glob matches, without hidden ones, pipes and sockets.

    Raises RecipeError for folders that cannot be read and links that lead nowhere: they may hide a part of the input.
    """
    if os.path.isdir(root):
        found = list(_files_below(root))
    else:
        found = [root] if os.path.isfile(root) else glob.glob(root, recursive=True)
    visible = [path for path in found if not os.path.basename(path).startswith(".")]
    lost = sorted(path for path in visible if not os.path.exists(path))
    if lost:
        raise RecipeError([f"{_readable(path)}: the link leads nowhere; mend it or delete it" for path in lost])
    return [path for path in visible if os.path.isfile(path)]


def _match(pattern: str) -> list[tuple[str, str, int]]:
    """Return (uri, full path, size) of the files that one pattern, folder or file name matches."""
    base, query = _split_query(pattern)
    if is_local(pattern):
        return [(path, path, os.path.getsize(path)) for path in _match_local(local_path(base))]
    scheme = base.split("://", 1)[0]
    system, path = filesystem(pattern)
    with _named_errors(pattern):
        info = system.get_file_info(path)
        if info.type == pafs.FileType.File:
            infos = [info]
        else:
            folder = path if info.type == pafs.FileType.Directory else _static_folder(path)
            infos = system.get_file_info(pafs.FileSelector(folder, recursive=True, allow_not_found=True))
            if info.type != pafs.FileType.Directory:
                infos = [found for found in infos if fnmatch.fnmatchcase(found.path, path)]
    prefix = base[: base.index("://") + 3]
    credentials = base[len(prefix) :].partition("/")[0].rpartition("@")
    lead = prefix + (credentials[0] + credentials[1] if scheme in {"s3", "gs", "gcs"} else "")
    return [(lead + i.path + query, i.path, int(i.size)) for i in infos if i.type == pafs.FileType.File]


def list_inputs(patterns: str | Sequence[str]) -> list[InputFile]:
    """Return the files that patterns match, each once, sorted by name.

    A pattern is a file, a folder (everything below it but hidden files) or a glob. A name is relative to the deepest
    folder that all patterns share before their first wildcard, so that a file more changes no other name. Raises
    InputError, with a line for each pattern that matches nothing (an empty run is never silent), each name that is not
    UTF-8, and each folder or link that cannot be followed.
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    found: dict[str, tuple[str, int]] = {}
    wrong: list[str] = []
    for pattern in wanted:
        try:
            matches = _match(pattern)
        except RecipeError as error:
            wrong += error.mistakes
            continue
        if not matches:
            wrong.append(f"{_readable(shown(pattern))}: no file matches; check the path or the pattern")
        wrong += [
            f"{_readable(path)}: the name is not UTF-8; rename it" for _, path, _ in matches if not _is_utf8(path)
        ]
        found.update({uri: (path, length) for uri, path, length in matches})
    if wrong:
        raise InputError("no_input", "\n".join(dict.fromkeys(wrong)))
    shared = os.path.commonpath([_base_folder(pattern) for pattern in wanted])
    files = [InputFile(uri, os.path.relpath(path, shared or "."), length) for uri, (path, length) in found.items()]
    return sorted(files, key=lambda file: file.name)
