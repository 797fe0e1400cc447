"""The documentation is true: what it shows runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doc_pages import DOCS, ROOT, blocks
from typer.testing import CliRunner

import curate
from curate.cli import app


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in crawl, books beside it, and the README's recipe."""
    folder = tmp_path_factory.mktemp("readme")
    paths = curate.write_sample(str(folder / "crawl"))
    truth = next(Path(path) for path in paths if str(path).endswith(".truth.jsonl"))
    pages = [json.loads(line) for line in truth.read_text(encoding="utf-8").splitlines()]
    books = [page for page in pages if page["kind"] == "article" and page["language"] == "en"]
    (folder / "books").mkdir()
    with (folder / "books" / "books.jsonl").open("w", encoding="utf-8") as stream:
        for page in books:
            text = f"{page['text']}\n\nThis text was printed in a book as well."
            stream.write(json.dumps({"content": text, "isbn": page["record_id"]}) + "\n")
    for block in blocks(ROOT / "README.md"):
        if block.language == "toml":
            (folder / block.name).write_text(block.text, encoding="utf-8")
    return folder


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a command in `folder`, 80 columns wide; the result has exit_code, stdout and stderr."""
    monkeypatch.chdir(folder)
    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"})

    def run(*arguments: str) -> Any:
        done = runner.invoke(app, list(arguments))
        assert done.exit_code == 0, done.stderr
        return done

    return run


def masked(line: str) -> str:
    """A line without what may change: numbers, ids, times and how wide columns are."""
    line = re.sub(r"\b[0-9a-f]{32,}\b", "ID", line)
    line = re.sub(r"\d[\d,.]*\s?(B|kB|MB|%)?", "#", line)
    return re.sub(r"\b(task|error|segment|shard)s?\b", r"\1s", " ".join(line.split()))


@pytest.fixture(scope="module")
def demo(folder: Path) -> str:
    """Everything that the demo's commands print, in one process instead of on Ray."""
    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"})
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (
            "run crawl-to-shards.toml --output runs/first --executor inline",
            "stats runs/first",
            "shards info runs/first/shards --decode 1",
        ):
            done = runner.invoke(app, command.split())
            assert done.exit_code == 0, done.stderr
            told.append(done.stderr + done.stdout)
    return "\n".join(told)


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(demo: str) -> None:
    shown = [line for block in blocks(ROOT / "README.md") if block.marked == "demo" for line in block.text.splitlines()]
    assert shown
    real = {masked(line) for line in demo.splitlines()}
    texts = (ROOT / "curate" / "pipelines" / "sample").glob("*.md")
    # word by word: the crawl holds near-copies of its texts, too
    written = {word for path in texts for word in path.read_text(encoding="utf-8").split()}
    after_document = False
    for line in shown:
        if line == "…":
            after_document = False
        elif after_document:
            assert set(line.split()) <= written, f"not a text of the built-in crawl: {line}"
        else:
            assert masked(line) in real, line
        after_document = after_document or masked(line).startswith("ID ")


@pytest.mark.slow
def test_the_audit_of_the_demo_prints_what_the_readme_shows(demo: str, call: Callable[..., Any]) -> None:
    (shown,) = [block.text for block in blocks(ROOT / "README.md") if block.marked == "audit"]
    printed = call("dedup", "audit", "runs/first").stdout
    assert [line for line in shown.splitlines() if line != "…" and line not in printed] == []
    assert "removed" in shown


