"""From a recipe's sources to the tasks of the collect phase: which files, cut where, read how.

Units follow from file sizes and the recipe's ``unit_bytes`` alone. The cut points are byte offsets; a task reads from
the first verified record boundary after its start to the first after its end, and `check_tiles` proves afterwards that
these ranges tile each file.
"""

from __future__ import annotations

import itertools
import os
import posixpath
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate import assets, extract, storage
from curate.engine.tasks import FileRef, Receipt, TaskSpec
from curate.errors import AssetError, InputError, InvariantError, RecipeError
from curate.filters.measures import CLEANERS, MEASURES
from curate.filters.rules import ResolvedRule
from curate.pipelines.collect import CollectSettings
from curate.pipelines.recipe import (
    DedupStep,
    FilterStep,
    Recipe,
    Source,
    required_measures,
    resolve_steps,
    segment_names,
)
from curate.pipelines.stages import STAGES
from curate.pipelines.views import EXTRACTED, View, signals_schema
from curate.readers import READERS, detect_format
from curate.storage import InputFile

LISTING_THREADS = 16


@dataclass(frozen=True)
class Unit:
    """A byte range of one input file."""

    source: Source
    format: str
    file: InputFile
    content_id: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """What people see: the file, and the range if the file is cut."""
        whole = self.start == 0 and self.end == self.file.size
        return self.file.name if whole else f"{self.file.name}:{self.start}-{self.end}"


