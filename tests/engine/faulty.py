"""Stage functions that misbehave on purpose; worker processes import them by name."""

from __future__ import annotations

import os
import signal
import time

import pyarrow as pa

from curate.engine.tasks import Task
from curate.errors import RetryableError


def double(task: Task) -> None:
    """Write each number of the settings, doubled."""
    for number in task.settings["numbers"]:
        task.heartbeat(f"document {number}")
        if f"document {number}" in task.skip:
            task.quarantined.append({"number": number, "reason": task.skip[f"document {number}"]})
            task.stats["skipped"] += 1
            continue
        misbehave(task, task.settings.get("faults", {}).get(str(number), ""))
        task.stats["sum"] += 2 * number
    ids = pa.array([number.to_bytes(16, "big") for number in task.settings["numbers"]], pa.binary(16))
    task.flows["in"].add(ids)
    task.flows["kept"].add(ids)
    with task.write("numbers", "documents/{key}-{number}.txt") as output, open(output.path, "w") as stream:
        stream.write(str(task.stats["sum"]))
        output.rows = len(task.settings["numbers"])


def misbehave(task: Task, fault: str) -> None:
    """Do what the name of a fault says."""
    if fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "hang":
        time.sleep(600)
    if fault == "eat":
        held = []
        while True:
            held.append(bytearray(64 << 20))
            time.sleep(0.01)
    if fault == "raise":
        raise ValueError("a bug")
    if fault.startswith("once:") and not os.path.exists(fault[5:]):
        with open(fault[5:], "w"):
            pass
        raise RetryableError("the store did not answer")
    if fault == "lose":
        task.flows["dropped"].count += 1
