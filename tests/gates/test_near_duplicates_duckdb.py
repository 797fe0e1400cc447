"""The clusters of a whole MinHash step against those that DuckDB computes from all pairs, without any sketch.

The oracle explodes texts into word 5-grams, joins documents that share one, takes the exact Jaccard similarity of each
such pair, and gives connected documents the smallest id among them as their label. A 5-gram in more than
`FREQUENT` documents makes no candidates there (it counts in similarities): a pair that shares nothing else is no pair.

Our step must never join what the oracle does not. What it may leave apart are documents that bands miss (at 100 bands
of 4 rows a pair at 0.8 once in 10²²), and documents connected only through pairs that never meet as leader and
member: of two that are similar to each other, one may join a leader which the other is just too far from. So clusters
are equal where no similarity is near the threshold, and nearly equal where copies of copies are all around it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.pipelines.older_runs import read_signature_manifest
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run

FREQUENT: Final = 500
WORDS: Final = 60
THRESHOLD: Final = 0.8
LEFT_APART: Final = 0.001
"""Share of the documents that may be in a smaller cluster than the oracle says where copies are around the threshold;
0.0002 was reached."""


class Corpus(NamedTuple):
    """Texts by document number, and how many copies they hold."""

    texts: list[str]
    copies: int


def corpus(count: int, *, clear: bool, seed: int = 11) -> Corpus:
    """Pages of made-up words behind one of three boilerplate headers, and near-copies of them.

    `clear`: a copy changes one word at its end, so that all copies of a page are at 0.85 or more and pages far below.
    Otherwise copies of copies change words anywhere, and similarities lie all around the threshold.
    """
    dice = np.random.default_rng(seed)
    vocabulary = ["".join(letters) for letters in dice.choice(list("abcdefghijklmnop"), (5000, 7))]
    headers = [[vocabulary[at] for at in dice.integers(0, 5000, 12)] for _ in range(3)]
    pages: list[list[str]] = []
    copies = 0
    for _ in range(count):
        if pages and dice.random() < 0.4:
            page = list(pages[int(dice.integers(len(pages)))])
            places = [WORDS - 1] if clear else dice.integers(0, len(page), int(dice.integers(0, 4))).tolist()
            for at in places:
                page[at] = vocabulary[int(dice.integers(5000))]
            copies += 1
        else:
            header = headers[int(dice.integers(3))] if dice.random() < 0.2 else []
            page = [*header, *(vocabulary[at] for at in dice.integers(0, 5000, WORDS - len(header)))]
        pages.append(page)
    return Corpus([" ".join(page) for page in pages], copies)


def our_clusters(folder: Path, texts: list[str]) -> tuple[dict[str, str], dict[str, float], dict[str, str]]:
    """Return the kept document of each, the similarity of each dropped one to it, and the texts, by hexadecimal id."""
    rows = ({"id": str(number), "text": text} for number, text in enumerate(texts))
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "near.toml").write_text(
        'name = "near"\nsteps = ["minhash"]\n[[sources]]\nname = "web"\ninput = ["texts.jsonl"]\n'
        "[dedup.minhash]\nbands = 100\nrows = 4\nchain = true\n[engine]\nunit_bytes = 1_000_000\n"
    )
    run(load_recipe(str(folder / "near.toml")), str(folder / "run"), Options(executor="inline"))
    manifest = read_signature_manifest(str(folder / "run"))
    verdicts = pa.concat_tables([pq.read_table(file.verdicts.path) for file in manifest.files]).to_pylist()
    documents = pq.read_table(folder / "run" / "documents", columns=["id", "text"]).to_pydict()
    kept = {row["id"].hex(): (row["kept_id"] or row["id"]).hex() for row in verdicts}
    similarity = {row["id"].hex(): row["similarity"] for row in verdicts if not row["keep"]}
    return kept, similarity, {name.hex(): text for name, text in zip(*documents.values(), strict=True)}


def oracle(texts: dict[str, str]) -> tuple[dict[str, str], dict[tuple[str, str], float]]:
    """Return the label of each document that has a near-duplicate, and the similarity of every such pair."""
    database = duckdb.connect()
    database.execute("SET threads = 1; SET memory_limit = '2GB'; SET preserve_insertion_order = false")
    database.register("given", pa.table({"id": list(texts), "text": list(texts.values())}))
    database.execute(
        """
        CREATE TABLE grams AS
            SELECT id, hash(gram) AS gram FROM (
                SELECT DISTINCT id, unnest([words[i:i + 4] for i in range(1, len(words) - 3)]) AS gram
                FROM (SELECT id, string_split(text, ' ') AS words FROM given));
        CREATE TABLE sizes AS SELECT id, count(*) AS size FROM grams GROUP BY id;
        CREATE TABLE rare AS
            SELECT id, gram FROM grams SEMI JOIN
                (SELECT gram FROM grams GROUP BY gram HAVING count(*) BETWEEN 2 AND $frequent) USING (gram);
        CREATE TABLE candidates AS
            SELECT DISTINCT a.id AS a, b.id AS b FROM rare a JOIN rare b USING (gram) WHERE a.id < b.id;
        CREATE TABLE pairs AS
            SELECT a, b, common / (x.size + y.size - common) AS similarity FROM (
                SELECT a, b, count(*) AS common FROM candidates
                JOIN grams left_grams ON left_grams.id = a
                JOIN grams right_grams ON right_grams.id = b AND right_grams.gram = left_grams.gram GROUP BY a, b)
            JOIN sizes x ON x.id = a JOIN sizes y ON y.id = b WHERE similarity >= $threshold;
        CREATE TABLE links AS SELECT a AS node, b AS other FROM pairs UNION ALL SELECT b, a FROM pairs;
        CREATE TABLE labels AS SELECT node, node AS label FROM links GROUP BY node;
        """.replace("$frequent", str(FREQUENT)).replace("$threshold", str(THRESHOLD))
    )
    while True:
        database.execute("""
            CREATE OR REPLACE TABLE lower AS
                SELECT links.node, least(any_value(mine.label), min(theirs.label)) AS label FROM links
                JOIN labels mine ON mine.node = links.node JOIN labels theirs ON theirs.node = links.other
                GROUP BY links.node""")
        moved = database.sql("SELECT count(*) FROM lower JOIN labels USING (node) WHERE lower.label <> labels.label")
        (changed,) = moved.fetchall()[0]
        database.execute("DROP TABLE labels; ALTER TABLE lower RENAME TO labels")
        if not changed:
            break
    labels = dict(database.sql("SELECT node, label FROM labels").fetchall())
    pairs = {(a, b): similarity for a, b, similarity in database.sql("SELECT a, b, similarity FROM pairs").fetchall()}
    return labels, pairs


def members(labels: dict[str, str]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for name, label in labels.items():
        found[label].add(name)
    return dict(found)


def check_against_the_oracle(folder: Path, count: int, *, clear: bool) -> None:
    made = corpus(count, clear=clear)
    kept, similarity, texts = our_clusters(folder, made.texts)
    labels, pairs = oracle(texts)
    labels = {name: labels.get(name, name) for name in texts}
    ours, theirs = members(kept), members(labels)
    # what is kept of a cluster is its smallest id, and so is the oracle's label
    assert all(name == min(found) for name, found in ours.items())
    joined = [found for found in ours.values() if len({labels[name] for name in found}) > 1]
    assert joined == []
    for name, value in similarity.items():
        pair = (min(name, kept[name]), max(name, kept[name]))
        assert pairs.get(pair, value) == pytest.approx(value)
        assert pair in pairs or value < THRESHOLD
    apart = sum(kept[name] != labels[name] for name in texts)
    print(f"{count} documents, {len(pairs)} pairs, {len(ours)} clusters here, {len(theirs)} there, {apart} apart")
    assert len(pairs) > made.copies / 4
    assert apart <= (0 if clear else LEFT_APART * count)


@pytest.mark.parametrize("clear", [True, False])
def test_duckdb_computes_the_same_clusters(tmp_path: Path, clear: bool) -> None:
    check_against_the_oracle(tmp_path, 20_000 if clear else 5_000, clear=clear)


@pytest.mark.slow
def test_duckdb_computes_the_same_clusters_of_a_hundred_thousand_documents(tmp_path: Path) -> None:
    check_against_the_oracle(tmp_path, 100_000, clear=True)
