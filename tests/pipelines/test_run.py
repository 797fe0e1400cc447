"""What a run promises: what it redoes, what it survives, and that every token has a page."""

from __future__ import annotations

import json
import pathlib
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curate.engine.ledger import Ledger
from curate.errors import InvariantError, RecipeError
from curate.pipelines.recipe import Recipe, load_recipe
from curate.pipelines.run import Options, Summary, run
from curate.pipelines.sample_warc import http_message, response
from curate.pipelines.views import view_text
from curate.shards.reader import ShardSet
from curate.shards.verify import verify
from curate.tokenize import registry

Load = Callable[..., Recipe]
Run = Callable[..., Summary]
HERE = pathlib.Path(__file__).parent

SLACK = "filters.gopher_quality.word_count.min"


def receipts(folder: pathlib.Path, stage: str) -> list[object]:
    """Return the receipts of a stage that the current plan of a run names."""
    ledger = Ledger(str(folder))
    ledger.load()
    keys = [task["key"] for path in (folder / "plan").iterdir() for task in json.loads(path.read_text())["tasks"]]
    return [ledger.receipts[key] for key in dict.fromkeys(keys) if ledger.receipts[key].stage == stage]


def test_in_is_kept_and_dropped_and_errors(reference: pathlib.Path) -> None:
    records = Counter[str]()
    for receipt in receipts(reference, "collect"):
        assert receipt.flows["in"] == receipt.flows["kept"].plus(receipt.flows["errors"])
        records.update(receipt.stats)
    documents = sum(receipt.flows["kept"].count for receipt in receipts(reference, "collect"))
    errors = sum(count for name, count in records.items() if name.startswith("error."))
    skipped = sum(count for name, count in records.items() if name.startswith("skipped."))
    assert records["records"] == documents + errors + skipped
    tally = Counter[str]()
    for receipt in receipts(reference, "tally"):
        if any(name.endswith("|tokens") for name in receipt.stats):
            tally.update({name: count for name, count in receipt.stats.items() if name.endswith("|documents")})
    assert sum(tally.values()) == documents
    kept = sum(count for name, count in tally.items() if "|kept|" in name)
    assert 0 < kept < documents


def test_shards_verify_and_decode_to_the_documents(reference: pathlib.Path) -> None:
    assert verify(str(reference / "shards")) == []
    shards = ShardSet.open(str(reference / "shards"))
    tokenizer = registry.load(str(reference / "shards" / "tokenizer"))
    pieces: dict[bytes, dict[int, list[int]]] = {}
    for index in range(len(shards)):
        row = shards.row(index)
        at = 0
        for identity, start, length in zip(row.doc_ids, row.starts, row.lengths, strict=True):
            pieces.setdefault(bytes(identity), {})[int(start)] = row.ids[at : at + length].tolist()
            at += int(length)
    texts: dict[bytes, str] = {}
    for path in (reference / "documents").iterdir():
        table = pq.read_table(path)
        cleaned = view_text(table, ["c4_lines"], "c4_lines").to_pylist()
        texts |= dict(zip(table["id"].to_pylist(), cleaned, strict=True))
    assert len(pieces) > 30
    for identity, parts in pieces.items():
        tokens = [token for start in sorted(parts) for token in parts[start]]
        assert tokenizer.decode(tokens) == texts[identity]


def test_a_token_leads_back_to_its_page(reference: pathlib.Path, crawl: pathlib.Path) -> None:
    shards = ShardSet.open(str(reference / "shards"))
    tokenizer = registry.load(str(reference / "shards" / "tokenizer"))
    row, column = len(shards) // 2, 57
    found = shards.trace(row, column)
    documents = pq.read_table(reference / "documents", columns=["id", "text", "url", "origin"])
    (page,) = documents.filter(pc.equal(documents["id"], found.doc_id)).to_pylist()
    data = (crawl / "crawl" / page["origin"]["file"]).read_bytes()
    record = data[page["origin"]["offset"] : page["origin"]["offset"] + page["origin"]["length"]]
    import gzip

    assert page["url"].encode() in gzip.decompress(record)
    word = tokenizer.decode([int(shards[row][column])])
    assert word == "" or word in page["text"]


