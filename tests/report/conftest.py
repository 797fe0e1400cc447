"""A small run folder, written through the engine's own receipts and plans but without running a stage."""

from __future__ import annotations

import pathlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from curate.engine.ledger import FOLDERS, write_plan
from curate.engine.receipts import write_receipt
from curate.engine.tasks import FLOWS, FileRef, Flow, Receipt, TaskSpec
from curate.filters.decide import decide
from curate.filters.rules import Limit, ResolvedRule
from curate.schema import DOCUMENT, REJECT, VERDICT, named_schema

MEAN_LENGTH = ResolvedRule(
    reason="quality.mean_length", signal="words.mean_length", low=Limit(value=3), high=Limit(value=10)
)
WORDS = ResolvedRule(reason="quality.words", signal="words.count", low=Limit(value=50))
LANGUAGE = ResolvedRule(reason="language.code", signal="language.code", any_of=("en", "de"))
MARKED = ResolvedRule(reason="quality.long", signal="words.count", high=Limit(value=1000), action="mark")
RULES = (LANGUAGE, WORDS, MEAN_LENGTH, MARKED)


def identity(number: int) -> bytes:
    return xxhash.xxh3_128_digest(b"document %d" % number)


@dataclass
class Doc:
    """A document of the run to build; `duplicate_of` drops it for another."""

    number: int
    words: int | None = 100
    mean_length: float = 5.0
    language: str = "en"
    source: str = "web"
    text: str = "Some text."
    url: str | None = None
    duplicate_of: int | None = None


