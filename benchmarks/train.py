"""Training a byte-level BPE of Llama 3's size, against rustbpe, and its peak memory while the text grows.

The text is what is installed on the machine (see `installed`): 64 MiB, 256 MiB and 1 GiB of it, or what there is. Both
sides read the same file in blocks and are measured from its first byte to the last rank. `curate` also trains with
little room for words (`merge_bytes`), to show that its memory then stays where it is. rustbpe runs on one thread, as
everything here does, and on the smaller sizes only.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks import installed
from benchmarks.inputs import Inputs
from benchmarks.measure import Meter, Row, Sample, against

TITLE: Final = "Training a byte-level BPE of 128,256 ids"
RUNS: Final = 1
"""The longest side takes minutes: every side runs once, whatever ``--runs`` says."""
PIECE_BYTES: Final = 200_000
TIGHT_BYTES: Final = 8 << 20
RUST: Final = "rustbpe"
SIDES: Final = {
    "64 MiB": "benchmarks.train:at_64",
    f"{RUST}, 64 MiB": "benchmarks.train:rust_at_64",
    "256 MiB": "benchmarks.train:at_256",
    f"{RUST}, 256 MiB": "benchmarks.train:rust_at_256",
    "256 MiB, merge_bytes = 8 MiB": "benchmarks.train:tight_at_256",
    "1 GiB": "benchmarks.train:at_1024",
    "1 GiB, merge_bytes = 8 MiB": "benchmarks.train:tight_at_1024",
}


def text_file(inputs: Inputs, size_mib: int) -> str:
    """Return a text file of at most so many MiB, written once per invocation."""
    path = Path(inputs.folder, f"installed-{size_mib}.txt")
    if not path.exists():
        partial = path.with_suffix(".part")
        with partial.open("w", encoding="utf-8") as sink:
            for text in installed.texts(PIECE_BYTES, size_mib << 20):
                sink.write(text)
        partial.rename(path)
    return str(path)


def blocks(path: str) -> Iterator[str]:
    """Yield the text in blocks of a MiB, as the command reads it."""
    from curate.pipelines.texts import list_texts, read_texts
    from curate.readers import ReadSettings

    return read_texts(list_texts([path]), ReadSettings(), Counter())


def ours(inputs: Inputs, meter: Meter, size_mib: int, preset: str = "llama3", **settings: int) -> dict[str, Any]:
    """Count, add up and learn, as `curate tokenizer train` does."""
    from curate.pipelines.train_settings import TrainSettings
    from curate.pipelines.training import train_on_texts

    path = text_file(inputs, size_mib)
    wanted = TrainSettings.model_validate({"preset": preset, **settings})
    train_on_texts(["warm up"] * 4, TrainSettings(kind=wanted.kind, vocab_size=266))
    with meter:
        files = train_on_texts(blocks(path), wanted)
    card = json.loads(files["card.json"])
    told = {name: card["trained_on"][name] for name in ("bytes", "learned_from", "least_count")}
    return {"documents": 0, "sha256": card["sha256"], **told}


def rust(inputs: Inputs, meter: Meter, size_mib: int) -> dict[str, Any]:
    """rustbpe on the same blocks."""
    import rustbpe

    from curate.tokenize import bpe

    path = text_file(inputs, size_mib)
    trainer = rustbpe.Tokenizer()
    with meter:
        parts = (part for block in blocks(path) for part in bpe.blocks(block))
        trainer.train_from_iterator(parts, bpe.LLAMA3_RANKS, 256, bpe.LLAMA3_PATTERN)
        trainer.get_mergeable_ranks()
    return {"documents": 0, "bytes": os.path.getsize(path)}


def at_64(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """64 MiB."""
    return ours(inputs, meter, 64)


def at_256(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """256 MiB."""
    return ours(inputs, meter, 256)


def at_1024(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """1 GiB."""
    return ours(inputs, meter, 1024)


def tight_at_256(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """256 MiB, with room for 8 MiB of words."""
    return ours(inputs, meter, 256, merge_bytes=TIGHT_BYTES)


def tight_at_1024(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """1 GiB, with room for 8 MiB of words."""
    return ours(inputs, meter, 1024, merge_bytes=TIGHT_BYTES)


def rust_at_64(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """rustbpe on 64 MiB."""
    return rust(inputs, meter, 64)


def rust_at_256(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """rustbpe on 256 MiB."""
    return rust(inputs, meter, 256)


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    table = []
    for name, runs in samples.items():
        rival = samples.get(f"{RUST}, {name}")
        if rival and runs:
            table.append(against(f"{name}; rustbpe", runs, rival, "MB"))
    return table + memory_rows(samples, RUST)


def memory_rows(samples: dict[str, list[Sample]], peer: str) -> list[Row]:
    """Return a row with the peak memory of each run; the sides whose names begin with `peer` are the other's."""
    table = []
    for name, runs in samples.items():
        for sample in runs:
            facts = sample.facts
            words = "learned_from" in facts
            kept = f"{facts['learned_from']:,} words, {facts['least_count']} times or more" if words else ""
            told = f"{sample.wall_s:,.0f} s wall, {sample.cpu_s:,.0f} CPU-s"
            peak = f"{sample.peak_mib:,.0f} MiB"
            ours_cell, other = ("", f"{peak}, {told}") if name.startswith(peer) else (f"{peak}, {told}", "")
            table.append(Row(f"peak memory: {name}, {facts['bytes'] / 1e6:,.0f} MB", ours_cell, other, "", kept))
    return table
