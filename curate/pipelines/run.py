"""A run: one recipe in one run folder, begun, resumed or brought up to date by the same call.

Inputs, models and the folder are checked before anything is written; then the phases of the recipe are run under a
lease. What has a receipt is not done again, so resuming is running.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from curate import storage
from curate.engine.driver import Driver, Limits, Progress, Silent
from curate.engine.executors import check_address, make_executor
from curate.engine.ledger import FOLDERS, LEASE_FILE, Ledger, lease
from curate.engine.scratch import sweep_staging
from curate.errors import RecipeError
from curate.pipelines.check_files import checked_units
from curate.pipelines.older_runs import against_itself, withdraw_signatures
from curate.pipelines.pipeline import Pipeline
from curate.pipelines.recipe import Recipe

RECIPE_FILE: Final = "recipe.toml"
RUN_MARK: Final = "# A run folder of curate, format 1: this file is the resolved recipe of the run.\n"
"""How the recipe of a run folder begins: a folder that holds a user's own recipe is never taken for one."""
PLAN_FILE: Final = re.compile(r"\d+-.*\.json")


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what: nothing here can change an output byte."""

    executor: str = "ray"
    workers: int | None = None
    address: str | None = None
    shared_folder: bool = False
    takeover: bool = False
    scratch: str | None = None


@dataclass(frozen=True)
class Summary:
    """What a finished run did: its folder, the manifest's fingerprint (None without shards), how often each stage
    really ran this time, and the documents that were quarantined."""

    run: str
    fingerprint: str | None
    executed: Mapping[str, int]
    quarantined: Sequence[Mapping[str, Any]]


def open_run(recipe: Recipe, output: str) -> Ledger:
    """Check that the run folder is new or this recipe's, and return its ledger, not loaded yet.

    Raises RecipeError if the folder holds a run of another recipe, or other files, or is a run that the recipe itself
    goes against.
    """
    uri = storage.join(output, RECIPE_FILE)
    where = storage.shown(output)
    if step := against_itself(recipe, output):
        raise RecipeError(f"dedup.{step}.against: {where}: is the folder of this run; choose another --output")
    if storage.exists(uri):
        text = storage.read_bytes(uri).decode(errors="replace")
        if not text.startswith(RUN_MARK):
            raise RecipeError(f"{where}: holds a {RECIPE_FILE} that no run wrote; choose another --output")
        try:
            name = tomllib.loads(text)["name"]
        except (tomllib.TOMLDecodeError, KeyError):
            raise RecipeError(f"{where}: its {RECIPE_FILE} is damaged; choose another --output") from None
        if name != recipe.name:
            raise RecipeError(
                f"{where}: holds a run of the recipe {name!r}, not {recipe.name!r}; choose another --output"
            )
    elif not storage.is_empty(output, besides=LEASE_FILE):
        raise RecipeError(f"{where}: is not empty and no run folder; choose another --output")
    return Ledger(output)


def run(recipe: Recipe, output: str, options: Options | None = None, progress: Progress | None = None) -> Summary:
    """Run `recipe` in the run folder `output`, which may hold an earlier or unfinished run of it, and return what was
    done. Every finished task of that run whose settings and inputs are unchanged is reused.

    Raises RecipeError before any work, LeaseError if another process is at work in the folder, and TaskError,
    RetryableError or StorageFullError after what was running has finished.
    """
    options = options or Options()
    progress = progress or Silent()
    ledger = open_run(recipe, output)
    listed = checked_units(recipe)
    if options.executor == "ray" and options.address is not None:
        check_address(options.address)
    storage.make_folder(output)
    with lease(output, takeover=options.takeover) as held:
        sweep_staging(output)
        storage.write_bytes(storage.join(output, RECIPE_FILE), (RUN_MARK + recipe.resolved_toml()).encode())
        for folder in FOLDERS:
            storage.make_folder(storage.join(output, folder))
        ledger.load()
        withdraw_signatures(output)
        for name in storage.list_names(storage.join(output, "plan")):
            if PLAN_FILE.fullmatch(name):
                storage.delete(storage.join(output, "plan", name))
        executor = make_executor(
            options.executor,
            output,
            workers=options.workers,
            address=options.address,
            shared_folder=options.shared_folder,
        )
        try:
            driver = Driver(output, ledger, executor, _limits(recipe), progress, options.scratch, held.check)
            pipeline = Pipeline(recipe, listed, driver)
            manifest = pipeline.run()
        finally:
            executor.close()
    return Summary(
        run=output,
        fingerprint=manifest["fingerprint"] if manifest else None,
        executed=Counter(driver.executed),
        quarantined=pipeline.quarantined,
    )


def _limits(recipe: Recipe) -> Limits:
    engine = recipe.engine
    return Limits(engine.timeout_s, engine.memory_bytes, engine.max_attempts, engine.max_quarantined)
