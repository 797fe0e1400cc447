"""Printing: each function takes a result and a console, and says it in lines and tables of at most 80 columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from curate import storage
from curate.report import tables
from curate.report.terminal import bytes_text, count_text, counted, excerpt, place_text, printable, share_text

if TYPE_CHECKING:
    # printing a run's counts must not load what reads crawls
    from curate.assets import Status
    from curate.pipelines.plan import Plan
    from curate.pipelines.run import Summary
    from curate.report.lookup import Lookup
    from curate.report.samples import Sample
    from curate.report.shards import DecodedRow
    from curate.report.stats import Stats
    from curate.shards.verify import Problem

DECODED_CHARACTERS: Final = 600
MAX_PROBLEMS: Final = 50


def show_line(console: Console, text: str, style: str = "") -> None:
    """Print one line that is not broken at the terminal's width: paths stay whole."""
    console.print(Text(printable(text), style=style), soft_wrap=True)


def show_json(console: Console, data: Any) -> None:
    """Print JSON in ASCII, so that control characters of web text reach a terminal as escapes."""
    console.file.write(json.dumps(data, indent=1, ensure_ascii=True, allow_nan=False) + "\n")


def summary_json(summary: Summary, stats: Stats) -> dict[str, Any]:
    """Return what a finished run did as plain JSON data."""
    return {
        "run": place_text(summary.run),
        "fingerprint": summary.fingerprint,
        "executed": dict(summary.executed),
        "quarantined": [dict(found) for found in summary.quarantined],
        "stats": stats.to_json(),
    }


def plan_json(found: Plan) -> dict[str, Any]:
    """Return a plan as plain JSON data."""
    return {
        "run": place_text(found.run),
        "done": [{"phase": name, "tasks": tasks} for name, tasks in found.done],
        "next": found.next,
        "tasks": found.tasks,
        "missing": [asdict(task) for task in found.missing],
        "bytes": found.bytes,
        "later": list(found.later),
    }


def show_summary(console: Console, summary: Summary, stats: Stats) -> None:
    """Print what a finished run did and made."""
    kept, documents = stats.kept, stats.documents
    share = share_text(kept.documents, documents.documents)
    told = f"{count_text(kept.documents)} of {count_text(documents.documents)} documents ({share})"
    done = sum(summary.executed.values())
    facts = [
        ("run", place_text(summary.run)),
        ("counts", tables.sum_line(stats)),
        ("kept", f"{told}, {bytes_text(kept.bytes)} of extracted text"),
    ]
    if summary.fingerprint:
        facts.append(("tokens", f"{count_text(kept.tokens)} in the kept documents"))
        facts += [("shards", place_text(storage.join(summary.run, "shards"))), ("fingerprint", summary.fingerprint)]
    facts.append(("tasks", f"{count_text(done)} run this time" if done else "none run: everything was done before"))
    console.print(tables.facts_table(facts))


def show_quarantine(console: Console, quarantined: Sequence[Mapping[str, Any]]) -> None:
    """Print which documents felled their workers."""
    many = f"{len(quarantined)} documents are" if len(quarantined) > 1 else "1 document is"
    show_line(console, f"warning: {many} in quarantine: no worker survived it; everything else is done", "yellow")
    for found in quarantined:
        show_line(console, "  " + ", ".join(f"{name} {value}" for name, value in sorted(found.items())))


def show_stats(console: Console, stats: Stats, by: str = "both") -> None:
    """Print the funnel of a run; `by` adds tables: language, source, both or none."""
    show_line(console, f"{stats.name}  {stats.run}", "bold")
    for table in (tables.records_table(stats), tables.funnel_table(stats)):
        console.print()
        console.print(table)
    console.print()
    console.print(tables.sum_line(stats))
    for name, count in stats.marks.items():
        console.print(Text(f"marked {printable(name)}: {counted(count, 'document')}"))
    if stats.quarantined:
        console.print(f"in quarantine: {counted(len(stats.quarantined), 'document')}")
    if by in ("both", "language") and stats.languages:
        console.print()
        console.print(tables.groups_table("language", stats.languages))
    if by in ("both", "source") and stats.sources:
        console.print()
        console.print(tables.groups_table("source", stats.sources, limit=None))
    if stats.unfinished:
        console.print()
        console.print(f"unfinished: {printable(stats.unfinished)}; run the recipe again to go on", style="yellow")


def show_samples(console: Console, samples: Sequence[Sample]) -> None:
    """Print documents with their reason, signal and bound."""
    for block in tables.sample_blocks(samples):
        console.print(block)


def show_lookup(console: Console, found: Sequence[Lookup]) -> None:
    """Print each text that was looked up, and the documents of the run that are near to it."""
    if not found:
        show_line(console, "no texts to look up: the files hold none")
    for one in found:
        told = "too short to compare" if one.short else counted(one.found, "near-duplicate")
        show_line(console, f"{printable(one.text)}: {told}", "bold" if one.found else "")
        for near in one.near:
            state = "kept" if near.kept else f"dropped: {printable(near.reason or '')}"
            show_line(console, f"  {near.similarity:.2f}  {near.id}  {printable(near.source)}  {state}")
            if near.url:
                show_line(console, f"        {printable(near.url)}", "dim")
        if one.near and one.found > len(one.near):
            show_line(console, f"  and {count_text(one.found - len(one.near))} more")


