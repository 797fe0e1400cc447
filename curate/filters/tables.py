"""Filters are data: named tables of rules, each with its citation.

A table is a TOML file in the folder ``tables``. Its keys ``title``, ``citation``, ``provenance`` (``paper``,
``reference-impl`` or ``ours``) and ``extends`` are reserved; every other key is a rule, named by its reason::

    title = "Gopher word lengths"
    citation = "Rae et al. 2021, arXiv:2112.11446, appendix A.1.1"
    provenance = "paper"

    [mean_word_length]
    signal = "words.mean_length"
    min = 3
    max = 10

A recipe changes a shipped table key by key (``[filters.gopher_quality.mean_word_length] max = 12``), switches a rule
off (``symbol_to_word_ratio = "off"``), adds rules of its own, or writes a new table, which may ``extends = "c4"``
another one. ``extends = "off"`` starts from nothing although a shipped table has this name.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ValidationError

from curate.filters.rules import EXCLUSIVE, OFF, Mistake, Place, Rule, Settings

FOLDER: Final = Path(__file__).with_name("tables")
RESERVED: Final = ("title", "citation", "provenance", "extends")

WORDING: Final[Mapping[str, str]] = {
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a string",
}
"""What pydantic says in the words of Python, in the words of TOML."""

Provenance = Literal["paper", "reference-impl", "ours"]
Raw = dict[str, Any]


class Filter(Settings):
    """A table of rules in order, by reason, with where its thresholds come from."""

    name: str
    title: str = ""
    citation: str = ""
    provenance: Provenance = "ours"
    rules: dict[str, Rule]

    def as_table(self) -> Raw:
        """Return the complete table in the form that a recipe writes it, so that it depends on no shipped table."""
        head = {"title": self.title, "citation": self.citation, "provenance": self.provenance, "extends": OFF}
        return head | {reason: rule.model_dump(exclude_none=True) for reason, rule in self.rules.items()}


@functools.cache
def shipped() -> tuple[str, ...]:
    """Return the names of the tables that ship, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@functools.cache
def _shipped_table(name: str) -> Raw:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def load_filter(name: str, tables: Mapping[str, Any] | None = None) -> tuple[Filter, list[Mistake]]:
    """Return the filter `name` with the recipe's own `tables` (name -> table) laid over the shipped ones, and every
    mistake in it. Rules with a mistake are left out. The mistakes' places start with ``("filters", name)``."""
    tables = tables or {}
    raw, mistakes = _merged(name, tables, ())
    head: Raw = {"name": name, "rules": {}}
    for key, value in raw.items():
        if key == "extends":
            continue
        if key in RESERVED:
            head[key] = value
            continue
        try:
            head["rules"][key] = Rule.model_validate(value)
        except ValidationError as error:
            mistakes += mistakes_of(error, Rule, ("filters", name, key))
    try:
        found = Filter.model_validate(head)
    except ValidationError as error:
        mistakes += mistakes_of(error, Filter, ("filters", name))
        found = Filter(name=name, rules=head["rules"])
    if not found.rules and not mistakes:
        mistakes.append(Mistake(("filters", name), "holds no rule; remove it from the steps"))
    return found, mistakes


def _merged(name: str, tables: Mapping[str, Any], seen: tuple[str, ...]) -> tuple[Raw, list[Mistake]]:
    """Return the raw table `name`: what it extends, then the shipped table, then the recipe's keys over it."""
    place: Place = ("filters", name)
    if name in seen:
        return {}, [Mistake(place, f"extends itself: {' -> '.join((*seen, name))}")]
    raw: Raw = {}
    mistakes: list[Mistake] = []
    own = tables.get(name, {})
    if not isinstance(own, Mapping):
        return {}, [Mistake(place, "is a table of rules: [filters.NAME.REASON]")]
    layers = [own]
    if name in shipped() and "extends" not in own:
        layers.insert(0, _shipped_table(name))
    for layer in layers:
        parent = layer.get("extends")
        if parent is not None and parent != OFF:
            # a shipped table extends what ships, so that a recipe's changes to one filter stay in that filter
            base, more = _parent(parent, {} if layer is not own else tables, place, (*seen, name))
            raw, mistakes = base, mistakes + more
        raw, more = _laid_over(raw, layer, place, new_rules=layer is not own or not raw)
        mistakes += more
    return raw, mistakes


