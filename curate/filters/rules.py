"""The grammar of a rule: a condition on one signal, keyed by its reason.

A rule is ``{signal, min | above, max | below, any_of | none_of, when, action, missing}``. A document passes when its
value is ``>= min``, ``> above``, ``<= max``, ``< below``, one of ``any_of`` and none of ``none_of``. ``"off"``
switches a bound off, so that 0 stays a real bound. A bound may be ``{quantile = 0.9, per = "language.code"}``.

`Rule` is what a filter table says. `ResolvedRule` is what is evaluated: its full reason (``table.rule``), its signal
with the view resolved (``words.count@c4_lines``), its bounds as plain numbers. Both are data that serialise to JSON.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, model_validator

from curate.errors import RecipeError

Place = tuple[str | int, ...]
Side = Literal["low", "high"]
Action = Literal["drop", "mark"]
Missing = Literal["pass", "drop"]
OFF: Final = "off"
EXCLUSIVE: Final = (("min", "above"), ("max", "below"), ("any_of", "none_of"))
"""Pairs of keys that say the same thing twice: a rule has one of each pair."""


class Mistake(NamedTuple):
    """One thing that is wrong with a recipe or table: the key path that leads to it, and what to do."""

    place: Place
    message: str


class Settings(BaseModel):
    """Base of everything that a recipe can say: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Quantile(Settings):
    """A bound that is found in the data: the `quantile` of the signal over the documents that are still kept when the
    step is reached, over all of them or within each value of the signal `per`.

    As ``min`` it keeps the top ``1 - quantile``, as ``max`` it keeps the bottom ``quantile``; equal values are told
    apart by document id, so the count is exact, and never more than the stated share is dropped. As ``above`` or
    ``below`` it drops all documents that equal the quantile.
    """

    quantile: float = Field(gt=0, lt=1)
    per: str | None = None


def _bound(value: Any) -> int | float | str | Quantile:
    if isinstance(value, Quantile) or value == OFF:
        return value
    if isinstance(value, dict):
        return Quantile.model_validate(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError('a bound is a number, "off" or {quantile = 0.9, per = "signal"}')
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError('a bound is finite; "off" switches it off')
    return value


def _scalars(value: Any) -> tuple[str | int | float | bool, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str | int | float | bool) for item in value):
        raise ValueError("a list of strings, numbers or booleans is expected")
    if any(isinstance(item, float) and not math.isfinite(item) for item in value):
        raise ValueError("the listed numbers are finite")
    return tuple(value)


Bound = Annotated[
    int | float | str | Quantile,
    PlainValidator(_bound),
    PlainSerializer(lambda value: value.model_dump(exclude_none=True) if isinstance(value, Quantile) else value),
]
Scalars = Annotated[tuple[str | int | float | bool, ...], PlainValidator(_scalars), PlainSerializer(list)]


class Condition(Settings):
    """A condition on one signal. `signal` may end in ``@view``; without it the view of the step is meant."""

    signal: str = Field(min_length=1)
    min: Bound | None = None
    above: Bound | None = None
    max: Bound | None = None
    below: Bound | None = None
    any_of: Scalars | None = None
    none_of: Scalars | None = None
    missing: Missing | None = None

    def signals(self) -> tuple[str, ...]:
        """Return the signals named here as written: its own, then those that quantile bounds are taken `per`."""
        bounds = (self.low(), self.high())
        return (self.signal, *(bound.per for bound in bounds if isinstance(bound, Quantile) and bound.per))

    @model_validator(mode="after")
    def _check_together(self) -> Condition:
        for one, other in EXCLUSIVE:
            if _is_on(getattr(self, one)) and _is_on(getattr(self, other)):
                raise ValueError(f"{one} and {other} exclude each other; remove one of them")
        if all(getattr(self, key) is None for pair in EXCLUSIVE for key in pair):
            raise ValueError("needs a bound (min, above, max, below) or a list (any_of, none_of)")
        self._check_range()
        return self

    def _check_range(self) -> None:
        low, high = self.low(), self.high()
        if isinstance(low, int | float) and isinstance(high, int | float):
            lower, upper = "above" if _is_on(self.above) else "min", "below" if _is_on(self.below) else "max"
            strict = (lower, upper) != ("min", "max")
            if low > high or (strict and low == high):
                raise ValueError(f"no value lies between {lower} {low} and {upper} {high}; nothing could pass")
        elif (
            isinstance(low, Quantile)
            and isinstance(high, Quantile)
            and low.per == high.per
            and low.quantile >= high.quantile
        ):
            raise ValueError(f"no value lies between the quantiles {low.quantile} and {high.quantile}")

    def low(self) -> int | float | str | Quantile | None:
        """Return the lower bound, None when there is none or when it is off."""
        return next((bound for bound in (self.min, self.above) if _is_on(bound)), None)

    def high(self) -> int | float | str | Quantile | None:
        """Return the upper bound, None when there is none or when it is off."""
        return next((bound for bound in (self.max, self.below) if _is_on(bound)), None)


def _is_on(value: object) -> bool:
    return value is not None and value != OFF


