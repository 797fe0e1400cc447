"""Source files with other names are found, and different files are left alone: real files of many languages.

A copy of each file gets other identifiers and another comment above it. *Recall*: the share of copies of which only
one of the two stays. *Precision*: of all removals, the share whose files are similar by a plain reading of them
(15-grams of what a regular expression takes for symbols, Jaccard 0.7 or more). Floors are what was reached, rounded
down.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
import pytest
from doc_pages import DOCS, blocks

from curate.dedup.code_kernel import KEYWORDS
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run
from curate.report.run_folder import read_run

LANGUAGES: Final = (
    "C",
    "C++",
    "C#",
    "Go",
    "Java",
    "JavaScript",
    "PHP",
    "Python",
    "Ruby",
    "Rust",
    "Swift",
    "TypeScript",
)
MIN_SYMBOLS: Final = 150
RECALL: Final = 0.99
PRECISION: Final = 0.95
NOT_FALSE: Final = 0.7
SYMBOL: Final = re.compile(r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"|'[^'\n]*'|[A-Za-z_]\w*|\d[\w.]*|\S", re.DOTALL)
NAME: Final = re.compile(r"\b[A-Za-z_]\w*\b")


def plain_symbols(text: str) -> list[str]:
    """What stands in a file: reserved words and marks, and one letter for any name, number or string."""
    kinds = []
    for one in SYMBOL.findall(text):
        if one in KEYWORDS:
            kinds.append(one)
        elif not one.startswith(("//", "/*")):
            kinds.append("i" if NAME.fullmatch(one) else "0" if one[0].isdigit() else one[0])
    return kinds


def plain_grams(text: str) -> set[tuple[str, ...]]:
    symbols = plain_symbols(text)
    return {tuple(symbols[at : at + 15]) for at in range(len(symbols) - 14)}


def renamed(text: str) -> str:
    """The file with other names wherever a name stands, and a comment above."""
    numbers = itertools.count()
    names: dict[str, str] = {}

    def other(match: re.Match[str]) -> str:
        name = match[0]
        if name in KEYWORDS or name in ("error", "line"):
            return name
        return names.setdefault(name, f"other_{next(numbers)}")

    return "// somebody else's\n" + NAME.sub(other, text)


def removed_for(folder: Path) -> dict[str, str]:
    """Which file was removed for which one, by their names."""
    rows: list[dict[str, Any]] = []
    for part in read_run(str(folder)).parts():
        assert part.verdicts is not None
        names = pq.read_table(folder / part.documents.path, columns=["url"]).to_pylist()
        verdicts = pq.read_table(folder / part.verdicts.path).to_pylist()
        rows += [verdict | name for verdict, name in zip(verdicts, names, strict=True)]
    named = {row["id"]: row["url"] for row in rows}
    return {row["url"]: named[row["kept_id"]] for row in rows if row["reason"] == "duplicate.code"}


@pytest.mark.parametrize("unit", ["code", "words"])
def test_copies_of_real_files_with_other_names_are_found(shared_data: Path, tmp_path: Path, unit: str) -> None:
    with (shared_data / "dev-data" / "code-linguist.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    files = {
        f"{row['lang']}/{number}": row["text"]
        for number, row in enumerate(rows)
        if row["lang"] in LANGUAGES and len(plain_symbols(row["text"])) >= MIN_SYMBOLS
    }
    texts = files | {f"{name}-copy": renamed(text) for name, text in files.items()}
    (tmp_path / "code.jsonl").write_text(
        "".join(json.dumps({"url": name, "text": text}) + "\n" for name, text in texts.items())
    )
    (published,) = [block.text for block in blocks(DOCS / "dedup.md") if 'unit = "code"' in block.text]
    part = published if unit == "code" else published.replace('unit = "code"', 'unit = "words"')
    (tmp_path / "code.toml").write_text(
        f'name = "code"\n{part}\n[dedup.code.alarm]\nmax_lost_share_per_source = 1.0\n'
        '[[sources]]\nname = "code"\ninput = ["code.jsonl"]\n'
    )
    run(load_recipe(str(tmp_path / "code.toml")), str(tmp_path / "run"), Options(executor="inline"))
    found = removed_for(tmp_path / "run")
    recall = sum(name in found or f"{name}-copy" in found for name in files) / len(files)
    assert len(files) > 100
    if unit == "words":
        assert recall < 0.1
        return
    grams = {name: plain_grams(texts[name]) for name in {*found, *found.values()}}
    near = [len(grams[a] & grams[b]) / max(1, len(grams[a] | grams[b])) for a, b in found.items()]
    precision = sum(value >= NOT_FALSE for value in near) / len(near)
    print(f"{len(files)} files, {len(found)} removed: recall {recall:.4f}, precision {precision:.4f}")
    assert recall >= RECALL
    assert precision >= PRECISION
