"""Everything that can be wrong with a recipe, found in one pass: sections against their models, names against the
registries, and what only shows when sections are put side by side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from curate.dedup import DEDUPS, IMPLIED
from curate.dedup.embedders import package_mistake
from curate.errors import RecipeError
from curate.extract import ENGINES, engine_source
from curate.filters import tables
from curate.filters.measures import CLEANERS
from curate.filters.rules import OFF, Mistake, Place
from curate.filters.tables import Filter, mistakes_of, suggestion
from curate.pipelines.check_tokenizer import check_assets, check_tokenizer
from curate.pipelines.settings import NO_ALARM, AlarmSettings, DedupChoice, MixSettings, Recipe, Source
from curate.pipelines.steps import SOURCE, conditions_of, steps_and_mistakes
from curate.readers import READERS, ReadSettings

WEIGHT_TOLERANCE: Final = 1e-6
RESERVED_NAMES: Final = frozenset({"error", "duplicate", "kept", "skipped"})
"""What reports call documents by; no filter can have such a name, for its reasons begin with it."""
_Model = TypeVar("_Model", bound=BaseModel)


def check_recipe(table: Mapping[str, Any]) -> tuple[Recipe | None, list[Mistake]]:
    """Return the recipe of a TOML table (None if it is wrong) and every mistake in it."""
    mistakes: list[Mistake] = []
    names = _step_names(table, mistakes)
    filters = _filters(table, names, mistakes)
    dedup = _dedup(table, names, mistakes)
    wrong = set(names) - {*filters, *dedup, *CLEANERS}
    steps = [name for name in names if name in filters or name in dedup or name in CLEANERS]
    mistakes += steps_and_mistakes(steps, filters, dedup)[1]
    sources = _sources(table, mistakes)
    plain = {key: value for key, value in table.items() if key not in ("filters", "dedup", "sources")}
    if not isinstance(plain.get("steps", []), list) or names != plain.get("steps", []):
        plain.pop("steps", None)  # told already
    _check_engine(table.get("extract"), mistakes)
    mistakes += check_tokenizer(table) + check_assets(table)
    _check_source_names(filters, sources, mistakes)
    mix = _mix(plain, sources, mistakes)
    if mix.rehydrate is not None and mix.rehydrate.step not in wrong:
        _check_clusters(mix.rehydrate.step, dedup, mistakes)
    _check_sample_weights(table, sources, mistakes)
    stand_in = [Source(name="none", input=("none",))]
    whole: dict[str, Any] = {**plain, "sources": sources or stand_in, "filters": filters, "dedup": dedup}
    recipe = _validated(Recipe, whole, (), mistakes)
    if recipe is None or mistakes:
        return None, mistakes
    cleared = tuple(source.model_copy(update={"weight": None}) for source in recipe.sources)
    return recipe.model_copy(update={"mix": mix, "sources": cleared}), mistakes


def _check_clusters(step: str, dedup: Mapping[str, DedupChoice], mistakes: list[Mistake]) -> None:
    """Tell about a step of ``mix.rehydrate`` that is no dedup step, or cuts texts and finds no clusters."""
    known = [name for name, choice in dedup.items() if not DEDUPS[choice.kind].cuts]
    if step not in known:
        told = f"no dedup step that finds clusters is called {step!r}; steps: {', '.join(known) or 'none'}"
        mistakes.append(Mistake(("mix", "rehydrate", "step"), told))


def _validated(model: type[_Model], value: Any, place: Place, mistakes: list[Mistake]) -> _Model | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        mistakes += mistakes_of(error, model, place)
        return None


def _tables(table: Mapping[str, Any], key: str, mistakes: list[Mistake]) -> dict[str, Any]:
    """Return the sub-tables of section `key`; tell about anything that is none."""
    section = table.get(key, {})
    if not isinstance(section, dict):
        mistakes.append(Mistake((key,), f"is a table of steps: write [{key}.NAME]"))
        return {}
    for name, value in section.items():
        if not isinstance(value, dict):
            mistakes.append(Mistake((key, name), f"is a table: write [{key}.{name}]"))
    return {name: value for name, value in section.items() if isinstance(value, dict)}


def _step_names(table: Mapping[str, Any], mistakes: list[Mistake]) -> list[str]:
    """Return the steps that are known names, each once; tell about the others."""
    steps = table.get("steps", [])
    if not isinstance(steps, list):
        mistakes.append(
            Mistake(("steps",), 'is a list of step names, for example ["language", "gopher_quality", "exact"]')
        )
        return []
    own = {key: section if isinstance(section := table.get(key), dict) else {} for key in ("filters", "dedup")}
    known = {*tables.shipped(), *CLEANERS, *DEDUPS, *own["filters"], *own["dedup"]} - IMPLIED
    names: list[str] = []
    for number, step in enumerate(steps):
        place: Place = ("steps", number)
        if not isinstance(step, str):
            mistakes.append(Mistake(place, f"a step is a name in quotes, not {step!r}"))
        elif step in IMPLIED:
            mistakes.append(Mistake(place, f"{step}: every run begins with this step by itself; remove it"))
        elif step not in known:
            mistakes.append(
                Mistake(place, f"unknown step {step!r}{suggestion(step, known)}; known: {', '.join(sorted(known))}")
            )
        elif step in names:
            mistakes.append(Mistake(place, f"step {step} comes twice; each step can stand once"))
        else:
            names.append(step)
    return names


def _filters(table: Mapping[str, Any], names: Sequence[str], mistakes: list[Mistake]) -> dict[str, Filter]:
    """Return the complete filters of the steps; tell about tables that no step uses."""
    own = _tables(table, "filters", mistakes)
    filters = {}
    extended = {value.get("extends") for value in own.values()}
    for name in own:
        if name in CLEANERS or name in DEDUPS:
            mistakes.append(
                Mistake(
                    ("filters", name), f"{name} is a {'cleaner' if name in CLEANERS else 'dedup step'}, not a filter"
                )
            )
        elif name in RESERVED_NAMES:
            mistakes.append(
                Mistake(("filters", name), f"{name} is what reports call documents by themselves; choose another name")
            )
        elif name not in names and name not in extended:
            used = [step for step in names if step not in CLEANERS and step not in DEDUPS]
            mistakes.append(
                Mistake(("filters", name), f"no step uses this filter{suggestion(name, used)}; add it to steps")
            )
    for name in names:
        if (name in own or name in tables.shipped()) and name not in CLEANERS and name not in DEDUPS:
            filters[name], wrong = tables.load_filter(name, own)
            mistakes += wrong
    return filters


def _dedup(table: Mapping[str, Any], names: Sequence[str], mistakes: list[Mistake]) -> dict[str, DedupChoice]:
    """Return kind and settings of the dedup steps; tell about tables that no step uses."""
    own = _tables(table, "dedup", mistakes)
    choices = {}
    used = [name for name in names if name in own or name in DEDUPS]
    for name in dict.fromkeys((*names, *own)):
        if name not in own and name not in DEDUPS:
            continue
        settings = dict(own.get(name, {}))
        kind = settings.pop("kind", name)
        known = [entry for entry in DEDUPS if entry not in IMPLIED]
        alarm = _alarm(settings.pop("alarm", {}), name, mistakes)
        if name in IMPLIED and kind == name:
            # every run has this step: a recipe says nothing of it but what it may take
            found = _validated(DEDUPS[kind].settings, settings, ("dedup", name), mistakes)
            if found is not None:
                choices[name] = DedupChoice(kind=kind, settings=found, alarm=alarm)
            continue
        if name not in names and kind == name and kind not in known:
            mistakes.append(Mistake(("dedup", name), f"no step of this name{suggestion(name, used)}; add it to steps"))
            continue
        if kind not in known:
            mistakes.append(
                Mistake(("dedup", name), f"unknown kind {kind!r}{suggestion(kind, known)}; known: {', '.join(known)}")
            )
            continue
        found = _validated(DEDUPS[kind].settings, settings, ("dedup", name), mistakes)
        if name not in names:
            mistakes.append(Mistake(("dedup", name), f"no step of this name{suggestion(name, used)}; add it to steps"))
        elif name in CLEANERS or name in tables.shipped():
            mistakes.append(Mistake(("dedup", name), "a filter or cleaner has this name; choose another"))
        elif found is not None and (wrong := package_mistake(found)):
            mistakes.append(Mistake(("dedup", name), wrong))
        elif found is not None:
            choices[name] = DedupChoice(kind=kind, settings=found, alarm=alarm)
    return choices


def _alarm(given: Any, name: str, mistakes: list[Mistake]) -> AlarmSettings:
    """Return the alarm of a dedup step as its table says it; tell what is wrong with it."""
    if given == OFF:
        return NO_ALARM
    place: Place = ("dedup", name, "alarm")
    if not isinstance(given, dict):
        mistakes.append(Mistake(place, f'is a table, or "{OFF}", not {given!r}'))
        return NO_ALARM
    return _validated(AlarmSettings, given, place, mistakes) or NO_ALARM


def _sources(table: Mapping[str, Any], mistakes: list[Mistake]) -> list[Source]:
    listed = table.get("sources")
    if not isinstance(listed, list) or not listed:
        mistakes.append(
            Mistake(("sources",), 'at least one source is needed: [[sources]] with name = "…" and input = ["…"]')
        )
        return []
    sources: list[Source] = []
    for number, raw in enumerate(listed):
        place: Place = ("sources", number)
        before = [other.get("name") for other in listed[:number] if isinstance(other, dict)]
        if isinstance(raw, dict) and raw.get("name") in before:
            mistakes.append(Mistake((*place, "name"), f"another source has the name {raw['name']}; names are unique"))
        source = _validated(Source, raw, place, mistakes)
        if source is None:
            continue
        if source.format is not None and source.format not in READERS:
            known = f"{suggestion(source.format, READERS)}; known: {', '.join(READERS)}"
            mistakes.append(Mistake((*place, "format"), f"unknown format {source.format!r}{known}"))
        _validated(ReadSettings, {"columns": source.columns}, place, mistakes)
        sources.append(source)
    return sources


def _check_source_names(filters: Mapping[str, Filter], sources: Sequence[Source], mistakes: list[Mistake]) -> None:
    """Tell about rules on the signal `source` that list a name which no source has: they could never be met."""
    names = [source.name for source in sources]
    for table in filters.values():
        for reason, rule in table.rules.items():
            for place, condition in conditions_of(rule, ("filters", table.name, reason)):
                if condition.signal != SOURCE or not names:
                    continue
                for key in ("any_of", "none_of"):
                    unknown = [item for item in getattr(condition, key) or () if item not in names]
                    mistakes += [
                        Mistake((*place, key), f"no source is called {item!r}{suggestion(item, names)}")
                        for item in unknown
                    ]


def _check_engine(extract: Any, mistakes: list[Mistake]) -> None:
    engine = extract.get("engine") if isinstance(extract, dict) else None
    if not isinstance(engine, str) or engine in ENGINES:
        return
    if ":" not in engine:
        known = f"{suggestion(engine, ENGINES)}; known: {', '.join(ENGINES)}, or your own module:function"
        mistakes.append(Mistake(("extract", "engine"), f"unknown engine {engine!r}{known}"))
        return
    try:
        engine_source(engine)
    except RecipeError as error:
        mistakes.append(Mistake(("extract", "engine"), str(error)))


def _mix(table: Mapping[str, Any], sources: Sequence[Source], mistakes: list[Mistake]) -> MixSettings:
    """Return the mix with the weights of the sources brought into it, and tell what does not fit."""
    raw = table.get("mix")
    section: dict[str, Any] = raw if isinstance(raw, dict) else {}
    given = section.get("weights")
    own = {name: weight for name, weight in given.items() if _is_number(weight)} if isinstance(given, dict) else {}
    weights = dict(own)
    names = [source.name for source in sources]
    told = len(mistakes)
    mistakes += _share_mistakes(("mix", "weights"), own, names)
    for number, source in enumerate(sources):
        if source.weight is None:
            continue
        if own.get(source.name, source.weight) != source.weight:
            place: Place = ("sources", number, "weight")
            mistakes.append(Mistake(place, f"mix.weights.{source.name} says {own[source.name]}; say it in one place"))
        weights[source.name] = source.weight
    if weights:
        place = ("mix", "weights") if own else ("sources",)
        wrong = _weight_mistakes(weights, names) if len(mistakes) == told else []
        if "tokens" not in section:
            wrong.append("weights need a budget; add tokens = … to [mix], or remove the weights")
        mistakes += [Mistake(place, message) for message in wrong]
    try:
        return MixSettings.model_validate({**section, "weights": weights})
    except ValidationError:
        return MixSettings()  # told when the whole recipe is validated


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_sample_weights(table: Mapping[str, Any], sources: Sequence[Source], mistakes: list[Mistake]) -> None:
    """Tell what is wrong with the shares of the sources in the text that a tokenizer is trained on."""
    tokenizer = table.get("tokenizer")
    train = tokenizer.get("train") if isinstance(tokenizer, dict) else None
    weights = train.get("source_weights") if isinstance(train, dict) else None
    if not isinstance(weights, dict) or not weights or not all(_is_number(weight) for weight in weights.values()):
        return  # the model tells of types
    names = [source.name for source in sources]
    place: Place = ("tokenizer", "train", "source_weights")
    wrong = _share_mistakes(place, weights, names)
    mistakes += wrong or [Mistake(place, message) for message in _weight_mistakes(weights, names)]


def _share_mistakes(place: Place, weights: Mapping[str, float], names: Sequence[str]) -> list[Mistake]:
    """Return which weights are of no source, or no share."""
    mistakes = []
    for name, weight in weights.items():
        if names and name not in names:
            known = f"{suggestion(name, names)}; sources: {', '.join(names)}"
            mistakes.append(Mistake((*place, name), f"no source has this name{known}"))
        if weight < 0:
            mistakes.append(Mistake((*place, name), f"a weight is a share from 0 to 1, not {weight}"))
    return mistakes


def _weight_mistakes(weights: Mapping[str, float], names: Sequence[str]) -> list[str]:
    wrong = []
    without = [name for name in names if name not in weights]
    if without:
        wrong.append(f"no weight for {', '.join(without)}; give 0 to leave a source out")
    total = math.fsum(weights.values())
    if not without and set(weights) <= set(names) and abs(total - 1) > WEIGHT_TOLERANCE:
        wrong.append(f"the weights sum to {total:.6g}; they are shares and must sum to 1")
    return wrong
