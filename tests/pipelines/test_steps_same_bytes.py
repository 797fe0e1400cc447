"""Whatever happens to a run with steps that cut, or a semantic one, it leaves the same edits, signals and verdicts."""

from __future__ import annotations

import json
import pathlib
import runpy
import subprocess
import sys

import pytest
from run_digests import digests_of

from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run

HERE = pathlib.Path(__file__).parent
ROAD = runpy.run_path(str(HERE / "golden_roads.py"))["ROADS"]["cuts"]
SEMANTIC = """
name = "semantic"
sources = [{ name = "copies", input = "copies.jsonl" }]
steps = ["semantic"]
engine = { unit_bytes = 30_000, partition_bytes = 10_000 }
[dedup.semantic]
scheme = "llama3"
quality = "text.characters"
scope = "language"
epsilon = 0.2
dim = 16
epochs = 1
"""
RECIPES = {
    "cuts": (ROAD.recipe, ("collect", "measure-lines", "duplicate.substring-apply", "duplicate.lines-reduce")),
    "semantic": (SEMANTIC, [f"duplicate.semantic-{phase}" for phase in ("embed", "assign", "pairs", "apply")]),
}
"""Recipes over the same documents, with the phases that have several tasks."""
FINISH_S = 900
FOLDERS = ("edits", "signals", "verdicts")


@pytest.fixture(scope="module", params=RECIPES)
def recipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The path of a recipe, with the folder of its finished run beside it."""
    folder = tmp_path_factory.mktemp(request.param)
    ROAD.write(folder)
    path = folder / f"{request.param}.toml"
    path.write_text(RECIPES[request.param][0])
    run(load_recipe(str(path)), str(folder / "run"), Options(executor="inline"))
    return path


def test_several_parts_and_partitions_take_part(recipe: pathlib.Path) -> None:
    plans = {path.stem.partition("-")[2]: path.read_text() for path in (recipe.parent / "run" / "plan").iterdir()}
    for name in RECIPES[recipe.stem][1]:
        assert plans[name].count('"key"') > 1, name


def test_a_second_run_does_nothing(recipe: pathlib.Path) -> None:
    before = digests_of(recipe.parent / "run", FOLDERS)
    assert not run(load_recipe(str(recipe)), str(recipe.parent / "run"), Options(executor="inline")).executed
    assert digests_of(recipe.parent / "run", FOLDERS) == before


@pytest.mark.slow
def test_a_death_at_every_commit_step_changes_nothing(recipe: pathlib.Path, tmp_path: pathlib.Path) -> None:
    command = [sys.executable, str(HERE / "killed.py"), str(recipe), str(tmp_path / "run")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=FINISH_S)
    assert found.returncode == 0, found.stderr
    deaths = json.loads(found.stdout)["deaths"]
    assert len(deaths) > (100 if recipe.stem == "cuts" else 40)
    assert all(any(phase in death for death in deaths) for phase in RECIPES[recipe.stem][1])
    assert digests_of(tmp_path / "run", FOLDERS) == digests_of(recipe.parent / "run", FOLDERS)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_gives_the_bytes_of_inline(recipe: pathlib.Path, tmp_path: pathlib.Path, workers: int) -> None:
    run(load_recipe(str(recipe)), str(tmp_path / "run"), Options(executor="ray", workers=workers))
    assert digests_of(tmp_path / "run", FOLDERS) == digests_of(recipe.parent / "run", FOLDERS)
