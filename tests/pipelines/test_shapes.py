"""Runs of other shapes: mixes, layouts, tokenizers, formats, quantiles and marks."""

from __future__ import annotations

import gzip
import json
import pathlib
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.pipelines.recipe import Recipe, load_recipe
from curate.pipelines.run import Options, run
from curate.shards.reader import ShardSet
from curate.shards.verify import verify

BASE = """
name = "shapes"
steps = {steps}
[engine]
partition_bytes = 50_000
[tokenizer.train]
vocab_size = {vocabulary}
kind = "{kind}"
{rest}
"""

Write = Callable[..., Recipe]


@pytest.fixture
def recipe(tmp_path: pathlib.Path) -> Write:
    """Return a function that writes and loads a recipe."""

    def write(rest: str, *, steps: str = '["exact"]', kind: str = "bpe", vocabulary: int = 800) -> Recipe:
        path = tmp_path / "shapes.toml"
        path.write_text(BASE.format(steps=steps, rest=rest, kind=kind, vocabulary=vocabulary))
        return load_recipe(str(path))

    return write


def start(recipe: Recipe, folder: pathlib.Path) -> dict[str, object]:
    """Run inline, check the shards, return the manifest."""
    run(recipe, str(folder), Options(executor="inline"))
    assert verify(str(folder / "shards")) == []
    manifest: dict[str, object] = json.loads((folder / "shards" / "manifest.json").read_text())
    return manifest


def two_sources(crawl: pathlib.Path) -> str:
    return f"""
[[sources]]
name = "one"
input = ["{crawl}/crawl/*-00000.warc.gz", "{crawl}/crawl/*-00001.warc.gz"]
[[sources]]
name = "two"
input = ["{crawl}/crawl/*-00002.warc.gz"]
"""


def test_a_mix_draws_each_source_to_its_share(recipe: Write, crawl: pathlib.Path, tmp_path: pathlib.Path) -> None:
    rest = two_sources(crawl) + "[mix]\ntokens = 120_000\nseed = 3\n[mix.weights]\none = 0.25\ntwo = 0.75\n"
    manifest = start(recipe(rest), tmp_path / "run")
    mix: dict[str, dict[str, float]] = manifest["mix"]  # type: ignore[assignment]
    assert sum(source["tokens"] for source in mix.values()) == pytest.approx(120_000, rel=0.02)
    assert mix["two"]["share"] == pytest.approx(0.75, abs=0.02)
    assert mix["two"]["epochs"] > mix["one"]["epochs"]
    times = Counter[tuple[str, bytes]]()
    shards = ShardSet.open(str(tmp_path / "run" / "shards"))
    for index in range(len(shards)):
        row = shards.row(index)
        for identity, begin, source in zip(row.doc_ids, row.starts, row.sources, strict=True):
            times[("one", "two")[int(source)], bytes(identity)] += int(begin) == 0
    most = max(count for (source, _), count in times.items() if source == "two")
    assert most in (int(mix["two"]["epochs"]), int(mix["two"]["epochs"]) + 1)


@pytest.mark.parametrize("shape", ['layout = "documents"', 'packing = "best_fit"\ncontext_length = 256'])
def test_other_layouts_hold_the_same_tokens(
    recipe: Write, crawl: pathlib.Path, tmp_path: pathlib.Path, shape: str
) -> None:
    plain = start(recipe(two_sources(crawl)), tmp_path / "plain")
    other = start(recipe(two_sources(crawl) + f"[shards]\n{shape}\n"), tmp_path / "other")
    totals = [manifest["totals"] for manifest in (plain, other)]
    assert totals[0]["tokens"] == totals[1]["tokens"]  # type: ignore[index]
    assert totals[0]["documents"] == totals[1]["documents"]  # type: ignore[index]


def test_sentencepiece_is_trained_on_the_run(recipe: Write, crawl: pathlib.Path, tmp_path: pathlib.Path) -> None:
    english = '["language", "exact"]'
    manifest = start(recipe(two_sources(crawl), steps=english, kind="sentencepiece", vocabulary=1500), tmp_path / "run")
    assert manifest["tokenizer"]["kind"] == "sentencepiece"  # type: ignore[index]
    assert manifest["tokenizer"]["vocab_size"] == 1500  # type: ignore[index]


def test_jsonl_and_parquet_are_sources(recipe: Write, tmp_path: pathlib.Path) -> None:
    lines = [
        {"body": f"Number {n} of many lines, each with words of its own: {n * n} and {n**3}.", "key": n}
        for n in range(300)
    ]
    (tmp_path / "a.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps(line) + "\n" for line in lines[:150]).encode())
    )
    table = pa.table(
        {"body": [line["body"] for line in lines[140:]], "key": [str(line["key"]) for line in lines[140:]]}
    )
    pq.write_table(table, tmp_path / "b.parquet", row_group_size=40)
    rest = (
        f'[[sources]]\nname = "lines"\ninput = ["{tmp_path}/a.jsonl.gz", "{tmp_path}/b.parquet"]\n'
        '[sources.columns]\ntext = "body"\nid = "key"\n'
    )
    manifest = start(recipe(rest, vocabulary=300), tmp_path / "run")
    # ten documents stand in both files under one id
    assert manifest["totals"]["documents"] == 300  # type: ignore[index]


def test_quantiles_and_marks_decide(recipe: Write, crawl: pathlib.Path, tmp_path: pathlib.Path) -> None:
    rules = """
[filters.longest.share]
signal = "words.count"
min = { quantile = 0.5 }
[filters.hint.short_words]
signal = "words.mean_length"
min = 100
action = "mark"
"""
    start(recipe(two_sources(crawl) + rules, steps='["hint", "longest"]'), tmp_path / "run")
    last = max((tmp_path / "run" / "plan").glob("*decide*.json"))
    tables = [
        pq.read_table(tmp_path / "run" / "verdicts" / f"{task['key']}-00000.parquet")
        for task in json.loads(last.read_text())["tasks"]
    ]
    rows = pa.concat_tables(tables).to_pylist()
    unique = [row for row in rows if row["reason"] != "duplicate.id"]
    kept = [row for row in unique if row["keep"]]
    assert len(kept) == len(unique) - len(unique) // 2
    assert {row["reason"] for row in unique if not row["keep"]} == {"longest.share"}
    assert all(row["marks"] == ["hint.short_words"] for row in kept)