@pytest.mark.parametrize("bound", [40, 90], ids=["looser", "stricter"])
def test_a_moved_threshold_extracts_and_encodes_nothing(
    reference: pathlib.Path, small_recipe: Load, run_inline: Run, tmp_path: pathlib.Path, bound: int
) -> None:
    shutil.copytree(reference, tmp_path / "run")
    overrides = ["tokenizer.file=" + json.dumps(str(reference / "shards" / "tokenizer"))]
    first = run_inline(_with_file(small_recipe, overrides), tmp_path / "run")
    assert "collect" not in first.executed
    second = run_inline(_with_file(small_recipe, [*overrides, f"{SLACK}={bound}"]), tmp_path / "run")
    assert second.executed["decide"] > 0
    assert {"collect", "tokenize"}.isdisjoint(second.executed)
    assert second.fingerprint != first.fingerprint
    assert verify(str(tmp_path / "run" / "shards")) == []
    # and back: the documents of the first bound, although their shards were deleted
    third = run_inline(_with_file(small_recipe, overrides), tmp_path / "run")
    assert {"collect", "decide", "tokenize"}.isdisjoint(third.executed)
    assert third.fingerprint == first.fingerprint
    assert verify(str(tmp_path / "run" / "shards")) == []


def _with_file(small_recipe: Load, overrides: list[str]) -> Recipe:
    """Return the small recipe with a tokenizer from a file, since one trained on the run follows every threshold."""
    recipe = small_recipe(*[override for override in overrides if not override.startswith("tokenizer.")])
    path = next(json.loads(o.partition("=")[2]) for o in overrides if o.startswith("tokenizer."))
    assert recipe.tokenizer is not None
    return recipe.model_copy(update={"tokenizer": recipe.tokenizer.model_copy(update={"train": None, "file": path})})


def test_text_of_dropped_documents_can_be_left_out(small_recipe: Load, run_inline: Run, tmp_path: pathlib.Path) -> None:
    run_inline(small_recipe('keep_text="kept"'), tmp_path / "kept")
    run_inline(small_recipe(), tmp_path / "all")
    sizes = {name: _text_bytes(tmp_path / name) for name in ("kept", "all")}
    assert sizes["kept"] < sizes["all"]
    manifests = [json.loads((tmp_path / name / "shards" / "manifest.json").read_text()) for name in ("kept", "all")]
    assert manifests[0]["shards"] == manifests[1]["shards"]


def _text_bytes(folder: pathlib.Path) -> int:
    return sum(len(text) for text in pq.read_table(folder / "documents", columns=["text"])["text"].to_pylist())


def test_a_folder_of_another_recipe_is_refused(
    reference: pathlib.Path, small_recipe: Load, run_inline: Run, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(RecipeError, match="holds a run of the recipe 'small', not 'other'"):
        run_inline(small_recipe('name="other"'), reference)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match="not empty and no run folder"):
        run_inline(small_recipe(), tmp_path)


