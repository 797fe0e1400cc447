"""Small inputs and recipes that lead through what the small recipe on the sample crawl does not: the other formats,
layouts and kinds of tokenizer, a mix, a quantile, a merge level. Every input byte is written here or ships as sample.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from importlib.resources import files
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

HOSTILE: Final = (
    *("", " \n\t ", "\0\x1b[2J", "<s> </s> <|begin_of_text|>"),
    *("e\u0301\u200b\ufeff", "x" * 5000, "a\r\n\u2028b"),
)


class Road(NamedTuple):
    """Files to write into a folder, and the recipe that reads them there."""

    write: Callable[[pathlib.Path], None]
    recipe: str


def texts() -> list[str]:
    """Return paragraphs of the sample in many languages, with copies, near-copies and hostile ones between them."""
    found: list[str] = []
    for language in ("de", "en-home", "fr", "hi", "ja", "ko", "ar", "zh"):
        page = (files("curate.pipelines") / "sample" / f"{language}.md").read_text(encoding="utf-8")
        found += [part for part in page.split("\n\n") if len(part) > 60][:25]
    found += [text.upper() for text in found[::9]] + found[::7] + [f"{text} More." for text in found[::11]]
    return found + list(HOSTILE)


def write_lines(folder: pathlib.Path) -> None:
    """Write 17 small JSONL files, enough for a merge level, and one larger one, with lines that are no documents."""
    every = texts()
    for number in range(17):
        lines = [json.dumps({"body": text, "meta": {"n": number}}) for text in every[number::17]]
        (folder / f"small-{number:02}.jsonl").write_text("\n".join(lines) + "\n")
    damaged = ["{", "[1]", '{"body": 7}', '{"body": "\\ud800"}', '{"text": "elsewhere"}', "", '{"body": "last"}']
    lines = [json.dumps({"body": text, "url": f"https://a.example/{n % 50}"}) for n, text in enumerate(every)]
    (folder / "large.jsonl").write_text("\n".join([*lines, *damaged]))


def write_table(folder: pathlib.Path) -> None:
    """Write one Parquet file of several row groups, with nulls."""
    every = texts()
    columns = {
        "text": [None, *every],
        "url": [f"https://b.example/?b={n}&a=1" if n % 3 else None for n in range(len(every) + 1)],
        "date": ["2024-03-01T06:00:00Z" if n % 2 else "no date" for n in range(len(every) + 1)],
    }
    pq.write_table(pa.table(columns), folder / "table.parquet", row_group_size=60)


def write_archives(folder: pathlib.Path) -> None:
    """Write a WET and an ARC file, plain, the first one cut off in its last record."""
    every = [text.encode() for text in texts()]
    wet, arc = [], [b"filedesc://a.arc 0.0.0.0 20240301060000 text/plain 0\n\n"]
    for number, text in enumerate(every):
        head = (
            f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: https://c.example/{number}\r\n"
            f"WARC-Date: 2024-03-01T06:00:{number % 60:02}Z\r\nWARC-Record-ID: <urn:uuid:{number:032x}>\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        wet.append(head.encode() + text + b"\r\n\r\n")
        page = b"<html><body><nav><a href=/>Home</a></nav><main><p>%b</p></main></body></html>" % text
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
        line = f"http://d.example/{number} 192.0.2.1 20240301060000 text/html {len(block)}\n"
        arc.append(line.encode() + block + b"\n")
    (folder / "pages.warc.wet").write_bytes(b"".join(wet)[:-100])
    (folder / "pages.arc").write_bytes(b"".join(arc))


def write_copies(folder: pathlib.Path) -> None:
    """Write texts between lines, sentences and passages that many of them share."""
    every = texts()
    shared = [text for text in every if len(text) > 200][:4]
    lines = []
    for number, text in enumerate(every):
        parts = ["Home", f"Page {number % 9}", text, shared[number % 4][:150] if number % 5 == 0 else "", "All rights."]
        lines.append(json.dumps({"text": "\n".join(parts), "id": str(number)}))
    (folder / "copies.jsonl").write_text("\n".join(lines) + "\n")


ROADS: Final[dict[str, Road]] = {
    "lines": Road(
        write_lines,
        """
name = "lines"
steps = ["exact"]
sources = [{ name = "small", input = "small-*.jsonl" }, { name = "large", input = "large.jsonl", priority = 1 }]
read = { columns = { text = "body" }, meta = ["meta.n"] }
engine = { unit_bytes = 100_000, partition_bytes = 8_000 }
tokenizer.train = { vocab_size = 400 }
mix = { tokens = 30_000, weights = { small = 0.7, large = 0.3 } }
shards = { layout = "documents", shard_bytes = 20_000 }
""",
    ),
    "near": Road(
        write_lines,
        """
name = "near"
steps = ["minhash"]
sources = [{ name = "small", input = "small-*.jsonl", crawl = "a" }, { name = "b", input = "large.jsonl", crawl = "a" }]
read = { columns = { text = "body" } }
engine = { unit_bytes = 30_000, partition_bytes = 8_000 }
dedup.minhash = { quality = "text.characters", scope = "crawl", bands = 30, rows = 3, max_edges_in_memory = 0 }
""",
    ),
    "table": Road(
        write_table,
        """
name = "table"
steps = ["longest", "url"]
sources = [{ name = "table", input = "table.parquet" }]
engine = { unit_bytes = 20_000, partition_bytes = 20_000 }
tokenizer.train = { vocab_size = 1600, kind = "sentencepiece" }
shards = { packing = "best_fit", context_length = 64, shard_bytes = 10_000 }
[filters.longest.size]
signal = "text.characters"
min = { quantile = 0.2, per = "source" }
""",
    ),
    "cuts": Road(
        write_copies,
        """
name = "cuts"
sources = [{ name = "copies", input = "copies.jsonl" }]
steps = ["lines", "sure", "c4_lines_fineweb", "c4_spans", "long", "substring"]
engine = { unit_bytes = 30_000, partition_bytes = 10_000 }
dedup.c4_spans = { min_words = 3, min_sentences = 1 }
dedup.lines = { max_count = 3 }
dedup.substring = { length_bytes = 60 }
filters.long.words = { signal = "words.count", min = 3 }
filters.sure.score = { signal = "language.score", min = 0.2 }
""",
    ),
    "archives": Road(
        write_archives,
        """
name = "archives"
sources = [{ name = "wet", input = "pages.warc.wet" }, { name = "arc", input = "pages.arc" }]
steps = ["c4_lines", "c4"]
engine = { unit_bytes = 60_000, partition_bytes = 20_000 }
""",
    ),
}
