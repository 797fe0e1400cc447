"""Real documents whose near-duplicates are known, and what a way of finding them comes to.

Truth is the Jaccard similarity of lower-case word 5-grams, or of character 5-grams without white space where a language
writes no spaces.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from curate.errors import InputError
from curate.extract import ExtractSettings, extract
from curate.readers import READERS, Page, ReadSettings
from curate.storage import list_inputs

Pair = tuple[str, str]
Grams = Callable[[str], set[Any]]
SIMILAR: Final = 0.8


class Floor(NamedTuple):
    """recall of true pairs at SIMILAR; precision of what is found."""

    recall: float
    precision: float


def word_5_grams(text: str) -> set[Any]:
    """Return the word 5-grams of a text."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def character_5_grams(text: str) -> set[Any]:
    """Return the character 5-grams of a text."""
    characters = "".join(text.split())
    return {characters[at : at + 5] for at in range(len(characters) - 4)}


def jaccard(left: set[Any], right: set[Any]) -> float:
    """Return the Jaccard similarity of two sets."""
    return len(left & right) / max(1, len(left | right))


def ordered(left: str, right: str) -> Pair:
    """Return a pair in the one order in which pairs are compared."""
    return (left, right) if left <= right else (right, left)


def reached(
    documents: Mapping[str, str], listed: Mapping[Pair, float], grams: Grams, found: Collection[Pair], not_false: float
) -> Floor:
    """Return recall and precision of the pairs that were found; pairs that no list has are compared here. A pair is
    not false from the similarity `not_false` on."""
    similarity = {
        pair: listed[pair] if pair in listed else jaccard(*(grams(documents[name]) for name in pair))
        for pair in {*listed, *found}
    }
    positives = [pair for pair, value in similarity.items() if value >= SIMILAR]
    recall = sum(pair in found for pair in positives) / len(positives)
    precision = sum(similarity[pair] >= not_false for pair in found) / len(found)
    print(f"{len(documents)} documents, {len(found)} pairs found: recall {recall:.4f}, precision {precision:.4f}")
    return Floor(recall, precision)


def check(figures: Floor, floor: Floor) -> None:
    """Fail where a figure is below its floor."""
    assert figures.recall >= floor.recall
    assert figures.precision >= floor.precision


def versions(folder: Path) -> tuple[dict[str, str], dict[Pair, float]]:
    """Return the documents by id, and the listed pairs, of one book in several versions."""
    with (folder / "docs.jsonl").open(encoding="utf-8") as lines:
        documents = {row["id"]: row["text"] for row in map(json.loads, lines)}
    with (folder / "pairs.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t"))[1:]
    return documents, {ordered(left, right): float(value) for left, right, value, _ in rows}


def news(folder: Path) -> tuple[dict[str, str], dict[Pair, float]]:
    """Return news texts by file name, and the similarity of all pairs."""
    documents = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}
    grams = {name: word_5_grams(text) for name, text in documents.items()}
    pairs = itertools.combinations(grams, 2)
    return documents, {ordered(left, right): jaccard(grams[left], grams[right]) for left, right in pairs}


def crawled(folder: Path) -> tuple[dict[str, str], dict[Pair, float]]:
    """Return the texts of a crawl by URL, and its listed pairs."""
    documents: dict[str, str] = {}
    for file in list_inputs(str(folder / "*.warc.gz")):
        for page in READERS["warc"].read(file, 0, file.size, "web", ReadSettings(), Counter()):
            assert isinstance(page, Page)
            try:
                text = extract(page.body or b"", page.content_type, page.charset, ExtractSettings())
            except InputError:
                continue
            documents[page.url or ""] = text
    with (folder / "natural-neardup-pairs.tsv").open(encoding="utf-8") as lines:
        pairs = [line.rstrip("\n").split("\t")[1:] for line in list(lines)[1:]]
    # the listed similarities are of another extractor's text
    return documents, {
        ordered(left, right): jaccard(word_5_grams(documents[left]), word_5_grams(documents[right]))
        for left, right in pairs
        if left in documents and right in documents
    }
