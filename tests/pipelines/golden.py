"""Writes ``golden.json``: the version of each stage and a digest of what it wrote for the sample crawl.

``python golden.py RUN`` after a stage's output changed on purpose and its version in ``curate/pipelines/stages.py`` was
raised. It refuses a digest that changed under the same version.
"""

from __future__ import annotations

import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from curate.engine.exchange import RunReader
from curate.engine.ledger import Ledger
from curate.pipelines.stages import STAGES

GOLDEN = pathlib.Path(__file__).with_name("golden.json")


def content(path: pathlib.Path) -> bytes:
    """Return what a file holds, without metadata: rows for Arrow, Parquet and run files, else bytes."""
    if path.suffix == ".parquet":
        return table_bytes(pq.read_table(path))
    if path.suffix == ".run":
        reader = RunReader(str(path))
        return table_bytes(pa.Table.from_batches(list(reader.read()), schema=reader.schema))
    if path.suffix == ".arrow":
        with pa.memory_map(str(path)) as source:
            return table_bytes(pa.ipc.open_file(source).read_all())
    return path.read_bytes()


def table_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    bare = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, bare.schema) as writer:
        writer.write_table(bare)
    return sink.getvalue().to_pybytes()


def digests(run: pathlib.Path) -> dict[str, dict[str, object]]:
    """Return version and digest of every stage that the plan of a finished run holds."""
    ledger = Ledger(str(run))
    ledger.load()
    found: dict[str, xxhash.xxh3_128] = {}
    for plan in sorted((run / "plan").iterdir()):
        for task in json.loads(plan.read_text())["tasks"]:
            digest = found.setdefault(task["stage"], xxhash.xxh3_128())
            receipt = ledger.receipts[task["key"]]
            for name in sorted(receipt.outputs):
                for ref in receipt.outputs[name]:
                    digest.update(name.encode() + b"\0" + content(run / ref.path))
            digest.update(json.dumps(receipt.stats, sort_keys=True).encode())
    return {stage: {"version": STAGES[stage].version, "digest": digest.hexdigest()} for stage, digest in found.items()}


if __name__ == "__main__":
    new, old = digests(pathlib.Path(sys.argv[1])), json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    for stage, entry in new.items():
        if stage in old and old[stage]["version"] == entry["version"] and old[stage] != entry:
            raise SystemExit(f"{stage}: its output changed; raise its version in curate/pipelines/stages.py first")
    GOLDEN.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")