class Rule(Condition):
    """A condition with what follows from failing it. Outside its `when` conditions a rule passes."""

    when: tuple[Condition, ...] = Field(default=(), strict=False)
    action: Action = "drop"

    @model_validator(mode="after")
    def _check_when(self) -> Rule:
        for condition in self.when:
            if isinstance(condition.low(), Quantile) or isinstance(condition.high(), Quantile):
                raise ValueError("a quantile bound belongs to the rule itself, not to a `when` condition")
        return self


class Limit(Settings):
    """A resolved bound: a plain number, and for a quantile the first 64 bits of the id that decides among documents of
    exactly this value (None: the value alone decides)."""

    value: int | float
    tie: int | None = None


class GroupLimits(Settings):
    """A resolved quantile bound: one `Limit` per value of the signal `per` (``""`` when there is no `per`).

    A group that held no document when the quantile was taken has no limit: there the bound passes.
    """

    quantile: float
    per: str | None
    limits: dict[str, Limit]


class ResolvedCondition(Settings):
    """A condition ready to be evaluated. A bound that is still a `Quantile` waits for its barrier.

    `low_inclusive` tells min from above, `high_inclusive` max from below.
    """

    signal: str
    low: Limit | Quantile | GroupLimits | None = None
    high: Limit | Quantile | GroupLimits | None = None
    low_inclusive: bool = True
    high_inclusive: bool = True
    any_of: Scalars | None = None
    none_of: Scalars | None = None
    missing: Missing | None = None


class ResolvedRule(ResolvedCondition):
    """A rule ready to be evaluated; `reason` is its full name ``table.rule``."""

    reason: str
    when: tuple[ResolvedCondition, ...] = Field(default=(), strict=False)
    action: Action = "drop"

    def signals(self) -> tuple[str, ...]:
        """Return the full names of all signals that this rule reads, its own first, without repeats."""
        names = [self.signal, *(condition.signal for condition in self.when)]
        names += [
            bound.per for bound in (self.low, self.high) if isinstance(bound, Quantile | GroupLimits) and bound.per
        ]
        return tuple(dict.fromkeys(names))

    def waits_for(self) -> tuple[Side, ...]:
        """Return the sides whose quantile bound is not resolved yet."""
        sides: tuple[tuple[Side, object], ...] = (("low", self.low), ("high", self.high))
        return tuple(side for side, bound in sides if isinstance(bound, Quantile))


def signal_type_mistake(condition: Condition, dtype: str) -> str | None:
    """Return what is wrong with asking this of a signal of `dtype` (int64, float64, bool, string), None if nothing."""
    listed = (*(condition.any_of or ()), *(condition.none_of or ()))
    if dtype in ("int64", "float64"):
        wrong = [
            item for item in listed if isinstance(item, str | bool) or (dtype == "int64" and isinstance(item, float))
        ]
        return f"signal {condition.signal} is {dtype}: cannot be one of {wrong}" if wrong else None
    if any(getattr(condition, key) is not None for key in ("min", "above", "max", "below")):
        return f"signal {condition.signal} is a {dtype}: use any_of or none_of, not a bound"
    wanted = str if dtype == "string" else bool
    wrong = [item for item in listed if not isinstance(item, wanted)]
    return f"signal {condition.signal} is a {dtype}: cannot be one of {wrong}" if wrong else None


def resolve(rule: Rule, reason: str, full_names: dict[str, str]) -> ResolvedRule:
    """Return `rule` ready to be evaluated under its full `reason`; `full_names` maps each signal as written to its
    full name (``signal@view``)."""

    def fields(condition: Condition) -> dict[str, Any]:
        low, high = condition.low(), condition.high()
        return {
            "signal": full_names[condition.signal],
            "low": _pending(low, full_names),
            "high": _pending(high, full_names),
            "low_inclusive": not _is_on(condition.above),
            "high_inclusive": not _is_on(condition.below),
            "any_of": condition.any_of,
            "none_of": condition.none_of,
            "missing": condition.missing,
        }

    conditions = tuple(ResolvedCondition(**fields(condition)) for condition in rule.when)
    return ResolvedRule(**fields(rule), reason=reason, when=conditions, action=rule.action)


def _pending(bound: int | float | str | Quantile | None, full_names: dict[str, str]) -> Limit | Quantile | None:
    if isinstance(bound, Quantile):
        return bound.model_copy(update={"per": full_names[bound.per]}) if bound.per else bound
    return Limit(value=bound) if isinstance(bound, int | float) else None


def check_language_codes(rules: Sequence[ResolvedRule], known: Collection[str]) -> None:
    """Raise RecipeError unless every code that a rule lists for ``language.code`` is one of the `known` codes of the
    language model. A code that the model never says would silently keep or drop everything."""
    mistakes = []
    for rule in rules:
        for condition in (rule, *rule.when):
            if condition.signal.partition("@")[0] != "language.code":
                continue
            listed = (*(condition.any_of or ()), *(condition.none_of or ()))
            unknown = sorted({str(code) for code in listed if code not in known})
            mistakes += [f"filters.{rule.reason}: the language model knows no language {code!r}" for code in unknown]
    if mistakes:
        raise RecipeError(mistakes)
