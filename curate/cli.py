"""The command line: what each command is called and takes. The work is done elsewhere, and so is the printing.

Standard output holds the result (with ``--json`` nothing but JSON), standard error everything else. Exit codes: 0 done,
1 an error, 2 a mistake in the recipe or the command line (nothing was started), 3 done but documents are in quarantine,
4 stopped by the alarm of a dedup step, 130 interrupted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from typer.core import TyperGroup

from curate.cli_common import AsJson, console, say
from curate.cli_dedup import dedup_app
from curate.cli_tokenizer import tokenizer_app
from curate.errors import AlarmError, CurateError, InvariantError, RecipeError

if TYPE_CHECKING:
    pass

QUARANTINE_EXIT: Final = 3
ALARM_EXIT: Final = 4
INTERRUPTED_EXIT: Final = 130


class _Group(TyperGroup):
    """Turns every error that is raised on purpose into a message and an exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted; the same command goes on where it stopped")
            raise typer.Exit(INTERRUPTED_EXIT) from None
        except RecipeError as error:
            many = [f"{len(error.mistakes)} mistakes, nothing was started"] if len(error.mistakes) > 1 else []
            say("\n".join([*many, *error.mistakes]), "error: ")
            raise typer.Exit(2) from None
        except AlarmError as error:
            say(str(error), "stopped: ")
            raise typer.Exit(ALARM_EXIT) from None
        except BrokenPipeError:
            raise  # `| head` is no error
        except (CurateError, OSError) as error:
            say(
                str(error) or type(error).__name__,
                "internal error: " if isinstance(error, InvariantError) else "error: ",
            )
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From a web crawl to token shards: read, measure, filter, deduplicate, tokenize, mix and pack.",
)
shards_app = typer.Typer(no_args_is_help=True, help="Token shards: check them, look into them.")
assets_app = typer.Typer(no_args_is_help=True, help="Models, vocabularies, word lists: list them, fetch them ahead.")