def test_a_folder_with_a_recipe_of_the_users_own_is_never_a_run_folder(
    crawl: pathlib.Path, small_recipe: Load, run_inline: Run, tmp_path: pathlib.Path
) -> None:
    shutil.copy(crawl / "small.toml", tmp_path / "recipe.toml")
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "my-notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match="that no run wrote"):
        run_inline(small_recipe(), tmp_path)
    assert (tmp_path / "recipe.toml").read_text() == (crawl / "small.toml").read_text()
    assert (tmp_path / "plan" / "my-notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("module", "name"), [("packing", "merge"), ("duplicates", "merge")])
def test_rows_lost_in_an_exchange_stop_the_run(
    small_recipe: Load, run_inline: Run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    import importlib

    from curate.engine.exchange import merge

    def lossy(*arguments: Any) -> Iterator[pa.RecordBatch]:
        for batch in merge(*arguments):
            yield batch.slice(0, max(1, len(batch) // 2))

    monkeypatch.setattr(importlib.import_module(f"curate.pipelines.{module}"), name, lossy)
    with pytest.raises(InvariantError, match="this is a bug"):
        run_inline(small_recipe(), tmp_path / "run")


def test_one_file_may_be_in_two_sources(crawl: pathlib.Path, run_inline: Run, tmp_path: pathlib.Path) -> None:
    one = f'input = ["{crawl}/crawl/*-00000.warc.gz"]'
    text = f'name = "two"\nsteps = ["exact"]\n[[sources]]\nname = "a"\n{one}\n[[sources]]\nname = "b"\n{one}\n'
    (tmp_path / "two.toml").write_text(text + "[engine]\nunit_bytes = 40_000\n")
    summary = run_inline(load_recipe(str(tmp_path / "two.toml")), tmp_path / "run")
    assert summary.executed["collect"] > 2


def test_no_matching_input_starts_nothing(small_recipe: Load, run_inline: Run, tmp_path: pathlib.Path) -> None:
    with pytest.raises(RecipeError, match=r"sources\.web\.input: .*no file matches"):
        run_inline(small_recipe(inputs=[str(tmp_path / "none" / "*.gz")]), tmp_path / "run")


def test_a_truncated_file_gives_what_can_be_read(
    crawl: pathlib.Path, small_recipe: Load, run_inline: Run, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "in").mkdir()
    for path in (crawl / "crawl").glob("*.warc.gz"):
        shutil.copy(path, tmp_path / "in")
    cut = min((tmp_path / "in").iterdir())
    cut.write_bytes(cut.read_bytes()[:-5000])
    run_inline(small_recipe(inputs=[str(tmp_path / "in" / "*.gz")]), tmp_path / "run")
    reasons = pq.read_table(tmp_path / "run" / "rejects", columns=["reason", "origin"]).to_pylist()
    assert [row["origin"]["file"] for row in reasons if row["reason"] == "error.truncated"] == [cut.name]


def _poisoned(crawl: pathlib.Path, folder: pathlib.Path) -> None:
    """Write the sample crawl and a WARC file of two healthy pages and one page of each poison."""
    shutil.copytree(crawl / "crawl", folder)
    records = []
    for name in ("fine", "crash", "endless", "memory", "well"):
        html = f"<html><body><p>A page that is {name}. poison-{name}</p></body></html>".encode()
        message = http_message("HTTP/1.1 200 OK", [("Content-Type", "text/html")], html)
        date = datetime(2024, 3, 1, tzinfo=UTC)
        records.append(response(f"http://{name}.example/", date, message, html, "text/html"))
    (folder / "poison.warc.gz").write_bytes(b"".join(records))


@pytest.mark.ray
@pytest.mark.slow
def test_documents_that_fell_their_worker_are_quarantined(
    crawl: pathlib.Path, small_recipe: Load, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _poisoned(crawl, tmp_path / "in")
    monkeypatch.syspath_prepend(str(HERE))
    overrides = ['extract.engine="poison:extract"', "engine.timeout_s=4.0", f"engine.memory_bytes={900 << 20}"]
    recipe = small_recipe(*overrides, inputs=[str(tmp_path / "in" / "*.gz")])
    summary = run(recipe, str(tmp_path / "run"), Options(executor="ray", workers=2))
    assert sorted(found["reason"] for found in summary.quarantined) == ["error.crash", "error.memory", "error.timeout"]
    assert {found["file"] for found in summary.quarantined} == {"poison.warc.gz"}
    rejects = {row["url"]: row["reason"] for row in pq.read_table(tmp_path / "run" / "rejects").to_pylist()}
    assert rejects["http://crash.example/"] == "error.crash"
    assert rejects["http://endless.example/"] == "error.timeout"
    assert rejects["http://memory.example/"] == "error.memory"
    urls = set(pq.read_table(tmp_path / "run" / "documents", columns=["url"])["url"].to_pylist())
    assert {"http://fine.example/", "http://well.example/"} <= urls
    manifest = json.loads((tmp_path / "run" / "shards" / "manifest.json").read_text())
    assert len(manifest["quarantined"]) == 3


FULL = """
import sys
from curate import Options, load_recipe, run
from curate.errors import StorageFullError
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    run(load_recipe(sys.argv[1]), sys.argv[2], Options(executor="inline"))
except StorageFullError as error:
    print(error)
    raise SystemExit(28)
"""


def test_a_full_disk_stops_the_run_with_nothing_half_committed(
    reference: pathlib.Path, crawl: pathlib.Path, small_recipe: Load, run_inline: Run, tmp_path: pathlib.Path
) -> None:
    sizes = sorted(path.stat().st_size for path in reference.rglob("*") if path.is_file())
    output = tmp_path / "run"
    for limit in (sizes[len(sizes) // 4], sizes[-3]):
        command = [sys.executable, "-c", FULL, str(crawl / "small.toml"), str(output), str(limit)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 28, done.stderr[-2000:]
        assert "no space left" in done.stdout
        assert not [path for path in output.rglob(".*.tmp*") if path.is_file()]
        assert not (output / "shards" / "manifest.json").exists()
    run_inline(small_recipe(), output)
    assert (output / "shards" / "manifest.json").read_text() == (reference / "shards" / "manifest.json").read_text()


def test_a_size_limit_is_not_left_behind() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
