"""A small crawl and one recipe for it, run once in this process: what every other way of running must equal."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from small_tables import CLEANERS, MEASURES, TABLES, forget

from curate.filters import tables
from curate.pipelines import check, steps
from curate.pipelines.recipe import Recipe, load_recipe
from curate.pipelines.run import Options, Summary, run
from curate.pipelines.sample import write_sample

RECIPE = """
name = "small"
steps = ["language", "gopher_quality", "c4_lines", "c4", "url", "exact", "minhash"]

[[sources]]
name = "web"
input = ["crawl/*.warc.gz"]

[engine]
unit_bytes = 100_000
partition_bytes = 20_000
roll_bytes = 200_000
timeout_s = 60

[tokenizer.train]
vocab_size = 1000

[shards]
context_length = 128
shard_bytes = 15_000
"""


class Result(NamedTuple):
    """What must be equal: the fingerprint, and the sha256 of each shard."""

    fingerprint: str
    shards: dict[str, str]


def result_of(folder: str | pathlib.Path) -> Result:
    """Return what a run folder on the local disk came to."""
    manifest = json.loads((pathlib.Path(folder) / "shards" / "manifest.json").read_text())
    return Result(manifest["fingerprint"], {shard["path"]: shard["sha256"] for shard in manifest["shards"]})


def kept_ids(folder: str | pathlib.Path) -> set[str]:
    """Return the ids of the documents that a finished run kept: those of its last step's verdicts."""
    root = pathlib.Path(folder)
    last = max((root / "plan").glob("*apply.json"))
    kept = set()
    for task in json.loads(last.read_text())["tasks"]:
        table = pq.read_table(root / "verdicts" / f"{task['key']}-00000.parquet", columns=["id", "keep"])
        kept |= {row["id"].hex() for row in table.to_pylist() if row["keep"]}
    return kept


@pytest.fixture(scope="session")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder that holds the built-in sample crawl in ``crawl/`` and a recipe for it, ``small.toml``."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(str(folder / "crawl"))
    (folder / "small.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="session")
def small_recipe(crawl: pathlib.Path) -> Callable[..., Recipe]:
    """Return a function that loads the small recipe with ``key=value`` overrides."""

    def load(*overrides: str, inputs: list[str] | None = None) -> Recipe:
        return load_recipe(str(crawl / "small.toml"), overrides, inputs)

    return load


@pytest.fixture(scope="session")
def run_inline() -> Callable[..., Summary]:
    """Return a function that runs a recipe in this process."""

    def start(recipe: Recipe, output: pathlib.Path, **options: Any) -> Summary:
        return run(recipe, str(output), Options(executor="inline", **options))

    return start


@pytest.fixture(scope="session")
def reference(
    tmp_path_factory: pytest.TempPathFactory, small_recipe: Callable[..., Recipe], run_inline: Callable[..., Summary]
) -> pathlib.Path:
    """The run folder of the small recipe, run in this process and never touched again."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    run_inline(small_recipe(), folder)
    return folder


@pytest.fixture
def small_world(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """Two tables, two measures and two cleaners in the place of the real ones; the folder of the recipe."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for name, text in TABLES.items():
        (folder / f"{name}.toml").write_text(text)
    for module in (steps, check):
        monkeypatch.setattr(module, "CLEANERS", CLEANERS)
    monkeypatch.setattr(steps, "MEASURES", MEASURES)
    monkeypatch.setattr(tables, "FOLDER", folder)
    forget()
    yield tmp_path
    forget()
