"""The ledger of a run: which tasks are done (receipts), what was planned, and who may work (the lease).

Resume is a set difference: the plan's keys minus the keys with a valid receipt. Above `COMPACT_AT` loose receipts they
are packed into Arrow logs, so that a run of a million tasks does not read a million small files.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa

from curate import storage
from curate.engine.receipts import read_receipt
from curate.engine.tasks import Receipt, TaskSpec, canonical_json, hash_json
from curate.errors import CurateError, LeaseError

COMPACT_AT = 10_000
STORE_REQUESTS = 16
LEASE_RENEW_S = 10.0
LEASE_STALE_S = 60.0
LEASE_FILE = "lease.json"
LOG_SCHEMA = pa.schema([("key", pa.string()), ("receipt", pa.large_string())])
FOLDERS = (
    "plan", "receipts", "documents", "signals", "rejects", "verdicts", "signatures", "edits", "dedup", "tokenizer",
    "tokens", "shards",
)  # fmt: skip


Answer = TypeVar("Answer")


class Ledger:
    """The receipts of one run folder, held by key."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.receipts: dict[str, Receipt] = {}
        self._loose: set[str] = set()

    def load(self) -> None:
        """Read every receipt: logs first, then loose files. A damaged one is a task not done."""
        folder = storage.join(self.run, "receipts")
        names = storage.list_names(folder)
        for name in names:
            if name.endswith(".arrow"):
                with pa.ipc.open_file(storage.open_input(storage.join(folder, name))) as log:
                    for text in log.read_all()["receipt"].to_pylist():
                        self._add(text)
        loose = [storage.join(folder, name) for name in names if name.endswith(".json")]
        for text in _each(self.run, storage.read_bytes, loose):
            receipt = self._add(text)
            if receipt is not None:
                self._loose.add(receipt.key)

    def _add(self, text: str | bytes) -> Receipt | None:
        receipt = read_receipt(text)
        if receipt is None:
            return None
        self.receipts[receipt.key] = receipt
        return receipt

    def find(self, key: str) -> Receipt | None:
        """Return the receipt of a task whose outputs are all still there with their sizes, else None."""
        receipt = self.receipts.get(key)
        if receipt is None:
            return None
        for refs in receipt.outputs.values():
            for ref in refs:
                try:
                    if storage.size(storage.join(self.run, ref.path)) != ref.bytes:
                        return None
                except FileNotFoundError:
                    return None
        return receipt

    def find_all(self, keys: Iterable[str]) -> dict[str, Receipt]:
        """Return the receipts of those tasks that `find` has one of, by key."""
        wanted = list(dict.fromkeys(keys))
        found = zip(wanted, _each(self.run, self.find, wanted), strict=True)
        return {key: receipt for key, receipt in found if receipt is not None}

    def add(self, receipt: Receipt) -> None:
        """Take in a receipt that a task has just committed."""
        self.receipts[receipt.key] = receipt
        self._loose.add(receipt.key)

    def compact(self, at_least: int = COMPACT_AT) -> None:
        """Pack loose receipts into one Arrow log once there are `at_least` of them. Killed half-way, both copies stay
        and say the same."""
        if len(self._loose) < at_least:
            return
        keys = sorted(self._loose)
        rows = [canonical_json(self.receipts[key].to_json()) for key in keys]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, LOG_SCHEMA) as writer:
            writer.write_table(pa.table([keys, rows], schema=LOG_SCHEMA))
        folder = storage.join(self.run, "receipts")
        storage.write_bytes(storage.join(folder, f"log-{hash_json(keys)}.arrow"), sink.getvalue().to_pybytes())
        for key in keys:
            storage.delete(storage.join(folder, f"{key}.json"))
        self._loose.clear()


def _each(run: str, ask: Callable[[str], Answer], names: Sequence[str]) -> Iterator[Answer]:
    """Yield the answers of the storage of `run` in order. An object store takes its time for each, so that it is asked
    for several at once; on a local disk, threads would only be in each other's way."""
    if storage.is_local(run):
        yield from map(ask, names)
        return
    with ThreadPoolExecutor(STORE_REQUESTS, thread_name_prefix="ledger") as pool:
        yield from pool.map(ask, names)


def write_plan(run: str, number: int, phase: str, specs: Sequence[TaskSpec]) -> None:
    """Freeze the tasks of a phase. The file holds no path outside the run, so that equal runs have equal plans."""
    tasks = [
        {"key": spec.key, "stage": spec.stage, "kind": spec.kind, "unit": spec.unit, "settings": spec.settings}
        for spec in specs
    ]
    uri = storage.join(run, "plan", f"{number:02d}-{phase}.json")
    storage.write_bytes(uri, canonical_json({"phase": phase, "tasks": tasks}).encode())


