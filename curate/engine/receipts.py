"""From a task to its receipt: run the stage function, publish what it wrote, and commit it by the receipt."""

from __future__ import annotations

import contextlib
import importlib
import json
import resource
import sys
import time
from collections.abc import Callable

from curate import storage
from curate.engine.scratch import scratch_folder
from curate.engine.tasks import Job, Receipt, Task, canonical_json
from curate.errors import InvariantError


def resolve_function(name: str) -> Callable[[Task], None]:
    """Return the function that ``module:function`` names."""
    module, _, attribute = name.partition(":")
    function: Callable[[Task], None] = getattr(importlib.import_module(module), attribute)
    return function


def peak_rss_bytes() -> int:
    """Return the peak resident memory of this process in bytes."""
    if sys.platform == "linux":
        # ru_maxrss would begin with the peak of the process that this one was forked from
        with open("/proc/self/status") as stream:
            return next(int(line.split()[1]) for line in stream if line.startswith("VmHWM:")) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def receipt_path(key: str) -> str:
    """Return the place of a receipt below its run folder."""
    return f"receipts/{key}.json"


def run_task(job: Job, heartbeat: Callable[[str], None] = lambda label: None) -> Receipt:
    """Run one task to its commit and return its receipt, which has been written last."""
    own = not job.scratch and not storage.is_local(job.run)
    with scratch_folder() if own else contextlib.nullcontext(job.scratch or "") as scratch:
        task = Task(job, heartbeat, scratch)
        began = time.process_time()
        try:
            resolve_function(job.spec.function)(task)
            task.check_flows()
            heartbeat("commit")
            outputs = task.commit()
        finally:
            task.discard()
    receipt = Receipt(
        key=task.key,
        stage=job.spec.stage,
        unit=job.spec.unit,
        outputs={name: tuple(refs) for name, refs in outputs.items()},
        flows=task.flows,
        stats=dict(sorted(task.stats.items())),
        facts=task.facts,
        quarantined=task.quarantined,
        cost={
            "cpu_s": round(time.process_time() - began, 4),
            "peak_mib": round(peak_rss_bytes() / (1 << 20), 1),
        },
    )
    write_receipt(job.run, receipt)
    return receipt


def read_receipt(data: str | bytes) -> Receipt | None:
    """Return the receipt that JSON holds; None if it is damaged, which is a task not done."""
    try:
        return Receipt.from_json(json.loads(data))
    except (ValueError, KeyError, TypeError):
        return None


def write_receipt(run: str, receipt: Receipt) -> None:
    """Commit `receipt`; one that already exists must name the same output bytes."""
    uri = storage.join(run, receipt_path(receipt.key))
    earlier = read_receipt(storage.read_bytes(uri)) if storage.exists(uri) else None
    if earlier and earlier.outputs != receipt.outputs and not (earlier.quarantined or receipt.quarantined):
        raise InvariantError(
            f"{receipt.stage} {receipt.unit}: two attempts wrote different bytes; a stage or library is not "
            "deterministic, and the run cannot be trusted"
        )
    storage.write_bytes(uri, canonical_json(receipt.to_json()).encode())
