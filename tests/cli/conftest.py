"""A little run, made by the command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from little import RECIPE, process, write_pages


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_pages(folder / "pages-0.jsonl", range(60))
    write_pages(folder / "pages-1.jsonl", range(60, 100))
    (folder / "little.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def first_run(folder: Path) -> subprocess.CompletedProcess[str]:
    return process("run", "little.toml", "--executor", "inline", "--json", cwd=folder)


@pytest.fixture(scope="module")
def run(folder: Path, first_run: subprocess.CompletedProcess[str]) -> Path:
    assert first_run.returncode == 0, first_run.stderr
    return folder / "runs" / "little"
