"""Writes ``golden.json``: by road, the version of each stage and a digest of what it wrote.

The road ``warc`` is the small recipe of ``conftest.py`` on the sample crawl; the others are those of
``golden_roads.py``. ``python golden.py``, after a stage's output changed on purpose and its version in
``curate/pipelines/stages.py`` was raised, runs them all. It refuses a digest that changed under the same version; when
it was a road's own input or recipe that changed, delete that road's entry first.
"""

from __future__ import annotations

import json
import pathlib
import runpy
import sys
import tempfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from curate.engine.exchange import RunReader, merge
from curate.engine.ledger import Ledger
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run
from curate.pipelines.sample import write_sample
from curate.pipelines.stages import STAGES

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE / "golden.json"
WARC = "warc"


def content(path: pathlib.Path) -> bytes:
    """Return what a file holds, without metadata: rows for Arrow, Parquet and run files, else bytes."""
    if path.suffix == ".parquet":
        return table_bytes(pq.read_table(path))
    if path.suffix == ".run":
        return table_bytes(pa.Table.from_batches(list(merge([str(path)])), schema=RunReader(str(path)).schema))
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


def roads() -> dict[str, Any]:
    """Return the roads of ``golden_roads.py``."""
    found: dict[str, Any] = runpy.run_path(str(HERE / "golden_roads.py"))["ROADS"]
    return found


def run_road(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Write the input of a road into `folder`, run its recipe in this process and return the run folder."""
    if name == WARC:
        write_sample(str(folder / "crawl"))
        recipe = runpy.run_path(str(HERE / "conftest.py"))["RECIPE"]
    else:
        road = roads()[name]
        road.write(folder)
        recipe = road.recipe
    (folder / f"{name}.toml").write_text(recipe)
    run(load_recipe(str(folder / f"{name}.toml")), str(folder / "run"), Options(executor="inline"))
    return folder / "run"


def main() -> None:
    """Run every road and write what changed with its version."""
    old = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    new = {}
    for name in (WARC, *roads()):
        with tempfile.TemporaryDirectory() as folder:
            new[name] = digests(run_road(name, pathlib.Path(folder)))
        for stage, entry in new[name].items():
            before = old.get(name, {}).get(stage, entry)
            if before["version"] == entry["version"] and before != entry:
                raise SystemExit(
                    f"{name}: the output of {stage} changed; raise its version in curate/pipelines/stages.py first"
                )
    GOLDEN.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent / "support"))  # as pytest does, for conftest.py
    main()
