"""From the names in ``steps`` to what each step does: the view it reads, and its rules with every signal resolved.

A step is a filter table, a cleaner or a dedup step. A cleaner, or a dedup step that cuts, makes a new view of the text,
named after it; what comes later reads that view, unless a rule names another with ``signal@view``. The signals of the
view ``extracted`` have no suffix, those of every other view end in ``@view``; the signals that a cleaner measures
itself belong to its own view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pydantic import BaseModel

from curate.dedup import DEDUPS
from curate.dedup.keys import GroupSettings, Scope, ScopeSettings
from curate.filters.measures import CLEANERS, MEASURES
from curate.filters.rules import Condition, Mistake, Place, ResolvedRule, Rule, resolve, signal_type_mistake
from curate.filters.tables import Filter, suggestion
from curate.pipelines.settings import DedupChoice, Recipe

EXTRACTED: Final = "extracted"
SOURCE: Final = "source"
RECORD_SIGNALS: Final[Mapping[str, str]] = {SOURCE: "string"}
"""What stands beside the signals without being measured, the same on every view."""


class FilterStep(NamedTuple):
    """Decide by the rules of one filter; their signals carry their views."""

    name: str
    rules: tuple[ResolvedRule, ...]


class CleanerStep(NamedTuple):
    """Make the view `name` from the view `from_view`."""

    name: str
    from_view: str


class DedupStep(NamedTuple):
    """Keep one document of each group of equal ones, by the text of `view`; or, if it `cuts`, make the view `name` of
    that one."""

    name: str
    kind: str
    view: str
    settings: BaseModel

    @property
    def cuts(self) -> bool:
        """Whether the step edits texts."""
        return DEDUPS[self.kind].cuts


Step = FilterStep | CleanerStep | DedupStep


def resolve_steps(recipe: Recipe) -> list[Step]:
    """Return the steps of a loaded recipe, in order."""
    return steps_and_mistakes(recipe.steps, recipe.filters, recipe.dedup)[0]


def required_measures(recipe: Recipe) -> dict[str, set[str]]:
    """Return the names of the measures (keys of ``MEASURES``) that the rules of a recipe need, per view, and of those
    that these are given signals of."""
    owner = {signal: name for name, measure in MEASURES.items() for signal in measure.signals}
    needed: dict[str, set[str]] = {}
    for step in resolve_steps(recipe):
        for full in _signals_of(step):
            signal, _, view = full.partition("@")
            if signal in owner:
                needed.setdefault(view or EXTRACTED, set()).add(owner[signal])
                for given in MEASURES[owner[signal]].given:
                    needed.setdefault(EXTRACTED, set()).add(owner[given])
    return needed


def _signals_of(step: Step) -> list[str]:
    """Return the full names of the signals that a step reads."""
    if isinstance(step, FilterStep):
        return [full for rule in step.rules for full in rule.signals()]
    if isinstance(step, DedupStep) and isinstance(step.settings, ScopeSettings):
        quality = step.settings.quality if isinstance(step.settings, GroupSettings) else None
        return [*([quality] if quality else []), *scope_signals(step.settings.scope)]
    return []


def scope_signals(scope: Scope) -> list[str]:
    """Return the signals by which documents belong to a scope: the language is that of the extracted text."""
    return ["language.code"] if scope == "language" else []


def final_view(recipe: Recipe) -> str:
    """Return the view that is tokenized: the last one."""
    return view_names(recipe)[-1]


def view_names(recipe: Recipe) -> list[str]:
    """Return the views of the text in the order in which they are made, beginning with the extracted text."""
    return [EXTRACTED, *(name for names in segment_names(recipe) for name in names)]


def segment_names(recipe: Recipe) -> list[list[str]]:
    """Return the views that are made after collect began: those of the cleaners that collect runs, then for each dedup
    step that cuts its own view and those of the cleaners before the next one."""
    segments: list[list[str]] = [[]]
    for step in resolve_steps(recipe):
        if isinstance(step, CleanerStep):
            segments[-1].append(step.name)
        elif isinstance(step, DedupStep) and step.cuts:
            segments.append([step.name])
    return segments


def steps_and_mistakes(
    names: Sequence[str], filters: Mapping[str, Filter], dedup: Mapping[str, DedupChoice]
) -> tuple[list[Step], list[Mistake]]:
    """Return the steps, and everything that is wrong with the signals and views that their rules name. A name that is
    in none of the registries is left out: the caller has told about it."""
    steps: list[Step] = []
    mistakes: list[Mistake] = []
    views = [EXTRACTED]
    for name in names:
        if name in CLEANERS:
            steps.append(CleanerStep(name, views[-1]))
            views.append(name)
        elif name in dedup:
            chosen, wrong = _with_full_quality(dedup[name].settings, ("dedup", name, "quality"), views)
            steps.append(DedupStep(name, dedup[name].kind, views[-1], chosen))
            mistakes += wrong
            if DEDUPS[dedup[name].kind].cuts:
                views.append(name)
        elif name in filters:
            rules, more = _resolved_rules(filters[name], views)
            steps.append(FilterStep(name, rules))
            mistakes += more
    return steps, mistakes


def _resolved_rules(table: Filter, views: Sequence[str]) -> tuple[tuple[ResolvedRule, ...], list[Mistake]]:
    rules: list[ResolvedRule] = []
    mistakes: list[Mistake] = []
    for reason, rule in table.rules.items():
        full_names: dict[str, str] = {}
        wrong: list[Mistake] = []
        place = ("filters", table.name, reason)
        for where, condition in conditions_of(rule, place):
            wrong += _resolve_names(condition, where, views, full_names)
        mistakes += wrong
        if not wrong:
            rules.append(resolve(rule, f"{table.name}.{reason}", full_names))
    return tuple(rules), mistakes


def _with_full_quality(settings: BaseModel, place: Place, views: Sequence[str]) -> tuple[BaseModel, list[Mistake]]:
    """Return the settings of a dedup step with the full name of the signal `quality`, and what is wrong with it."""
    if not isinstance(settings, GroupSettings) or settings.quality is None:
        return settings, []
    full, problem = _full_name(settings.quality, views)
    dtype = _known_signals().get(settings.quality.partition("@")[0])
    if not problem and dtype not in ("int64", "float64"):
        problem = f"signal {settings.quality} is a {dtype}: a quality is a number, and the larger is the better"
    return settings.model_copy(update={"quality": full}), [Mistake(place, problem)] if problem else []


def conditions_of(rule: Rule, place: Place) -> list[tuple[Place, Condition]]:
    """Return a rule and its `when` conditions, each with its place in the recipe."""
    nested = [((*place, "when", number), condition) for number, condition in enumerate(rule.when)]
    return [(place, rule), *nested]


def _resolve_names(
    condition: Condition, place: Place, views: Sequence[str], full_names: dict[str, str]
) -> list[Mistake]:
    """Add the full name of each signal of `condition` to `full_names`; return what is wrong with them."""
    mistakes = []
    for written in condition.signals():
        found, problem = _full_name(written, views)
        if problem:
            mistakes.append(Mistake((*place, "signal") if written == condition.signal else place, problem))
        full_names[written] = found
    if not mistakes:
        wrong = signal_type_mistake(condition, _known_signals()[condition.signal.partition("@")[0]])
        mistakes += [Mistake(place, wrong)] if wrong else []
    return mistakes


def _full_name(written: str, views: Sequence[str]) -> tuple[str, str]:
    """Return (full name, what is wrong or "") of a signal as a rule writes it, at a step that comes after `views`."""
    signal, at, view = written.partition("@")
    known = _known_signals()
    if signal not in known:
        return written, f"unknown signal {signal}{suggestion(signal, known)}"
    if signal in RECORD_SIGNALS:
        return signal, f"signal {signal} is the same on every view; remove @{view}" if at else ""
    owners = [name for name, entry in CLEANERS.items() if signal in entry.signals]
    if owners:
        if at and view not in owners:
            return written, f"signal {signal} belongs to the view {' or '.join(owners)}; remove @{view}"
        # measured by several cleaners: the last one before this step is meant
        before = [name for name in views if name in ([view] if at else owners)]
        if not before:
            cleaner = view if at else owners[0]
            return (
                written,
                f"signal {signal} is measured by the cleaner {cleaner}, which does not come before this step",
            )
        return f"{signal}@{before[-1]}", ""
    view = view if at else views[-1]
    if view not in views:
        if view in CLEANERS:
            return written, f"view {view} does not exist yet: the cleaner {view} does not come before this step"
        return written, f"unknown view {view!r}{suggestion(view, views)}; views here: {', '.join(views)}"
    return signal if view == EXTRACTED else f"{signal}@{view}", ""


def _known_signals() -> dict[str, str]:
    """Return the type of every signal that exists, by its name without a view."""
    known = dict(RECORD_SIGNALS)
    for measure in MEASURES.values():
        known |= measure.signals
    for cleaner in CLEANERS.values():
        known |= cleaner.signals
    return known
