"""A document that no worker survives is found and named by any stage that walks documents; all else arrives."""

from __future__ import annotations

import itertools
import json
import pathlib
import random
import runpy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.engine import supervisor
from curate.engine.executors import InlineExecutor
from curate.engine.ledger import Ledger
from curate.engine.tasks import BATCH, Job
from curate.pipelines import run as run_module
from curate.pipelines.quarantine import document_label
from curate.pipelines.recipe import Recipe
from curate.pipelines.run import Summary
from curate.pipelines.stages import STAGES
from curate.report.run_folder import read_run
from curate.report.stats import read_stats
from curate.shards.reader import ShardSet

HERE = pathlib.Path(__file__).parent
STAGE_NAMES = {
    "measure": "collect",
    "sign": "minhash.sign",
    "training": "tokenizer.count",
    "tokenize": "tokenize",
}
KINDS = ("crash", "memory", "timeout")
TWINS = ("measure", "sign")
"""Stages before the end of the dedup step: a near copy of their poison is kept in its stead."""
RECIPE = """
name = "poison"
steps = ["minhash"]

[[sources]]
name = "texts"
input = ["in/*.jsonl"]

[engine]
memory_bytes = 1_000_000_000
unit_bytes = 15_000

[tokenizer.train]
vocab_size = 400
sample_bytes = 1_000_000

[shards]
context_length = 64
"""


def page(dice: random.Random, mark: str) -> str:
    words = ["".join(dice.choices("abcdefghijklmnop", k=dice.randint(2, 8))) for _ in range(80)]
    return " ".join([*words, mark, *words[:40]])


def write_texts(folder: pathlib.Path) -> None:
    """Write plain documents, and for each stage a poison of each kind, some beside a near copy that is harmless."""
    dice = random.Random(3)
    lines = [{"id": f"plain-{number}", "text": page(dice, "plain")} for number in range(40)]
    for stage, kind in itertools.product(STAGE_NAMES, KINDS):
        text = page(dice, "MARK")
        lines.append({"id": f"{kind}-{stage}", "text": text.replace("MARK", f"poison-{kind}-{stage} ")})
        if stage in TWINS:
            lines.append({"id": f"twin-{kind}-{stage}", "text": text.replace("MARK", "harmless ")})
    dice.shuffle(lines)
    (folder / "in").mkdir()
    (folder / "in" / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "poison.toml").write_text(RECIPE)


def clock(hanging: pathlib.Path) -> SimpleNamespace:
    """Return a clock on which an hour passes in the moment that a worker says, by making a file, that it hangs."""

    def monotonic() -> float:
        if not hanging.exists():
            return time.monotonic()
        hanging.unlink()
        return time.monotonic() + 3600

    return SimpleNamespace(monotonic=monotonic)


def names_of(run: pathlib.Path, folder: str) -> dict[str, str]:
    """Return the ``id`` that each document of a run had in its file, by its own id in hexadecimal."""
    table = pq.read_table(run / folder, columns=["id", "origin"]).to_pylist()
    lines = (run.parent / "in" / "texts.jsonl").read_bytes()
    return {row["id"].hex(): json.loads(lines[row["origin"]["offset"] :].partition(b"\n")[0])["id"] for row in table}


