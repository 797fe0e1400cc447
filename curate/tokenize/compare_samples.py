"""The texts that tokenizers are compared on: a seeded sample of documents, and the texts that ship.

Ships: the same twelve sentences in many languages, one file each (line n says the same in all of them), and one small
program in several programming languages. They were written for this project.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable
from importlib import resources
from typing import Final, NamedTuple

import xxhash

MAX_DOCUMENT_BYTES: Final = 1 << 20
MAX_SAMPLE_BYTES: Final = 64 << 20
ENGLISH: Final = "en"
UNKNOWN: Final = "unknown"
SENTENCES: Final = "sentences"
CODE: Final = "code"


class Document(NamedTuple):
    """A text, its language (None: not known yet) and its source. A programming language is a language, too."""

    text: str
    language: str | None
    source: str


class Sample(NamedTuple):
    """Documents drawn from `seen_documents` that have `seen_bytes` of UTF-8, in the order of their keys; `cut` of them
    are the beginning of a longer document."""

    documents: list[Document]
    seen_documents: int
    seen_bytes: int
    cut: int


@functools.cache
def parallel_sentences() -> dict[str, tuple[str, ...]]:
    """Return the shipped sentences by language code: number n says the same in all of them."""
    return {code: tuple(text.splitlines()) for code, text in _shipped(SENTENCES).items()}


@functools.cache
def programs() -> dict[str, str]:
    """Return the shipped programs by programming language."""
    return _shipped(CODE)


def shipped_documents() -> list[Document]:
    """Return everything that ships as documents: each sentence is one, and each program."""
    documents = [Document(text, code, SENTENCES) for code, texts in parallel_sentences().items() for text in texts]
    return documents + [Document(text, name, CODE) for name, text in programs().items()]


def _shipped(kind: str) -> dict[str, str]:
    folder = resources.files("curate").joinpath("tokenize", "samples", kind)
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".txt"): file.read_text(encoding="utf-8") for file in files}


def draw(documents: Iterable[Document], *, seed: int, max_documents: int, max_bytes: int = MAX_SAMPLE_BYTES) -> Sample:
    """Return the documents with the smallest seeded keys, at most `max_documents` of `max_bytes` in all.

    A key is the xxh3-64 of source and text: neither the order of the documents nor the files that hold them matter. Of
    a text longer than 1 MiB only the beginning is taken. Memory is bounded by `max_bytes` (and one document more).
    Documents without text are left out.
    """
    # a heap whose first entry has the largest key; what is equal in key is equal in text and source
    heap: list[tuple[int, int, Document, int, bool]] = []
    limit = 1 << 64
    seen = seen_bytes = held = 0
    for document in documents:
        if not document.text:
            continue
        data = document.text.encode()
        seen, seen_bytes = seen + 1, seen_bytes + len(data)
        key = xxhash.xxh3_64_intdigest(document.source.encode() + b"\0" + data, seed=seed)
        if key >= limit:
            continue
        was_cut = len(data) > MAX_DOCUMENT_BYTES
        if was_cut:
            data = data[:MAX_DOCUMENT_BYTES]
            document = document._replace(text=data.decode(errors="ignore"))
        heapq.heappush(heap, (-key, seen, document, len(data), was_cut))
        held += len(data)
        # what has been taken out bars everything behind it: the result is a prefix of the order of keys
        while len(heap) > max_documents or (held > max_bytes and len(heap) > 1):
            negative, _, _, size, _ = heapq.heappop(heap)
            held -= size
            limit = min(limit, -negative)
    chosen = sorted(heap, key=lambda entry: (-entry[0], entry[1]))
    return Sample([entry[2] for entry in chosen], seen, seen_bytes, sum(entry[4] for entry in chosen))
