from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.errors import CurateError, RecipeError
from curate.pipelines import units
from curate.pipelines.recipe import Recipe
from curate.report.shards import decode_rows
from curate.shards.reader import ShardSet
from curate.tokenize import export, registry

Load = Callable[..., Recipe]
Run = Callable[..., Any]


def with_file(recipe: Recipe, path: Path) -> Recipe:
    """Return the recipe with the tokenizer at `path`."""
    assert recipe.tokenizer is not None
    return recipe.model_copy(
        update={"tokenizer": recipe.tokenizer.model_copy(update={"train": None, "file": str(path)})}
    )


@pytest.fixture(scope="module")
def exported(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer of the reference run as `curate tokenizer export` writes it."""
    folder = tmp_path_factory.mktemp("exported")
    registry.save(export.export(str(reference / "shards" / "tokenizer")), str(folder))
    return folder


def test_a_folder_as_transformers_saves_it_makes_the_same_tokens(
    reference: Path, exported: Path, small_recipe: Load, run_inline: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((exported / name).read_bytes())
    (folder / "model.safetensors").write_bytes(b"\0" * 1000)  # of no concern to a tokenizer
    run_inline(with_file(small_recipe(), folder), tmp_path / "run")
    beside = {path.name for path in (tmp_path / "run" / "shards" / "tokenizer").iterdir()}
    assert beside == {"tokenizer.json", "tokenizer_config.json"}
    ours, theirs = (ShardSet.open(str(run / "shards")) for run in (reference, tmp_path / "run"))
    assert len(ours) == len(theirs) > 10
    assert all((ours.row(at).ids == theirs.row(at).ids).all() for at in range(len(ours)))
    assert ours.manifest["tokenizer"]["sha256"] != theirs.manifest["tokenizer"]["sha256"]
    first = decode_rows(str(tmp_path / "run" / "shards"), 1)
    assert first == decode_rows(str(reference / "shards"), 1)


def test_the_message_about_another_tokenizer_names_both(reference: Path, exported: Path) -> None:
    made = ShardSet.open(str(reference / "shards")).manifest["tokenizer"]
    other = registry.load(str(exported / "tokenizer.json"))
    with pytest.raises(RecipeError) as caught:
        decode_rows(str(reference / "shards"), 1, str(exported / "tokenizer.json"))
    for part in (made["name"], made["sha256"][:12], other.name, other.sha256[:12]):
        assert part in str(caught.value)


def test_a_tokenizer_that_changes_during_a_run_is_refused(
    exported: Path, small_recipe: Load, run_inline: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes((exported / "tokenizer.json").read_bytes())
    planned = units.tokenizer_refs

    def then_change(recipe: Recipe, run: str) -> Any:
        refs = planned(recipe, run)
        changed = json.loads(file.read_bytes())
        changed["model"]["merges"].pop()
        file.write_text(json.dumps(changed))
        return refs

    monkeypatch.setattr(units, "tokenizer_refs", then_change)
    with pytest.raises(CurateError, match="has changed since the run began"):
        run_inline(with_file(small_recipe(), file), tmp_path / "run")
    assert not (tmp_path / "run" / "shards" / "manifest.json").exists()
