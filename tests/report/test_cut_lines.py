"""What `curate dedup lines` tells of a run: the lines that went most often, and what each source lost."""

from __future__ import annotations

import json
import pathlib
from collections import Counter

import pytest

from curate.errors import RecipeError
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run
from curate.report.cut_lines import CutGroup, read_cut_lines
from curate.report.cut_tables import show_cut_lines
from curate.report.terminal import make_console
from curate.schema import document_id

PASSAGE = "A passage of some length that two documents hold, word for word."
RECIPE = """
name = "cut"
steps = ["lines", "c4_spans", "substring"]
sources = [{ name = "one", input = "one.jsonl" }, { name = "two", input = "two.jsonl" }]
dedup.lines = { max_count = 2, bucket_documents = 4 }
dedup.c4_spans = { sentences = 1, min_words = 1, min_sentences = 1 }
dedup.substring = { length_bytes = 40 }
engine = { unit_bytes = 4_096, partition_bytes = 500 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("cut")
    one = [f"Menu \x1b[2J\nPage {chr(97 + number) * 3} of one\nMenu \x1b[2J" for number in range(6)] + [
        f"x{PASSAGE[:-1]} x"
    ]
    two = [f"Menu \x1b[2J\n{chr(107 + number) * 3} is of two. Twice said." for number in range(3)] + [
        f"y{PASSAGE[:-1]} y"
    ]
    for name, texts in (("one", one), ("two", two)):
        rows = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    return start(folder, "cut", RECIPE)


def start(folder: pathlib.Path, name: str, recipe: str) -> str:
    (folder / f"{name}.toml").write_text(recipe)
    run(load_recipe(str(folder / f"{name}.toml")), str(folder / f"run-{name}"), Options(executor="inline"))
    return str(folder / f"run-{name}")


def test_lines_of_all_buckets_are_told_once_with_their_text(folder: str) -> None:
    lines, spans, passages = read_cut_lines(folder)
    assert [(line.count, line.text) for line in lines.lines] == [(15, "Menu \x1b[2J")]
    assert lines.different == 1  # in three buckets
    assert [(line.count, line.text) for line in spans.lines] == [(3, "Twice said.")]
    assert all(line.count == 2 for line in passages.lines)
    assert any(line.text in PASSAGE for line in passages.lines)
    assert passages.lines


def test_of_many_buckets_the_lines_are_told_that_were_counted_most_often(tmp_path: pathlib.Path) -> None:
    menus = [f"Menu{'x' * number}" for number in range(30)]
    # menu n is in every (n + 1)th document
    texts = ["\n".join(menu for place, menu in enumerate(menus) if n % (place + 1) == 0) for n in range(600)]
    rows = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)]
    (tmp_path / "many.jsonl").write_text("\n".join(rows))
    recipe = """
name = "many"
steps = ["lines"]
sources = [{ name = "many", input = "many.jsonl" }]
dedup.lines = { max_count = 1, bucket_documents = 6, alarm = "off" }
engine = { unit_bytes = 4_096, partition_bytes = 20_000 }
"""
    (found,) = read_cut_lines(start(tmp_path, "many", recipe), number=25)
    counts: Counter[tuple[int, str]] = Counter()
    for number, text in enumerate(texts):
        bucket = int.from_bytes(document_id(source="many", key=str(number))[8:]) % 100
        counts.update((bucket, line) for line in text.split("\n"))
    total: Counter[str] = Counter()
    for (_, line), count in counts.items():
        total[line] += count if count > 1 else 0
    assert {line.text: line.count for line in found.lines} == dict(total.most_common(25))
    assert [line.count for line in found.lines] == [count for _, count in total.most_common(25)]
    assert found.different == sum(count > 0 for count in total.values())


@pytest.mark.parametrize("scope", ["source", "crawl", "language"])
def test_lines_of_all_scopes_are_told_once_with_their_text(folder: str, scope: str) -> None:
    recipe = RECIPE.replace("dedup.substring = {", f'dedup.substring = {{ scope = "{scope}",').replace(
        "bucket_documents = 4", f'bucket_documents = "all", scope = "{scope}"'
    )
    lines, _, passages = read_cut_lines(start(pathlib.Path(folder).parent, scope, recipe))
    assert [(line.count, line.text) for line in lines.lines] == [(15, "Menu \x1b[2J")]
    # the passage is in one document of each source
    met = [line for line in passages.lines if line.text in PASSAGE]
    assert (scope in ("source", "crawl")) == (not met)


def test_what_each_source_lost_is_told_in_documents_units_and_bytes(folder: str) -> None:
    lines, spans, passages = read_cut_lines(folder)
    menu = len("Menu \x1b[2J\n")
    assert lines.groups == [
        CutGroup("one", "unknown", documents=6, units=12, bytes=12 * menu, dropped=0),
        CutGroup("two", "unknown", documents=3, units=3, bytes=3 * menu, dropped=0),
    ]
    assert [(group.source, group.units, group.bytes) for group in spans.groups] == [("two", 2, 2 * len(" Twice said."))]
    assert sum(group.bytes for group in passages.groups) == len(PASSAGE)  # with the space behind it


def test_one_step_and_few_lines_can_be_asked_for(folder: str) -> None:
    (found,) = read_cut_lines(folder, "lines", number=0)
    assert found.step == "lines"
    assert not found.lines
    with pytest.raises(RecipeError, match=r"--step line: .*did you mean lines.*known: lines, c4_spans, substring"):
        read_cut_lines(folder, "line")


def test_a_run_without_cuts_says_so(folder: str, tmp_path: pathlib.Path) -> None:
    one = pathlib.Path(folder).parent / "one.jsonl"
    (tmp_path / "no.toml").write_text(f'name = "no"\nsources = [{{ name = "one", input = "{one}" }}]\n')
    run(load_recipe(str(tmp_path / "no.toml")), str(tmp_path / "run"), Options(executor="inline"))
    with pytest.raises(RecipeError, match="no step that cuts"):
        read_cut_lines(str(tmp_path / "run"))


def test_what_is_printed_can_do_nothing_to_a_terminal(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_cut_lines(make_console(), read_cut_lines(folder))
    told = capsys.readouterr().out
    assert "lines: 1 different text found too often" in told
    assert "15" in told
    assert "\x1b" not in told
    assert json.loads(json.dumps([step.to_json() for step in read_cut_lines(folder)]))[0]["lines"][0]["count"] == 15
