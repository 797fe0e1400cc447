"""The public surface is what `curate.__all__` says, no more and no less."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import curate
from curate import errors

PUBLIC = {
    "run", "load_recipe", "plan", "Recipe", "Options", "Summary", "Plan",
    "read_stats", "read_samples", "Stats", "Sample",
    "read_clusters", "read_audit", "look_up", "StepClusters", "StepAudit", "Lookup",
    "ShardSet", "verify_shards", "load_tokenizer", "Tokenizer",
    "train_tokenizer", "cut_tokenizer", "export_tokenizer", "save_tokenizer", "TrainSettings",
    "compare_tokenizers", "CompareSettings",
    "fetch_assets", "write_sample",
    "CurateError", "RecipeError", "InputError", "AssetError", "RetryableError", "StorageFullError", "LeaseError",
    "AlarmError", "TaskError", "ShardError", "InvariantError",
    "__version__",
}  # fmt: skip


def test_all_is_what_was_agreed() -> None:
    assert set(curate.__all__) == PUBLIC
    assert len(curate.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_exists_and_is_listed(name: str) -> None:
    value = getattr(curate, name)
    assert name in dir(curate)
    assert name == "__version__" or inspect.getdoc(value)


def test_tokenizers_are_trained_cut_saved_and_exported_without_the_command_line(tmp_path: Path) -> None:
    texts = ["the river runs down to the sea, and the sea runs down to nothing. "] * 5
    files = curate.train_tokenizer(texts, curate.TrainSettings(vocab_size=280))
    curate.save_tokenizer(curate.cut_tokenizer(files, 270), str(tmp_path / "cut"))
    curate.save_tokenizer(curate.export_tokenizer(str(tmp_path / "cut")), str(tmp_path / "exported"))
    tokenizer = curate.load_tokenizer(str(tmp_path / "exported"))
    assert (tokenizer.vocab_size, tokenizer.decode(tokenizer.encode_text(texts[0]))) == (270, texts[0])


def test_every_error_is_public() -> None:
    raised = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert raised <= PUBLIC


def test_names_for_type_checkers_come_from_where_they_are_imported() -> None:
    tree = ast.parse(Path(str(curate.__file__)).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == curate._PLACES


def test_no_public_name_hides_a_module() -> None:
    modules = {path.stem for path in Path(str(curate.__file__)).parent.iterdir()}
    assert modules & PUBLIC == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = curate.nothing


def test_star_import_gives_the_public_names() -> None:
    script = "from curate import *; print(callable(run), issubclass(RecipeError, CurateError))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "True True\n", done.stderr
