"""What is left of killed tasks is cleaned up: staged files in run folders, and scratch folders.

A task whose run folder is on an object store builds its files in a scratch folder. It is locked by the process that
works in it, and the lock dies with that process.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from curate import storage

PREFIX: Final = "curate-scratch-"
STAGED: Final = re.compile(r"\..+\.[0-9a-f]{32}\.tmp(\.\d+\.tmp)?")
"""Names that `storage.staging_path` gives, and those of the spills beside such a file."""


def sweep_staging(uri: str) -> None:
    """Delete what killed attempts left half-built anywhere below the local folder `uri`."""
    if not storage.is_local(uri):
        return
    for folder, folders, names in os.walk(storage.local_path(uri)):
        for name in [name for name in folders if STAGED.fullmatch(name)]:
            shutil.rmtree(os.path.join(folder, name))
            folders.remove(name)
        for name in names:
            if STAGED.fullmatch(name):
                os.unlink(os.path.join(folder, name))


@contextmanager
def scratch_folder(parent: str | None = None) -> Iterator[str]:
    """Give a fresh local folder, in the system's own by default, for files that are not committed yet. It is locked
    while it is in use; the first call of a process deletes those whose process is gone, since their lock is."""
    parent = parent or tempfile.gettempdir()
    _sweep_scratch(parent)
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        if (lock := _lock_folder(path)) is not None:
            break
    try:
        yield path
    finally:
        shutil.rmtree(path)
        os.close(lock)


@functools.cache
def _sweep_scratch(parent: str) -> None:
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if name.startswith(PREFIX) and (lock := _lock_folder(path)) is not None:
            shutil.rmtree(path)
            os.close(lock)


def _lock_folder(path: str) -> int | None:
    """Return a handle that holds the lock of a folder until it is closed; None if another has it, or deleted it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.exists(path):
            return handle
    except BlockingIOError:
        pass
    os.close(handle)
    return None
