"""Charts as inline SVG: no script, no outside resource, the same bytes for the same data.

A chart is 360 units wide, so that its text is readable at the width of a phone, and grows with its place. Colours are
classes (``s0`` to ``s7``), which the page defines for light and dark; each series has a shape of its own, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final, NamedTuple

from curate.report.terminal import printable

WIDTH: Final = 360
SERIES: Final = 8
LABEL_WIDTH: Final = 100
LABEL_CHARACTERS: Final = 17
_RIGHT: Final = 16
_TOP: Final = 6
_BOTTOM: Final = 20
_TICKS: Final = 5
_MARKS: Final[tuple[Callable[[float, float], str], ...]] = (
    lambda x, y: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>',
    lambda x, y: f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>',
    lambda x, y: f'<path d="M{x:.1f} {y - 4.2:.1f}l4.2 4.2l-4.2 4.2l-4.2 -4.2z"/>',
    lambda x, y: f'<path d="M{x:.1f} {y - 4:.1f}l4 7h-8z"/>',
)


class Point(NamedTuple):
    """A value and its interval; `low` and `high` are None where there is none."""

    value: float
    low: float | None
    high: float | None


class Scale(NamedTuple):
    """From values to x; with its ticks."""

    place: Callable[[float], float]
    ticks: list[float]


def dot_plot(
    title: str,
    names: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Point | None]]],
    *,
    logarithmic: bool = False,
    reference: float | None = None,
) -> str:
    """Return a chart with a row per label and in it a mark with its interval per series (`names`).

    `reference` is a value that a line is drawn at. An axis begins at 0, or is logarithmic.
    """
    points = [point for _, found in rows for point in found if point]
    values = [bound for point in points for bound in point if bound is not None]
    values += [] if reference is None else [reference]
    scale = _logarithmic([value for value in values if value > 0]) if logarithmic else _linear(values)
    step = 8 * len(names) + 6
    bottom = _TOP + step * len(rows)
    parts = [_band(_TOP + step * number, step) for number in range(1, len(rows), 2)]
    parts.append(_axis(scale, bottom))
    if reference is not None:
        x = scale.place(reference)
        parts.append(f'<line class="reference" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
    for number, (label, found) in enumerate(rows):
        top = _TOP + step * number
        parts.append(_label(label, top + step / 2))
        for series, point in enumerate(found):
            if point and (point.value > 0 or not logarithmic):
                parts.append(_mark(scale, names[series], label, series, point, top + 7 + 8 * series))
    return _svg(title, bottom + _BOTTOM, parts)


def stacked_bars(title: str, kinds: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Return a chart with a bar per row, cut into the shares of its parts (`kinds`, classes ``k0`` …)."""
    step = 26
    parts = [_axis(_linear([1.0]), _TOP + step * len(rows), lambda tick: f"{100 * tick:.0f}%")]
    place = _linear([1.0]).place
    for number, (label, shares) in enumerate(rows):
        y, total, done = _TOP + step * number + 4, sum(shares) or 1.0, 0.0
        parts.append(_label(label, y + 9))
        for kind, (name, share) in enumerate(zip(kinds, shares, strict=True)):
            left, right = place(done / total), place((done + share) / total)
            about = _text(f"{label}: {name} {100 * share / total:.1f}%")
            parts.append(
                f'<rect class="k{kind}" x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="18">'
                f"<title>{about}</title></rect>"
            )
            done += share
    return _svg(title, _TOP + step * len(rows) + _BOTTOM, parts)


def key_mark(series: int) -> str:
    """Return a series' mark for a legend."""
    mark = _MARKS[series % len(_MARKS)](6, 6)
    return f'<svg class="key s{series % SERIES}" viewBox="0 0 12 12" aria-hidden="true">{mark}</svg>'


def _band(y: float, height: float) -> str:
    """Return the ground of every other row."""
    return f'<rect class="row" x="0" y="{y}" width="{WIDTH}" height="{height}"/>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    name = _text(title)
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{name}">'
    return f"{head}<title>{name}</title>{''.join(parts)}</svg>"


def _text(text: str, limit: int | None = None) -> str:
    return escape(printable(text, limit))


def _label(label: str, y: float) -> str:
    return f'<text class="label" x="{LABEL_WIDTH}" y="{y + 3.5:.1f}">{_text(label, LABEL_CHARACTERS)}</text>'


def _mark(scale: Scale, name: str, label: str, series: int, point: Point, y: float) -> str:
    x = scale.place(point.value)
    line, told = "", f"{point.value:.2f}"
    if point.low is not None and point.high is not None:
        left, right = scale.place(point.low), scale.place(point.high)
        line = f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        told += f" ({point.low:.2f} to {point.high:.2f})"
    about = _text(f"{label}, {name}: {told}")
    mark = _MARKS[series % len(_MARKS)](x, y)
    return f'<g class="s{series % SERIES}"><title>{about}</title>{line}{mark}</g>'


def _axis(scale: Scale, bottom: float, show: Callable[[float], str] = "{:g}".format) -> str:
    lines = []
    for tick in scale.ticks:
        x = scale.place(tick)
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom:.0f}"/>')
        lines.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 13:.0f}">{show(tick)}</text>')
    return "".join(lines)


def _linear(values: Sequence[float]) -> Scale:
    """Return the scale from 0 to a round number that holds all values."""
    largest = max([*values, 0.0]) or 1.0
    rough = largest / _TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    ticks = [step * number for number in range(math.ceil(largest / step - 1e-9) + 1)]
    return Scale(lambda value: _between(value / ticks[-1]), ticks)


def _logarithmic(values: Sequence[float]) -> Scale:
    """Return the scale from the smallest to the largest value, with ticks at 1, 2 and 5 times powers of ten."""
    low, high = min(values, default=1.0), max(values, default=1.0)
    first, last = low / 1.05, max(high, low * 1.5) * 1.05
    exponents = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    ticks = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
    width = math.log(last / first)
    return Scale(
        lambda value: _between(math.log(value / first) / width), [tick for tick in ticks if first <= tick <= last]
    )


def _between(share: float) -> float:
    left = LABEL_WIDTH + 8
    return left + share * (WIDTH - _RIGHT - left)
