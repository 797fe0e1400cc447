"""Training SentencePiece as LLaMA's from counted words, against its trainer on the same text, and memory as text grows.

The text is that of `train`. Both sides end in the same file, which is checked. With little room for words
(`merge_bytes`) memory stays where it is while the text grows; without that limit it follows the distinct words.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Final

from benchmarks import train
from benchmarks.inputs import Inputs
from benchmarks.measure import Meter, Row, Sample, against

TITLE: Final = "Training a SentencePiece BPE of 32,000 ids"
RUNS: Final = 1
PEER: Final = "sentencepiece"
SIDES: Final = {
    "64 MiB": "benchmarks.train_pieces:at_64",
    f"{PEER}, 64 MiB": "benchmarks.train_pieces:peer_at_64",
    "256 MiB": "benchmarks.train_pieces:at_256",
    "256 MiB, merge_bytes = 8 MiB": "benchmarks.train_pieces:tight_at_256",
    "1 GiB, merge_bytes = 8 MiB": "benchmarks.train_pieces:tight_at_1024",
}


def at_64(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """64 MiB."""
    return train.ours(inputs, meter, 64, "llama")


def at_256(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """256 MiB."""
    return train.ours(inputs, meter, 256, "llama")


def tight_at_256(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """256 MiB, with room for 8 MiB of words."""
    return train.ours(inputs, meter, 256, "llama", merge_bytes=train.TIGHT_BYTES)


def tight_at_1024(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """1 GiB, with room for 8 MiB of words."""
    return train.ours(inputs, meter, 1024, "llama", merge_bytes=train.TIGHT_BYTES)


def peer_at_64(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The trainer on the lines of 64 MiB; the loop that cuts them is ours."""
    from curate.tokenize import registry, train_spm

    path = train.text_file(inputs, 64)
    # its own way: all of the text
    train_spm.learns_from_counts = lambda settings: False
    with meter:
        files = train_spm.train_sentencepiece(train.blocks(path), train_spm.LLAMA_VOCABULARY)
    sha256 = registry.from_files(files).sha256
    return {"documents": 0, "bytes": os.path.getsize(path), "sha256": sha256}


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    table = []
    for name, runs in samples.items():
        rival = samples.get(f"{PEER}, {name}")
        if rival and runs:
            row = against(f"{name}; {PEER}", runs, rival, "MB")
            same = {sample.facts["sha256"] for sample in [*runs, *rival]}
            table.append(replace(row, wanted=f"the same file {'✓' if len(same) == 1 else '✗'}"))
    return table + train.memory_rows(samples, PEER)
