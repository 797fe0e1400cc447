"""What `curate dedup lines` prints: tables of at most 80 columns, in which web text can do nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from curate.report.tables import TOP_GROUPS, make_table, name_text
from curate.report.terminal import bytes_text, count_text, excerpt, printable

if TYPE_CHECKING:
    from curate.report.cut_lines import CutStep

LINE_CHARACTERS: Final = 140


def show_cut_lines(console: Console, steps: Iterable[CutStep]) -> None:
    """Print what each step cut: what sources and languages lost, then the lines that were counted most often."""
    for number, step in enumerate(steps):
        if number:
            console.print()
        texts = "text was" if step.different == 1 else "texts were"
        told = f"{printable(step.step)}: {count_text(step.different)} different {texts} found too often"
        console.print(Text(told + ("" if step.complete else "; not complete"), style="bold"))
        if step.groups:
            columns = [("source", "left"), ("language", "left"), ("documents", "right"), ("cut", "right")]
            table = make_table(*columns, ("text", "right"), ("dropped", "right"))
            for group in step.groups[:TOP_GROUPS]:
                cells = [count_text(group.documents), count_text(group.units), bytes_text(group.bytes)]
                names = [name_text(group.source), name_text(group.language)]
                table.add_row(*names, *cells, count_text(group.dropped))
            console.print()
            console.print(table)
            if len(step.groups) > TOP_GROUPS:
                console.print(f"and {count_text(len(step.groups) - TOP_GROUPS)} more")
        if step.lines:
            lines = make_table(("times", "right"), ("text", "left"))
            for line in step.lines:
                lines.add_row(count_text(line.count), Text(excerpt(line.text, LINE_CHARACTERS), overflow="fold"))
            console.print()
            console.print(lines)