RecipePath = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, or a shipped one: crawl-to-shards.toml.")
]
RunPath = Annotated[str, typer.Argument(metavar="RUN", help="The folder or URI of a run (its --output).")]
ShardsPath = Annotated[str, typer.Argument(metavar="DIR", help="A folder of shards, or the run that holds it.")]
InputOption = typer.Option(
    "--input", metavar="PATH", help="Read these files, folders or globs (of one source: NAME=PATH) instead. Repeatable."
)
Inputs = Annotated[list[str] | None, InputOption]
OutputOption = typer.Option("--output", metavar="DIR|URI", help="The run folder; runs/RECIPE-NAME if not given.")
Output = Annotated[str | None, OutputOption]
SetOption = typer.Option(
    "--set", metavar="KEY=VALUE", help="Change a key of the recipe: shards.context_length=4096. Repeatable."
)
Overrides = Annotated[list[str] | None, SetOption]
AllowOption = typer.Option(
    "--allow-loss", metavar="STEP", help="Go on whatever this dedup step takes: dedup.STEP.alarm=off. Repeatable."
)
AllowLoss = Annotated[list[str] | None, AllowOption]
Workers = Annotated[int | None, typer.Option(min=1, help="Tasks that run at a time; one per CPU if not given.")]
ExecutorOption = typer.Option("--executor", help="ray: isolated workers. inline: in this process, for debugging.")
ExecutorKind = Annotated[Literal["ray", "inline"], ExecutorOption]
AddressOption = typer.Option(
    metavar="auto|HOST:PORT", help="A Ray cluster; if not given, a Ray of its own on this machine."
)
Address = Annotated[str | None, AddressOption]
SharedOption = typer.Option("--shared-folder", help="Every node of the cluster sees the run folder at this path.")
SharedFolder = Annotated[bool, SharedOption]
Takeover = Annotated[bool, typer.Option("--takeover", help="Take the run folder from a process that is gone.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"curate {version('curate-llm')}")
        except PackageNotFoundError:
            typer.echo("curate, from a checkout that was never installed")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command("run")
def run_command(
    recipe: RecipePath,
    inputs: Inputs = None,
    output: Output = None,
    overrides: Overrides = None,
    allow_loss: AllowLoss = None,
    workers: Workers = None,
    executor: ExecutorKind = "ray",
    address: Address = None,
    shared_folder: SharedFolder = False,
    takeover: Takeover = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe. The same command goes on where a run stopped, and does again only what a change touches."""
    from curate.pipelines.recipe import load_recipe
    from curate.pipelines.run import Options, run
    from curate.report import show
    from curate.report.progress import show_progress
    from curate.report.stats import read_stats

    loaded = load_recipe(recipe, _overrides(overrides, allow_loss), inputs)
    options = Options(
        executor=executor, workers=workers, address=address, shared_folder=shared_folder, takeover=takeover
    )
    with show_progress() as progress:
        summary = run(loaded, output or os.path.join("runs", loaded.name), options, progress)
    stats = read_stats(summary.run)
    if as_json:
        show.show_json(console(), show.summary_json(summary, stats))
    else:
        show.show_summary(console(), summary, stats)
    if summary.quarantined:
        show.show_quarantine(console(stderr=True), summary.quarantined)
        raise typer.Exit(QUARANTINE_EXIT)


@app.command("plan")
def plan_command(
    recipe: RecipePath,
    inputs: Inputs = None,
    output: Output = None,
    overrides: Overrides = None,
    allow_loss: AllowLoss = None,
    workers: Workers = None,
    executor: ExecutorKind = "ray",
    address: Address = None,
    shared_folder: SharedFolder = False,
    takeover: Takeover = False,
    as_json: AsJson = False,
) -> None:
    """Print what `curate run` with the same options would do next, and do nothing of it."""
    from curate.pipelines.plan import plan
    from curate.pipelines.recipe import load_recipe
    from curate.report import show

    loaded = load_recipe(recipe, _overrides(overrides, allow_loss), inputs)
    found = plan(loaded, output or os.path.join("runs", loaded.name))
    if as_json:
        show.show_json(console(), show.plan_json(found))
    else:
        show.show_plan(console(), found)


@app.command("stats")
def stats_command(
    run: RunPath,
    by: Annotated[
        Literal["both", "language", "source", "none"], typer.Option(help="Which further tables to print.")
    ] = "both",
    as_json: AsJson = False,
) -> None:
    """Print who dropped what: records, errors, each step's reasons, what was kept; by language and by source."""
    from curate.report import show
    from curate.report.stats import read_stats

    stats = read_stats(run)
    if as_json:
        show.show_json(console(), stats.to_json())
    else:
        show.show_stats(console(), stats, by)


@app.command("samples")
def samples_command(
    run: RunPath,
    reason: Annotated[
        str | None, typer.Option(help="A rule (c4.sentences), a filter (c4), duplicate.exact or error.KIND.")
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many documents.")] = 10,
    kept: Annotated[bool, typer.Option("--kept", help="Those that passed and were kept.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print documents that were dropped for a reason (or kept), nearest to the line first."""
    from curate.report import show
    from curate.report.samples import read_samples

    if reason is None and not kept:
        raise RecipeError("samples: say --reason REASON (curate stats lists them), or --kept")
    found = read_samples(run, reason, number=number, kept=kept)
    if as_json:
        show.show_json(console(), [sample.to_json() for sample in found])
    elif found:
        show.show_samples(console(), found)
    else:
        say("no document: " + ("none was kept" if kept else f"none was dropped for {reason}"))


@app.command("sample")
def sample_command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder to write into.")], as_json: AsJson = False
) -> None:
    """Write the small built-in crawl: real WARC files of pages that were written for it."""
    from curate.pipelines.sample import write_sample
    from curate.report import show

    written = [str(path) for path in write_sample(folder)]
    if as_json:
        show.show_json(console(), written)
        return
    for path in written:
        show.show_line(console(), path)


@shards_app.command("verify")
def shards_verify(folder: ShardsPath, as_json: AsJson = False) -> None:
    """Check every shard against the manifest, down to the single token; exit code 1 if anything is wrong."""
    from curate.report import show
    from curate.report.shards import shards_folder
    from curate.report.terminal import counted, place_text
    from curate.shards.manifest import info
    from curate.shards.verify import verify

    place = shards_folder(folder)
    problems = verify(place)
    if as_json:
        show.show_json(
            console(), {"folder": place_text(place), "problems": [problem._asdict() for problem in problems]}
        )
    elif problems:
        show.show_problems(console(), problems)
    else:
        totals = info(place)["totals"]
        show.show_line(
            console(),
            f"{place_text(place)}: {counted(totals['shards'], 'shard')}, {counted(totals['tokens'], 'token')}, "
            "all as the manifest says",
        )
    if problems:
        say(f"{place_text(place)}: {counted(len(problems), 'problem')}", "error: ")
        raise typer.Exit(1)


@shards_app.command("info")
def shards_info(
    folder: ShardsPath,
    decode: Annotated[int, typer.Option(min=0, metavar="N", help="Also print the first N rows as text.")] = 0,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="PATH", help="To decode with; the one beside the shards if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what the manifest says: layout, tokenizer, tokens, the realised mix."""
    from curate.report import show
    from curate.report.shards import decode_rows, shards_folder
    from curate.shards.manifest import info

    place = shards_folder(folder)
    manifest = info(place)
    rows = decode_rows(place, decode, tokenizer) if decode else []
    if as_json:
        decoded = [{**row._asdict(), "segments": [segment._asdict() for segment in row.segments]} for row in rows]
        show.show_json(console(), manifest | ({"rows": decoded} if decode else {}))
    else:
        show.show_manifest(console(), place, manifest)
        show.show_rows(console(), rows)


@assets_app.command("list")
def assets_list(as_json: AsJson = False) -> None:
    """Print the named models, vocabularies and word lists, and whether they are here."""
    from curate.assets import status

    _print_assets(status(), as_json)


@assets_app.command("fetch")
def assets_fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; all if none is named.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch models, vocabularies and word lists that are not here yet, ahead of runs without a network."""
    from curate.assets import fetch

    _print_assets(fetch(names or None), as_json)


def _print_assets(found: Any, as_json: bool) -> None:
    from curate.report import show

    if as_json:
        show.show_json(
            console(), [{**status.asset._asdict(), "path": status.path, "state": status.state} for status in found]
        )
    else:
        show.show_assets(console(), found)


app.add_typer(dedup_app, name="dedup")
app.add_typer(shards_app, name="shards")
app.add_typer(assets_app, name="assets")
app.add_typer(tokenizer_app, name="tokenizer")


def main() -> None:
    """Run the command line."""
    app()


def _overrides(given: Sequence[str] | None, allow_loss: Sequence[str] | None) -> list[str]:
    return [*(given or ()), *(f"dedup.{json.dumps(step)}.alarm=off" for step in allow_loss or ())]


if __name__ == "__main__":
    main()
