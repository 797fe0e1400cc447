"""The pages of the documentation, their blocks of code, sections and tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


class Block(NamedTuple):
    """A fenced block: its language, the rest of its first line, and its text; `marked` is the comment above it."""

    language: str
    name: str
    text: str
    marked: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    pattern = re.compile(r"^(?:<!-- ([^>\n]*) -->\n)?```(\w+) ?([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    found = pattern.finditer(page.read_text(encoding="utf-8"))
    return [Block(match[2], match[3], match[4], match[1] or "") for match in found]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def sections(page: Path) -> dict[str, str]:
    """The text below each heading of a page, by the heading without its marks."""
    parts = re.split(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {title.replace("`", ""): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = [number for number, row in enumerate(cells) if set(row[0]) == {"-"}]
    heads = {number - 1 for number in rules}
    return [row for number, row in enumerate(cells) if number not in heads and number not in rules]


def unquoted(cell: str) -> str:
    return cell.strip("`")
