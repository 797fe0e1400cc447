"""What `curate dedup` prints: tables and blocks of at most 80 columns; what a page says is shown so that it can do
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from curate.report.tables import INDENT, TEXT_CHARACTERS, TOP_GROUPS, make_table, name_text
from curate.report.terminal import bytes_text, count_text, counted, excerpt, printable, share_text

if TYPE_CHECKING:
    from curate.report.audit import Example, Rate, Side, StepAudit
    from curate.report.clusters import Bucket, Cluster, Group, Member, StepClusters
    from curate.report.sweep import Sweep

LINE_CHARACTERS: Final = 100
DIGITS: Final = 3
LABEL: Final = 8


def show_clusters(console: Console, steps: Iterable[StepClusters]) -> None:
    """Print what each dedup step found."""
    for number, step in enumerate(steps):
        if number:
            console.print()
        share = share_text(step.removed, step.documents)
        told = f"{count_text(step.documents)} in, {count_text(step.removed)} removed ({share})"
        told += f", {count_text(step.older)} of them for older runs" if step.older else ""
        console.print(
            Text(f"{printable(step.step)}: {told}" + ("" if step.complete else ", not complete"), style="bold")
        )
        if step.histogram:
            _blank_and(console, _histogram_table(step.histogram))
        for heading, groups in (("source", step.sources), ("language", step.languages)):
            _blank_and(console, _groups_table(heading, groups))
        for cluster in step.largest:
            _blank_and(console, _cluster_block(cluster))


def _blank_and(console: Console, shown: RenderableType) -> None:
    console.print()
    console.print(shown)


def _histogram_table(histogram: Sequence[Bucket]) -> Table:
    columns = [("cluster size", "left"), ("clusters", "right"), ("documents", "right"), ("kept text", "right")]
    table = make_table(*columns)
    for bucket in histogram:
        size = f"{count_text(bucket.smallest)} to {count_text(2 * bucket.smallest - 1)}"
        cells = [count_text(bucket.clusters), count_text(bucket.documents), bytes_text(bucket.kept_bytes)]
        table.add_row(size, *cells)
    return table


def _groups_table(heading: str, groups: Sequence[Group]) -> Table:
    """Return what sources or languages lost, the largest share first."""
    tokens = any(group.removed_tokens is not None for group in groups)
    columns = [(heading, "left"), ("in", "right"), ("removed", "right"), ("share", "right"), ("text", "right")]
    table = make_table(*columns, *([("tokens", "right")] if tokens else []))
    for group in groups[:TOP_GROUPS]:
        loss = group.loss
        cells = [count_text(loss.documents), count_text(loss.removed), share_text(loss.removed, loss.documents)]
        cells.append(bytes_text(loss.removed_bytes))
        table.add_row(name_text(loss.name), *cells, *([count_text(group.removed_tokens)] if tokens else []))
    if len(groups) > TOP_GROUPS:
        table.add_row(f"{len(groups) - TOP_GROUPS} more with smaller shares")
    return table


def _cluster_block(cluster: Cluster) -> Text:
    text = Text(counted(cluster.size, "document"), style="bold", overflow="fold")
    for member in (cluster.kept, *cluster.removed):
        label = "kept" if member.similarity is None else f"{member.similarity:.{DIGITS}f}"
        _add_document(text, label, member, excerpt(member.line, LINE_CHARACTERS))
    return text


def _add_document(text: Text, label: str, document: Member | Side, said: str) -> None:
    """Add where a document comes from, and what is shown of it on the next line."""
    place = printable(document.url, TEXT_CHARACTERS) if document.url else document.id
    text.append(f"\n{label:{LABEL}}{printable(document.source)} {place}", style="not bold dim")
    if said:
        text.append(f"\n{'':{LABEL}}{said}", style="not bold")


def show_audit(console: Console, audits: Sequence[StepAudit]) -> None:
    """Print how many removals of each step were false, and the worst of them."""
    columns = [("step", "left"), ("removed", "right"), ("compared", "right"), ("false", "right"), ("share", "right")]
    table = make_table(*columns, ("95% interval", "right"), ("false at end", "right"))
    for audit in audits:
        table.add_row(
            name_text(audit.step), count_text(audit.removed), *_rate_cells(audit.rate), _share_text(audit.end)
        )
        for name, rate in audit.sources.items() if len(audit.sources) > 1 else ():
            table.add_row(name_text(name, INDENT, "dim"), "", *_rate_cells(rate), "")
    console.print(table)
    for audit in audits:
        _blank_and(console, _notes(audit))
        for example in audit.examples:
            # equal texts have no passage to show
            if example.removed.passage or example.kept.passage:
                console.print(_example_block(example))


def _notes(audit: StepAudit) -> Text:
    """Return what is false in this step, and what became of the kept documents."""
    text = Text(f"{printable(audit.step)}: ", style="bold", overflow="fold")
    told = [f"false is a {audit.similarity} similarity below {audit.threshold:g}"]
    if audit.kind == "semantic":
        told.append("that is no near-copy, and may still mean the same: read the pairs")
    if audit.chained:
        told.append(f"the kept one of {count_text(audit.chained)} was removed for another later")
    told += [
        f"{count_text(count)} have none left: {printable(reason)} dropped it" for reason, count in audit.gone.items()
    ]
    if audit.older:
        told.append(f"{count_text(audit.older)} were removed for a document of an older run, and compared with it")
    if audit.elsewhere:
        told.append(f"{count_text(audit.elsewhere)} were removed for a document that no run holds any more")
    return text.append("; ".join(told), style="not bold")


def _rate_cells(rate: Rate) -> list[str]:
    low, high = rate.interval
    interval = f"{100 * low:.2f}% to {100 * high:.2f}%" if rate.compared else "–"
    return [count_text(rate.compared), count_text(rate.false), _share_text(rate), interval]


def _share_text(rate: Rate) -> str:
    return "–" if rate.share is None else f"{100 * rate.share:.2f}%"


def _example_block(example: Example) -> Padding:
    text = Text(f"{example.similarity:.{DIGITS}f}", style="bold", overflow="fold")
    for label, side in (("removed", example.removed), ("kept", example.kept)):
        _add_document(text, label, side, printable(side.passage))
    return Padding(text, (0, 0, 0, INDENT))


def show_sweep(console: Console, sweeps: Sequence[Sweep]) -> None:
    """Print what each ε removes, then what it removes beyond the smaller ones."""
    for number, sweep in enumerate(sweeps):
        if number:
            console.print()
        told = f"{counted(sweep.documents, 'document')} with a vector, {bytes_text(sweep.bytes)}, {sweep.scheme}"
        console.print(Text(f"{printable(sweep.step)}: {told}", style="bold"))
        tokens = any(level.tokens is not None for level in sweep.levels)
        columns = [("ε", "right"), ("removed", "right"), ("share", "right"), ("text", "right")]
        table = make_table(*columns, *([("tokens", "right")] if tokens else []))
        for level in sweep.levels:
            cells = [f"{level.epsilon:g}", count_text(level.documents), share_text(level.documents, sweep.documents)]
            cells.append(bytes_text(level.bytes))
            table.add_row(*cells, *([count_text(level.tokens)] if tokens else []))
        _blank_and(console, table)
        for level in sweep.levels:
            for pair in level.examples:
                text = Text(f"ε {level.epsilon:g}: cosine {pair.cosine:.4f}", style="bold", overflow="fold")
                for label, side in (("removed", pair.removed), ("kept", pair.kept)):
                    _add_document(text, label, side, printable(side.passage))
                console.print(Padding(text, (0, 0, 0, INDENT)))