def _lease_content(owner: str) -> bytes:
    content = {"owner": owner, "pid": os.getpid(), "host": socket.gethostname(), "renewed": time.time()}
    return canonical_json(content).encode()


def _is_at(path: str, handle: int) -> bool:
    """Return whether the file that a handle has open is the one at `path`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Lease:
    """The right to work on a run folder, held until it is closed or taken over."""

    def __init__(self, run: str, owner: str) -> None:
        self.uri = storage.join(run, LEASE_FILE)
        self.owner = owner
        self.taken_by: str | None = None
        self._lock: int | None = None

    def check(self) -> None:
        """Raise LeaseError once another process has taken the folder over."""
        if self.taken_by is not None:
            raise LeaseError(f"{self.taken_by} has taken over this run folder; this process stops")

    def lock(self, takeover: bool) -> None:
        """Take the lock of a local folder, which dies with its process. Raises LeaseError if a live one holds it."""
        path = storage.local_path(self.uri)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not takeover:
                os.close(handle)
                raise LeaseError(_at_work(self.read())) from None
        # the holder before deletes its file: who opened that one just then has locked what nobody else will see
        if not _is_at(path, handle):
            os.close(handle)
            self.lock(takeover)
            return
        self._lock = handle

    def read(self) -> dict[str, Any] | None:
        """Return what the lease file says; None if it is missing, or its writer died before it was filled."""
        try:
            lease: dict[str, Any] = json.loads(storage.read_bytes(self.uri))
        except (ValueError, FileNotFoundError):
            return None
        return lease

    def write(self) -> None:
        """Say that this process is at work."""
        data = _lease_content(self.owner)
        if self._lock is None:
            storage.write_bytes(self.uri, data)
        else:
            # in place: the lock belongs to this very file
            os.pwrite(self._lock, data.ljust(os.fstat(self._lock).st_size), 0)

    def renew(self) -> None:
        """Renew the lease, unless another process has taken it."""
        try:
            found = self.read()
            if found is not None and found["owner"] != self.owner:
                self.taken_by = f"process {found['pid']} on {found['host']}"
            else:
                self.write()
        except (CurateError, OSError):
            return  # tried again at the next renewal; the lease is stale only after several

    def close(self) -> None:
        """Give the folder back, unless it is another's by now."""
        found = self.read()
        if found is None or found["owner"] == self.owner:
            storage.delete(self.uri)
        if self._lock is not None:
            os.close(self._lock)


def _at_work(lease: Mapping[str, Any] | None) -> str:
    where = f"process {lease['pid']} on {lease['host']}" if lease else "another process"
    return f"{where} is working on this run folder; wait for it, or pass --takeover if it is gone"


def _take(lease: Lease, takeover: bool) -> None:
    if storage.is_local(lease.uri):
        lease.lock(takeover)
        found = lease.read()
        # the lock tells about this machine; a folder that machines share may not pass locks on
        if found and found["host"] != socket.gethostname() and not _is_stale(found) and not takeover:
            raise LeaseError(_at_work(found))
        lease.write()
        return
    found = lease.read()
    if found and not takeover and not _is_stale(found) and not _is_dead(found):
        raise LeaseError(_at_work(found))
    lease.write()
    # object stores: the last writer wins, so whoever reads its own name back owns the lease
    again = lease.read()
    if again is None or again["owner"] != lease.owner:
        raise LeaseError("another process took this run folder at the same moment; wait for it to finish")


def _is_stale(lease: Mapping[str, Any]) -> bool:
    return time.time() - float(lease["renewed"]) >= LEASE_STALE_S


def _is_dead(lease: Mapping[str, Any]) -> bool:
    return bool(lease["host"] == socket.gethostname() and not _alive(int(lease["pid"])))


@contextmanager
def lease(run: str, *, takeover: bool = False) -> Iterator[Lease]:
    """Hold the run folder for this process. A local folder is locked, and a dead holder's lock is gone with it; on an
    object store a dead holder of this host, or one silent for a minute, is replaced.

    Raises LeaseError if another process is at work and `takeover` is not set.
    """
    held = Lease(run, uuid.uuid4().hex)
    _take(held, takeover)
    done = threading.Event()

    def renew() -> None:
        while not done.wait(LEASE_RENEW_S):
            held.renew()

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield held
    finally:
        done.set()
        thread.join()
        held.close()
