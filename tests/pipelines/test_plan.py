"""A plan is what the run then does, and making it changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from little import RECIPE, write_pages

from curate.errors import RecipeError
from curate.pipelines.plan import NO_SPLIT, phase_names, plan
from curate.pipelines.recipe import Recipe, load_recipe
from curate.pipelines.run import Options, run

INLINE = Options(executor="inline")
LONGER = (
    RECIPE.replace('steps = ["size", "exact"]', 'steps = ["size", "exact", "best", "url"]')
    + """
[filters.best.long]
signal = "words.count"
min = { quantile = 0.1 }
"""
)


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("little")
    write_pages(folder / "pages-0.jsonl", range(100))
    (folder / "little.toml").write_text(LONGER)
    return load_recipe(str(folder / "little.toml"))


@pytest.fixture(scope="module")
def finished(little: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(little, str(folder), INLINE)
    return folder


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return every file below a folder with its bytes and time."""
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.model_copy(update=changes)


def test_a_plan_of_nothing_begins_with_collect_and_makes_no_folder(little: Recipe, tmp_path: Path) -> None:
    found = plan(little, str(tmp_path / "run"))
    assert (found.next, found.tasks, list(found.done)) == ("collect", len(found.missing), [])
    size = Path(little.sources[0].input[0]).parent / "pages-0.jsonl"
    assert found.bytes == sum(task.bytes for task in found.missing) == size.stat().st_size
    assert found.later == phase_names(little)[1:]
    assert list(tmp_path.iterdir()) == []


def test_the_names_of_the_phases_are_those_that_a_run_then_has(little: Recipe, finished: Path) -> None:
    plans = sorted((finished / "plan").iterdir())
    assert [path.stem.partition("-")[2] for path in plans] == phase_names(little)


def test_a_finished_run_has_nothing_left_and_is_not_touched(little: Recipe, finished: Path) -> None:
    before = contents(finished)
    found = plan(little, str(finished))
    assert (found.next, found.missing, found.later) == (None, (), ())
    assert [name for name, _ in found.done] == phase_names(little)
    assert contents(finished) == before


def test_another_vocabulary_begins_at_the_tokenizer_and_touches_no_shard(little: Recipe, finished: Path) -> None:
    before = contents(finished)
    assert little.tokenizer is not None
    assert little.tokenizer.train is not None
    train = little.tokenizer.train.model_copy(update={"vocab_size": 310})
    found = plan(changed(little, tokenizer=little.tokenizer.model_copy(update={"train": train})), str(finished))
    assert (found.next, found.tasks) == ("tokenizer", 1)
    assert found.later == ["tokenize", "tally", "shuffle", "pack"]
    assert contents(finished) == before


def test_another_context_length_leaves_only_the_packing_and_keeps_the_manifest(little: Recipe, finished: Path) -> None:
    before = contents(finished)
    found = plan(changed(little, shards=little.shards.model_copy(update={"context_length": 32})), str(finished))
    assert (found.next, found.later) == ("pack", [])
    assert contents(finished) == before


def test_a_moved_bound_begins_at_its_decision(little: Recipe, finished: Path, tmp_path: Path) -> None:
    recipe = Path(little.sources[0].input[0]).parent / "little.toml"
    moved = load_recipe(str(recipe), ["filters.size.words.min=30"])
    found = plan(moved, str(finished))
    assert found.next == "decide-size"
    assert found.later[0] == "duplicate.exact-scatter"


def test_a_file_that_cannot_be_split_is_told(little: Recipe, tmp_path: Path) -> None:
    import gzip

    pages = Path(little.sources[0].input[0]).parent / "pages-0.jsonl"
    packed = tmp_path / "pages.jsonl.gz"
    packed.write_bytes(gzip.compress(pages.read_bytes(), compresslevel=0))
    source = little.sources[0].model_copy(update={"input": (str(packed),)})
    (task,) = plan(changed(little, sources=(source,)), str(tmp_path / "run")).missing
    assert task.note == NO_SPLIT
    assert task.bytes == packed.stat().st_size


def test_a_recipe_without_a_tokenizer_ends_with_the_tally(little: Recipe) -> None:
    assert phase_names(changed(little, tokenizer=None))[-1] == "tally"


def test_a_folder_of_another_recipe_is_refused(little: Recipe, finished: Path) -> None:
    with pytest.raises(RecipeError, match="holds a run of the recipe"):
        plan(changed(little, name="other"), str(finished))