@pytest.mark.slow
def test_a_moved_threshold_runs_what_the_readme_says(demo: str, call: Callable[..., Any]) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Move a threshold")[2]
    line = re.search(r"^curate run (.*)$", page, re.MULTILINE)
    shown = re.search(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert line
    assert shown
    done = call("run", *shlex.split(line[1]), "--executor", "inline")
    real = [masked(told) for told in done.stderr.splitlines()]
    assert [masked(told) for told in shown[1].splitlines() if told != "…"] == real[: shown[1].count("\n") - 1]
    back = json.loads(
        call("run", "crawl-to-shards.toml", "--output", "runs/first", "--executor", "inline", "--json").stdout
    )
    assert set(back["executed"]) <= {"pack"}


@pytest.mark.slow
def test_the_readme_s_recipe_and_its_python_run(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("run", "my-crawl.toml", "--executor", "inline")
    stats = json.loads(call("stats", "runs/my-crawl", "--json").stdout)
    assert {source["name"] for source in stats["sources"] if source["kept"]["documents"]} == {"web", "books"}
    mix = json.loads(call("shards", "info", "runs/my-crawl", "--json").stdout)["mix"]
    assert mix["books"]["share"] == pytest.approx(0.2, abs=0.05)
    examples = [block for block in blocks(ROOT / "README.md") if block.language == "python"]
    assert len(examples) >= 4
    for block in examples:
        if block.name and _missing(block.name):
            continue
        if block.name == "datasets":
            monkeypatch.setattr(sys.modules["datasets"].config, "HF_DATASETS_CACHE", tmp_path / "cache")
        # each is a program of its own
        exec(compile(block.text, "README.md", "exec"), {"__name__": "readme"})


def _missing(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return True
    return False


@pytest.mark.slow
def test_the_engine_of_the_recipe_reference_extracts(
    folder: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = [block for block in blocks(DOCS / "recipe.md") if block.language == "python"]
    (folder / block.name).write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    command = (
        "run crawl-to-shards.toml --output runs/own --executor inline --json --set extract.engine=paragraphs:extract"
    )
    counts = json.loads(call(*command.split()).stdout)["stats"]
    assert counts["kept"]["documents"] > 50
    assert "extract" not in counts["errors"]


@pytest.mark.slow
def test_samples_and_shards_of_the_readme_are_printed(demo: str, call: Callable[..., Any]) -> None:
    page = sections_with_code("Look at what happened")
    lines = [line for line in page.splitlines() if line.startswith("curate ")]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line, comments=True)
        done = call(*(word.replace("runs/my-crawl", "runs/first") for word in words[1:]))
        assert done.stdout


DEDUP = [block.text for block in blocks(DOCS / "dedup.md") if block.language == "toml"]


@pytest.mark.parametrize("part", DEDUP, ids=lambda part: part.partition("]")[0])
def test_every_dedup_that_is_shown_as_published_runs(part: str, tmp_path: Path) -> None:
    texts = [f"{number} {text}" for number in range(3) for text in ("One page.", "def f(x):\n    return x\n")]
    lines = [json.dumps({"text": text, "url": f"https://a.example/{n}"}) for n, text in enumerate(texts)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    sources = '[[sources]]\nname = "web"\ncrawl = "2026-10"\ninput = ["texts.jsonl"]\n'
    (tmp_path / "part.toml").write_text(f'name = "part"\n{part}\n{sources}')
    recipe = curate.load_recipe(str(tmp_path / "part.toml"))
    assert any(name in recipe.dedup for name in recipe.steps)
    curate.run(recipe, str(tmp_path / "run"), curate.Options(executor="inline"))


def sections_with_code(title: str) -> str:
    """A section of the README, fenced blocks and all."""
    page = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"## {title}\n")[2]
    return page.partition("\n## ")[0]


# What CONTRIBUTING shows, done


def patched(text: str, change: str) -> str:
    """A text after a change: lines of a diff without line numbers, whose context must stand there exactly once."""
    lines = change.splitlines()
    before = "\n".join(line[1:] for line in lines if line[0] in " -")
    after = "\n".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"stands there {text.count(before)} times:\n{before}"
    return text.replace(before, after)


@pytest.fixture(scope="module")
def contributed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with everything in it that CONTRIBUTING adds."""
    root = tmp_path_factory.mktemp("contributing")
    # with compiled kernels and their times, or each would be compiled again
    shutil.copytree(ROOT / "curate", root / "curate", ignore=shutil.ignore_patterns("*.tmp*", "*.pyc.*"))
    for block in blocks(ROOT / "CONTRIBUTING.md"):
        if not block.name:
            continue
        path = root / block.name
        if block.language == "diff":
            path.write_text(patched(path.read_text(encoding="utf-8"), block.text), encoding="utf-8")
        else:
            assert not path.exists(), f"{block.name} exists already; the example needs another name"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    return root


def python_in(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_the_examples_of_contributing_pass_their_own_tests(contributed: Path) -> None:
    tests = sorted(str(path.relative_to(contributed)) for path in contributed.glob("tests/**/test_*.py"))
    assert len(tests) == 3
    quiet = ("-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-W", "error")
    done = python_in(contributed, "pytest", *quiet, *tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_examples_of_contributing_pass_the_linter(contributed: Path) -> None:
    if _missing("ruff"):
        pytest.skip("ruff is not installed")
    files = [block.name for block in blocks(ROOT / "CONTRIBUTING.md") if block.name]
    shutil.copy(ROOT / "pyproject.toml", contributed)
    names = [name for name in dict.fromkeys(files) if name.endswith(".py")]
    for command in (("check",), ("format", "--check", "--diff")):
        done = python_in(contributed, "ruff", *command, "--no-cache", *names)
        assert done.returncode == 0, done.stdout + done.stderr
