"""What a run would do next, found without doing it: the pipeline itself on a driver that only looks.

Later phases depend on what earlier ones find, so a plan knows the tasks of the first phase that is not done and the
names of what follows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from curate.engine.driver import Driver, Limits, Silent
from curate.engine.executors import InlineExecutor
from curate.engine.ledger import Ledger
from curate.engine.tasks import Receipt, TaskSpec
from curate.filters.quantiles import ROUNDS
from curate.pipelines.check_files import checked_units
from curate.pipelines.global_steps import GLOBAL_STEPS
from curate.pipelines.pipeline import Pipeline
from curate.pipelines.recipe import CleanerStep, DedupStep, Recipe, resolve_steps
from curate.pipelines.run import open_run
from curate.pipelines.training_phases import training_phases
from curate.pipelines.units import later_views

LAST: Final = "pack"
NO_SPLIT: Final = "one task: cannot be split"


@dataclass(frozen=True)
class PlannedTask:
    """A task that is not done: its key, what it works on, the bytes that it reads, and what is worth knowing of it."""

    key: str
    unit: str
    bytes: int
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run would do: the phases that are done, the one that comes `next` (None if nothing is left) with all its
    tasks counted and the missing ones listed, and the names of the `later` ones."""

    run: str
    done: Sequence[tuple[str, int]]
    next: str | None
    tasks: int
    missing: Sequence[PlannedTask]
    bytes: int
    later: Sequence[str]


class PlanStop(Exception):  # noqa: N818 - no error: the way out of a pipeline that has been looked at
    """The first phase with missing receipts (`found` are those that are there), or the end of the last phase."""

    def __init__(self, phase: str, specs: Sequence[TaskSpec], found: dict[str, Receipt]) -> None:
        self.phase = phase
        self.specs = specs
        self.found = found
        super().__init__(phase)


class Looker(Driver):
    """A driver that runs and writes nothing: it returns the receipts that are there and stops where one is missing.

    `run` is an empty scratch folder, because phases may tidy the run folder before they begin; receipts are looked up
    through the ledger, which knows the true one.
    """

    def __init__(self, scratch: str, ledger: Ledger) -> None:
        super().__init__(scratch, ledger, InlineExecutor(), Limits(), Silent())
        self.phases: list[tuple[str, int]] = []

    def run_phase(
        self, name: str, specs: Sequence[TaskSpec], prepare: Callable[[], None] | None = None
    ) -> list[Receipt]:
        """Return the receipts of a finished phase in the order of `specs`; raise PlanStop at any other."""
        found = self.ledger.find_all(spec.key for spec in specs)
        if len(found) < len({spec.key for spec in specs}):
            raise PlanStop(name, specs, found)
        self.phases.append((name, len(specs)))
        if name == LAST:
            # after it, manifest and shards would be written
            raise PlanStop(name, specs, found)
        receipts = [found[spec.key] for spec in specs]
        self.used += receipts
        return receipts


def plan(recipe: Recipe, output: str) -> Plan:
    """Return what `curate.run` would do in the run folder `output`, which is made by neither.

    Inputs are listed and assets fetched, as every run does before any work. Raises RecipeError as a run would.
    """
    ledger = open_run(recipe, output)
    ledger.load()
    listed = checked_units(recipe)
    stop = None
    with tempfile.TemporaryDirectory(prefix="curate-plan-") as scratch:
        driver = Looker(scratch, ledger)
        try:
            Pipeline(recipe, listed, driver).run()
        except PlanStop as found:
            stop = found
    if stop is None or len(stop.found) == len({spec.key for spec in stop.specs}):
        return Plan(output, driver.phases, None, 0, (), 0, ())
    missing = list({spec.key: spec for spec in stop.specs if spec.key not in stop.found}.values())
    tasks = [_planned(spec, recipe.engine.unit_bytes) for spec in missing]
    later = _after(stop.phase, [name for name, _ in driver.phases], phase_names(recipe))
    return Plan(output, driver.phases, stop.phase, len(stop.specs), tasks, _bytes_read(missing), later)


def _planned(spec: TaskSpec, unit_bytes: int) -> PlannedTask:
    whole = spec.stage == "collect" and _range(spec) > unit_bytes
    return PlannedTask(spec.key, spec.unit, _bytes_read([spec]), NO_SPLIT if whole else "")


def _range(spec: TaskSpec) -> int:
    return int(spec.settings["end"]) - int(spec.settings["start"])


def _bytes_read(specs: Sequence[TaskSpec]) -> int:
    """Return the bytes that tasks read, each file once: of a file that is cut, its ranges; of the runs that reducers
    share, each in full."""
    if specs and specs[0].stage == "collect":
        return sum(_range(spec) for spec in specs)
    files = {ref.path: ref.bytes for spec in specs for refs in spec.inputs.values() for ref in refs}
    return sum(files.values())


def phase_names(recipe: Recipe) -> list[str]:
    """Return the phases of a recipe in order, as their plan files name them. Merge levels, which only large exchanges
    have, are left out."""
    names = ["collect", *GLOBAL_STEPS["id"].phases("duplicate.id")]
    pending: list[str] = []

    def decide() -> None:
        if pending:
            names.append(("decide-" + "-".join(pending))[:80])
            pending.clear()

    for step in resolve_steps(recipe):
        if isinstance(step, CleanerStep):
            continue
        if isinstance(step, DedupStep):
            decide()
            reason = f"duplicate.{step.name}"
            names.extend(GLOBAL_STEPS[step.kind].phases(reason))
            later = later_views(recipe)[step.name] if step.cuts else ()
            names += [f"measure-{step.name}"] if any(view.measures or view.cleaner for view in later) else []
            continue
        searches = sum(len(rule.waits_for()) for rule in step.rules)
        if searches:
            decide()
            names.extend([f"quantile-{step.name}-{number}" for number in range(ROUNDS)] * searches)
        pending += [step.name] if step.rules else []
    decide()
    if recipe.tokenizer is None:
        return [*names, "tally"]
    if recipe.tokenizer.train is not None:
        names += training_phases(recipe.tokenizer.train)
    return [*names, "tokenize", "tally", "shuffle", LAST]


def _after(phase: str, done: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the names that come after `phase`, before which those in `done` were."""
    at = 0
    for name in (*done, phase):
        # merge levels are in no list, and a quantile may be found before its last round
        at = names.index(name, at) + 1 if name in names[at:] else at
    return list(names[at:])
