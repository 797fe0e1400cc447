"""The phases of a recipe in order, from input files to shards and their manifest.

`Pipeline` binds stages to files. It holds one `Part` per documents file and moves all parts from phase to phase; each
phase is frozen in ``plan/``, brought to its receipts by the driver, and checked at its barrier. Resuming is running:
what has a receipt is not done again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from curate import storage
from curate.engine import exchange
from curate.engine.driver import Driver, check_barrier, total_flow
from curate.engine.tasks import FileRef, Flow, Receipt, TaskSpec, check_rows
from curate.errors import InputError
from curate.filters.rules import ResolvedRule
from curate.pipelines import finish, mixing, units
from curate.pipelines.collect import warm_up
from curate.pipelines.duplicates import CHANGE_SORT
from curate.pipelines.global_steps import GLOBAL_STEPS
from curate.pipelines.guards import alarm_of, check_alarm
from curate.pipelines.measure_phase import measure_after
from curate.pipelines.older_runs import publish_signatures
from curate.pipelines.quantile_phases import find_quantiles
from curate.pipelines.quarantine import BeginAgain
from curate.pipelines.recipe import (
    CleanerStep,
    DedupStep,
    FilterStep,
    Recipe,
    final_view,
    resolve_steps,
    view_names,
)
from curate.pipelines.stages import STAGES
from curate.pipelines.training_phases import train_tokenizer
from curate.pipelines.views import View, edits_column


@dataclass(frozen=True)
class Part:
    """One documents file and what is known of it, row for row. `measured` are signals of views that came later, `edits`
    the edits that make such a view, by its name; `clusters` are the verdicts as the dedup step left them by whose
    clusters the mix repeats documents, `clusters_before` those before it."""

    documents: FileRef
    signals: FileRef
    verdicts: FileRef | None = None
    tokens: FileRef | None = None
    measured: tuple[FileRef, ...] = ()
    edits: Mapping[str, FileRef] = field(default_factory=dict)
    clusters: FileRef | None = None
    clusters_before: FileRef | None = None
    lost: Mapping[str, str] = field(default_factory=dict)
    """The documents that stages after collect lost, by id in hexadecimal, with the reason."""

    @property
    def name(self) -> str:
        """The name of the part in messages."""
        return self.documents.path.rpartition("/")[2].removesuffix(".parquet")


def known_lost(part: Part) -> dict[str, Any]:
    """Return the setting by which a stage that works on every document, kept or not, leaves out those that are lost."""
    return {"lost": part.lost} if part.lost else {}


class Pipeline:
    """The phases of one recipe on one driver. `run_phase` of the driver may be replaced by one that only looks."""

    def __init__(self, recipe: Recipe, listed: Sequence[units.Unit], driver: Driver) -> None:
        self.recipe = recipe
        self.units = listed
        self.driver = driver
        self.parts: list[Part] = []
        self.kept = Flow()
        self.quarantined: list[Mapping[str, Any]] = []
        self.signatures: dict[str, Sequence[FileRef]] = {}
        self.older: dict[str, Sequence[str]] = {}

    def run(self) -> dict[str, Any] | None:
        """Run every phase and return the manifest, None if the recipe makes no shards."""
        named: Sequence[FileRef] | None = None
        if self.recipe.tokenizer is not None and self.recipe.tokenizer.train is None:
            named = units.tokenizer_refs(self.recipe, self.driver.run)
        self.collect()
        self.find_duplicates("duplicate.id", "id", {}, None)
        pending: list[ResolvedRule] = []
        for step in resolve_steps(self.recipe):
            if isinstance(step, CleanerStep):
                continue
            if isinstance(step, DedupStep):
                self.decide(pending)
                pending = []
                settings = step.settings.model_dump(mode="json")
                self.find_duplicates(f"duplicate.{step.name}", step.kind, settings, step.view)
                if step.cuts:
                    measure_after(self, step.name)
                continue
            assert isinstance(step, FilterStep)
            rules = list(step.rules)
            if any(rule.waits_for() for rule in rules):
                self.decide(pending)
                pending, rules = [], find_quantiles(self, step.name, rules)
            pending += rules
        self.decide(pending)
        if not self.kept.count and self.recipe.tokenizer is not None:
            run = storage.shown(self.driver.ledger.run)
            raise InputError("no_documents", f"no document was kept; see curate stats {run}")
        if self.recipe.tokenizer is None:
            self.tally()
            publish_signatures(self)
            return None
        if named is None:
            assert self.recipe.tokenizer.train is not None
            named = train_tokenizer(self, self.recipe.tokenizer.train, final_view(self.recipe))
        self.tokenize(named)
        tally = self.tally()
        manifest = finish.shards(self, named, tally)
        publish_signatures(self)
        return manifest

    def spec(self, stage: str, unit: str, settings: Mapping[str, Any], **inputs: Iterable[FileRef | None]) -> TaskSpec:
        """Return a task of a stage; inputs that are None are left out."""
        given = {name: tuple(ref for ref in refs if ref is not None) for name, refs in inputs.items()}
        entry = STAGES[stage]
        return TaskSpec(
            stage=stage,
            version=entry.version,
            kind=entry.kind,
            function=entry.function,
            unit=unit,
            settings=settings,
            inputs={name: refs for name, refs in given.items() if refs},
            libraries=entry.libraries,
        )

    def views_to(self, view: str | None) -> list[str]:
        """Return the names of the views that lead from the extracted text to `view`, itself included."""
        names = view_names(self.recipe)
        return names[1 : names.index(view) + 1] if view is not None else []

    def text_inputs(self, view: str | None, *parts: Part) -> dict[str, list[FileRef]]:
        """Return the inputs from which a task reads the text of parts in a view: documents, and the edits of views that
        came later, both 1:1 to the parts."""
        later = [name for name in self.views_to(view) if name in self.parts[0].edits]
        edits = {edits_column(name): [part.edits[name] for part in parts] for name in later}
        return {"documents": [part.documents for part in parts], **edits}

    def run_phase(
        self, name: str, specs: Sequence[TaskSpec], prepare: Callable[[], None] | None = None
    ) -> list[Receipt]:
        """Run a phase that walks documents, and drop those that it lost from the verdicts. Its receipts count without
        them."""
        receipts = self.driver.run_phase(name, specs, prepare)
        lost = [found for receipt in receipts for found in receipt.quarantined]
        if lost:
            self.quarantined += [found for found in lost if found not in self.quarantined]
            self.drop_lost(f"{name}-quarantine", {found["id"]: found["reason"] for found in lost})
        return receipts

    def drop_lost(self, phase: str, lost: Mapping[str, str]) -> None:
        """Drop documents in quarantine (reasons by id) from the verdicts of every part."""
        specs = [
            self.spec("quarantine", part.name, {"lost": lost}, signals=[part.signals], verdicts=[part.verdicts])
            for part in self.parts
        ]
        receipts = self.driver.run_phase(phase, specs)
        self.advance(phase, receipts)
        self.parts = [
            replace(part, lost={**part.lost, **receipt.facts["lost"]})
            for part, receipt in zip(self.parts, receipts, strict=True)
        ]

    def find_duplicates(self, reason: str, kind: str, settings: Mapping[str, Any], view: str | None) -> None:
        """Run one dedup step, anew for as long as it loses documents that its other tasks know of already."""
        while True:
            try:
                return GLOBAL_STEPS[kind].run(self, reason, kind, settings, view)
            except BeginAgain:
                self.driver.progress.note(f"{reason}: begins again without the documents in quarantine")

    def collect(self) -> None:
        """Read, extract, clean and measure every unit."""
        views = units.views_of(self.recipe)
        listed = self.units
        refs = units.asset_refs(self.recipe, units.needed_assets(views), self.driver.run)
        specs = units.collect_specs(self.recipe, listed, refs)
        receipts = self.driver.run_phase("collect", specs, lambda: self.compile_kernels(views))
        units.check_tiles(listed, receipts)
        self.quarantined = [found for receipt in receipts for found in receipt.quarantined]
        for receipt in receipts:
            pairs = zip(receipt.files("documents"), receipt.files("signals"), strict=True)
            self.parts += [Part(documents, signals) for documents, signals in pairs]
        self.kept = total_flow(receipts, "kept")
        if not self.parts:
            reasons = Counter[str]()
            for receipt in receipts:
                reasons.update(
                    {name: n for name, n in receipt.stats.items() if name.startswith(("error.", "skipped."))}
                )
            told = ", ".join(f"{count} {name}" for name, count in reasons.most_common(5)) or "the files are empty"
            many = f"{len(listed)} input unit{'' if len(listed) == 1 else 's'}"
            raise InputError("no_documents", f"no document could be read from {many} ({told})")

    def compile_kernels(self, views: Sequence[View]) -> None:
        """Compile the text kernels once, into numba's cache on disk, instead of in every worker at the same time."""
        self.driver.progress.note("preparing text kernels; the first run on a machine compiles them")
        names = units.needed_assets(views)
        paths = tuple((name, units.local_asset(self.recipe, name)) for name in names)
        warm_up(tuple(views), self.recipe.extract, paths)

    def advance(self, phase: str, receipts: Sequence[Receipt]) -> None:
        """Check a barrier over all parts and take in each part's new verdicts."""
        check_barrier(phase, self.kept, total_flow(receipts, "in"))
        self.kept = total_flow(receipts, "kept")
        self.parts = [
            replace(part, verdicts=receipt.files("verdicts")[0])
            for part, receipt in zip(self.parts, receipts, strict=True)
        ]

    def decide(self, rules: Sequence[ResolvedRule]) -> None:
        """Apply rules to every part."""
        if not rules:
            return
        settings = {"rules": [rule.model_dump(mode="json") for rule in rules]}
        specs = [
            self.spec(
                "decide",
                part.name,
                settings | known_lost(part),
                signals=[part.signals],
                measured=part.measured,
                verdicts=[part.verdicts],
            )
            for part in self.parts
        ]
        names = dict.fromkeys(rule.reason.partition(".")[0] for rule in rules)
        phase = "decide-" + "-".join(names)
        self.advance(phase, self.run_phase(phase[:80], specs))

    def apply_changes(
        self, reason: str, changes: Sequence[Receipt], phase: str | None = None, earlier: Sequence[Receipt] = ()
    ) -> list[Receipt]:
        """Bring what a dedup step found back to the verdicts of each part. `phase` names this where it is not the end
        of the step, `earlier` is what such a round returned."""
        phase = phase or reason
        found, _ = self.gather(f"{phase}-changes", changes, CHANGE_SORT)
        specs = [
            self.spec(
                "duplicates.apply",
                part.name,
                {"reason": reason, "part": part.documents.path},
                signals=[part.signals],
                verdicts=[part.verdicts],
                runs=found,
            )
            for part in self.parts
        ]
        receipts = self.driver.run_phase(f"{phase}-apply", specs)
        arrived = sum(receipt.stats.get("changes", 0) for receipt in receipts)
        check_rows(f"{phase}-apply", sum(ref.rows for ref in found), arrived)
        step = reason.removeprefix("duplicate.")
        alarm = alarm_of(self.recipe.dedup, step)
        check_alarm(step, receipts, alarm, storage.shown(self.driver.ledger.run), earlier)
        before = self.parts
        self.advance(reason, receipts)
        rehydrate = self.recipe.mix.rehydrate
        if rehydrate is not None and rehydrate.step == step and phase == reason:
            self.parts = [
                replace(part, clusters=part.verdicts, clusters_before=old.verdicts)
                for part, old in zip(self.parts, before, strict=True)
            ]
        return receipts

    def repeating(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of a task that counts or draws documents as often as an epoch holds them."""
        rehydrate = self.recipe.mix.rehydrate
        return settings if rehydrate is None else settings | {"repeats": rehydrate.repeats}

    def gather(
        self, phase: str, receipts: Sequence[Receipt], sort: Sequence[str], name: str = "run"
    ) -> tuple[list[FileRef], int]:
        """Return the run files of a scatter, joined by merge levels while a reducer would read too many or too small
        pieces, and the number of partitions."""
        return self.gather_files(phase, [ref for receipt in receipts for ref in receipt.files(name) if ref.rows], sort)

    def gather_files(self, phase: str, files: Sequence[FileRef], sort: Sequence[str]) -> tuple[list[FileRef], int]:
        """Return run files, joined as by `gather`, and the number of partitions."""
        runs = list(files)
        total = sum(ref.bytes for ref in runs)
        partitions = exchange.partition_count(total, self.recipe.engine.partition_bytes)
        while groups := exchange.merge_groups(len(runs), total, partitions):
            specs = [
                self.spec(
                    "merge",
                    f"{phase} {group.start}-{group.stop - 1}",
                    {"sort": list(sort)},
                    runs=[runs[index] for index in group],
                )
                for group in groups
            ]
            merged = self.driver.run_phase(f"{phase}-merge", specs)
            runs = [receipt.files("run")[0] for receipt in merged]
        return runs, partitions

    def reduce(self, phase: str, partitions: int, make: Callable[[int, dict[str, Any]], TaskSpec]) -> list[Receipt]:
        """Run one task per partition of an exchange."""
        spans = [exchange.partition_range(index, partitions) for index in range(partitions)]
        # 2**64 is no JSON number that every reader keeps: bounds travel as text
        specs = [make(index, {"range": [str(low), str(high)]}) for index, (low, high) in enumerate(spans)]
        receipts = self.driver.run_phase(phase, specs)
        sent = {ref.path: ref.rows for spec in specs for ref in spec.inputs.get("runs", ())}
        check_rows(phase, sum(sent.values()), sum(receipt.stats.get("rows", 0) for receipt in receipts))
        return receipts

    def sample_key(self, sample_bytes: int) -> int:
        """Return the last selection key of a sample of about so much of the kept text."""
        tally = self.tally()
        kept = (count for key, count in tally.items() if key.startswith("tally|") and key.endswith("|kept|bytes"))
        return mixing.sample_threshold(sample_bytes, sum(kept))

    def tokenize(self, tokenizer: Sequence[FileRef]) -> None:
        """Encode every document of every part."""
        settings = self.recipe.tokenizer
        assert settings is not None
        common = {
            "add_bos": settings.add_bos,
            "add_eos": settings.add_eos,
            "tokenizer_name": settings.name or "",
            "views": self.views_to(final_view(self.recipe)),
            "view": final_view(self.recipe),
        }
        specs = [
            self.spec(
                "tokenize",
                part.name,
                common | known_lost(part),
                **self.text_inputs(final_view(self.recipe), part),
                tokenizer=tokenizer,
            )
            for part in self.parts
        ]
        receipts = self.run_phase("tokenize", specs)
        self.parts = [
            replace(part, tokens=receipt.files("tokens")[0]) for part, receipt in zip(self.parts, receipts, strict=True)
        ]

    def tally(self) -> Counter[str]:
        """Count documents, bytes and tokens by source, language and outcome."""
        seed, budget = self.recipe.mix.seed, self.recipe.mix.tokens is not None
        specs = [
            self.spec(
                "tally",
                part.name,
                self.repeating({"mix_seed": seed}) if budget else {"mix_seed": None},
                signals=[part.signals],
                measured=part.measured,
                verdicts=[part.verdicts],
                tokens=[part.tokens],
                clusters=[part.clusters if budget else None],
                clusters_before=[part.clusters_before if budget else None],
            )
            for part in self.parts
        ]
        total: Counter[str] = Counter()
        receipts = self.driver.run_phase("tally", specs)
        check_barrier("tally", self.kept, total_flow(receipts, "kept"))
        for receipt in receipts:
            total.update(receipt.stats)
        return total
