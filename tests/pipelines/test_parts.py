"""The files of a run folder are read by a version of curate that knows them, and by no other."""

from __future__ import annotations

import pathlib

import pyarrow.parquet as pq
import pytest

import curate
from curate import schema
from curate.errors import InputError, TaskError

RECIPE = """
name = "small"
steps = ["mine"]
sources = [{ name = "pages", input = "pages.jsonl" }]
filters.mine.size = { signal = "text.characters", min = 3 }
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A recipe for two documents, and its finished run."""
    (tmp_path / "pages.jsonl").write_text('{"text": "four"}\n{"text": "by"}\n')
    (tmp_path / "recipe.toml").write_text(RECIPE)
    run(tmp_path)
    return tmp_path


def run(folder: pathlib.Path, *overrides: str) -> None:
    recipe = curate.load_recipe(str(folder / "recipe.toml"), overrides)
    curate.run(recipe, str(folder / "run"), curate.Options(executor="inline"))


def test_a_task_refuses_files_of_another_major(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(schema.MAJORS, "signals", 0)
    with pytest.raises(TaskError, match=r"signals/.*\.parquet: holds signals/1, this version reads signals/0"):
        run(folder, "filters.mine.size.min=4")


@pytest.mark.parametrize(("kind", "name"), [("documents", "document"), ("signals", "signals"), ("verdicts", "verdict")])
def test_a_report_refuses_files_of_another_major(folder: pathlib.Path, kind: str, name: str) -> None:
    assert [sample.text for sample in curate.read_samples(str(folder / "run"), "mine")] == ["by"]
    for path in (folder / "run" / kind).iterdir():
        pq.write_table(pq.read_table(path).replace_schema_metadata({schema.SCHEMA_KEY: f"{name}/2".encode()}), path)
    with pytest.raises(InputError, match=rf"{kind}/.*\.parquet: holds {name}/2, this version reads {name}/1"):
        curate.read_samples(str(folder / "run"), "mine")