def show_plan(console: Console, found: Plan) -> None:
    """Print the tasks of the next phase, and what comes after it."""
    if found.done:
        done = sum(tasks for _, tasks in found.done)
        console.print(f"done: {counted(len(found.done), 'phase')}, {counted(done, 'task')}")
    if found.next is None:
        show_line(console, f"{place_text(found.run)}: nothing is left to run")
        return
    console.print(
        f"next: {printable(found.next)}, {count_text(len(found.missing))} of {count_text(found.tasks)} tasks, "
        f"{bytes_text(found.bytes)} to read"
    )
    console.print()
    console.print(tables.plan_table([asdict(task) for task in found.missing]))
    console.print()
    console.print("then: " + (", ".join(_steps_of(found.later)) or "nothing"))


def _steps_of(phases: Sequence[str]) -> list[str]:
    """Return phases for people: the parts of an exchange and the rounds of a search are one step."""
    steps: list[str] = []
    for name in phases:
        head, _, tail = name.rpartition("-")
        part = tail in ("scatter", "reduce", "apply") or (name.startswith("quantile-") and tail.isdecimal())
        step = head if part else name
        if steps[-1:] != [step]:
            steps.append(step)
    return steps


def show_manifest(console: Console, folder: str, manifest: Mapping[str, Any]) -> None:
    """Print what a manifest says of its shards, and the realised mix."""
    totals, tokenizer = manifest["totals"], manifest["tokenizer"]
    packed = manifest["layout"] == "packed"
    facts = [
        ("folder", place_text(folder)),
        ("fingerprint", manifest["fingerprint"]),
        ("layout", ", ".join(filter(None, (manifest["layout"], manifest["packing"], manifest["dtype"])))),
        ("tokenizer", f"{tokenizer['name']} ({tokenizer['kind']}, {count_text(tokenizer['vocab_size'])} ids)"),
        ("shards", f"{count_text(totals['shards'])}, {bytes_text(totals['bytes'])}"),
        ("rows", count_text(totals["rows"]) + (f" of {manifest['context_length']} tokens" if packed else "")),
        ("documents", count_text(totals["documents"])),
        ("tokens", f"{count_text(totals['tokens'])} and {count_text(totals['padding_tokens'])} of padding"),
    ]
    if manifest["quarantined"]:
        facts.append(("quarantined", count_text(len(manifest["quarantined"]))))
    console.print(tables.facts_table(facts))
    console.print()
    console.print(tables.mix_table(manifest["mix"], totals["tokens"]))
    if "repeats" in manifest:
        console.print()
        console.print(tables.repeats_table(manifest["repeats"]))


def show_rows(console: Console, rows: Sequence[DecodedRow]) -> None:
    """Print decoded rows, segment by segment."""
    for row in rows:
        console.print()
        head = f"row {row.row}: {counted(len(row.segments), 'segment')}, {counted(row.padding, 'token')} of padding"
        console.print(Text(head, style="bold"))
        for segment in row.segments:
            source = (
                f"{printable(segment.source)}, tokens {segment.first_token} to {segment.first_token + segment.tokens}"
            )
            console.print(Text(f"{segment.document}  {source}", style="dim"))
            console.print(Text(excerpt(segment.text, DECODED_CHARACTERS)))


def show_problems(console: Console, problems: Sequence[Problem]) -> None:
    """Print what is wrong with shards."""
    for problem in problems[:MAX_PROBLEMS]:
        show_line(console, f"{problem.path}: {problem.kind}", "bold")
        console.print(Padding(Text(printable(problem.detail)), (0, 0, 0, tables.INDENT)))
    if len(problems) > MAX_PROBLEMS:
        console.print(f"and {count_text(len(problems) - MAX_PROBLEMS)} more; --json lists all")


def show_assets(console: Console, found: Sequence[Status]) -> None:
    """Print assets, and the paths of those that are here."""
    console.print(tables.assets_table(found))
    console.print()
    for _, path, state in found:
        if state == "ready":
            show_line(console, path)


def show_comparison(console: Console, result: Mapping[str, Any]) -> None:
    """Print a comparison of tokenizers."""
    from curate.report.compare_table import comparison_blocks

    for block in comparison_blocks(result):
        console.print(block)


def show_tokenizer(console: Console, folder: str, card: Mapping[str, Any], tally: Mapping[str, int]) -> None:
    """Print what a tokenizer's folder holds, what it was trained on, and what could not be read."""
    facts = [
        ("folder", place_text(folder)),
        *((name, str(card[name])) for name in ("name", "kind", "vocab_size", "sha256")),
    ]
    if trained_on := card.get("trained_on"):
        facts.append(("trained on", f"{count_text(trained_on['documents'])} texts, {bytes_text(trained_on['bytes'])}"))
    facts += [("file", name) for name in card.get("checksums", ())]
    facts += [(name, count_text(count)) for name, count in sorted(tally.items()) if name != "texts"]
    console.print(tables.facts_table(facts))