def _parent(parent: Any, tables: Mapping[str, Any], place: Place, seen: tuple[str, ...]) -> tuple[Raw, list[Mistake]]:
    if isinstance(parent, str) and parent == seen[-1] and parent in shipped():
        return _merged(parent, {}, ())
    if isinstance(parent, str) and (parent in shipped() or parent in tables):
        return _merged(parent, tables, seen)
    known = (*shipped(), *tables)
    return {}, [Mistake((*place, "extends"), f"no filter {parent!r} to extend{suggestion(parent, known)}")]


def _laid_over(base: Raw, layer: Mapping[str, Any], place: Place, *, new_rules: bool) -> tuple[Raw, list[Mistake]]:
    """Return `base` with the keys of `layer` laid over it, rule by rule."""
    raw = dict(base)
    mistakes = []
    reasons = [key for key in base if key not in RESERVED]
    for key, value in layer.items():
        if key in RESERVED:
            raw[key] = value
        elif not isinstance(value, Mapping) and value != OFF:
            fix = 'a rule is a table with a signal and a bound, or "off"'
            known = f"{suggestion(key, (*RESERVED, *reasons))}; {fix}"
            mistakes.append(Mistake((*place, key), f"not a rule{known}"))
        elif key not in base and (value == OFF or ("signal" not in value and not new_rules)):
            mistakes.append(
                Mistake((*place, key), f"unknown rule{suggestion(key, reasons)} (a rule of your own names its signal)")
            )
        elif value == OFF:
            del raw[key]
        else:
            raw[key] = _changed_rule(base.get(key, {}), value)
    return raw, mistakes


def _changed_rule(base: Raw, change: Mapping[str, Any]) -> Raw:
    """Return a rule with some keys changed; ``above`` takes the place of ``min``, and so on for each pair."""
    gone = {other for pair in EXCLUSIVE for key, other in (pair, pair[::-1]) if key in change and other not in change}
    return {key: value for key, value in base.items() if key not in gone} | dict(change)


def suggestion(word: object, known: Iterable[str]) -> str:
    """Return ``; did you mean X?`` for the nearest of the `known` names, else an empty string."""
    near = difflib.get_close_matches(str(word), sorted(set(known)), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def mistakes_of(error: ValidationError, model: type[BaseModel], place: Place) -> list[Mistake]:
    """Return every pydantic complaint as a `Mistake` in the words of a recipe, with suggestions for unknown keys."""
    mistakes = []
    for one in error.errors(include_url=False):
        path, kind, message, value = one["loc"], one["type"], one["msg"], one.get("input")
        if kind == "extra_forbidden":
            owner = _model_at(model, path[:-1])
            message = f"unknown key{suggestion(path[-1], owner.model_fields if owner else ())}"
        elif kind == "missing":
            message = "is missing; it must be given"
        elif kind == "value_error":
            message = message.removeprefix("Value error, ")
        elif kind == "too_short":
            message = "must not be empty"
        elif kind == "string_pattern_mismatch":
            message = f"{value!r} does not match {one['ctx']['pattern']}"
        else:
            shown = repr(value)
            message = WORDING.get(kind, f"{message[:1].lower()}{message[1:]}")
            message += f", not {shown if len(shown) <= 60 else shown[:57] + '...'}"
        mistakes.append(Mistake((*place, *path), message))
    return mistakes


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the model class that validates the value at `path` below `model`, None when it is not a plain model."""
    for key in path:
        if isinstance(key, int):
            continue
        field = model.model_fields.get(key)
        if field is None:
            return None
        nested = _models_in(field.annotation)
        if len(nested) != 1:
            return None
        model = nested[0]
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
