"""The commands of ``curate dedup``: look at what dedup steps found, and whether they were right."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from curate.cli_common import AsJson, console

dedup_app = typer.Typer(no_args_is_help=True, help="Dedup steps: what they found, and whether they were right.")

RunPath = Annotated[str, typer.Argument(metavar="RUN", help="The folder or URI of a run (its --output).")]
StepOption = Annotated[str | None, typer.Option("--step", metavar="STEP", help="This dedup step alone: minhash.")]


@dedup_app.command("clusters")
def dedup_clusters(
    run: RunPath,
    step: StepOption = None,
    number: Annotated[int, typer.Option("-n", "--number", min=0, max=20, help="How many of the largest clusters.")] = 5,
    members: Annotated[int, typer.Option(min=0, help="How many removed documents of each.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Print clusters by size, what each source and language lost, and the largest clusters with their members."""
    from curate.report import show
    from curate.report.clusters import read_clusters
    from curate.report.dedup_tables import show_clusters

    steps = read_clusters(run, step, number=number, members=members)
    if as_json:
        show.show_json(console(), [found.to_json() for found in steps])
    else:
        show_clusters(console(), steps)


@dedup_app.command("audit")
def dedup_audit(
    run: RunPath,
    step: StepOption = None,
    sample: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="Removed documents of each step to compare.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Another seed is another sample.")] = 0,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="False is what is less similar; the step's own if not given.")
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=0, help="How many examples, least similar first.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Compare a sample of removed documents exactly with what was kept, and estimate how many removals are false."""
    from curate.report import show
    from curate.report.audit import read_audit
    from curate.report.dedup_tables import show_audit

    audits = read_audit(run, step, sample=sample, seed=seed, threshold=threshold, number=number)
    if as_json:
        show.show_json(console(), [audit.to_json() for audit in audits])
    elif audits:
        show_audit(console(), audits)
    else:
        show.show_line(console(stderr=True), "no document was removed: nothing to compare")


@dedup_app.command("lines")
def dedup_lines(
    run: RunPath,
    step: StepOption = None,
    number: Annotated[int, typer.Option("-n", "--number", min=0, max=50, help="How many lines of each step.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Print what steps that cut removed, by source and language, and the lines that were counted most often."""
    from curate.report import show
    from curate.report.cut_lines import read_cut_lines
    from curate.report.cut_tables import show_cut_lines

    steps = read_cut_lines(run, step, number=number)
    if as_json:
        show.show_json(console(), [found.to_json() for found in steps])
    else:
        show_cut_lines(console(), steps)


@dedup_app.command("sweep")
def dedup_sweep(
    run: RunPath,
    step: StepOption = None,
    epsilon: Annotated[
        str | None, typer.Option(metavar="E,E,…", help="Values of ε; from 0.001 to 0.2 if not given.")
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=0, max=20, help="Example pairs of each value.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Print what a semantic step would remove at other values of ε, with examples, from the vectors of the run."""
    from curate.report import show
    from curate.report.dedup_tables import show_sweep
    from curate.report.sweep import EPSILONS, parse_epsilons, read_sweep

    wanted = EPSILONS if epsilon is None else parse_epsilons(epsilon)
    sweeps = read_sweep(run, step, epsilons=wanted, number=number)
    if as_json:
        show.show_json(console(), [sweep.to_json() for sweep in sweeps])
    else:
        show_sweep(console(), sweeps)


@dedup_app.command("lookup")
def dedup_lookup(
    run: RunPath,
    texts: Annotated[
        list[str], typer.Argument(metavar="TEXTS", help="JSONL, Parquet, WARC …: a text a record; .txt; - for stdin.")
    ],
    step: StepOption = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least similarity to print; the step's own if not given.")
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=0, help="How many documents of each text.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Find near-duplicates of new texts among the documents of a finished run, by its stored signatures."""
    from curate.report import show
    from curate.report.lookup import look_up, read_texts_to_look_up
    from curate.report.terminal import counted

    tally: Counter[str] = Counter()
    found = look_up(run, read_texts_to_look_up(texts, tally), step=step, threshold=threshold, number=number)
    if as_json:
        show.show_json(console(), [one.to_json() for one in found])
    else:
        show.show_lookup(console(), found)
    for reason, count in sorted(tally.items()):
        if reason.startswith("error."):
            show.show_line(console(stderr=True), f"{counted(count, 'record')} could not be read: {reason}", "yellow")
