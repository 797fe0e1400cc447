"""Near-duplicates found in real data of known truth: floors under recall and precision.

Every pair of documents with an equal band is a candidate, every candidate is verified by its exact similarity.
*Recall*: of the pairs whose true Jaccard similarity is 0.8 or more, the share that is found. *Precision*: of the pairs
found, the share whose true similarity is 0.7 or more. Truth is the Jaccard similarity of lower-case word 5-grams, or
of character 5-grams without white space where a language writes no spaces: numbers, marks and punctuation count in it,
and in our shingles they do not. Floors are what was reached, rounded down; a change that lowers one says why.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from curate.dedup.minhash import MinHashSettings, band_keys, signatures
from curate.dedup.shingles import shingles
from curate.dedup.similarity import estimated_similarity, exact_similarity
from curate.errors import InputError
from curate.extract import ExtractSettings, extract
from curate.readers import READERS, Page, ReadSettings
from curate.storage import list_inputs

Pair = tuple[str, str]

SIMILAR: Final = 0.8
NOT_FALSE: Final = 0.7


class Floor(NamedTuple):
    """recall of true pairs at SIMILAR; precision at NOT_FALSE."""

    recall: float
    precision: float


RUSSIAN: Final = Floor(recall=0.99, precision=0.98)
CHINESE: Final = Floor(recall=1.0, precision=1.0)
JAPANESE: Final = Floor(recall=1.0, precision=1.0)
NEWS: Final = Floor(recall=1.0, precision=1.0)
CRAWL: Final = Floor(recall=1.0, precision=0.98)
ESTIMATED_RUSSIAN: Final = Floor(recall=0.98, precision=0.98)
NEWS_PAIRS: Final = 10


def word_5_grams(text: str) -> set[Any]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def character_5_grams(text: str) -> set[Any]:
    characters = "".join(text.split())
    return {characters[at : at + 5] for at in range(len(characters) - 4)}


def jaccard(left: set[Any], right: set[Any]) -> float:
    return len(left & right) / max(1, len(left | right))


def find(documents: Mapping[str, str], chosen: MinHashSettings) -> dict[Pair, float]:
    """Every pair of near-duplicates, and its similarity."""
    names = list(documents)
    text = pa.array(list(documents.values()), pa.large_string())
    sketches = signatures(text, chosen)
    keys = band_keys(sketches.values, chosen)
    buckets: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(sketches.valid).tolist():
        for key in keys[row].tolist():
            buckets[key].append(row)
    candidates = sorted({pair for bucket in buckets.values() for pair in itertools.combinations(bucket, 2)})
    pairs = np.array(candidates, dtype=np.int64).reshape(-1, 2)
    sets = shingles(text, chosen.ngram, chosen.unit)
    if chosen.verify == "exact":
        similar = exact_similarity(sets, pairs, chosen.similarity)
    else:
        similar = estimated_similarity(sketches.values, sets.sizes(), pairs, chosen.similarity)
    return {
        ordered(names[a], names[b]): value
        for (a, b), value in zip(candidates, similar.tolist(), strict=True)
        if value >= chosen.threshold
    }


def ordered(left: str, right: str) -> Pair:
    return (left, right) if left <= right else (right, left)


def measure(
    documents: Mapping[str, str],
    listed: Mapping[Pair, float],
    truth: Callable[[str], set[Any]],
    chosen: MinHashSettings,
) -> Floor:
    """Recall and precision of the pairs that are found; pairs that no list has are compared here."""
    found = find(documents, chosen)
    similarity = {
        pair: listed[pair] if pair in listed else jaccard(*(truth(documents[name]) for name in pair))
        for pair in {*listed, *found}
    }
    positives = [pair for pair, value in similarity.items() if value >= SIMILAR]
    recall = sum(pair in found for pair in positives) / len(positives)
    precision = sum(similarity[pair] >= NOT_FALSE for pair in found) / len(found)
    print(f"{len(documents)} documents, {len(found)} pairs found: recall {recall:.4f}, precision {precision:.4f}")
    return Floor(recall, precision)


def check(reached: Floor, floor: Floor) -> None:
    assert reached.recall >= floor.recall
    assert reached.precision >= floor.precision


def versions(folder: Path) -> tuple[dict[str, str], dict[Pair, float]]:
    """Documents by id, and the listed pairs, of one book in several versions."""
    with (folder / "docs.jsonl").open(encoding="utf-8") as lines:
        documents = {row["id"]: row["text"] for row in map(json.loads, lines)}
    with (folder / "pairs.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t"))[1:]
    return documents, {ordered(left, right): float(value) for left, right, value, _ in rows}


@pytest.mark.parametrize(
    ("book", "truth", "chosen", "floor"),
    [
        ("progit-ru", word_5_grams, MinHashSettings(), RUSSIAN),
        ("progit-ru", word_5_grams, MinHashSettings(verify="estimated"), ESTIMATED_RUSSIAN),
        ("progit-zh", character_5_grams, MinHashSettings(unit="characters"), CHINESE),
        ("progit-ja", character_5_grams, MinHashSettings(unit="characters"), JAPANESE),
    ],
    ids=["ru", "ru-estimated", "zh", "ja"],
)
def test_versions_of_a_chapter_are_found(
    shared_data: Path, book: str, truth: Callable[[str], set[Any]], chosen: MinHashSettings, floor: Floor
) -> None:
    documents, listed = versions(shared_data / "dev-data" / "dedup" / book)
    check(measure(documents, listed, truth, chosen), floor)


@pytest.mark.parametrize(("book", "floor"), [("progit-zh", CHINESE), ("progit-ja", JAPANESE)])
def test_texts_without_spaces_are_found_without_being_told_of(shared_data: Path, book: str, floor: Floor) -> None:
    documents, listed = versions(shared_data / "dev-data" / "dedup" / book)
    # chapters that are still English are compared by their words, for which this truth is none
    translated = {name: text for name, text in documents.items() if re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", text)}
    known = {pair: value for pair, value in listed.items() if set(pair) <= set(translated)}
    assert len(translated) > 100
    check(measure(translated, known, character_5_grams, MinHashSettings()), floor)


def test_news_that_was_edited_is_found(shared_data: Path) -> None:
    files = sorted((shared_data / "dev-data" / "dedup" / "ndd-100docs").glob("*.txt"))
    documents = {path.name: path.read_text(encoding="utf-8") for path in files}
    grams = {name: word_5_grams(text) for name, text in documents.items()}
    listed = {
        ordered(left, right): jaccard(grams[left], grams[right]) for left, right in itertools.combinations(grams, 2)
    }
    check(measure(documents, listed, word_5_grams, MinHashSettings()), NEWS)
    # one of the ten known pairs is just below 0.8
    known = {pair for pair, value in listed.items() if value > 0.5}
    assert len(known) == NEWS_PAIRS
    assert set(find(documents, MinHashSettings(threshold=0.75))) == known


@pytest.mark.slow
def test_natural_near_duplicates_of_a_crawl_are_found(shared_data: Path) -> None:
    folder = shared_data / "sample-crawl"
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
    listed = {
        ordered(left, right): jaccard(word_5_grams(documents[left]), word_5_grams(documents[right]))
        for left, right in pairs
        if left in documents and right in documents
    }
    assert len(listed) > 200
    check(measure(documents, listed, word_5_grams, MinHashSettings()), CRAWL)
