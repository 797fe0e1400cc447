"""A single-file HTML page: everything inline, no script, nothing that it would fetch. All text is escaped, and control
and direction characters are shown as escapes, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from typing import Final

from curate.report.terminal import printable

CSS_FILE: Final = "page.css"
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, body: Iterable[str]) -> str:
    """Return a page. `body` is HTML."""
    css = resources.files("curate").joinpath("report", CSS_FILE).read_text(encoding="utf-8")
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
    )
    return head + "\n".join(body) + "\n</main>\n</body>\n</html>\n"


def text(value: str, limit: int | None = None) -> str:
    """Return any text as HTML that shows it on one line."""
    return escape(printable(value, limit))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that scrolls by itself where it is too wide. Headings and cells are HTML."""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    # a scrolling part must be reachable by the keyboard
    return (
        f'<div class="table" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def section(heading: str, about: str, *parts: str) -> str:
    """Return a section with a sentence about it, both plain text; `parts` are HTML."""
    told = f'<p class="dim">{text(about)}</p>' if about else ""
    return "\n".join([f"<section>\n<h2>{text(heading)}</h2>", told, *parts, "</section>"])


def beside(*parts: str) -> str:
    """Return parts side by side where there is room, else one below the other."""
    return '<div class="beside">\n' + "\n".join(f'<div class="column">{part}</div>' for part in parts) + "\n</div>"
