"""Semantic dedup from end to end: what goes is near what stays, whatever the files, partitions or order."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import RecipeError
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run
from curate.report.run_folder import read_run
from curate.report.sweep import parse_epsilons, read_sweep

Verdicts = dict[str, dict[str, Any]]
Dedup = Callable[..., Verdicts]
SMALL = "dim = 24\nepochs = 1\nepsilon = 0.1"


@pytest.fixture
def dedup(tmp_path: pathlib.Path) -> Dedup:
    """Return a function that runs semantic dedup over inputs and returns the verdicts by document id."""

    def start(inputs: list[str], settings: str = SMALL, engine: str = "", folder: str = "run") -> Verdicts:
        recipe = tmp_path / "semantic.toml"
        recipe.write_text(
            f'name = "semantic"\nsteps = ["exact", "semantic"]\n[[sources]]\nname = "web"\n'
            f"input = {json.dumps(inputs)}\n[dedup.semantic]\n{settings}\n[engine]\n{engine}\n"
        )
        output = str(tmp_path / folder)
        run(load_recipe(str(recipe)), output, Options(executor="inline"))
        found = [part.verdicts for part in read_run(output).parts()]
        tables = [pq.read_table(f"{output}/{ref.path}") for ref in found if ref is not None]
        return {row["id"].hex(): row for row in pa.concat_tables(tables).to_pylist()}

    return start


def stages_run(folder: pathlib.Path) -> dict[str, int]:
    """Return how many receipts of each stage a run folder holds."""
    counts: dict[str, int] = {}
    for path in (folder / "receipts").glob("*.json"):
        stage = json.loads(path.read_bytes())["stage"]
        counts[stage] = counts.get(stage, 0) + 1
    return counts


def write_lines(path: pathlib.Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
    return str(path)


@pytest.mark.parametrize("scheme", ["semdedup", "llama3"])
def test_the_kept_ids_do_not_depend_on_units_or_partitions(dedup: Dedup, crawl: pathlib.Path, scheme: str) -> None:
    settings = f'{SMALL}\nscheme = "{scheme}"'
    whole = dedup([str(crawl / "crawl")], settings)
    parts = dedup(
        [str(crawl / "crawl")], settings, "unit_bytes = 60_000\npartition_bytes = 30_000\nroll_bytes = 100_000", "cut"
    )
    assert {name: row["keep"] for name, row in whole.items()} == {name: row["keep"] for name, row in parts.items()}
    gone = [row for row in whole.values() if row["reason"] == "duplicate.semantic"]
    assert 5 < len(gone) < len(whole) / 2
    for row in gone:
        kept = whole[row["kept_id"].hex()]
        assert kept["keep"]
        assert kept["cluster_size"] >= 2
        assert 0.0 < row["similarity"] <= 1.0


def test_a_moved_epsilon_embeds_nothing_again(dedup: Dedup, crawl: pathlib.Path, tmp_path: pathlib.Path) -> None:
    few = dedup([str(crawl / "crawl")], SMALL.replace("0.1", "0.01"))
    before = stages_run(tmp_path / "run")
    many = dedup([str(crawl / "crawl")], SMALL)
    after = stages_run(tmp_path / "run")
    assert sum(not row["keep"] for row in few.values()) < sum(not row["keep"] for row in many.values())
    assert {stage for stage in after if after[stage] != before.get(stage)} == {
        "semantic.pairs",
        "duplicates.apply",
        "tally",
    }


@pytest.mark.parametrize("scheme", ["semdedup", "llama3"])
def test_the_sweep_tells_what_a_run_at_each_epsilon_removes(
    dedup: Dedup, crawl: pathlib.Path, tmp_path: pathlib.Path, scheme: str
) -> None:
    settings = f'{SMALL}\nscheme = "{scheme}"'
    counts = {}
    for epsilon in (0.01, 0.1):
        verdicts = dedup([str(crawl / "crawl")], settings.replace("0.1", str(epsilon)))
        counts[epsilon] = sum(row["reason"] == "duplicate.semantic" for row in verdicts.values())
    (sweep,) = read_sweep(str(tmp_path / "run"), epsilons=[0.1, 0.01], number=3)
    assert {level.epsilon: level.documents for level in sweep.levels} == counts
    few, many = sweep.levels
    assert 0 < few.bytes < many.bytes < sweep.bytes
    assert few.tokens is None
    assert len(many.examples) == 3
    for pair in many.examples:
        assert verdicts[pair.removed.id]["reason"] == "duplicate.semantic"
        assert verdicts[pair.kept.id]["keep"]
    assert json.loads(json.dumps(sweep.to_json()))["levels"][1]["documents"] == counts[0.1]


def test_a_sweep_needs_a_semantic_step_and_numbers(dedup: Dedup, crawl: pathlib.Path, tmp_path: pathlib.Path) -> None:
    dedup([write_lines(tmp_path / "few.jsonl", ["one text"])])
    with pytest.raises(RecipeError, match="no semantic step"):
        read_sweep(str(tmp_path / "run"), "minhash")
    for wrong in ("", "a", "1.0", "0.1,-1"):
        with pytest.raises(RecipeError, match="--epsilon"):
            parse_epsilons(wrong)


def test_empty_few_and_equal_documents(dedup: Dedup, tmp_path: pathlib.Path) -> None:
    same = "the quiet harbour sleeps under a heavy fog until the bell rings again"
    texts = ["", "  ", "?!", *([same + " !" * n for n in range(3)])]
    verdicts = dedup([write_lines(tmp_path / "few.jsonl", texts)])
    assert sum(row["reason"] == "duplicate.semantic" for row in verdicts.values()) == 2
    only = dedup([write_lines(tmp_path / "one.jsonl", ["one word and one word more"])], folder="one")
    assert [row["keep"] for row in only.values()] == [True]


def test_a_model_that_is_not_there_is_told_before_any_work(dedup: Dedup, tmp_path: pathlib.Path) -> None:
    with pytest.raises(RecipeError, match=r"dedup\.semantic"):
        dedup([write_lines(tmp_path / "few.jsonl", ["a text"])], f'embedder = "onnx"\nmodel = "{tmp_path}/none"')
    assert not (tmp_path / "run").exists()
