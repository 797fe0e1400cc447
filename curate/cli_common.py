"""What the commands have in common: where they print, and how they say what is no result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def console(*, stderr: bool = False) -> Console:
    """Return the console of standard output, or of standard error."""
    from curate.report.terminal import make_console

    return make_console(stderr=stderr)


def say(message: str, prefix: str = "") -> None:
    """Print to standard error; nothing that a page or path put into a message reaches the terminal as it is."""
    from curate.report.terminal import printable

    shown = console(stderr=True)
    for number, line in enumerate(message.splitlines()):
        shown.print(("" if number else prefix) + printable(line), soft_wrap=True)
