"""Text that is safe to show in a terminal, and numbers that are easy to read.

Text from the web is hostile wherever it is shown: escape sequences move the cursor and rename windows, bidirectional
overrides make one thing look like another, piled-up combining marks paint over the lines around them. What cannot be
shown as it is, is shown as an escape (``\\x1b``, ``\\u202e``), so that a reader sees that it is there.
"""

from __future__ import annotations

import io
import sys
import unicodedata
from typing import Any, Final

from rich.console import Console

MAX_MARKS: Final = 3
"""Combining marks shown on one character; Hindi, Thai and Vietnamese need at most three."""
JOINERS: Final = frozenset("\u200c\u200d")
"""Zero-width (non-)joiner: invisible, harmless, and part of the spelling of Persian and Hindi."""
SPACES: Final = frozenset("\t\n\x0b\x0c\r\x85\u2028\u2029")
UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def printable(text: str, limit: int | None = None) -> str:
    """Return `text` on one line without anything that a terminal could obey, at most its first `limit` characters."""
    shown: list[str] = []
    marks = 0
    for character in text if limit is None else text[:limit]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > MAX_MARKS:
            continue
        if character in SPACES:
            shown.append(" ")
        elif category in UNSAFE and character not in JOINERS:
            shown.append(_escape(ord(character)))
        else:
            shown.append(character)
    cut = limit is not None and len(text) > limit
    return "".join(shown) + ("…" if cut else "")


def excerpt(text: str, limit: int) -> str:
    """Return the first `limit` characters of a document on one line: runs of white space are one space."""
    # white space is folded before the cut, so that a page that begins with blank lines shows something
    head = " ".join(text[: 8 * limit].split())
    shown = printable(head, limit)
    return shown if len(head) > limit or len(text) <= 8 * limit else f"{shown}…"


def _escape(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def count_text(number: int | None) -> str:
    """Return a whole number with thousands separated; a dash for None (not known)."""
    return "–" if number is None else f"{number:,}"


def counted(number: int, noun: str) -> str:
    """Return ``1 task`` or ``1,234 tasks``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def place_text(uri: str) -> str:
    """Return a path or URI to show: without the query and the user of a URI, which may hold keys."""
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return uri
    bucket, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{bucket.rpartition('@')[2]}{slash}{path}"


def bytes_text(number: int | None) -> str:
    """Return a number of bytes with three digits and a decimal unit; a dash for None (not known)."""
    if number is None:
        return "–"
    value, unit = float(number), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {UNITS[unit]}"


def share_text(part: int | None, whole: int | None) -> str:
    """Return `part` of `whole` in per cent with one decimal; a dash where either is unknown or `whole` is 0."""
    return "–" if part is None or not whole else f"{100 * part / whole:.1f}%"


def make_console(*, stderr: bool = False, **options: Any) -> Console:
    """Return a rich console that shows text as it is: no markup, no emoji codes, no guessed highlighting."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False, **options)


def is_terminal(stream: Any = None) -> bool:
    """Return whether `stream` (standard error) is a terminal that a progress bar can be drawn on."""
    try:
        return bool((stream or sys.stderr).isatty())
    except (AttributeError, ValueError, io.UnsupportedOperation):
        return False
