"""Whatever happens to a run with semantic dedup, it leaves the same vectors, centroids and verdicts."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
from run_digests import digests_of

from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run

HERE = pathlib.Path(__file__).parent
FINISH_S = 900
FOLDERS = ("dedup", "verdicts")
RECIPE = """
name = "semantic"
steps = ["semantic"]
[[sources]]
name = "web"
input = "crawl/*.warc.gz"
[dedup.semantic]
dim = 16
epochs = 1
epsilon = 0.1
scheme = "llama3"
quality = "words.count"
[engine]
unit_bytes = 150_000
partition_bytes = 20_000
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, crawl: pathlib.Path) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("semantic")
    (folder / "crawl").symlink_to(crawl / "crawl")
    (folder / "semantic.toml").write_text(RECIPE)
    run(load_recipe(str(folder / "semantic.toml")), str(folder / "run"), Options(executor="inline"))
    return folder / "semantic.toml"


def test_several_parts_and_partitions_take_part(recipe: pathlib.Path) -> None:
    plans = {path.stem.partition("-")[2]: path.read_text() for path in (recipe.parent / "run" / "plan").iterdir()}
    for name in ("collect", "duplicate.semantic-embed", "duplicate.semantic-pairs", "duplicate.semantic-apply"):
        assert plans[name].count('"key"') > 1, name


@pytest.mark.slow
def test_a_death_at_every_commit_step_changes_nothing(recipe: pathlib.Path, tmp_path: pathlib.Path) -> None:
    command = [sys.executable, str(HERE / "killed.py"), str(recipe), str(tmp_path / "run")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=FINISH_S)
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["deaths"]) > 40
    assert digests_of(tmp_path / "run", FOLDERS) == digests_of(recipe.parent / "run", FOLDERS)


@pytest.mark.ray
@pytest.mark.slow
def test_ray_gives_the_bytes_of_inline(recipe: pathlib.Path, tmp_path: pathlib.Path) -> None:
    run(load_recipe(str(recipe)), str(tmp_path / "run"), Options(executor="ray", workers=2))
    assert digests_of(tmp_path / "run", FOLDERS) == digests_of(recipe.parent / "run", FOLDERS)
