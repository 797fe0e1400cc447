"""The phases of a MinHash step; `near_duplicates.py` explains what its tasks do."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from curate.dedup import DEDUPS
from curate.dedup.minhash import MinHashSettings, detection_curve
from curate.engine.driver import check_barrier, total_flow
from curate.engine.tasks import FileRef, Receipt, TaskSpec
from curate.pipelines.near_duplicate_components import CHANGED, LINK_SORT
from curate.pipelines.near_duplicate_sets import REQUEST_SORT, SET_SORT
from curate.pipelines.near_duplicates import COMPARED, EDGE_SORT, SIMILAR
from curate.pipelines.older_runs import OlderFile, older_files
from curate.pipelines.signatures import BAND_SORT, MEET_SORT, SHAPING
from curate.pipelines.standing import standing_settings

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Part, Pipeline

NOT_IN_KEYS: Final = ("against", "max_edges_in_memory")
"""Settings that are no part of a task: older runs are known by the contents of their files, and where components are
found shapes nothing."""
REASON: Final = "duplicate."


class Side(NamedTuple):
    """A documents file as it takes part in a step: its name in messages, the name that rows are sent to, how many rows
    it has, and its files. `part` is None for one of an older run, `sets` where signatures are compared."""

    name: str
    handle: str
    rows: int
    signatures: FileRef
    verdicts: FileRef | None
    sets: FileRef | None = None
    part: Part | None = None


def near_duplicate_phases(reason: str) -> list[str]:
    """Return the phases of a MinHash step with one round of comparisons each; more come as they are needed, and others
    before them with older runs."""
    compared = [f"{reason}-{which}-0-{what}" for which in ("verify", "final") for what in ("sets", "compare")]
    return [
        f"{reason}-sign", f"{reason}-bands", f"{reason}-stars", *compared[:2], f"{reason}-components", *compared[2:],
        f"{reason}-apply",
    ]  # fmt: skip


def find_near_duplicates(
    pipeline: Pipeline, reason: str, kind: str, settings: Mapping[str, Any], view: str | None
) -> None:
    """Run one MinHash step; `near_duplicates.py` explains it."""
    step = _Step(
        pipeline, reason, settings, {"version": DEDUPS[kind].version, "view": view, "views": pipeline.views_to(view)}
    )
    signed = step.sign()
    pipeline.signatures[reason.removeprefix(REASON)] = [receipt.files("signatures")[0] for receipt in signed]
    older = older_files(pipeline.recipe, reason.removeprefix(REASON))
    executed = len(pipeline.driver.executed)
    met: list[Receipt] = []
    if older:
        pipeline.older[reason.removeprefix(REASON)] = sorted({file.identity for file in older})
        met = pipeline.apply_changes(reason, step.meet(older, signed), phase=f"{reason}-older")
    sides = step.sides(signed)
    edges = step.compare("verify", step.find_stars("", sides), sides)
    verified = [ref for receipt in edges for ref in receipt.files("run") if ref.rows]
    joined = step.join(verified) if verified else []
    changes = [*joined, *step.compare("final", joined, sides)]
    if len(pipeline.driver.executed) > executed:
        pipeline.driver.progress.note(step.cost())
    pipeline.apply_changes(reason, changes, earlier=met)


class _Step:
    """The exchanges of one step, and what its comparisons came to."""

    def __init__(
        self, pipeline: Pipeline, reason: str, settings: Mapping[str, Any], versions: Mapping[str, Any]
    ) -> None:
        self._pipeline = pipeline
        self._reason = reason
        self._chosen = MinHashSettings.model_validate(settings)
        self._settings = {key: value for key, value in settings.items() if key not in NOT_IN_KEYS}
        self._text = versions
        self._standing = standing_settings(pipeline.recipe, settings)
        self._compared = self._similar = self._moved_bytes = 0

    def sign(self) -> list[Receipt]:
        """Store the signatures and sets of all kept documents; return a receipt for each part. Bands, rows and the
        threshold are no part of these tasks."""
        pipeline, chosen = self._pipeline, self._chosen
        shaping = {name: self._settings[name] for name in (*SHAPING, "scope")} | {"bands": 1, "rows": 1}
        common = {
            "settings": shaping,
            "keep_sets": chosen.verify == "exact",
            "priorities": {},
            "crawls": self._standing["crawls"],
            **self._text,
        }
        specs = [
            pipeline.spec(
                "minhash.sign",
                part.name,
                common,
                **pipeline.text_inputs(self._text["view"], part),
                signals=[part.signals],
                measured=part.measured,
                verdicts=[part.verdicts],
            )
            for part in pipeline.parts
        ]
        curve = detection_curve(chosen, (0.6, 0.7, 0.8, 0.9))
        found = ", ".join(f"{share:.0%} of pairs at {similarity}" for similarity, share in curve.items())
        told = f"{self._reason}: {chosen.bands} bands of {chosen.rows} rows find {found}"
        receipts = pipeline.run_phase(f"{self._reason}-sign", specs, lambda: pipeline.driver.progress.note(told))
        check_barrier(self._reason, pipeline.kept, total_flow(receipts, "in"))
        return receipts

    def sides(self, signed: Sequence[Receipt]) -> list[Side]:
        """Return the parts of this run, with the verdicts that they have now."""
        return [
            Side(
                part.name,
                part.documents.path,
                part.documents.rows,
                receipt.files("signatures")[0],
                part.verdicts,
                next(iter(receipt.files("sets")), None),
                part,
            )
            for part, receipt in zip(self._pipeline.parts, signed, strict=True)
        ]

    def meet(self, older: Sequence[OlderFile], signed: Sequence[Receipt]) -> list[Receipt]:
        """Find this run's documents that are near one that an older run kept, by their signatures."""
        theirs = [Side(file.name, file.identity, file.rows, file.signatures, file.verdicts) for file in older]
        sides = [*theirs, *self.sides(signed)]
        return self.compare("older", self.find_stars("-older", sides), sides)

    def find_stars(self, which: str, sides: Sequence[Side]) -> list[Receipt]:
        """Cut signatures into bands, and ask for the comparison of documents that share one."""
        pipeline, reason = self._pipeline, self._reason
        meets = any(side.part is None for side in sides)
        shape = {name: self._settings[name] for name in (*SHAPING, "bands", "rows")}
        specs = [
            pipeline.spec(
                "minhash.bands",
                side.name,
                {"settings": shape, "part": side.handle, "rows": side.rows}
                | ({"new": int(side.part is not None)} if meets else {}),
                signatures=[side.signatures],
                verdicts=[side.verdicts],
            )
            for side in sides
        ]
        receipts = pipeline.driver.run_phase(f"{reason}{which}-bands", specs)
        runs, partitions = pipeline.gather(f"{reason}{which}-bands", receipts, MEET_SORT if meets else BAND_SORT)
        return self._reduce("minhash.stars", f"{reason}{which}-stars", runs, partitions, {"meets": meets})

    def compare(self, which: str, asked: Sequence[Receipt], sides: Sequence[Side]) -> list[Receipt]:
        """Compare members with the leaders of their stars, round after round, until every document is settled. One
        round is enough unless the leaders of a star outgrow their memory; each settles one document of every star at
        the least."""
        pipeline, reason = self._pipeline, self._reason
        settings = {"settings": self._settings, "final": which == "final", "older": which == "older"}
        done: list[Receipt] = []
        for number in itertools.count():
            phase = f"{reason}-{which}-{number}"
            requests, _ = pipeline.gather(phase, asked, REQUEST_SORT, "requests")
            if not requests:
                break
            specs = [self._send(side, requests, by_signature=which == "older") for side in sides]
            sent = pipeline.driver.run_phase(f"{phase}-sets", specs)
            self._moved_bytes += sum(ref.bytes for receipt in sent for ref in receipt.files("run"))
            runs, partitions = pipeline.gather(f"{phase}-sets", sent, SET_SORT)
            asked = self._reduce("minhash.compare", f"{phase}-compare", runs, partitions, settings)
            self._compared += sum(receipt.stats.get(COMPARED, 0) for receipt in asked)
            self._similar += sum(receipt.stats.get(SIMILAR, 0) for receipt in asked)
            done += asked
        return done

    def _send(self, side: Side, requests: Sequence[FileRef], *, by_signature: bool) -> TaskSpec:
        """Return the task that sends what is compared of one side's documents."""
        common = {"settings": self._settings, "part": side.handle}
        if by_signature:
            return self._pipeline.spec("minhash.sets", side.name, common, signatures=[side.signatures], runs=requests)
        assert side.part is not None
        return self._pipeline.spec(
            "minhash.sets",
            side.name,
            {**common, **self._standing},
            sets=[side.sets],
            signatures=[] if side.sets else [side.signatures],
            signals=[side.part.signals],
            measured=side.part.measured,
            runs=requests,
        )

    def join(self, edges: Sequence[FileRef]) -> list[Receipt]:
        """Find the components of all edges, and what they settle; ask for the comparison of the documents of each other
        one with the best."""
        pipeline, reason = self._pipeline, self._reason
        if sum(ref.rows for ref in edges) <= self._chosen.max_edges_in_memory:
            spec = pipeline.spec("minhash.components", reason, {}, runs=edges)
            return pipeline.driver.run_phase(f"{reason}-components", [spec])
        runs, partitions = pipeline.gather_files(f"{reason}-links", edges, EDGE_SORT)
        linked = self._reduce("minhash.links", f"{reason}-links", runs, partitions, {})
        for number in itertools.count():
            changed = 0
            for large in (True, False):
                phase = f"{reason}-links-{number}-{'large' if large else 'small'}"
                runs, partitions = pipeline.gather(phase, linked, LINK_SORT)
                linked = self._reduce("minhash.shrink", phase, runs, partitions, {"large": large})
                changed += sum(receipt.stats.get(CHANGED, 0) for receipt in linked)
            if not changed:
                break
        runs, partitions = pipeline.gather(f"{reason}-components", linked, LINK_SORT)
        return self._reduce("minhash.ask", f"{reason}-components", runs, partitions, {})

    def _reduce(
        self, stage: str, phase: str, runs: Sequence[FileRef], partitions: int, settings: Mapping[str, Any]
    ) -> list[Receipt]:
        return self._pipeline.reduce(
            phase,
            partitions,
            lambda index, span: self._pipeline.spec(stage, f"{self._reason} {index}", {**settings, **span}, runs=runs),
        )

    def cost(self) -> str:
        """Return what verification came to, as a sentence."""
        sets = ["shingle sets"] if self._chosen.verify == "exact" else []
        signatures = ["signatures"] if self._chosen.against or not sets else []
        what = " and ".join(sets + signatures)
        return (
            f"{self._reason}: verification: {self._compared:,} pairs compared, {self._similar:,} similar, "
            f"{self._moved_bytes:,} bytes of {what} moved"
        )
