"""The tables that commands print. What they hold is computed elsewhere; nothing here reads a file.

Tables fit into 80 columns; a name that does not is folded, never cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from curate.report.stats import Amount, Group, Stats, Step
from curate.report.terminal import bytes_text, count_text, counted, excerpt, printable, share_text

if TYPE_CHECKING:
    from curate.assets import Status
    from curate.report.samples import Sample

TOP_GROUPS: Final = 20
MAX_LISTED_TASKS: Final = 20
VALUE_CHARACTERS: Final = 200
TEXT_CHARACTERS: Final = 300
INDENT: Final = 4


def make_table(*columns: tuple[str, str], title: str | None = None) -> Table:
    """Return an empty table; each column is (heading, ``left`` or ``right``)."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, justify in columns:
        table.add_column(
            heading, justify="right" if justify == "right" else "left", overflow="fold", header_style="dim"
        )
    return table


def name_text(name: str, indent: int = 0, style: str = "") -> Padding:
    """Return a name as a cell; where it must be folded, its lines keep the indent."""
    return Padding(Text(printable(name), style=style, overflow="fold"), (0, 0, 0, indent))


def records_table(stats: Stats) -> Table:
    """Return what became of every record that was read."""
    table = make_table(("records", "left"), ("count", "right"), ("share", "right"))

    def row(name: str, number: int, indent: int = 0, style: str = "") -> None:
        table.add_row(name_text(name, indent, style), count_text(number), share_text(number, stats.records))

    row("read", stats.records, style="bold")
    for heading, counts in (("skipped", stats.skipped), ("errors", stats.errors)):
        if counts:
            row(f"− {heading}", sum(counts.values()))
            for name, number in counts.items():
                row(name, number, indent=INDENT, style="dim")
    row("= documents", stats.documents.documents, style="bold")
    return table


def funnel_table(stats: Stats) -> Table:
    """Return what each step dropped, and for which reasons."""
    tokens = stats.documents.tokens is not None
    columns = [("documents", "left"), ("count", "right"), ("share", "right"), ("text", "right")]
    table = make_table(*columns, *([("tokens", "right")] if tokens else []))

    def row(name: str, amount: Amount, indent: int = 0, style: str = "") -> None:
        cells = [
            count_text(amount.documents),
            share_text(amount.documents, stats.documents.documents),
            bytes_text(amount.bytes),
        ]
        table.add_row(name_text(name, indent, style), *cells, *([count_text(amount.tokens)] if tokens else []))

    row("collected", stats.documents, style="bold")
    for step in stats.steps:
        row(f"− {step.name}", step.dropped)
        for name, amount in _reason_rows(step):
            row(name, amount, indent=INDENT, style="dim")
    row("= kept" + (" so far" if stats.unfinished else ""), stats.kept, style="bold")
    return table


def _reason_rows(step: Step) -> list[tuple[str, Amount]]:
    """Return the reasons of a step that dropped something, without the step's name before them."""
    if len(step.reasons) == 1 and step.reasons[0].name == step.name:
        return []
    rows = [(reason.name.removeprefix(f"{step.name}."), reason.dropped) for reason in step.reasons]
    return [(name, amount) for name, amount in rows if amount.documents]


def sum_line(stats: Stats) -> str:
    """Return the sum that must hold, written out."""
    kept, dropped = count_text(stats.kept.documents), count_text(stats.dropped.documents)
    errors, skipped = counted(sum(stats.errors.values()), "error"), count_text(sum(stats.skipped.values()))
    return f"{count_text(stats.records)} in = {kept} kept + {dropped} dropped + {errors} + {skipped} skipped"


def groups_table(heading: str, groups: Sequence[Group], limit: int | None = TOP_GROUPS) -> Table:
    """Return documents and kept ones by language or source; after `limit` rows the rest is one row."""
    tokens = any(group.kept.tokens is not None for group in groups)
    columns = [(heading, "left"), ("documents", "right"), ("kept", "right"), ("share", "right"), ("kept text", "right")]
    table = make_table(*columns, *([("kept tokens", "right")] if tokens else []))
    shown = list(groups) if limit is None else list(groups[:limit])
    rest = groups[len(shown) :]
    if rest:
        nothing = Amount(0, 0, 0 if tokens else None)
        summed = Group(f"{len(rest)} more", nothing, nothing)
        for group in rest:
            summed = Group(summed.name, summed.documents.plus(group.documents), summed.kept.plus(group.kept))
        shown.append(summed)
    for group in shown:
        cells = [
            count_text(group.documents.documents),
            count_text(group.kept.documents),
            share_text(group.kept.documents, group.documents.documents),
            bytes_text(group.kept.bytes),
        ]
        table.add_row(name_text(group.name), *cells, *([count_text(group.kept.tokens)] if tokens else []))
    return table