def cut(size: int, unit_bytes: int) -> list[tuple[int, int]]:
    """Return even byte ranges that tile [0, size), none longer than `unit_bytes`."""
    count = max(1, -(-size // unit_bytes))
    edges = [size * index // count for index in range(count + 1)]
    return list(itertools.pairwise(edges))


def list_units(recipe: Recipe) -> list[Unit]:
    """Return the units of all sources in order of source, file name and offset.

    Raises RecipeError naming every pattern that matches nothing, every file of unknown format and every file that may
    not be read.
    """
    mistakes: list[str] = []
    found: list[tuple[Source, str, InputFile]] = []
    for source in recipe.sources:
        try:
            files = storage.list_inputs(source.input)
        except (InputError, RecipeError) as error:
            mistakes += [f"sources.{source.name}.input: {line}" for line in str(error).splitlines()]
            continue
        for file in files:
            try:
                found.append((source, source.format or detect_format(file.name), file))
            except InputError as error:
                mistakes.append(f"sources.{source.name}: {error}")
    if mistakes:
        raise RecipeError(mistakes)

    def units(entry: tuple[Source, str, InputFile]) -> list[Unit] | list[str]:
        source, kind, file = entry
        try:
            identity = storage.content_id(file.uri, full=recipe.engine.verify_inputs)
        except RecipeError as error:
            return [f"sources.{source.name}.input: {line}" for line in error.mistakes]
        splits = file.size > recipe.engine.unit_bytes and READERS[kind].splittable(file)
        ranges = cut(file.size, recipe.engine.unit_bytes) if splits else [(0, file.size)]
        return [Unit(source, kind, file, identity, start, end) for start, end in ranges]

    with ThreadPoolExecutor(LISTING_THREADS) as pool:
        listed = [item for items in pool.map(units, found) for item in items]
    if mistakes := [item for item in listed if isinstance(item, str)]:
        raise RecipeError(mistakes)
    return [item for item in listed if isinstance(item, Unit)]


def views_of(recipe: Recipe) -> tuple[View, ...]:
    """Return the views that collect makes, in order, with the measures that its rules need on each."""
    needed = required_measures(recipe)
    # source and language tables are part of every report, so the plain text is always measured for them
    base = sorted({"text", *needed.get(EXTRACTED, ())}, key=lambda name: (bool(MEASURES[name].given), name))
    views = [View(name=EXTRACTED, measures=tuple(base))]
    views += [_view(name, needed) for name in segment_names(recipe)[0]]
    return tuple(views)


def later_views(recipe: Recipe) -> dict[str, tuple[View, ...]]:
    """Return the views that are made and measured after each dedup step that cuts, by its name: its own, then those of
    the cleaners before the next such step."""
    needed = required_measures(recipe)
    return {names[0]: tuple(_view(name, needed) for name in names) for names in segment_names(recipe)[1:]}


def _view(name: str, needed: Mapping[str, set[str]]) -> View:
    cleaner = name if name in CLEANERS else None
    return View(name=name, cleaner=cleaner, measures=tuple(sorted(needed.get(name, ()))))


def all_views(recipe: Recipe) -> tuple[View, ...]:
    """Return every view of a recipe, in order."""
    return (*views_of(recipe), *(view for views in later_views(recipe).values() for view in views))


def local_asset(recipe: Recipe, name: str) -> str:
    """Return the local path of an asset: the recipe's own file, the cache's, or fetched now."""
    override = recipe.assets.get(name)
    try:
        return assets.path(name, override=override)
    except AssetError:
        if override is not None:
            raise
        assets.fetch([name])
        return assets.path(name)


def tokenizer_path(recipe: Recipe) -> str:
    """Return the local file or folder of the tokenizer that a recipe names."""
    settings = recipe.tokenizer
    assert settings is not None
    return settings.file or local_asset(recipe, settings.asset or "")


def share(path: str, folder: str, run: str) -> FileRef:
    """Return a local file as one that every worker can read: a run folder on an object store gets a copy in `folder`,
    since workers of other machines do not see this one's disk."""
    identity = storage.content_id(path, full=True)
    if storage.is_local(run):
        return FileRef(path, identity)
    shared = f"{folder}/{os.path.basename(path)}"
    storage.write_bytes(storage.join(run, shared), storage.read_bytes(path))
    return FileRef(shared, identity)


def asset_refs(recipe: Recipe, names: Sequence[str], run: str) -> dict[str, FileRef]:
    """Return each asset as a file that every worker can read, fetched and checked now, before any work."""
    return {name: share(local_asset(recipe, name), "assets", run) for name in names}


def tokenizer_refs(recipe: Recipe, run: str) -> list[FileRef]:
    """Return the files of the tokenizer that the recipe names: one model file, or what counts of a folder's files."""
    return shared_files(tokenizer_path(recipe), run)


def base_path(recipe: Recipe) -> str:
    """Return the local file or folder of the tokenizer that a recipe grows."""
    assert recipe.tokenizer is not None
    assert recipe.tokenizer.train is not None
    base = recipe.tokenizer.train.base or ""
    return local_asset(recipe, base) if base in assets.ASSETS else base


def shared_files(path: str, run: str) -> list[FileRef]:
    """Return a tokenizer's files, one or what counts of a folder's, as ones that every worker can read."""
    from curate.tokenize import registry

    names = registry.file_names(path)
    return [share(file, "tokenizer", run) for file in ([os.path.join(path, name) for name in names] or [path])]


def folder_refs(folder: str, shared: str, run: str) -> dict[str, FileRef]:
    """Return the files of a local folder and of the folders in it, by their names from there on, as files that every
    worker can read; see `share`. What is hidden is left out."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    seen = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    places = {name: posixpath.join(shared, name).rpartition("/")[0] for name in seen}
    return {name: share(os.path.join(folder, name), place, run) for name, place in places.items()}


def signal_types(recipe: Recipe) -> dict[str, str]:
    """Return the Arrow type, by name, of every column of the signals files of a recipe."""
    return {field.name: str(field.type) for field in signals_schema(all_views(recipe))}


def needed_assets(views: Sequence[View]) -> list[str]:
    """Return the names of the assets that the measures of `views` use."""
    return sorted({asset for view in views for name in view.measures for asset in MEASURES[name].assets})


def versions_of(kind: str, engine: str, views: Sequence[View]) -> tuple[dict[str, int], list[str]]:
    """Return the versions and the libraries of all code that shapes what collect writes."""
    versions, libraries = view_versions(views)
    versions |= {f"reader.{kind}": READERS[kind].version, "extract": extract.VERSION}
    return versions, sorted({*libraries, *READERS[kind].libraries, *extract.LIBRARIES.get(engine, ())})


def view_versions(views: Sequence[View]) -> tuple[dict[str, int], list[str]]:
    """Return the versions and the libraries of all code that makes and measures views."""
    used: dict[str, Any] = {}
    for view in views:
        used |= {f"measure.{name}": MEASURES[name] for name in view.measures}
        if view.cleaner:
            used[f"cleaner.{view.cleaner}"] = CLEANERS[view.cleaner]
    libraries = {library for entry in used.values() for library in entry.libraries}
    return {name: entry.version for name, entry in used.items()}, sorted({*libraries, "pyarrow"})


def leading_rules(recipe: Recipe) -> list[ResolvedRule]:
    """Return the rules that need nothing but a document's own signals: those before the first global step, without
    quantiles."""
    rules: list[ResolvedRule] = []
    for step in resolve_steps(recipe):
        if isinstance(step, DedupStep):
            break
        if isinstance(step, FilterStep):
            rules += [rule for rule in step.rules if not rule.waits_for()]
    return rules


def collect_specs(recipe: Recipe, units: Sequence[Unit], shared: Mapping[str, FileRef]) -> list[TaskSpec]:
    """Return the tasks of the collect phase. No bound of any rule is part of them."""
    views = views_of(recipe)
    text_rules = (
        tuple(rule.model_dump(mode="json") for rule in leading_rules(recipe)) if recipe.keep_text == "kept" else ()
    )
    specs = []
    for unit in units:
        versions, libraries = versions_of(unit.format, recipe.extract.engine, views)
        settings = CollectSettings(
            source=unit.source.name,
            file=unit.file.name,
            format=unit.format,
            size=unit.file.size,
            start=unit.start,
            end=unit.end,
            read=recipe.read_settings(unit.source),
            extract=recipe.extract,
            views=views,
            roll_bytes=recipe.engine.roll_bytes,
            versions=versions,
            engine_source=extract.engine_source(recipe.extract.engine),
            text_rules=text_rules,
        )
        inputs = {"source": (FileRef(unit.file.uri, unit.content_id, unit.file.size),)}
        inputs |= {f"asset:{name}": (ref,) for name, ref in shared.items()}
        specs.append(
            TaskSpec(
                stage="collect",
                version=STAGES["collect"].version,
                kind=STAGES["collect"].kind,
                function=STAGES["collect"].function,
                unit=f"{unit.source.name}/{unit.name}",
                settings=settings.model_dump(mode="json"),
                inputs=inputs,
                libraries=tuple(libraries),
            )
        )
    return specs


def check_tiles(units: Sequence[Unit], receipts: Sequence[Receipt]) -> None:
    """Raise InvariantError unless the ranges really read tile every file: no byte skipped, none read twice."""
    at: dict[tuple[str, str], int] = {}
    for unit, receipt in zip(units, receipts, strict=True):
        start, end = receipt.facts["range"]
        place = (unit.source.name, unit.file.uri)
        expected = at.get(place, 0)
        if start != expected or (unit.end == unit.file.size and end != unit.file.size):
            raise InvariantError(f"{unit.name}: was read from byte {start} to {end}, but byte {expected} comes next")
        at[place] = end
