"""A little recipe and its pages, and the commands as people and scripts call them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from typer.testing import CliRunner

from curate.cli import app

RECIPE = """
name = "little"
steps = ["size", "exact"]
[[sources]]
name = "web"
input = ["pages-*.jsonl"]
[filters.size.words]
signal = "words.count"
min = 20
[tokenizer.train]
vocab_size = 300
[shards]
context_length = 64
[engine]
unit_bytes = 20000
"""
WORDS = [
    "quick",
    "brown",
    "foxes",
    "jump",
    "over",
    "lazy",
    "dogs",
    "while",
    "cold",
    "rivers",
    "carry",
    "water",
    "past",
    "old",
    "stone",
    "bridges",
]


def call(*arguments: Any) -> Any:
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, [str(argument) for argument in arguments])


def process(*arguments: Any, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command as its own process, 80 columns wide, without a terminal."""
    command = [sys.executable, "-W", "error", "-m", "curate.cli", *map(str, arguments)]
    # from any folder, and installed or not
    root = str(Path(__file__).resolve().parents[2])
    known = {**os.environ, "COLUMNS": "80", "PYTHONPATH": root, **env}
    return subprocess.run(command, cwd=cwd, env=known, capture_output=True, text=True, timeout=300, check=False)


def too_wide(text: str) -> list[str]:
    return [line for line in text.splitlines() if cell_len(line) > 80 and "/" not in line]


def write_pages(path: Path, numbers: Sequence[int]) -> None:
    with path.open("w") as stream:
        for number in numbers:
            chance = random.Random(number)
            text = " ".join(chance.choices(WORDS, k=chance.choice((5, 40, 80, 160))))
            page = {
                "text": f"\x1b[31m{text}" if number % 10 == 3 else text,
                "id": str(number),
                "url": f"https://a.example/{number}",
            }
            stream.write(json.dumps(page) + "\n")
        stream.write("{broken\n")
