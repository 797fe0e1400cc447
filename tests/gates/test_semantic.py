"""What the built-in embedding finds in real data of known truth, at the default settings: floors under both.

*Recall*: of the pairs whose Jaccard similarity is 0.8 or more, the share that is in one cluster and nearer than 1 - ε.
*Precision*: of all such pairs, the share whose Jaccard similarity is 0.5 or more. Texts may well mean the same and
share fewer 5-grams than that, so it is a lower bound; but nothing else is known of these. Word vectors are trained on
the documents themselves: a hundred short texts teach little, and then little is found. Floors are what was reached,
less what another processor's rounding may change; a change that lowers one says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
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

from curate.dedup import skipgram
from curate.dedup.fixed_point import least_product, nearest, to_fixed
from curate.dedup.kmeans import find_centroids
from curate.dedup.semantic import SemanticSettings

NOT_FALSE: Final = 0.5
RUSSIAN: Final = Floor(recall=0.97, precision=0.97)
CHINESE: Final = Floor(recall=0.90, precision=0.99)
JAPANESE: Final = Floor(recall=0.98, precision=0.98)
NEWS: Final = Floor(recall=0.4, precision=1.0)
CRAWL: Final = Floor(recall=0.97, precision=0.8)


def find(documents: Mapping[str, str], folder: Path) -> set[Pair]:
    """Return every pair of one cluster that is nearer than 1 - epsilon."""
    settings = SemanticSettings()
    texts = list(documents.values())
    model = skipgram.train(texts, settings.dim, settings.epochs, str(folder))
    means, known = skipgram.mean_vectors(pa.array(texts, pa.large_string()), model)
    vectors, nonzero = to_fixed(means)
    rows = np.flatnonzero(known & nonzero)
    vectors = vectors[rows]
    names = np.array(list(documents))[rows]
    number, _ = nearest(vectors, find_centroids(vectors, math.isqrt(len(vectors)), settings.iterations))
    above = least_product(1 - settings.epsilon)
    found = set()
    for cluster in np.unique(number):
        members = np.flatnonzero(number == cluster)
        wide = vectors[members].astype(np.int64)
        near = wide @ wide.T > above
        pairs = combinations(range(len(members)), 2)
        found |= {ordered(*names[members[[one, other]]].tolist()) for one, other in pairs if near[one, other]}
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("book", "grams", "floor"),
    [
        ("progit-ru", word_5_grams, RUSSIAN),
        ("progit-zh", character_5_grams, CHINESE),
        ("progit-ja", character_5_grams, JAPANESE),
    ],
)
def test_versions_of_a_chapter_are_near(
    shared_data: Path, tmp_path: Path, book: str, grams: Grams, floor: Floor
) -> None:
    documents, listed = versions(shared_data / "dev-data" / "dedup" / book)
    check(reached(documents, listed, grams, find(documents, tmp_path), NOT_FALSE), floor)


def test_a_few_short_texts_teach_enough_to_be_careful(shared_data: Path, tmp_path: Path) -> None:
    documents, listed = news(shared_data / "dev-data" / "dedup" / "ndd-100docs")
    check(reached(documents, listed, word_5_grams, find(documents, tmp_path), NOT_FALSE), NEWS)


@pytest.mark.slow
def test_natural_near_duplicates_of_a_crawl_are_near(shared_data: Path, tmp_path: Path) -> None:
    documents, listed = crawled(shared_data / "sample-crawl")
    assert len(listed) > 200
    check(reached(documents, listed, word_5_grams, find(documents, tmp_path), NOT_FALSE), CRAWL)
