"""Loading a recipe: TOML to a checked `Recipe`, with every mistake told at once, each with its line and its fix.

A recipe is one TOML file. ``--set a.b.c=value`` changes a key (and another origin of the tokenizer takes
the place of the recipe's), ``--input`` replaces the inputs. Paths in a recipe are
relative to its folder; a recipe that ships with curate is addressed by its bare name, and its paths are relative to the
working folder.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from curate.assets import ASSETS
from curate.dedup.minhash import MinHashSettings
from curate.dedup.semantic import SemanticSettings
from curate.errors import RecipeError
from curate.filters.rules import Mistake, Place
from curate.filters.tables import suggestion
from curate.pipelines.check import check_recipe
from curate.pipelines.settings import (
    ORIGINS,
    DedupChoice,
    EngineSettings,
    MixSettings,
    Recipe,
    ShardSettings,
    Source,
    TokenizerSettings,
)
from curate.pipelines.steps import (
    CleanerStep,
    DedupStep,
    FilterStep,
    Step,
    final_view,
    required_measures,
    resolve_steps,
    segment_names,
    view_names,
)
from curate.pipelines.toml_text import apply_override, key_lines, parse_override

__all__ = [
    "CleanerStep", "DedupStep", "EngineSettings", "FilterStep", "MixSettings", "Recipe", "ShardSettings", "Source",
    "Step", "TokenizerSettings", "final_view", "load_recipe", "required_measures", "resolve_steps", "segment_names",
    "shipped_recipes", "view_names",
]  # fmt: skip

SHIPPED: Final = Path(__file__).with_name("recipes")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def shipped_recipes() -> tuple[str, ...]:
    """Return the file names of the recipes that ship."""
    return tuple(sorted(path.name for path in SHIPPED.glob("*.toml")))


def load_recipe(path: str, overrides: Sequence[str] = (), inputs: Sequence[str] | None = None) -> Recipe:
    """Return the recipe at `path`, or the shipped one of this name, with every default filled in.

    `overrides` are ``key.path=value`` texts, applied in order. `inputs` replace the input of the only source, or as
    ``name=pattern`` that of the source `name`; they are relative to the working folder.

    Raises RecipeError with every mistake found, each with its place and its fix.
    """
    text, folder = _read(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(_syntax_mistake(path, str(error))) from None
    lines = key_lines(text)
    table.setdefault("name", re.sub(r"[^A-Za-z0-9._-]", "-", Path(path).stem).lstrip("._-") or "recipe")
    mistakes: list[str] = []
    places: dict[Place, str] = {place: f"{path}:{line}" for place, line in lines.items()}
    origins: set[str] = set()
    for override in overrides:
        try:
            key_path, value = parse_override(override)
            _make_way(table, key_path, origins)
            place = apply_override(table, key_path, value)
        except ValueError as error:
            mistakes.append(f"--set {override}: {error}")
            continue
        # what was set is new, and so is everything below it
        places = {known: where for known, where in places.items() if known[: len(place)] != place}
        places[place] = f"--set {override}"
    given = _with_inputs(table, inputs, mistakes)
    recipe, found = check_recipe(table)
    mistakes += _told(found, path, places)
    if recipe is None or mistakes:
        raise RecipeError(list(dict.fromkeys(mistakes)))
    return _with_absolute_paths(recipe, folder, given)


def _make_way(table: dict[str, Any], key_path: Sequence[str], origins: set[str]) -> None:
    """Where a --set says where the tokenizer comes from, take out what the recipe itself says of that. Two of them
    that say different things stay a mistake: `origins` holds what was set before."""
    if key_path[0] != "tokenizer" or len(key_path) < 2 or key_path[1] not in ORIGINS:
        return
    origins.add(key_path[1])
    tokenizer = table.get("tokenizer")
    if isinstance(tokenizer, dict):
        for other in set(ORIGINS) - origins:
            tokenizer.pop(other, None)


def _read(path: str) -> tuple[str, str]:
    """Return (text, folder that its paths are relative to) of a recipe file or a shipped recipe."""
    file, folder = Path(path), os.path.dirname(os.path.abspath(path))
    if not file.exists() and not os.path.dirname(path):
        name = path if path.endswith(".toml") else f"{path}.toml"
        if name in shipped_recipes():
            file, folder = SHIPPED / name, os.getcwd()
    try:
        return file.read_text(encoding="utf-8"), folder
    except OSError as error:
        near = suggestion(file.name, shipped_recipes()) or f"; recipes that ship: {', '.join(shipped_recipes())}"
        raise RecipeError(f"{path}: cannot be read ({error.strerror}){near}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _syntax_mistake(path: str, message: str) -> str:
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message)
    return (
        f"{path}:{found[2]}: not valid TOML at column {found[3]}: {found[1]}"
        if found
        else f"{path}: not valid TOML: {message}"
    )


def _told(mistakes: Sequence[Mistake], path: str, places: Mapping[Place, str]) -> list[str]:
    """Return mistakes as the user reads them, in the order of the file: where, which key, what, and how to mend it."""
    told = []
    for mistake in mistakes:
        prefixes = (mistake.place[:end] for end in range(len(mistake.place), 0, -1))
        where = places.get(next((prefix for prefix in prefixes if prefix in places), ()), path)
        key = ".".join(map(str, mistake.place))
        line = where.rpartition(":")[2]
        told.append((int(line) if line.isdecimal() else 0, f"{where}: {key}: {mistake.message}"))
    return [message for _, message in sorted(told, key=lambda entry: entry[0])]


def _with_inputs(table: dict[str, Any], inputs: Sequence[str] | None, mistakes: list[str]) -> set[int]:
    """Put `inputs` into the sources of `table` and return the numbers of the sources that got one."""
    sources = table.get("sources")
    if not inputs or not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        return set()
    names = [source.get("name") for source in sources]
    replaced: dict[int, list[str]] = {}
    for text in inputs:
        name, equals, pattern = text.partition("=")
        if equals and name in names:
            replaced.setdefault(names.index(name), []).append(pattern)
        elif len(sources) == 1:
            replaced.setdefault(0, []).append(text)
        else:
            known = ", ".join(map(str, names))
            mistakes.append(f"--input {text}: the recipe has several sources; write NAME=PATTERN with one of {known}")
    for number, patterns in replaced.items():
        sources[number]["input"] = [_absolute(pattern, os.getcwd()) for pattern in patterns]
    return set(replaced)


def _with_absolute_paths(recipe: Recipe, folder: str, given: set[int]) -> Recipe:
    sources = tuple(
        source
        if number in given
        else source.model_copy(update={"input": tuple(_absolute(pattern, folder) for pattern in source.input)})
        for number, source in enumerate(recipe.sources)
    )
    update: dict[str, Any] = {
        "sources": sources,
        "assets": {name: _absolute(file, folder) for name, file in recipe.assets.items()},
    }
    update["dedup"] = {name: _with_absolute_settings(choice, folder) for name, choice in recipe.dedup.items()}
    if recipe.tokenizer is not None and recipe.tokenizer.file is not None:
        update["tokenizer"] = recipe.tokenizer.model_copy(update={"file": _absolute(recipe.tokenizer.file, folder)})
    train = recipe.tokenizer.train if recipe.tokenizer is not None else None
    if recipe.tokenizer is not None and train is not None and train.base is not None and train.base not in ASSETS:
        grown = train.model_copy(update={"base": _absolute(train.base, folder)})
        update["tokenizer"] = recipe.tokenizer.model_copy(update={"train": grown})
    return recipe.model_copy(update=update)


def _with_absolute_settings(choice: DedupChoice, folder: str) -> DedupChoice:
    settings = choice.settings
    update: dict[str, Any] = {}
    if isinstance(settings, MinHashSettings):
        update["against"] = tuple(_absolute(run, folder) for run in settings.against)
    if isinstance(settings, SemanticSettings) and settings.model is not None:
        update["model"] = _absolute(settings.model, folder)
    return choice.model_copy(update={"settings": settings.model_copy(update=update)}) if update else choice


def _absolute(path: str, folder: str) -> str:
    if _URI.match(path):
        return path
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path)))
