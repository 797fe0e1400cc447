"""Collect alone: what it leaves out on request, and that nothing depends on how it works through its input."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from curate import storage
from curate.engine.ledger import FOLDERS
from curate.engine.receipts import run_task
from curate.engine.tasks import BATCH, Job, Receipt, TaskSpec
from curate.errors import InvariantError
from curate.pipelines import units
from curate.pipelines.recipe import Recipe

Load = Callable[..., Recipe]


@pytest.fixture
def collect_spec(small_recipe: Load, crawl: pathlib.Path, tmp_path: pathlib.Path) -> TaskSpec:
    """The task that collects one whole file of the sample crawl."""
    recipe = small_recipe("engine.unit_bytes=100_000_000", inputs=[str(crawl / "crawl" / "*-00000.warc.gz")])
    for folder in FOLDERS:
        (tmp_path / "run" / folder).mkdir(parents=True)
    refs = units.asset_refs(recipe, units.needed_assets(units.views_of(recipe)), str(tmp_path / "run"))
    (spec,) = units.collect_specs(recipe, units.list_units(recipe), refs)
    return spec


def rows(folder: pathlib.Path, receipt: Receipt, name: str) -> list[dict[str, object]]:
    """Return the rows of all files that a receipt names under `name`."""
    return [row for ref in receipt.files(name) for row in pq.read_table(folder / ref.path).to_pylist()]


def test_one_document_at_a_time_writes_the_same_bytes(collect_spec: TaskSpec, tmp_path: pathlib.Path) -> None:
    run = str(tmp_path / "run")
    labels: list[str] = []
    whole = run_task(Job(collect_spec, run), labels.append)
    batches = [label for label in labels if label.startswith(BATCH)]
    beats: list[str] = []
    assert run_task(Job(collect_spec, run, careful=batches), beats.append).outputs == whole.outputs
    assert len(beats) >= len(labels) + whole.flows["kept"].count


def test_a_quarantined_document_becomes_a_reject(collect_spec: TaskSpec, tmp_path: pathlib.Path) -> None:
    run = tmp_path / "run"
    whole = run_task(Job(collect_spec, str(run)))
    victim = rows(run, whole, "documents")[3]
    storage.delete(storage.join(str(run), "receipts", f"{whole.key}.json"))
    label = f"document {victim['id'].hex()}"  # type: ignore[attr-defined]
    receipt = run_task(Job(collect_spec, str(run), skip={label: "error.timeout"}))
    assert receipt.flows["in"] == whole.flows["in"]
    assert receipt.flows["kept"].count == whole.flows["kept"].count - 1
    (quarantined,) = receipt.quarantined
    assert quarantined["offset"] == victim["origin"]["offset"]  # type: ignore[index]
    assert victim["url"] in {row["url"] for row in rows(run, receipt, "rejects") if row["reason"] == "error.timeout"}


def test_a_record_that_cannot_even_be_read_is_stepped_over(collect_spec: TaskSpec, tmp_path: pathlib.Path) -> None:
    run = tmp_path / "run"
    whole = run_task(Job(collect_spec, str(run)))
    documents = rows(run, whole, "documents")
    before = documents[5]["origin"]
    behind = before["offset"] + before["length"]  # type: ignore[index]
    storage.delete(storage.join(str(run), "receipts", f"{whole.key}.json"))
    receipt = run_task(Job(collect_spec, str(run), skip={f"document @{behind}": "error.crash"}))
    left = {row["id"] for row in rows(run, receipt, "documents")}
    lost = [row for row in documents if row["id"] not in left]
    assert len(lost) <= 1
    assert {row["id"] for row in documents[:6]} <= left
    (quarantined,) = receipt.quarantined
    assert quarantined == {"file": before["file"], "offset": behind, "reason": "error.crash"}  # type: ignore[index]


def test_cuts_tile_a_file() -> None:
    for size, unit_bytes in ((1, 10), (10, 10), (11, 10), (1000, 7)):
        ranges = units.cut(size, unit_bytes)
        assert ranges[0][0] == 0
        assert ranges[-1][1] == size
        assert all(end == start for (_, end), (start, _) in itertools.pairwise(ranges))
        assert max(end - start for start, end in ranges) <= unit_bytes


def test_ranges_that_do_not_tile_are_found(small_recipe: Load, collect_spec: TaskSpec, tmp_path: pathlib.Path) -> None:
    recipe = small_recipe()
    listed = units.list_units(recipe)[:2]
    receipt = run_task(Job(collect_spec, str(tmp_path / "run")))
    gap = [listed[0].end, listed[1].end + 1]
    ranges = [[0, listed[0].end], [gap[0] + 5, gap[1]]]
    receipts = [Receipt(**{**vars(receipt), "facts": {"range": span}}) for span in ranges]
    with pytest.raises(InvariantError, match="comes next"):
        units.check_tiles(listed, receipts)


def test_empty_files_are_named(small_recipe: Load, tmp_path: pathlib.Path) -> None:
    from curate.errors import InputError
    from curate.pipelines.run import Options, run

    (tmp_path / "empty.warc.gz").write_bytes(b"")
    recipe = small_recipe(inputs=[str(tmp_path / "empty.warc.gz")])
    with pytest.raises(InputError, match="no document could be read from 1 input unit"):
        run(recipe, str(tmp_path / "run"), Options(executor="inline"))
