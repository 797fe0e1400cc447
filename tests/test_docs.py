"""The documentation is true: what it lists exists, and what exists is listed."""

from __future__ import annotations

import inspect
import re
import shlex
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doc_pages import DOCS, PAGES, ROOT, blocks, prose, rows, sections, unquoted
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.main import get_command

import curate
from curate.cli import app
from curate.dedup import DEDUPS, IMPLIED
from curate.extract import ExtractSettings
from curate.filters.measures import CLEANERS, MEASURES
from curate.filters.rules import Bound, Quantile, Rule, Scalars
from curate.filters.tables import RESERVED, shipped
from curate.pipelines import settings
from curate.pipelines.steps import RECORD_SIGNALS
from curate.pipelines.train_settings import TrainSettings
from curate.readers import READERS, ReadSettings
from curate.tokenize.compare_counts import RATIOS

SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": settings.Recipe,
    "[[sources]]": settings.Source,
    "[read]": ReadSettings,
    "[extract]": ExtractSettings,
    "[filters.NAME.RULE]": Rule,
    "[engine]": settings.EngineSettings,
    "[mix]": settings.MixSettings,
    "[mix.rehydrate]": settings.RehydrateSettings,
    "[dedup.NAME.alarm]": settings.AlarmSettings,
    "[tokenizer]": settings.TokenizerSettings,
    "[tokenizer.train]": TrainSettings,
    "[shards]": settings.ShardSettings,
    **{f"kind {kind}": dedup.settings for kind, dedup in DEDUPS.items() if kind not in IMPLIED},
}
WORDS = {str: "string", int: "integer", float: "number", bool: "boolean", Bound: "bound", Scalars: "list"}
TOO_LONG_TO_SHOW = {"ignored_parameters": "tracking and session parameters"}


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
        kept = [type_text(argument) for argument in arguments if argument is not types.NoneType]
        return " or ".join(kept)
    if origin is typing.Annotated:
        return type_text(arguments[0])
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


def test_every_figure_of_a_comparison_is_explained() -> None:
    explained = sections(DOCS / "commands.md")["curate tokenizer compare TOKENIZER..."]
    for figure in (*RATIOS, "relative_tokens", "parity", "vocabulary", "cost", "round_trip"):
        assert f"`{figure}`" in explained, figure


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
