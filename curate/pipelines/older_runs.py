"""Finished runs that a later one is deduplicated against, by their signatures.

A run that has come to its end says so in ``signatures/STEP.json``, one file for each MinHash step: how its signatures
were made, and for every documents file its signature file and its last verdicts. A later run reads these files and
nothing else, and changes none. What an older run kept wins: a document of this run that is near to it goes, by the
similarity that the two signatures show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from curate import storage
from curate.dedup.minhash import MINHASH, SCHEME, MinHashSettings
from curate.engine.tasks import FileRef, canonical_json, hash_json
from curate.errors import InputError, RecipeError, RetryableError
from curate.pipelines.recipe import DedupStep, Recipe, resolve_steps, view_names

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline

FOLDER: Final = "signatures"
FORMAT: Final = "curate signatures 1"
AGREE: Final = (
    "ngram", "unit", "permutations", "seed", "bands", "rows", "threshold", "similarity", "scope",
)  # fmt: skip
"""Settings that say what a near-duplicate is: two runs must agree in them."""


class OlderFile(NamedTuple):
    """A documents file of an older run: its name in messages, its rows, and its files (`documents` as a URI)."""

    name: str
    rows: int
    documents: str
    signatures: FileRef
    verdicts: FileRef

    @property
    def identity(self) -> str:
        """What the file says, wherever it lies: its signatures, and which of these documents were kept."""
        return hash_json([self.signatures.id, self.verdicts.id])


class Signatures(NamedTuple):
    """The signatures of one step of a finished run: its name, how they were made, and the files."""

    step: str
    settings: MinHashSettings
    made: dict[str, Any]
    views: list[str]
    view: str
    files: list[OlderFile]


def publish_signatures(pipeline: Pipeline) -> None:
    """Say that this run is finished, and where its signatures are. Comes last of all."""
    for step in _minhash_steps(pipeline.recipe):
        files = [
            {"name": part.name, "rows": part.documents.rows, "documents": part.documents.path}
            | {"signatures": asdict(ref), "verdicts": asdict(part.verdicts)}
            for part, ref in zip(pipeline.parts, pipeline.signatures[step.name], strict=True)
            if part.verdicts is not None
        ]
        content = {"format": FORMAT, "step": step.name, **_made(pipeline.recipe, step), "files": files}
        uri = storage.join(pipeline.driver.run, FOLDER, f"{step.name}.json")
        storage.write_bytes(uri, canonical_json(content).encode())


def withdraw_signatures(run: str) -> None:
    """Take back what an earlier run in this folder said: it is not finished while it runs again."""
    folder = storage.join(run, FOLDER)
    for name in storage.list_names(folder):
        if name.endswith(".json"):
            storage.delete(storage.join(folder, name))


def read_signature_manifest(run: str, step: str | None = None) -> Signatures:
    """Return the signatures of a finished run: those of `step`, or of its only MinHash step if it has none of this
    name. Raises RecipeError if there are none."""
    folder, where = storage.join(run, FOLDER), storage.shown(run)
    named = [name.removesuffix(".json") for name in storage.list_names(folder) if name.endswith(".json")]
    if step not in named and len(named) != 1:
        told = f"its steps are {', '.join(sorted(named))}" if named else "it is not finished, or has no minhash step"
        if storage.is_empty(run, besides=""):
            raise RecipeError(f"{where}: there is no run")
        if named and step is None:
            raise RecipeError(f"{where}: has several minhash steps; name one with --step: {', '.join(sorted(named))}")
        raise RecipeError(f"{where}: has no signatures{f' of a step {step}' if named else ''}: {told}")
    chosen = step if step in named else named[0]
    try:
        found = json.loads(storage.read_bytes(storage.join(folder, f"{chosen}.json")))
        if found["format"] != FORMAT:
            raise RecipeError(f"{where}: its signatures are {found['format']!r}, this version reads {FORMAT!r}")
        files = [_older_file(run, entry) for entry in found["files"]]
        settings = MinHashSettings.model_validate(found["settings"])
        return Signatures(chosen, settings, found["made"], found["views"], found["view"], files)
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{where}: {FOLDER}/{chosen}.json is damaged ({error}); run its recipe again") from None


def _older_file(run: str, entry: Mapping[str, Any]) -> OlderFile:
    refs = {name: FileRef(**entry[name]) for name in ("signatures", "verdicts")}
    places = {name: replace(ref, path=storage.join(run, ref.path)) for name, ref in refs.items()}
    return OlderFile(entry["name"], entry["rows"], storage.join(run, entry["documents"]), **places)


def _minhash_steps(recipe: Recipe) -> list[DedupStep]:
    steps = [step for step in resolve_steps(recipe) if isinstance(step, DedupStep)]
    return [step for step in steps if isinstance(step.settings, MinHashSettings)]


def _made(recipe: Recipe, step: DedupStep) -> dict[str, Any]:
    """Return how the signatures of a step are made, as JSON: its settings without paths, and the text that they are
    of."""
    assert isinstance(step.settings, MinHashSettings)
    names = view_names(recipe)
    views = names[1 : names.index(step.view) + 1]
    # what a step cuts follows from its settings, too
    cuts = {name: recipe.dedup[name].settings.model_dump(mode="json") for name in views if name in recipe.dedup}
    views = [f"{name} {canonical_json(cuts[name])}" if name in cuts else name for name in views]
    settings = step.settings.model_dump(mode="json", exclude={"against", "max_edges_in_memory"})
    made = {"scheme": SCHEME, "version": MINHASH.version}
    return {"settings": settings, "made": made, "view": step.view, "views": views}


def older_files(recipe: Recipe, name: str) -> list[OlderFile]:
    """Return the files of the older runs that the step `name` goes against, each once, in an order that their contents
    give. Raises RecipeError for a run that does not fit."""
    (step,) = (step for step in _minhash_steps(recipe) if step.name == name)
    assert isinstance(step.settings, MinHashSettings)
    found: dict[str, OlderFile] = {}
    for run in step.settings.against:
        older = read_signature_manifest(run, name)
        wrong = _differences(recipe, step, older)
        if wrong:
            raise RecipeError(f"dedup.{name}.against: {storage.shown(run)}: {wrong}")
        found |= {file.identity: file for file in older.files}
    return [found[identity] for identity in sorted(found)]


def older_mistakes(recipe: Recipe) -> list[str]:
    """Return everything that is wrong with the older runs that a recipe names, before any work."""
    mistakes = []
    for step in _minhash_steps(recipe):
        assert isinstance(step.settings, MinHashSettings)
        for run in step.settings.against:
            try:
                older = read_signature_manifest(run, step.name)
                problem = _differences(recipe, step, older) or _missing(older)
            except (RecipeError, InputError, RetryableError) as error:
                problem = str(error).removeprefix(f"{storage.shown(run)}: ")
            if problem:
                mistakes.append(f"dedup.{step.name}.against: {storage.shown(run)}: {problem}")
    return mistakes


def against_itself(recipe: Recipe, run: str) -> str:
    """Return the MinHash step that goes against the run folder `run` of this recipe itself, "" if none does."""
    here = storage.filesystem(run)
    for step in _minhash_steps(recipe):
        assert isinstance(step.settings, MinHashSettings)
        if any(storage.filesystem(older) == here for older in step.settings.against):
            return step.name
    return ""


def _differences(recipe: Recipe, step: DedupStep, older: Signatures) -> str:
    """Return in what the settings of an older run differ from this one's, "" if in nothing that counts."""
    ours = _made(recipe, step)
    here = {name: getattr(step.settings, name) for name in AGREE} | {"the text": ours["views"]} | ours["made"]
    there = {name: getattr(older.settings, name) for name in AGREE} | {"the text": older.views} | older.made
    told = [
        f"{name} is {_shown(there.get(name))} there and {_shown(value)} here"
        for name, value in here.items()
        if there.get(name) != value
    ]
    return f"was deduplicated with other settings: {'; '.join(told)}" if told else ""


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"what {' and '.join(map(str, value))} left" if value else "as extracted"
    return str(value)


def _missing(older: Signatures) -> str:
    """Return which file of an older run is gone or was changed, "" if none is."""
    for file in older.files:
        for ref in (file.signatures, file.verdicts):
            try:
                if storage.size(ref.path) == ref.bytes:
                    continue
            except FileNotFoundError:
                pass
            return f"{ref.path.rpartition('/')[2]} is not what its receipt says; run its recipe again"
    return ""
