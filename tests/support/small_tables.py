"""A world of two measures, two cleaners and two filter tables, and recipes in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from curate.errors import RecipeError
from curate.filters import tables
from curate.pipelines.recipe import (
    FilterStep,
    Recipe,
    load_recipe,
    resolve_steps,
)


class Measured(NamedTuple):
    signals: Mapping[str, str]
    given: tuple[str, ...] = ()


MEASURES = {
    "text": Measured({"words.count": "int64", "words.mean_length": "float64", "text.is_latin": "bool"}),
    "language": Measured({"language.code": "string", "language.score": "float64"}),
}
CLEANERS = {"tidy": Measured({"tidy.removed": "int64"}), "redact": Measured({"redact.count": "int64"})}
TABLES = {
    "words": '[word_count]\nsignal = "words.count"\nmin = 50\nmax = 100000\n'
    '[mean_word_length]\nsignal = "words.mean_length"\nmin = 3\nmax = 10\n',
    "tongue": '[code]\nsignal = "language.code"\nany_of = ["en"]\n[score]\nsignal = "language.score"\nmin = 0.65\n',
}
BASE = """
name = "base"
steps = ["tongue", "words", "tidy", "url", "exact"]

[[sources]]
name = "web"
input = ["in/*.warc.gz"]

[tokenizer.train]
vocab_size = 4096
"""


def forget() -> None:
    tables.shipped.cache_clear()
    tables._shipped_table.cache_clear()


def load(folder: Path, text: str, overrides: Sequence[str] = (), inputs: Sequence[str] | None = None) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return load_recipe(str(path), overrides, inputs)


def mistakes_of(
    folder: Path, text: str, overrides: Sequence[str] = (), inputs: Sequence[str] | None = None
) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(folder, text, overrides, inputs)
    return [mistake.replace(f"{folder}{os.sep}", "") for mistake in caught.value.mistakes]


def rules_of(recipe: Recipe) -> dict[str, Any]:
    return {rule.reason: rule for step in resolve_steps(recipe) if isinstance(step, FilterStep) for rule in step.rules}
