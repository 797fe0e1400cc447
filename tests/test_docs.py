"""The documentation is true: what it lists exists, what exists is listed, and what it shows runs."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.main import get_command
from typer.testing import CliRunner

import curate
from curate.cli import app
from curate.dedup import DEDUPS, IMPLIED
from curate.extract import ExtractSettings
from curate.filters.measures import CLEANERS, MEASURES
from curate.filters.rules import Bound, Quantile, Rule, Scalars
from curate.filters.tables import RESERVED, shipped
from curate.pipelines import settings
from curate.pipelines.steps import RECORD_SIGNALS
from curate.readers import READERS, ReadSettings

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": settings.Recipe,
    "[[sources]]": settings.Source,
    "[read]": ReadSettings,
    "[extract]": ExtractSettings,
    "[filters.NAME.RULE]": Rule,
    "[engine]": settings.EngineSettings,
    "[mix]": settings.MixSettings,
    "[tokenizer]": settings.TokenizerSettings,
    "[tokenizer.train]": settings.TrainSettings,
    "[shards]": settings.ShardSettings,
    **{f"kind {kind}": dedup.settings for kind, dedup in DEDUPS.items() if kind not in IMPLIED},
}
WORDS = {str: "string", int: "integer", float: "number", bool: "boolean", Bound: "bound", Scalars: "list"}
TOO_LONG_TO_SHOW = {"ignored_parameters": "tracking and session parameters"}


class Block(NamedTuple):
    """A fenced block: its language, the rest of its first line, and its text; `marked` is the comment above it."""

    language: str
    name: str
    text: str
    marked: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    pattern = re.compile(r"^(?:<!-- ([^>\n]*) -->\n)?```(\w+) ?([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    found = pattern.finditer(page.read_text(encoding="utf-8"))
    return [Block(match[2], match[3], match[4], match[1] or "") for match in found]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def sections(page: Path) -> dict[str, str]:
    """The text below each heading of a page, by the heading without its marks."""
    parts = re.split(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {title.replace("`", ""): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = [number for number, row in enumerate(cells) if set(row[0]) == {"-"}]
    heads = {number - 1 for number in rules}
    return [row for number, row in enumerate(cells) if number not in heads and number not in rules]


def unquoted(cell: str) -> str:
    return cell.strip("`")


# Pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\[[^\]]+\]\(([^)]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            names = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in sections(there)}
            assert anchor in names, f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short_enough_to_read(page: Path) -> None:
    long = [line for line in prose(page).splitlines() if len(line) > 100 and not line.startswith("|")]
    assert long == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    for name in re.findall(r"`((?:curate|docs|tests)/[\w./-]+\.(?:py|md|toml))`", prose(page)):
        assert (ROOT / name).is_file(), name


def test_the_tree_in_the_architecture_is_the_tree() -> None:
    (tree,) = [block.text for block in blocks(DOCS / "architecture.md") if block.text.startswith("curate/")]
    named = set(re.findall(r"^  (\w+)/", tree, re.MULTILINE))
    folders = {path.name for path in (ROOT / "curate").iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert named == folders
    files = set(re.findall(r"(\w+\.py)", tree))
    assert files <= {path.name for path in (ROOT / "curate").rglob("*.py")}
    assert {path.name for path in (ROOT / "curate").glob("*.py")} <= files


def test_figures_of_speed_are_those_of_the_last_benchmark() -> None:
    quoted = re.findall(r"\d[\d,.]*\d|\d", sections(ROOT / "README.md")["Speed"])
    kept = ROOT / "benchmarks" / "README.md"
    measured = kept.read_text(encoding="utf-8") if kept.exists() else ""
    assert [figure for figure in quoted if figure not in measured] == []


# Commands


def commands(group: Any = None, path: tuple[str, ...] = ("curate",)) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its words."""
    group = group or get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_command_and_option_is_in_the_reference_and_no_other() -> None:
    documented = {}
    for title, text in sections(DOCS / "commands.md").items():
        if title.startswith("curate "):
            words = title.split()
            name = " ".join(word for word in words if word.islower())
            documented[name] = set(re.findall(r"(?<!\w)(--[a-z-]+|-[a-z])\b", text))
    real = {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("-")}
        for name, command in commands()
    }
    assert documented == real
    assert "`curate --version`" in (DOCS / "commands.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_that_are_shown_are_accepted(page: Path) -> None:
    known = dict(commands())
    for block in blocks(page):
        for line in block.text.splitlines() if block.language == "bash" else ():
            words = shlex.split(line, comments=True)
            if words[:1] != ["curate"]:
                continue
            size = 3 if " ".join(words[:3]) in known else 2
            command = known[" ".join(words[:size])]
            command.make_context(words[size - 1], words[size:])


def test_make_targets_that_are_shown_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"\bmake ([a-z]+)(?=`|    )", page.read_text(encoding="utf-8"))) <= targets


