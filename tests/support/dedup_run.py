"""A run whose dedup steps are right and wrong in known ways, and a plain account of what they did."""

from __future__ import annotations

import json
import pathlib
import random
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.shingles import shingles
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run

SIZE = 12
RECIPE = """
name = "audited"
steps = ["url", "minhash", "late"]
[[sources]]
name = "news"
input = ["news-*.jsonl"]
[[sources]]
name = "shop"
input = ["shop-*.jsonl"]
[filters.late.words]
signal = "words.count"
max = 150
"""


def words(seed: int, count: int) -> list[str]:
    """Return words of letters: digits would all read as 0."""
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(count)]


def documents() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (source, document), SIZE of each kind.

    *old* has the URL of *new* and says another thing. *copy* has the URL and the text of *first*, which goes for the
    near-duplicate *near* of the other source. *lost* has the URL and the text of *long*, which a later filter drops.
    """
    for n in range(SIZE):
        other, first, long = (" ".join(words(10 * n + kind, count)) for kind, count in ((0, 80), (1, 100), (2, 200)))
        yield "news", page("old", n, other, "a", 2020)
        yield "news", page("new", n, " ".join(words(10 * n + 3, 80)), "a", 2024)
        yield "shop", page("copy", n, first, "b", 2020)
        yield "shop", page("first", n, first, "b", 2024)
        yield "news", page("near", n, " ".join([*first.split()[:-3], "quite", "another", "end"]), f"c-{n}", 2024)
        yield "shop", page("lost", n, long, "d", 2020)
        yield "shop", page("long", n, long, "d", 2024)


def page(kind: str, number: int, text: str, place: str, year: int) -> dict[str, str]:
    url = f"https://{place}.example/{number}"
    return {"id": f"{kind}-{number}", "text": text, "url": url, "date": f"{year}-01-01T00:00:00Z"}


def run_it(folder: pathlib.Path, files: int = 1, extra: str = "", *overrides: str) -> pathlib.Path:
    """Run the recipe over the documents in so many files per source and return the run folder; `extra` goes into the
    recipe. News has the higher priority: *near* stays for *first*."""
    folder.mkdir(exist_ok=True)
    rows: dict[str, list[str]] = {"news": [], "shop": []}
    for source, document in documents():
        rows[source].append(json.dumps(document))
    for source, lines in rows.items():
        for number in range(files):
            mine = lines[number::files]
            (folder / f"{source}-{number}.jsonl").write_text("\n".join(mine[:: -1 if files > 1 else 1]) + "\n")
    (folder / "audited.toml").write_text(RECIPE + extra)
    recipe = load_recipe(str(folder / "audited.toml"), ["sources.news.priority=1", *overrides])
    run(recipe, str(folder / "run"), Options(executor="inline"))
    return folder / "run"


def verdicts(folder: pathlib.Path, phase: str) -> dict[str, dict[str, Any]]:
    """Return the verdicts that a phase wrote, with text and source, by hexadecimal id."""
    plan = json.loads(next((folder / "plan").glob(f"*-{phase}.json")).read_text())
    files = [folder / "verdicts" / f"{task['key']}-00000.parquet" for task in plan["tasks"]]
    rows = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
    texts = pq.read_table(folder / "documents", columns=["id", "text", "source", "url"]).to_pylist()
    by_id = {row["id"]: row for row in texts}
    return {row["id"].hex(): {**row, **by_id[row["id"]]} for row in rows}


def jaccard(one: str, other: str) -> float:
    found = shingles(pa.array([one, other], pa.large_string()))
    left, right = (set(found.hashes[found.bounds[n] : found.bounds[n + 1]].tolist()) for n in (0, 1))
    return len(left & right) / len(left | right)