def sample_blocks(samples: Iterable[Sample]) -> Iterable[Padding]:
    """Yield a head line and the indented lines of each sample; nothing in a page's text can move the cursor or reach
    the lines around it."""
    for number, sample in enumerate(samples, start=1):
        head = Text(f"{number}. {printable(sample.reason)}", style="bold")
        if sample.signal is not None:
            head.append(f"  {printable(sample.signal)} = {_value_text(sample.value)}", style="not bold cyan")
        if sample.bound is not None:
            head.append(f", {printable(sample.bound, VALUE_CHARACTERS)}", style="not bold")
        yield Padding(head, (0, 0, 0, 0))
        lines = [(f"{sample.id}  {printable(sample.source)}", "dim")]
        lines += [(printable(sample.url, TEXT_CHARACTERS), "")] if sample.url else []
        lines += [(f"duplicate of {sample.kept_id}", "")] if sample.kept_id else []
        lines += [(f"also fails {', '.join(map(printable, sample.also))}", "dim")] if sample.also else []
        lines += [(printable(sample.detail, TEXT_CHARACTERS), "")] if sample.detail else []
        lines += [(excerpt(sample.text, TEXT_CHARACTERS), "")] if sample.text else []
        body = Text("\n", overflow="fold").join(Text(line, style=style) for line, style in lines)
        yield Padding(body, (0, 0, 1, INDENT))


def _value_text(value: Any) -> str:
    if value is None:
        return "not measured"
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value), VALUE_CHARACTERS)


def plan_table(tasks: Sequence[Mapping[str, Any]]) -> Table:
    """Return the tasks of a phase that are not done, the first of them at least."""
    table = make_table(("task", "left"), ("reads", "right"), ("", "left"))
    for task in tasks[:MAX_LISTED_TASKS]:
        table.add_row(name_text(str(task["unit"])), bytes_text(task["bytes"]), Text(str(task["note"])))
    if len(tasks) > MAX_LISTED_TASKS:
        rest = tasks[MAX_LISTED_TASKS:]
        table.add_row(f"{count_text(len(rest))} more", bytes_text(sum(int(task["bytes"]) for task in rest)), "")
    return table


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Return names and values, one pair a row."""
    table = make_table(("", "left"), ("", "left"))
    table.show_header = False
    for name, value in facts:
        table.add_row(Text(name, style="dim"), Text(printable(value), overflow="fold"))
    return table


def mix_table(mix: Mapping[str, Mapping[str, Any]], tokens: int) -> Table:
    """Return the realised mix of shards that hold `tokens` in all."""
    columns = [("source", "left"), ("documents", "right"), ("tokens", "right"), ("share", "right"), ("epochs", "right")]
    table = make_table(*columns)
    for name, found in mix.items():
        epochs = "1" if found["epochs"] is None else f"{found['epochs']:.2f}"
        cells = [
            count_text(found["documents"]),
            count_text(found["tokens"]),
            share_text(found["tokens"], tokens),
            epochs,
        ]
        table.add_row(name_text(name), *cells)
    return table


def repeats_table(repeats: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Table:
    """Return how often documents were seen, by source and by how often an epoch holds them."""
    columns = [("source", "left"), ("times in an epoch", "right"), ("documents", "right"), ("seen", "right")]
    table = make_table(*columns)
    for name, found in repeats.items():
        for often, cell in sorted(found.items(), key=lambda item: int(item[0])):
            table.add_row(name_text(name), often, count_text(cell["documents"]), count_text(cell["drawn"]))
    return table


def assets_table(found: Iterable[Status]) -> Table:
    """Return each asset with its state, and what it is under which licence."""
    table = make_table(("asset", "left"), ("state", "left"), ("size", "right"), ("what it is, licence", "left"))
    for asset, _, state in found:
        about = Text(asset.description).append(f"; {asset.licence}", style="dim")
        table.add_row(name_text(asset.name), state, bytes_text(asset.bytes), about)
    return table