# The recipe


def type_text(annotation: Any) -> str:
    """How the recipe's reference writes a type."""
    if annotation in WORDS:
        return WORDS[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        (kept,) = [argument for argument in arguments if argument is not types.NoneType]
        return type_text(kept)
    if origin is typing.Literal:
        quoted = [f'`"{value}"`' for value in arguments]
        return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
    if origin is tuple:
        return {"Source": "list of tables", "Condition": "list of conditions"}.get(
            getattr(arguments[0], "__name__", ""), f"list of {type_text(arguments[0])}s"
        )
    if origin is dict:
        value = arguments[1]
        if inspect.isclass(value) and issubclass(value, BaseModel):
            return "table of tables"
        return f"table of {type_text(value)}s" if value in (str, float) else "table"
    assert issubclass(annotation, BaseModel), annotation
    return "table"


def default_of(name: str, field: Any) -> Any:
    """The default of a field as the reference shows it: a TOML value, or the words that stand for one."""
    if field.is_required():
        return "required"
    if name in TOO_LONG_TO_SHOW:
        return TOO_LONG_TO_SHOW[name]
    if field.default is None or field.default is PydanticUndefined or isinstance(field.default, BaseModel):
        return "–"
    return list(field.default) if isinstance(field.default, tuple) else field.default


def shown_default(cell: str) -> Any:
    return tomllib.loads(f"value = {unquoted(cell)}")["value"] if cell.startswith("`") else cell


@pytest.mark.parametrize("title", SECTIONS)
def test_the_recipe_reference_lists_every_key_with_its_type_and_default(title: str) -> None:
    listed = {unquoted(row[0]): row[1:] for row in rows(sections(DOCS / "recipe.md")[title])}
    if title == "[filters.NAME.RULE]":
        quantile = {name: listed.pop(name) for name in Quantile.model_fields}
        assert {name: row[0] for name, row in quantile.items()} == {"quantile": "number", "per": "string"}
    fields = SECTIONS[title].model_fields
    assert list(listed) == list(fields) or set(listed) == set(fields)
    for name, field in fields.items():
        kind, default, meaning = listed[name]
        # model_fields take Annotated apart; the class keeps it
        assert kind == type_text(typing.get_type_hints(SECTIONS[title], include_extras=True)[name]), name
        assert shown_default(default) == default_of(name, field), name
        assert type(shown_default(default)) is type(default_of(name, field)), name
        assert meaning


def test_the_recipe_reference_lists_every_head_of_a_filter() -> None:
    listed = [unquoted(row[0]) for row in rows(sections(DOCS / "recipe.md")["[filters.NAME]"])]
    assert listed == [*RESERVED, "every other key"]


def test_the_recipe_reference_lists_every_step_that_ships() -> None:
    listed = {unquoted(row[0]): row[1] for row in rows(sections(DOCS / "recipe.md")["Steps"])}
    real = dict.fromkeys(shipped(), "filter") | dict.fromkeys(CLEANERS, "cleaner")
    assert listed == real | dict.fromkeys(DEDUPS.keys() - IMPLIED, "dedup")


def test_the_recipe_reference_names_every_format() -> None:
    (row,) = [row for row in rows(sections(DOCS / "recipe.md")["[[sources]]"]) if row[0] == "`format`"]
    assert set(re.findall(r"`(\w+)`", row[3])) == set(READERS)


def test_every_signal_is_listed_with_its_type() -> None:
    listed: dict[str, str] = {}
    for name, kind, _ in rows(prose(DOCS / "signals.md")):
        signal = unquoted(name)
        cleaners = CLEANERS if signal.startswith("NAME.") else [""]
        listed |= {signal.replace("NAME", cleaner): kind for cleaner in cleaners}
    real = dict(RECORD_SIGNALS)
    for entry in (*MEASURES.values(), *CLEANERS.values()):
        real |= entry.signals
    assert listed == real


# Python


def test_every_public_name_is_listed_with_its_parameters() -> None:
    listed = [unquoted(row[0]) for row in rows(prose(DOCS / "python.md"))]
    assert {name.partition("(")[0] for name in listed} == set(curate.__all__)
    for entry in listed:
        name, call, parameters = entry.partition("(")
        if not call:
            assert not inspect.isfunction(getattr(curate, name)), name
            continue
        given = inspect.signature(getattr(curate, name)).parameters.values()
        shown = []
        for parameter in given:
            if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
                shown.append("*")
            empty = parameter.default is parameter.empty
            shown.append(parameter.name if empty else f"{parameter.name}={parameter.default!r}")
        # a cache folder is for tests and is left out
        shown = [word for word in shown if not word.startswith("cache=")]
        full = parameters.removesuffix(")")
        assert ", ".join(shown) == full or (name == "load_tokenizer" and full == shown[0]), name


# What the README shows, done


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
