"""Steps that cut repeated text, engine and all: lines and spans of three sentences with datatrove's SentenceDedup, and
exact substrings.

The documents are those of `near_duplicates`, fewer of them. On *lines* both sides do the same: of lines with the same
words the first stays. Which copy that is differs (by id here, by the order of files there), how many go does not. On
*spans* each finds sentences in its own way: here they end with their line, too, so that sources and tables have many
short ones; spaCy's run on, and fewer of them come again. datatrove reads the JSONL in its first and last stage;
`curate` has collected the documents before, and is measured in the run that resumes with the step in its recipe.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks import ours, peers
from benchmarks.inputs import Inputs
from benchmarks.measure import Meter, Row, Sample, against, divided, rate
from benchmarks.near_duplicates import corpus, documents, few_documents

TITLE: Final = "Lines, spans and substrings"
DOCUMENTS: Final = 40_000
RUNS: Final = 1
"""Every side works for minutes: it runs once, whatever ``--runs`` says."""
SIDES: Final = {
    "curate, lines": "benchmarks.cuts:lines",
    "datatrove, lines": "benchmarks.cuts:datatrove_lines",
    "curate, spans": "benchmarks.cuts:spans",
    "datatrove, spans": "benchmarks.cuts:datatrove_spans",
    "curate, CCNet's lines": "benchmarks.cuts:ccnet",
    "curate, substrings": "benchmarks.cuts:substrings",
}


def lines(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """Lines of the same words: the first stays."""
    settings = 'normalise = "comparable"\nmax_count = 1\nkeep = "first"\nbucket_documents = "all"'
    return cut(inputs, meter, "lines", settings)


def ccnet(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """CCNet's scheme: no copy stays."""
    return cut(inputs, meter, "lines", 'preset = "ccnet"')


def spans(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """Spans of three sentences: the first stays."""
    return cut(inputs, meter, "c4_spans", "min_words = 0\nmin_sentences = 0")


def substrings(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """Passages of 200 bytes: the first stays."""
    return cut(inputs, meter, "substring", "")


def cut(inputs: Inputs, meter: Meter, step: str, settings: str) -> dict[str, Any]:
    """Measure a step that cuts, and count what it cut."""
    # as much as it likes: what is installed repeats itself
    settings += '\nalarm = "off"'
    files = corpus(inputs, DOCUMENTS), few_documents(inputs, DOCUMENTS)
    _, receipts = ours.run_step(inputs, meter, *files, step, settings)
    total: Counter[str] = Counter()
    for receipt in receipts:
        for key, count in receipt.stats.items():
            if key.startswith("cut|"):
                total[key.rpartition("|")[2]] += count
    told = ours.counted(receipts)
    return {
        "documents": told["documents"],
        "bytes": told["bytes"],
        "units": total["units"],
        "cut_bytes": total["bytes"],
        "stages": told["stages"],
    }


def datatrove_lines(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """datatrove's three stages on lines, one at a time."""
    return datatrove(inputs, meter, split_sentences=False, n_sentences=1)


def datatrove_spans(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """datatrove's three stages on three sentences of spaCy's."""
    return datatrove(inputs, meter, split_sentences=True, n_sentences=3)


def datatrove(inputs: Inputs, meter: Meter, **shape: Any) -> dict[str, Any]:
    """Signatures, search and filter of datatrove, one task each on one worker; no document is too short."""
    peers.load()
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup import SentenceDedupFilter, SentenceDedupSignature, SentenceFindDedups
    from datatrove.pipeline.dedup.sentence_dedup import SentDedupConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter
    from datatrove.utils.hashing import HashConfig

    # the hash that curate takes, too; its xxhash does not work with version 4 of the library
    config = SentDedupConfig(
        only_dedup_in_index=False, min_doc_words=0, min_num_sentences=0, hash_config=HashConfig(hash_fc="sha1"), **shape
    )

    def run(file: Path, output: str) -> None:
        def reader() -> Any:
            return JsonlReader(str(file.parent), glob_pattern=file.name)

        stages: list[list[Any]] = [
            [reader(), SentenceDedupSignature(f"{output}/signatures", config=config)],
            [SentenceFindDedups(f"{output}/signatures", f"{output}/found", config=config)],
            [
                reader(),
                SentenceDedupFilter(f"{output}/found", config=config),
                JsonlWriter(f"{output}/kept", compression=None),
            ],
        ]
        for number, steps in enumerate(stages):
            LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=f"{output}/logs{number}").run()

    run(few_documents(inputs, DOCUMENTS), inputs.output("warm-up"))
    output = inputs.output("run")
    with meter:
        run(corpus(inputs, DOCUMENTS), output)
    given, left = Counter[str](), Counter[str]()
    for document in documents(inputs, DOCUMENTS):
        count(given, document["text"])
    for path in Path(output, "kept").iterdir():
        with path.open(encoding="utf-8") as source:
            for line in source:
                count(left, json.loads(line)["text"])
    return {
        "documents": given["documents"],
        "bytes": given["bytes"],
        "units": given["lines"] - left["lines"],
        "cut_bytes": given["bytes"] - left["bytes"],
    }


def count(total: Counter[str], text: str) -> None:
    """Add a text's bytes and lines that are not blank to `total`."""
    total["documents"] += 1
    total["bytes"] += len(text.encode())
    total["lines"] += sum(not line.isspace() for line in text.splitlines() if line)


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    table = []
    for sample in samples["curate, lines"][:1]:
        amount = f"{sample.facts['documents']:,} documents, {sample.facts['bytes'] / 1e6:,.0f} MB"
        table.append(Row("text", amount, amount))
    for what, told in (("lines", "lines, the first of equal ones stays"), ("spans", "spans of three sentences")):
        table.append(against(f"{told}; datatrove", samples[f"curate, {what}"], samples[f"datatrove, {what}"], "MB"))
    for name, told in (("CCNet's lines", "CCNet's lines, none stays"), ("substrings", "substrings of 200 bytes")):
        table.append(Row(told, rate(samples[f"curate, {name}"], "MB")))
    for name, runs in samples.items():
        for sample in runs:
            facts = sample.facts
            what = f"{name}: removed; peak memory"
            share = f"{facts['cut_bytes'] / facts['bytes']:.1%} of the text"
            # of spans, datatrove's output tells no number of sentences
            number = "" if name == "datatrove, spans" else f"{facts['units']:,} units, "
            table.append(Row(what, f"{number}{share}", f"{sample.peak_mib:,.0f} MiB"))
    for name in ("curate, lines", "curate, spans", "curate, substrings"):
        if samples[name]:
            table.append(Row(f"{name}: CPU-s of the run, by stage", divided(samples[name], "stages")))
    return table
