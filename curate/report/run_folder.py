"""A run folder as it stands: the phases of its current plan, each task with its receipt if it is done.

Receipts of earlier plans stay in the folder, because a later change may need them again; they are never counted here.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from curate import storage
from curate.engine.ledger import Ledger
from curate.engine.tasks import FileRef, Receipt
from curate.errors import RecipeError
from curate.filters.rules import ResolvedRule
from curate.filters.tables import suggestion
from curate.report.terminal import place_text

DUPLICATE: Final = "duplicate."
"""How the reasons of dedup steps begin; the name of the step follows."""
RECIPE_FILE: Final = "recipe.toml"
LAST_WITH_SHARDS: Final = "pack"
LAST_WITHOUT_SHARDS: Final = "tally"
DEDUP_STAGES: Final = ("duplicates.apply", "cuts.apply", "substring.apply")
"""The stages that bring what a dedup step found to the verdicts; their settings hold the reason."""


@dataclass(frozen=True)
class Phase:
    """A phase of the current plan: its tasks as ``plan/`` has them, and 1:1 their receipts, None if not done."""

    name: str
    tasks: Sequence[Mapping[str, Any]]
    receipts: Sequence[Receipt | None]

    @property
    def done(self) -> list[Receipt]:
        """The receipts that are there, in the order of the tasks."""
        return [receipt for receipt in self.receipts if receipt is not None]

    @property
    def complete(self) -> bool:
        """Whether every task has its receipt."""
        return len(self.done) == len(self.tasks)

    @property
    def stage(self) -> str:
        """The stage that its tasks run."""
        return str(self.tasks[0]["stage"]) if self.tasks else ""


@dataclass(frozen=True)
class DedupRounds:
    """The phases in which a dedup step dropped documents: one, or one for older runs before it."""

    name: str
    phases: Sequence[Phase]

    @property
    def last(self) -> Phase:
        """The last phase that has begun."""
        return self.phases[-1]

    @property
    def complete(self) -> bool:
        """Whether the step is done."""
        return self.last.complete and self.last.name == f"{DUPLICATE}{self.name}-apply"

    @property
    def older(self) -> list[Receipt]:
        """The receipts of what went for older runs."""
        final = f"{DUPLICATE}{self.name}-apply"
        return [receipt for phase in self.phases if phase.name != final for receipt in phase.done]

    @property
    def own(self) -> list[Receipt]:
        """The receipts of what went for documents of this run."""
        final = f"{DUPLICATE}{self.name}-apply"
        return [receipt for phase in self.phases if phase.name == final for receipt in phase.done]


@dataclass(frozen=True)
class PartFiles:
    """One documents file of a run and what lies beside it, row for row; no `verdicts` before the first decision.

    `run` is the folder that the paths begin in; `measured` are signals of views that came after a global step, `edits`
    the edits that make such a view, by name.
    """

    run: str
    name: str
    documents: FileRef
    signals: FileRef
    verdicts: FileRef | None
    measured: Sequence[FileRef] = ()
    edits: Mapping[str, FileRef] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFolder:
    """A run folder, its recipe as a TOML table, and the phases of its current plan in order."""

    uri: str
    recipe: Mapping[str, Any]
    phases: Sequence[Phase]

    @property
    def unfinished(self) -> str | None:
        """What is missing, as a sentence; None for a finished run."""
        if not self.phases:
            return "nothing is planned yet"
        for phase in self.phases:
            if not phase.complete:
                return f"the phase {phase.name} has {len(phase.done)} of {len(phase.tasks)} tasks done"
        last = LAST_WITH_SHARDS if self.recipe.get("tokenizer") else LAST_WITHOUT_SHARDS
        if self.phases[-1].name != last:
            return f"the phase {self.phases[-1].name} is done, what follows has not begun"
        return None

    def of_stage(self, stage: str) -> list[Phase]:
        """Return the phases that run a stage, in order."""
        return [phase for phase in self.phases if phase.stage == stage]

    def rules(self) -> dict[str, ResolvedRule]:
        """Return the rules that decided, by reason, in recipe order, with every quantile bound as a number."""
        found = {}
        for phase in self.of_stage("decide"):
            for rule in phase.tasks[0]["settings"]["rules"]:
                resolved = ResolvedRule.model_validate(rule)
                found[resolved.reason] = resolved
        return found

    def dedup_steps(self, step: str | None = None) -> dict[str, DedupRounds]:
        """Return by name, in order, each dedup step that has begun to drop documents, or one `step` alone.

        Raises RecipeError if there is none, or none of this name.
        """
        rounds: dict[str, list[Phase]] = {}
        for phase in self.of_stage("duplicates.apply"):
            name = str(phase.tasks[0]["settings"]["reason"]).removeprefix(DUPLICATE)
            rounds.setdefault(name, []).append(phase)
        steps = {name: DedupRounds(name, phases) for name, phases in rounds.items()}
        if not steps:
            raise RecipeError(f"{place_text(self.uri)}: no dedup step is done yet ({self.unfinished})")
        if step is None:
            return steps
        name = step.removeprefix(DUPLICATE)
        if name not in steps and any(phase.name == f"{DUPLICATE}{name}-apply" for phase in self.phases):
            raise RecipeError(f"--step {step}: cuts texts and has no clusters; look with `curate dedup lines`")
        if name not in steps:
            known = ", ".join(steps)
            raise RecipeError(f"--step {step}: is no dedup step of this run{suggestion(name, steps)}; steps: {known}")
        return {name: steps[name]}

    def parts(self) -> list[PartFiles]:
        """Return the documents files of the tasks that are done, with the verdicts of the last complete phase."""
        verdicts: dict[str, FileRef] = {}
        measured: dict[str, list[FileRef]] = {}
        edits: dict[str, dict[str, FileRef]] = {}
        for phase in self.phases:
            if not phase.complete:
                continue
            # by the unit of the plan: parts of equal content share one task, and its receipt names one of them
            for task, receipt in zip(phase.tasks, phase.done, strict=True):
                unit = task["unit"]
                if receipt.files("verdicts"):
                    verdicts[unit] = receipt.files("verdicts")[0]
                measured.setdefault(unit, []).extend(receipt.files("measured"))
                for ref in receipt.files("edits"):
                    edits.setdefault(unit, {}).update(dict.fromkeys(_views_made(task["settings"]), ref))
        parts = []
        for phase in self.of_stage("collect"):
            for receipt in phase.done:
                for documents, signals in zip(receipt.files("documents"), receipt.files("signals"), strict=True):
                    name = documents.path.rpartition("/")[2].removesuffix(".parquet")
                    beside = (verdicts.get(name), measured.get(name, ()), edits.get(name, {}))
                    parts.append(PartFiles(self.uri, name, documents, signals, *beside))
        return parts


def _views_made(settings: Mapping[str, Any]) -> list[str]:
    """Return the views whose edits a task writes: that of a step that cuts, or those of cleaners after one."""
    made = [settings["view"]] if "view" in settings else []
    return made + [view["name"] for view in settings.get("segment", ()) if view["cleaner"]]


def read_run(uri: str) -> RunFolder:
    """Return the run folder at `uri`. Raises RecipeError if it is none."""
    place = storage.join(uri, RECIPE_FILE)
    if not storage.exists(place):
        raise RecipeError(f"{place_text(uri)}: is no run folder (it has no {RECIPE_FILE}); name the --output of a run")
    try:
        recipe = tomllib.loads(storage.read_bytes(place).decode())
    except ValueError as error:
        raise RecipeError(f"{place_text(uri)}/{RECIPE_FILE}: is damaged ({error}); run the recipe again") from None
    ledger = Ledger(uri)
    ledger.load()
    folder = storage.join(uri, "plan")
    names = [name for name in storage.list_names(folder) if name.endswith(".json")]
    # by number: the hundredth phase comes after the twentieth
    names.sort(key=lambda name: int(name.partition("-")[0]))
    return RunFolder(uri, recipe, [_read_phase(storage.join(folder, name), ledger) for name in names])


def _read_phase(uri: str, ledger: Ledger) -> Phase:
    try:
        plan = json.loads(storage.read_bytes(uri))
    except FileNotFoundError:
        raise RecipeError(
            f"{place_text(uri)}: has just gone; a run is starting in this folder, ask again in a moment"
        ) from None
    receipts = [ledger.receipts.get(task["key"]) for task in plan["tasks"]]
    return Phase(plan["phase"], plan["tasks"], receipts)
