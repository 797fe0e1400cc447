"""The ledger of a run: which tasks are done (receipts), what was planned, and who may work (the lease).

Resume is a set difference: the plan's keys minus the keys with a valid receipt. Above `COMPACT_AT` loose receipts they
are packed into Arrow logs, so that a run of a million tasks does not read a million small files.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from curate import storage
from curate.engine.tasks import Receipt, TaskSpec, canonical_json, hash_json, read_receipt
from curate.errors import LeaseError

COMPACT_AT = 10_000
LEASE_RENEW_S = 10.0
LEASE_STALE_S = 60.0
LEASE_FILE = "lease.json"
LOG_SCHEMA = pa.schema([("key", pa.string()), ("receipt", pa.large_string())])
FOLDERS = ("plan", "receipts", "documents", "signals", "rejects", "verdicts", "dedup", "tokenizer", "tokens", "shards")


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
        for name in names:
            if name.endswith(".json"):
                receipt = self._add(storage.read_bytes(storage.join(folder, name)))
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


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _held_by_other(lease: dict[str, Any]) -> bool:
    if lease["host"] == socket.gethostname():
        return _alive(int(lease["pid"])) and int(lease["pid"]) != os.getpid()
    return time.time() - float(lease["renewed"]) < LEASE_STALE_S


def _take(uri: str, owner: str, takeover: bool) -> None:
    data = _lease_content(owner)
    if storage.is_local(uri):
        try:
            handle = os.open(storage.local_path(uri), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            return
    if storage.exists(uri) and not takeover:
        try:
            lease = json.loads(storage.read_bytes(uri))
        except ValueError:
            lease = None  # its writer died between creating and filling it
        if lease and _held_by_other(lease):
            where = f"process {lease['pid']} on {lease['host']}"
            raise LeaseError(f"{where} is working on this run folder; wait for it, or pass --takeover if it is gone")
    storage.write_bytes(uri, data)
    # object stores: the last writer wins, so whoever reads its own name back owns the lease
    if json.loads(storage.read_bytes(uri))["owner"] != owner:
        raise LeaseError("another process took this run folder at the same moment; wait for it to finish")


@contextmanager
def lease(run: str, *, takeover: bool = False) -> Iterator[None]:
    """Hold the run folder for this process. A dead holder on this host, or one silent for a minute, is replaced.

    Raises LeaseError if another process is at work and `takeover` is not set.
    """
    uri = storage.join(run, LEASE_FILE)
    owner = uuid.uuid4().hex
    _take(uri, owner, takeover)
    done = threading.Event()

    def renew() -> None:
        while not done.wait(LEASE_RENEW_S):
            storage.write_bytes(uri, _lease_content(owner))

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        storage.delete(uri)
