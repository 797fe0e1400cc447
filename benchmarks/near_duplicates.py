"""The whole MinHash step, verification included, against datatrove's four stages, datasketch's index and rensa.

The documents are pieces of what is installed on the machine, with copies planted among them in which 1, 3 or 5% of the
words are others. A planted copy is found when not both it and its original are kept. Every side starts from the same
JSONL; reading it is measured on no side but datatrove's, whose first and last stage do it. `curate` has collected the
documents before: what is measured is the run that resumes with the step in its recipe, engine and all.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import xxhash

from benchmarks import installed, ours, peers
from benchmarks.inputs import Inputs, SkippedError
from benchmarks.measure import Meter, Row, Sample, against, divided, verdict
from benchmarks.memory import watched

TITLE: Final = "Near-duplicates"
DOCUMENTS: Final = 208_000
PLANTED: Final = 32_000
PIECE_BYTES: Final = 3_000
EDITED: Final = (0.01, 0.03, 0.05)
MIN_WORDS: Final = 50
WORD: Final = re.compile(r"\S+")
WARM_UP_DOCUMENTS: Final = 2_000
NGRAM: Final = 5
BANDS, ROWS, PERMUTATIONS = 14, 8, 112
MOST_WORKER_MB: Final = 300
ONCE: Final = ("datatrove",)
"""A quarter of an hour: it runs once, whatever ``--runs`` says."""
OURS: Final = ("curate, 18x6 at 0.6", "curate, 14x8 at 0.8")
SIDES: Final = {
    OURS[0]: "benchmarks.near_duplicates:at_wide_shape",
    OURS[1]: "benchmarks.near_duplicates:at_fineweb_shape",
    "curate, two workers": "benchmarks.near_duplicates:on_ray",
    "datatrove": "benchmarks.near_duplicates:datatrove",
    "datasketch": "benchmarks.near_duplicates:datasketch",
    "rensa": "benchmarks.near_duplicates:rensa",
}


def corpus(inputs: Inputs, most: int = DOCUMENTS) -> Path:
    """Return the JSONL of the documents, written once per invocation: ``id`` is ``o<number>`` or, for a copy,
    ``p<number>-<share of words>`` of its original. There are `most`, or what ``CURATE_BENCH_DOCUMENTS`` says."""
    count = int(os.environ.get("CURATE_BENCH_DOCUMENTS", most))
    path = Path(inputs.folder, f"near-duplicates-{count}.jsonl")
    if path.exists():
        return path
    planted = count * PLANTED // DOCUMENTS
    draw = random.Random(0)
    partial = path.with_suffix(".part")
    written = copied = 0
    vocabulary: list[str] = []
    with partial.open("w", encoding="utf-8") as sink:
        for number, text in enumerate(installed.texts(PIECE_BYTES, 1 << 40)):
            if written == count - planted:
                break
            words = list(WORD.finditer(text))
            if number % 50 == 0:
                vocabulary += [word for word in text.split() if word.isalpha()]
            sink.write(json.dumps({"id": f"o{number}", "text": text}) + "\n")
            written += 1
            due = (written * planted) // (count - planted)
            if copied < due and len(words) >= MIN_WORDS and len(vocabulary) > 1000:
                share = EDITED[copied % len(EDITED)]
                chosen = sorted(draw.sample(words, max(1, round(share * len(words)))), key=lambda word: -word.start())
                for word in chosen:
                    text = text[: word.start()] + draw.choice(vocabulary) + text[word.end() :]
                sink.write(json.dumps({"id": f"p{number}-{share}", "text": text}) + "\n")
                copied += 1
    partial.rename(path)
    return path


def documents(inputs: Inputs, most: int = DOCUMENTS) -> Iterator[dict[str, str]]:
    """Yield the documents of the corpus."""
    with corpus(inputs, most).open(encoding="utf-8") as source:
        for line in source:
            yield json.loads(line)


def few_documents(inputs: Inputs, most: int = DOCUMENTS) -> Path:
    """Return a file with the first documents of the corpus, to warm up with."""
    path = Path(inputs.output("few"), "few.jsonl")
    path.parent.mkdir()
    with corpus(inputs, most).open(encoding="utf-8") as source:
        path.write_text("".join(itertools.islice(source, WARM_UP_DOCUMENTS)), encoding="utf-8")
    return path


def judged(inputs: Inputs, kept: set[str], most: int = DOCUMENTS) -> dict[str, Any]:
    """Return the facts of a side that kept these ids: how much there was, and the share of planted copies found."""
    total = size = 0
    found: dict[str, list[bool]] = {str(share): [] for share in EDITED}
    for document in documents(inputs, most):
        total += 1
        size += len(document["text"].encode())
        if document["id"].startswith("p"):
            original, _, share = document["id"][1:].partition("-")
            found[share].append(not (document["id"] in kept and f"o{original}" in kept))
    return {
        "documents": total,
        "bytes": size,
        "kept": len(kept),
        "found": {share: sum(values) / max(1, len(values)) for share, values in found.items()},
    }


WIDE_SHAPE: Final = "bands = 18\nrows = 6\nthreshold = 0.6"


def at_wide_shape(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """18 bands of 6 rows, 108 permutations where the peers have 112, verified at Jaccard 0.6: finds more than any of
    them."""
    return run_step(inputs, meter, WIDE_SHAPE)


def on_ray(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The same on Ray with two workers, whose memory is read five times a second."""
    with watched() as peaks:
        facts = run_step(inputs, meter, WIDE_SHAPE, executor="ray", workers=2)
    return facts | {"worker_mib": max(peaks.values(), default=0.0)}


