"""Near-duplicates found in real data of known truth: floors under recall and precision.

Every pair of documents with an equal band is a candidate, every candidate is verified by its exact similarity.
*Recall*: of the pairs whose true Jaccard similarity is 0.8 or more, the share that is found. *Precision*: of the pairs
found, the share whose true similarity is 0.7 or more. In the 5-grams of the truth numbers, marks and punctuation count;
in our shingles they do not. Floors are what was reached, rounded down; a change that lowers one says why.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pytest
from near_duplicate_truth import (
    Floor,
    Grams,
    Pair,
    character_5_grams,
    check,
    crawled,
    news,
    ordered,
    reached,
    versions,
    word_5_grams,
)

from curate.dedup.minhash import MinHashSettings, band_keys, signatures
from curate.dedup.shingles import shingles
from curate.dedup.similarity import estimated_similarity, exact_similarity

NOT_FALSE: Final = 0.7
RUSSIAN: Final = Floor(recall=0.99, precision=0.98)
CHINESE: Final = Floor(recall=1.0, precision=1.0)
JAPANESE: Final = Floor(recall=1.0, precision=1.0)
NEWS: Final = Floor(recall=1.0, precision=1.0)
CRAWL: Final = Floor(recall=1.0, precision=0.98)
ESTIMATED_RUSSIAN: Final = Floor(recall=0.98, precision=0.98)
NEWS_PAIRS: Final = 10


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


def measure(documents: Mapping[str, str], listed: Mapping[Pair, float], grams: Grams, chosen: MinHashSettings) -> Floor:
    """Recall and precision of the pairs that are found."""
    return reached(documents, listed, grams, find(documents, chosen), NOT_FALSE)


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
    shared_data: Path, book: str, truth: Grams, chosen: MinHashSettings, floor: Floor
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
    documents, listed = news(shared_data / "dev-data" / "dedup" / "ndd-100docs")
    check(measure(documents, listed, word_5_grams, MinHashSettings()), NEWS)
    # one of the ten known pairs is just below 0.8
    known = {pair for pair, value in listed.items() if value > 0.5}
    assert len(known) == NEWS_PAIRS
    assert set(find(documents, MinHashSettings(threshold=0.75))) == known


@pytest.mark.slow
def test_natural_near_duplicates_of_a_crawl_are_found(shared_data: Path) -> None:
    documents, listed = crawled(shared_data / "sample-crawl")
    assert len(listed) > 200
    check(measure(documents, listed, word_5_grams, MinHashSettings()), CRAWL)
