"""Documents that no worker survives: how a stage that walks documents finds them, leaves them out and names them.

A stage takes the batches of a part through `pieces`. The heartbeat names each batch; when one fells its worker, the
next attempt takes that batch one document at a time, so the heartbeat names the document; one that is the suspect twice
running is in quarantine (``task.skip``), and `pieces` leaves it out. These are two levels instead of a bisection: as
many attempts for a batch of a thousand documents as for one of two, and a document that never ends costs its time-out
twice, not ten times. When the phase is over, `quarantine_part` drops what it lost from the verdicts of every part, so
that no later stage meets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.tasks import BATCH, DOCUMENT, Task
from curate.pipelines.parts import read_parquet, read_verdicts, write_verdicts
from curate.schema import ID, VERDICT

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


class BeginAgain(Exception):  # noqa: N818 - no error: the way out of a step that sent documents which are now lost
    """Documents went into quarantine after other tasks of their step had heard of them: the step starts anew."""


def document_label(identity: bytes) -> str:
    """Return the heartbeat label of a document."""
    return DOCUMENT + identity.hex()


def lost_in(task: Task, ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return why each of these documents is in quarantine, string [rows], null for those that are not. The receipt will
    name those that this task lost; the setting ``lost`` holds what earlier stages did."""
    before: Mapping[str, str] = task.settings.get("lost", {})
    here = {label.removeprefix(DOCUMENT): why for label, why in task.skip.items()}
    reasons = reasons_of(ids, {**here, **before})
    for row in pc.indices_nonzero(reasons.is_valid()).to_pylist():
        identity = ids[row].as_py().hex()
        found = {"id": identity, "stage": task.spec.stage, "reason": reasons[row].as_py()}
        # one id may have several rows
        if identity not in before and found not in task.quarantined:
            task.quarantined.append(found)
    return reasons


def reasons_of(ids: pa.Array | pa.ChunkedArray, known: Mapping[str, str]) -> pa.Array:
    """Return the reason that `known` (by id in hexadecimal) has for each id, string [rows], else null."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if not known:
        return pa.nulls(len(ids), pa.string())
    # a record that could not be read has an offset for its name, and no document
    named = {bytes.fromhex(name): reason for name, reason in known.items() if not name.startswith("@")}
    return pa.array(named.values(), pa.string()).take(pc.index_in(ids, pa.array(named, ID)))


def pieces(task: Task, documents: Rows) -> Iterator[Rows]:
    """Yield a batch of documents (with their ``id``) as it is to be worked on: whole or, if it felled a worker before,
    one document at a time; without those in quarantine. Nothing is yielded if none is left.

    Work on what is yielded belongs inside the loop: the heartbeat speaks for it until the next one.
    """
    if not documents.num_rows:
        return
    label = BATCH + documents.column("id")[0].as_py().hex()
    reasons = lost_in(task, documents.column("id"))
    if reasons.null_count < len(reasons):
        documents = documents.filter(reasons.is_null())
    task.heartbeat(label)
    if label not in task.careful:
        if documents.num_rows:
            yield documents
        return
    for row in range(documents.num_rows):
        task.heartbeat(document_label(documents.column("id")[row].as_py()))
        yield documents.slice(row, 1)
    task.heartbeat("batch done")


def drop_lost(verdicts: pa.Table, reasons: pa.Array) -> pa.Table:
    """Return verdicts (schema VERDICT) with the documents that have a reason (string [rows]) dropped for it. A reason
    from an earlier step stays."""
    columns = {name: verdicts.column(name).combine_chunks() for name in VERDICT.names}
    columns["keep"] = pc.and_(columns["keep"], reasons.is_null())
    columns["reason"] = pc.coalesce(columns["reason"], reasons)
    return pa.table(list(columns.values()), schema=VERDICT)


def quarantine_part(task: Task) -> None:
    """Drop the documents of one part that a stage has lost. The fact ``lost`` maps those it holds to their reasons."""
    ids = read_parquet(task, task.input("signals"), ["id"]).column("id")
    verdicts = read_verdicts(task, ids)
    reasons = reasons_of(ids, task.settings["lost"])
    found = zip(ids.to_pylist(), reasons.to_pylist(), strict=True)
    task.facts["lost"] = {identity.hex(): reason for identity, reason in found if reason is not None}
    write_verdicts(task, drop_lost(verdicts, reasons), verdicts.column("keep").combine_chunks())