@pytest.mark.slow
def test_poison_in_any_stage_is_named_and_everything_else_arrives(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setattr(supervisor, "time", clock(tmp_path / "hanging"))
    executor = runpy.run_path(str(HERE.parent / "engine" / "conftest.py"))["SupervisedExecutor"]()
    monkeypatch.setattr(run_module, "make_executor", lambda *_, **__: executor)
    for name, stage in STAGE_NAMES.items():
        monkeypatch.setitem(STAGES, stage, STAGES[stage]._replace(function=f"poison_stages:{name}"))  # type: ignore[arg-type]
    done = CliRunner().invoke(app, ["run", "poison.toml", "--output", "run", "--json"])
    assert done.exit_code == 3, done.output
    run = tmp_path / "run"
    documents, rejects = names_of(run, "documents"), names_of(run, "rejects")
    told = json.loads(done.stdout)["quarantined"]
    assert {(documents[found["id"]], found["stage"], found["reason"]) for found in told if "id" in found} == {
        (f"{kind}-{name}", stage, f"error.{kind}")
        for name, stage in STAGE_NAMES.items()
        for kind in KINDS
        if name != "measure"
    }
    assert sorted(rejects.values()) == [f"{kind}-measure" for kind in KINDS]
    assert {found["file"] for found in told if "file" in found} == {"texts.jsonl"}
    shards = ShardSet.open(str(run / "shards"))
    ids = {bytes(identity).hex() for index in range(len(shards)) for identity in shards.row(index).doc_ids}
    wanted = {f"plain-{number}" for number in range(40)}
    assert {documents[identity] for identity in ids} == wanted | {
        f"twin-{kind}-{stage}" for kind in KINDS for stage in TWINS
    }
    manifest = json.loads((run / "shards" / "manifest.json").read_text())
    assert sorted(manifest["quarantined"], key=str) == sorted(told, key=str)
    stats = read_stats(str(run))
    assert len(stats.quarantined) == len(told) == len(STAGE_NAMES) * len(KINDS)
    assert {step.name: step.dropped.documents for step in stats.steps}["error"] == (len(STAGE_NAMES) - 1) * len(KINDS)


class AllBatches(Sequence[str]):
    """The labels of all batches there could be."""

    def __contains__(self, label: object) -> bool:
        return str(label).startswith(BATCH)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: object) -> str:  # type: ignore[override]
        return BATCH


class ChangedExecutor(InlineExecutor):
    """Runs jobs in this process after `change` has seen to them."""

    def __init__(self, change: Callable[[Job], Job]) -> None:
        super().__init__()
        self.change = change

    def submit(self, job: Job) -> None:
        super().submit(self.change(job))


def outputs_of(run: pathlib.Path) -> dict[str, object]:
    ledger = Ledger(str(run))
    ledger.load()
    return {key: receipt.outputs for key, receipt in ledger.receipts.items()}


def test_one_document_at_a_time_gives_the_same_bytes_in_every_stage(
    reference: pathlib.Path,
    small_recipe: Callable[..., Recipe],
    run_inline: Callable[..., Summary],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = ChangedExecutor(lambda job: replace(job, careful=AllBatches()))
    monkeypatch.setattr(run_module, "make_executor", lambda *_, **__: executor)
    run_inline(small_recipe(), tmp_path / "run")
    assert outputs_of(tmp_path / "run") == outputs_of(reference)


@pytest.mark.parametrize("stage", ["duplicates.scatter", "quantile", "decide"])
def test_a_document_lost_by_a_stage_is_dropped_from_there_on(
    small_recipe: Callable[..., Recipe],
    run_inline: Callable[..., Summary],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    overrides = [
        'steps=["gopher_quality", "exact"]',
        "filters.gopher_quality.word_count.min={quantile=0.2}",
        "engine.roll_bytes=100_000_000",
        "engine.unit_bytes=100_000_000",
    ]
    recipe = small_recipe(*overrides)
    run_inline(recipe, tmp_path / "whole")
    whole = kept_rows(tmp_path / "whole")
    kept = {identity for identity, row in whole.items() if row["keep"]}
    victim = min(identity for identity in kept if whole[identity]["cluster_size"] in (None, 1))
    label = document_label(bytes.fromhex(victim))

    def lose(job: Job) -> Job:
        return replace(job, skip={label: "error.crash"}) if job.spec.stage == stage else job

    monkeypatch.setattr(run_module, "make_executor", lambda *_, **__: ChangedExecutor(lose))
    for _ in range(2):
        summary = run_inline(recipe, tmp_path / "lost")
        assert summary.quarantined == [{"id": victim, "stage": stage, "reason": "error.crash"}]
        left = kept_rows(tmp_path / "lost")
        assert left[victim]["reason"] == "error.crash"
        assert {identity for identity, row in left.items() if row["keep"]} == kept - {victim}
    assert not summary.executed


def kept_rows(run: pathlib.Path) -> dict[str, dict[str, object]]:
    """Return the last verdict of each document, by id in hexadecimal."""
    rows: dict[str, dict[str, object]] = {}
    for part in read_run(str(run)).parts():
        assert part.verdicts is not None
        rows |= {row["id"].hex(): row for row in pq.read_table(run / part.verdicts.path).to_pylist()}
    return rows