def at_fineweb_shape(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """14 bands of 8 rows, verified at Jaccard 0.8."""
    return run_step(inputs, meter, 'preset = "fineweb"\nthreshold = 0.8')


def run_step(
    inputs: Inputs, meter: Meter, settings: str, executor: str = "inline", workers: int | None = None
) -> dict[str, Any]:
    """Measure the step in a run that has collected the documents."""
    shape = f'unit = "words"\nngram = {NGRAM}\n{settings}'
    files = corpus(inputs), few_documents(inputs)
    output, receipts = ours.run_step(inputs, meter, *files, "minhash", shape, executor, workers)
    return judged(inputs, kept_names(output)) | {"stages": ours.counted(receipts)["stages"]}


def kept_names(output: str) -> set[str]:
    """Return the names of the documents that a run keeps."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from curate.report.run_folder import read_run

    found: set[str] = set()
    for part in read_run(output).parts():
        names = pq.read_table(os.path.join(output, part.documents.path), columns=["url"]).column("url")
        assert part.verdicts is not None
        keep = pq.read_table(os.path.join(output, part.verdicts.path), columns=["keep"]).column("keep")
        found.update(pc.filter(names, keep).to_pylist())
    return found


def datatrove(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """Signatures, buckets, clusters and filter of datatrove, one task each on one worker, English word splitter."""
    peers.load()
    for package in ("tokenizers", "orjson"):
        if importlib.util.find_spec(package) is None:
            raise SkippedError(f"needs {package}: pip install {package}")
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter
    from datatrove.utils.hashes import xxhash as hashes

    # it hashes strings, which xxhash 4 refuses; to encode them is what xxhash did before
    hashes.xxhash = SimpleNamespace(xxh64_intdigest=lambda text: xxhash.xxh64_intdigest(text.encode()))
    config = MinhashConfig(n_grams=NGRAM, num_buckets=BANDS, hashes_per_bucket=ROWS)

    def run(file: Path, output: str) -> None:
        def reader() -> Any:
            return JsonlReader(str(file.parent), glob_pattern=file.name)

        stages: list[tuple[list[Any], int]] = [
            ([reader(), MinhashDedupSignature(f"{output}/signatures", config=config)], 1),
            ([MinhashDedupBuckets(f"{output}/signatures", f"{output}/buckets", config=config)], BANDS),
            ([MinhashDedupCluster(f"{output}/buckets", f"{output}/remove", config=config)], 1),
            ([reader(), MinhashDedupFilter(f"{output}/remove"), JsonlWriter(f"{output}/kept", compression=None)], 1),
        ]
        for number, (steps, tasks) in enumerate(stages):
            LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=f"{output}/logs{number}").run()

    run(few_documents(inputs), inputs.output("warm-up"))
    output = inputs.output("run")
    with meter:
        run(corpus(inputs), output)
    kept: set[str] = set()
    for path in Path(output, "kept").iterdir():
        with path.open(encoding="utf-8") as source:
            kept.update(json.loads(line)["id"] for line in source)
    return judged(inputs, kept)


def datasketch(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """datasketch's MinHash.bulk and its index, documents in memory; a document with a hit in the index goes."""
    from datasketch import MinHash, MinHashLSH

    given = list(documents(inputs))
    kept: set[str] = set()
    with meter:
        index = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
        for start in range(0, len(given), 1000):
            chunk = given[start : start + 1000]
            shingles = [[" ".join(gram).encode() for gram in word_ngrams(document["text"])] for document in chunk]
            hashed = MinHash.bulk(shingles, num_perm=PERMUTATIONS, hashfunc=xxhash.xxh32_intdigest)
            for document, grams, signature in zip(chunk, shingles, hashed, strict=True):
                if not grams or not index.query(signature):
                    kept.add(document["id"])
                if grams:
                    index.insert(document["id"], signature)
    return judged(inputs, kept)


def rensa(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """rensa's signatures from lists of word 5-grams and its one-shot index, documents in memory."""
    if importlib.util.find_spec("rensa") is None:
        raise SkippedError("needs rensa: pip install rensa")
    from rensa import RMinHash, RMinHashLSH

    given = list(documents(inputs))
    with meter:
        index = RMinHashLSH(threshold=0.8, num_perm=PERMUTATIONS, num_bands=BANDS)
        flags: list[bool] = []
        for start in range(0, len(given), 1000):
            chunk = given[start : start + 1000]
            grams = [[" ".join(gram) for gram in word_ngrams(document["text"])] for document in chunk]
            matrix = RMinHash.digest_matrix_from_token_sets(grams, num_perm=PERMUTATIONS, seed=1)
            seen = index.insert_matrix_and_query_duplicate_flags(matrix, start)
            flags += [bool(flag) and bool(gram) for flag, gram in zip(seen, grams, strict=True)]
    return judged(inputs, {document["id"] for document, flag in zip(given, flags, strict=True) if not flag})


def word_ngrams(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the word 5-grams of a text as the peers' users make them: lower case, words between white space."""
    words = text.lower().split()
    return zip(*(words[first:] for first in range(NGRAM)), strict=False)


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    table = []
    wanted = {"datatrove": 40.0, "datasketch": 10.0, "rensa": 3.0}
    for ours_name in OURS:
        for other, least in wanted.items():
            table.append(
                against(f"{ours_name}; {other}", samples[ours_name], samples[other], "documents", wanted=least)
            )
    for name, runs in samples.items():
        for sample in runs[:1]:
            found = ", ".join(f"{value:.4f}" for value in sample.facts["found"].values())
            what = f"{name}: planted copies found with 1, 3, 5% of words edited; peak memory"
            table.append(Row(what, found, f"{sample.peak_mib:,.0f} MiB"))
    for sample in samples["curate, two workers"][:1]:
        peak = sample.facts["worker_mib"]
        aim = verdict(f"< {MOST_WORKER_MB} MB", -peak, -MOST_WORKER_MB * 1e6 / (1 << 20))
        table.append(Row("curate, two workers: peak memory of a worker", f"{peak:,.0f} MiB", wanted=aim))
    if samples[OURS[0]]:
        told = divided(samples[OURS[0]], "stages")
        table.append(Row(f"{OURS[0]}: CPU-s of the run, by stage (collect was done before)", told))
    return table
