"""Whatever happens to a run with steps that cut, it leaves the same edits, signals and verdicts."""

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
FINISH_S = 900
FOLDERS = ("edits", "signals", "verdicts")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("cuts")
    ROAD.write(folder)
    (folder / "cuts.toml").write_text(ROAD.recipe)
    run(load_recipe(str(folder / "cuts.toml")), str(folder / "run"), Options(executor="inline"))
    return folder / "cuts.toml"


def test_several_parts_and_partitions_take_part(recipe: pathlib.Path) -> None:
    plans = {path.stem.partition("-")[2]: path.read_text() for path in (recipe.parent / "run" / "plan").iterdir()}
    for name in ("collect", "measure-lines", "duplicate.substring-apply", "duplicate.lines-reduce"):
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
    assert len(json.loads(found.stdout)["deaths"]) > 100
    assert digests_of(tmp_path / "run", FOLDERS) == digests_of(recipe.parent / "run", FOLDERS)


@pytest.mark.ray
@pytest.mark.slow
def test_ray_gives_the_bytes_of_inline(recipe: pathlib.Path, tmp_path: pathlib.Path) -> None:
    run(load_recipe(str(recipe)), str(tmp_path / "run"), Options(executor="ray", workers=2))
    assert digests_of(tmp_path / "run", FOLDERS) == digests_of(recipe.parent / "run", FOLDERS)