@dataclass
class Builder:
    """Writes the phases of a run, one call each; nothing is written that is not asked for."""

    folder: pathlib.Path
    parts: list[list[Doc]]
    recipe: str = 'name = "little"\n'
    stats: dict[str, int] = field(default_factory=lambda: {"skipped.revisit": 2, "error.empty": 1})
    rules: Sequence[ResolvedRule] = RULES
    phases: int = 0
    verdicts: dict[int, pa.Table] = field(default_factory=dict)

    def start(self) -> Builder:
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "recipe.toml").write_text(self.recipe)
        return self

    def phase(self, name: str, stage: str, receipts: Sequence[dict[str, Any]], done: int | None = None) -> None:
        """Write a plan file of one task per receipt, and the receipts of the first `done` tasks."""
        specs = [
            TaskSpec(
                stage,
                1,
                "map",
                "none:none",
                told["unit"],
                told["settings"],
                {"in": (FileRef("", f"{self.phases} {n}"),)},
            )
            for n, told in enumerate(receipts)
        ]
        write_plan(str(self.folder), self.phases, name, specs)
        self.phases += 1
        for spec, told in list(zip(specs, receipts, strict=True))[:done]:
            flows = {name: Flow() for name in FLOWS} | told.get("flows", {})
            outputs = told.get("outputs", {})
            stats = told.get("stats", {})
            quarantined = told.get("quarantined", [])
            receipt = Receipt(spec.key, stage, spec.unit, outputs, flows, stats, {}, quarantined, {})
            write_receipt(str(self.folder), receipt)

    def write(self, place: str, table: pa.Table) -> FileRef:
        path = self.folder / place
        # two row groups, so that rows are found across them
        pq.write_table(table, path, row_group_size=max(1, len(table) // 2))
        return FileRef(place, "content", path.stat().st_size, len(table))

    def collect(self, done: int | None = None, quarantined: Sequence[dict[str, Any]] = ()) -> Builder:
        told = []
        for number, docs in enumerate(self.parts):
            ids = [identity(doc.number) for doc in docs]
            rows = [
                {"id": one, "text": doc.text, "url": doc.url, "source": doc.source}
                for one, doc in zip(ids, docs, strict=True)
            ]
            signals = pa.table(
                {
                    "id": pa.array(ids, pa.binary(16)),
                    "source": [doc.source for doc in docs],
                    "words.count": pa.array([doc.words for doc in docs], pa.int64()),
                    "words.mean_length": pa.array([doc.mean_length for doc in docs], pa.float64()),
                    "language.code": [doc.language for doc in docs],
                }
            ).replace_schema_metadata(named_schema("signals", []).metadata)
            outputs = {
                "documents": (self.write(f"documents/p{number}.parquet", pa.Table.from_pylist(rows, DOCUMENT)),),
                "signals": (self.write(f"signals/p{number}.parquet", signals),),
            }
            errors = self.stats.get("error.empty", 0) if number == 0 else 0
            if errors:
                reject = {
                    "id": identity(900),
                    "url": "https://a.example/\x1b[31mred",
                    "source": "web",
                    "reason": "error.empty",
                    "detail": "the page holds no text",
                }
                outputs["rejects"] = (self.write("rejects/p0.parquet", pa.Table.from_pylist([reject], REJECT)),)
            stats = self.stats if number == 0 else {}
            kept = Flow()
            kept.add(pa.array(ids, pa.binary(16)))
            told.append(
                {
                    "unit": f"web/file-{number}",
                    "settings": {"source": docs[0].source if docs else "web", "number": number},
                    "outputs": outputs,
                    "stats": {**stats, "records": len(docs) + sum(stats.values())},
                    "flows": {"in": Flow(len(docs) + errors), "kept": kept, "errors": Flow(errors)},
                    "quarantined": list(quarantined) if number == 0 else [],
                }
            )
        self.phase("collect", "collect", told, done)
        return self

    def duplicates(self, reason: str = "duplicate.exact") -> Builder:
        """Drop what is marked as a duplicate."""
        told = []
        for number, docs in enumerate(self.parts):
            before = self.verdicts.get(number)
            rows = before.to_pylist() if before is not None else [self._kept(doc) for doc in docs]
            dropped = 0
            for row, doc in zip(rows, docs, strict=True):
                if doc.duplicate_of is not None and row["keep"] and reason == "duplicate.exact":
                    row |= {"keep": False, "reason": reason, "kept_id": identity(doc.duplicate_of)}
                    dropped += 1
            told.append(self._verdicts(number, rows, dropped, reason, {"reason": reason, "part": f"p{number}"}))
        self.phase(f"{reason}-apply", "duplicates.apply", told)
        return self

    @staticmethod
    def _kept(doc: Doc) -> dict[str, Any]:
        return {"id": identity(doc.number), "keep": True, "failed": [], "marks": []}

    def decide(self, done: int | None = None) -> Builder:
        settings = {"rules": [rule.model_dump(mode="json") for rule in self.rules]}
        told = []
        for number in range(len(self.parts)):
            signals = pq.read_table(self.folder / f"signals/p{number}.parquet")
            before = self.verdicts.get(number)
            found = decide(signals, self.rules, before)
            kept_before = len(found) if before is None else sum(before.column("keep").to_pylist())
            dropped = kept_before - sum(found.column("keep").to_pylist())
            told.append(self._verdicts(number, found.to_pylist(), dropped, "decide", settings))
        names = "-".join(dict.fromkeys(rule.reason.partition(".")[0] for rule in self.rules))
        self.phase(f"decide-{names}", "decide", told, done)
        return self

    def _verdicts(
        self, number: int, rows: Sequence[dict[str, Any]], dropped: int, name: str, settings: dict[str, Any]
    ) -> dict[str, Any]:
        table = pa.Table.from_pylist(list(rows), VERDICT)
        self.verdicts[number] = table
        ref = self.write(f"verdicts/p{number}-{name}.parquet", table)
        flows = {"dropped": Flow(dropped), "kept": Flow(sum(row["keep"] for row in rows))}
        return {"unit": f"p{number}", "settings": settings, "outputs": {"verdicts": (ref,)}, "flows": flows}

    def tally(self, *, tokens: bool = True) -> Builder:
        told = []
        for number, docs in enumerate(self.parts):
            stats: Counter[str] = Counter()
            for row, doc in zip(self.verdicts[number].to_pylist(), docs, strict=True):
                key = f"tally|{doc.source}|{doc.language}|{row['reason'] or 'kept'}|"
                stats[key + "documents"] += 1
                stats[key + "bytes"] += len(doc.text)
                if tokens:
                    stats[key + "tokens"] += doc.words or 0
                stats.update(f"mark|{doc.source}|{mark}" for mark in row["marks"])
            kept = sum(self.verdicts[number].column("keep").to_pylist())
            flows = {"in": Flow(len(docs)), "kept": Flow(kept), "dropped": Flow(len(docs) - kept)}
            told.append({"unit": f"p{number}", "settings": {"mix_seed": None}, "stats": dict(stats), "flows": flows})
        self.phase("tally", "tally", told)
        return self


@pytest.fixture
def builder(tmp_path: pathlib.Path) -> Any:
    """Return a function that begins a run folder of the given parts."""

    def make(*parts: Sequence[Doc], **settings: Any) -> Builder:
        return Builder(tmp_path / "run", [list(part) for part in parts], **settings).start()

    return make


@pytest.fixture
def doc() -> type[Doc]:
    return Doc


@pytest.fixture
def little_run(builder: Any, doc: type[Doc]) -> Builder:
    """A finished run of two parts: 8 documents, 3 kept, 2 skipped records and 1 error."""
    first = [
        doc(0, url="https://a.example/0"),
        doc(1, words=49, url="https://a.example/1"),
        doc(2, words=10, mean_length=2.0, url="https://a.example/2"),
        doc(3, language="fr"),
    ]
    second = [doc(4, mean_length=10.5), doc(5, duplicate_of=0), doc(6, words=2000, language="de"), doc(7, words=51)]
    built: Builder = builder(first, second)
    return built.collect().duplicates("duplicate.id").decide().duplicates().tally()
