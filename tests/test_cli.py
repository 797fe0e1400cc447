"""The commands as people and scripts meet them: exit codes, what goes to which stream, 80 columns."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

import curate
import curate.assets
import curate.pipelines.run
from curate.cli import app
from curate.errors import CurateError, InvariantError, LeaseError, RecipeError
from curate.pipelines.run import Summary
from curate.report.run_folder import read_run

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
    root = str(Path(__file__).resolve().parent.parent)
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


def test_run_prints_json_alone_and_its_progress_to_standard_error(
    folder: Path, first_run: subprocess.CompletedProcess[str]
) -> None:
    done = json.loads(first_run.stdout)
    assert done["run"] == "runs/little"
    assert len(done["fingerprint"]) == 64
    assert done["executed"]["collect"] == 3
    assert done["quarantined"] == []
    assert done["stats"]["records"] == 102
    # a slow machine prints more lines, of phases at work; each phase ends with one line that has all its tasks
    ended = re.findall(r"^(\S+): (\d+)/\2 tasks?, (.*)$", first_run.stderr, re.MULTILINE)
    assert ended[0][2].startswith("102 in, 100 kept, 2 errors")
    assert [name for name, *_ in ended] == [phase for phase, _ in plan_of(folder / "runs" / "little")]


def plan_of(run: Path) -> list[tuple[str, int]]:
    """Return the phases of a run with their number of tasks."""
    return [(phase.name, len(phase.tasks)) for phase in read_run(str(run)).phases]


def test_run_again_does_nothing_and_says_so(run: Path, folder: Path) -> None:
    done = call("run", folder / "little.toml", "--executor", "inline", "--output", run)
    assert done.exit_code == 0
    assert "none run: everything was done before" in done.stdout
    assert "102 in = " in done.stdout
    assert all(line.endswith("done before") for line in done.stderr.splitlines())


def test_plan_prints_tasks_and_what_follows(folder: Path, run: Path, tmp_path: Path) -> None:
    done = process("plan", "little.toml", "--output", tmp_path / "new", "--workers", "3", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "next: collect, 3 of 3 tasks" in done.stdout
    assert "web/pages-0.jsonl:0-" in done.stdout
    assert "then: duplicate.id, decide-size, duplicate.exact, tally, tokenizer" in done.stdout
    assert too_wide(done.stdout) == []
    done = call("plan", folder / "little.toml", "--output", run, "--set", "filters.size.words.min=30", "--json")
    assert json.loads(done.stdout)["next"] == "decide-size"
    done = call("plan", folder / "little.toml", "--output", run)
    assert "nothing is left to run" in done.stdout


def test_stats_fit_into_eighty_columns_and_add_up(run: Path) -> None:
    done = process("stats", run)
    assert (done.returncode, done.stderr) == (0, "")
    assert too_wide(done.stdout) == []
    assert "…" not in done.stdout
    found = json.loads(call("stats", run, "--json").stdout)
    kept, dropped = found["kept"]["documents"], found["dropped"]["documents"]
    assert found["records"] == 102 == kept + dropped + sum(found["errors"].values())
    assert f"102 in = {kept} kept + {dropped} dropped + 2 errors + 0 skipped" in done.stdout


def test_stats_equal_a_recount_of_the_files(run: Path) -> None:
    found = curate.read_stats(str(run))
    reasons: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for part in read_run(str(run)).parts():
        assert part.verdicts is not None
        verdicts = pq.read_table(run / part.verdicts.path)
        texts = pq.read_table(run / part.documents.path)
        assert texts.column("id").equals(verdicts.column("id"))
        for reason, text in zip(verdicts.column("reason").to_pylist(), texts.column("text").to_pylist(), strict=True):
            reasons[reason or "kept"] += 1
            sizes[reason or "kept"] += len(text.encode())
    dropped = {reason.name: reason.dropped for step in found.steps for reason in step.reasons}
    known = {"kept": found.kept, **dropped}
    assert {name: amount.documents for name, amount in known.items() if amount.documents} == dict(reasons)
    assert {name: amount.bytes for name, amount in known.items() if amount.documents} == dict(sizes)
    assert found.kept.tokens == curate.ShardSet.open(str(run / "shards")).manifest["totals"]["tokens"]


def test_stats_can_leave_tables_out(run: Path) -> None:
    assert "\nlanguage " in call("stats", run).stdout
    assert "\nlanguage " not in call("stats", run, "--by", "source").stdout
    assert "\nsource " not in call("stats", run, "--by", "none").stdout


def test_samples_show_what_was_dropped_without_its_control_characters(run: Path) -> None:
    done = process("samples", run, "--reason", "size", "-n", "40")
    assert (done.returncode, done.stderr) == (0, "")
    assert "size.words  words.count = 5, min 20" in done.stdout
    assert "\\x1b[31m" in done.stdout
    assert "\x1b" not in done.stdout
    assert too_wide(done.stdout) == []
    (sample,) = json.loads(call("samples", run, "--reason", "size.words", "-n", "1", "--json").stdout)
    assert (sample["value"], sample["bound"]) == (5, "min 20")


def test_samples_show_what_was_kept_nearest_to_the_line(run: Path) -> None:
    found = json.loads(call("samples", run, "--kept", "-n", "3", "--json").stdout)
    assert [sample["value"] for sample in found] == [40, 40, 40]


def test_samples_need_to_be_told_which(run: Path) -> None:
    done = call("samples", run)
    assert done.exit_code == 2
    assert "--reason REASON" in done.stderr
    done = call("samples", run, "--reason", "sise.words")
    assert done.exit_code == 2
    assert "did you mean size.words" in done.stderr


def test_shards_are_verified(run: Path) -> None:
    done = call("shards", "verify", run)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "all as the manifest says" in done.stdout.replace("\n", " ")
    assert json.loads(call("shards", "verify", run / "shards", "--json").stdout)["problems"] == []


def test_a_damaged_shard_is_named_and_the_exit_code_is_1(run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "shards"
    shutil.copytree(run / "shards", copy)
    shard = next(copy.glob("*.arrow"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    done = call("shards", "verify", copy)
    assert done.exit_code == 1
    assert "bits were flipped" in done.stdout
    assert "1 problem" in done.stderr
    assert len(json.loads(call("shards", "verify", copy, "--json").stdout)["problems"]) == 1


def test_shards_info_prints_the_manifest_and_decodes_rows(run: Path) -> None:
    done = process("shards", "info", run, "--decode", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rows         " in done.stdout
    assert "row 1: " in done.stdout
    assert too_wide(done.stdout) == []
    found = json.loads(call("shards", "info", run, "--decode", "1", "--json").stdout)
    assert found["totals"]["tokens"] > 0
    assert "shards" not in found
    assert any(word in found["rows"][0]["segments"][0]["text"] for word in WORDS)


def test_shards_are_decoded_only_with_their_own_tokenizer(run: Path, folder: Path, tmp_path: Path) -> None:
    arguments = ("--input", folder, "--vocab-size", "290", "--output", tmp_path / "other")
    assert call("tokenizer", "train", *arguments).exit_code == 2  # little.toml is no text
    pages = ("--input", folder / "*.jsonl", "--vocab-size", "290", "--output", tmp_path / "other")
    assert call("tokenizer", "train", *pages).exit_code == 0
    done = call("shards", "info", run, "--decode", "1", "--tokenizer", tmp_path / "other")
    assert done.exit_code == 2
    assert "is not the tokenizer of these shards" in done.stderr


@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_a_tokenizer_is_trained_from_files(folder: Path, tmp_path: Path, kind: str) -> None:
    arguments = ("--input", folder / "*.jsonl", "--vocab-size", "300", "--kind", kind, "--output", tmp_path / kind)
    done = call("tokenizer", "train", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["card"]["kind"], told["card"]["vocab_size"]) == (kind, 300)
    assert told["read"]["texts"] == 100
    assert sum(count for name, count in told["read"].items() if name.startswith("error.")) == 2
    text = "old stone bridges \x1b"
    loaded = curate.load_tokenizer(str(tmp_path / kind))
    assert loaded.decode(loaded.encode_text(text)).strip() == text


def test_a_vocabulary_that_the_text_cannot_fill_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("too little")
    arguments = ("--input", tmp_path / "a.txt", "--vocab-size", "4096", "--output", tmp_path / "out")
    done = call("tokenizer", "train", *arguments)
    assert done.exit_code == 2
    assert "set vocab_size to at most" in done.stderr


def test_every_mistake_of_a_recipe_is_told_and_nothing_is_started(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    arguments = ("--output", output, "--set", "shards.context_lenth=3", "--set", "filters.size.word.max=3")
    done = process("run", "little.toml", *arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "2 mistakes, nothing was started" in done.stderr
    assert "did you mean context_length" in done.stderr
    assert "Traceback" not in done.stderr
    assert not output.exists()


def test_a_recipe_that_does_not_exist_is_a_mistake() -> None:
    done = call("run", "crawl-to-shard.toml")
    assert done.exit_code == 2
    assert "did you mean crawl-to-shards.toml" in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (RecipeError(["one", "two"]), 2, "error: 2 mistakes, nothing was started\none\ntwo\n"),
        (LeaseError("process 7 is working on this run folder"), 1, "error: process 7 is working on this run folder\n"),
        (CurateError("a\x1b[31m page"), 1, "error: a\\x1b[31m page\n"),
        (InvariantError("lost"), 1, "internal error: lost\n"),
        (PermissionError(13, "Permission denied", "x"), 1, "error: [Errno 13] Permission denied: 'x'\n"),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on where it stopped\n"),
    ],
)
def test_errors_become_messages_and_exit_codes(
    error: BaseException, code: int, told: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(curate.pipelines.run, "run", fail)
    done = call("run", folder / "little.toml", "--output", tmp_path / "run")
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", told)


def test_our_own_bugs_keep_their_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(curate.pipelines.run, "run", fail)
    assert isinstance(call("run", folder / "little.toml").exception, ZeroDivisionError)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_with_quarantined_documents_is_done_and_exits_with_3(
    run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    lost = [{"file": "a.warc.gz", "offset": 17, "reason": "error.crash"}]
    monkeypatch.setattr(curate.pipelines.run, "run", lambda *_: Summary(str(run), None, {"collect": 1}, lost))
    done = call("run", folder / "little.toml", *(["--json"] if as_json else []))
    assert done.exit_code == 3
    assert "1 document is in quarantine" in done.stderr
    assert "file a.warc.gz, offset 17, reason error.crash" in done.stderr
    if as_json:
        assert json.loads(done.stdout)["quarantined"] == lost
    else:
        assert "102 in = " in done.stdout


def test_a_folder_that_is_no_run_is_a_mistake(tmp_path: Path) -> None:
    for command in (["stats"], ["samples", "--kept"]):
        done = call(*command, tmp_path)
        assert (done.exit_code, done.stdout) == (2, "")
        assert "is no run folder" in done.stderr
    done = call("shards", "info", tmp_path)
    assert done.exit_code == 2
    assert "no manifest.json here" in done.stderr
    (tmp_path / "shard-000000-00000-x.arrow").write_bytes(b"")
    done = call("shards", "info", tmp_path)
    assert done.exit_code == 1
    assert "manifest.json: missing" in done.stderr


def test_a_file_in_the_place_of_a_folder_is_a_mistake(folder: Path) -> None:
    file = folder / "little.toml"
    commands = {
        ("stats", file): "is no run folder",
        ("samples", "--kept", file): "is no run folder",
        ("sample", file): "a file stands where a folder is needed",
        ("run", file, "--output", file): "a file stands where a folder is needed",
        ("run", file, "--output", file / "below"): "a file stands where a folder is needed",
        ("shards", "info", file): "no manifest.json here",
        ("shards", "verify", folder / "nothing"): "no manifest.json here",
    }
    for command, told in commands.items():
        done = call(*command)
        assert (done.exit_code, done.stdout) == (2, ""), command
        assert told in done.stderr
        assert "Errno" not in done.stderr


@pytest.mark.parametrize("command", ["plan", "run"])
def test_what_no_file_system_can_hold_is_a_mistake(folder: Path, tmp_path: Path, command: str) -> None:
    bad = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.jsonl")
    Path(bad).write_text("{}")
    for arguments, told in (
        (("--input", "gopher://x/y"), "gopher://x/y: no such storage"),
        (("--output", "gopher://x/y"), "no such storage"),
        (("--input", tmp_path), "bad\\xff.jsonl: the name is not UTF-8"),
        (("--output", bad), "the name is not UTF-8"),
        (("--set", "extract.engine=os:getcwd"), "has no Python source"),
    ):
        done = call(command, folder / "little.toml", "--output", tmp_path / "run", *arguments)
        assert (done.exit_code, done.stdout) == (2, ""), done.stderr
        assert told in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_address_where_nothing_answers_is_a_mistake_at_once(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        # bound and not listening: nothing else can answer there
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for wrong, told in (
            (address, f"--address {address}: nothing answers there"),
            ("foo", "write auto or HOST:PORT"),
        ):
            done = call("run", folder / "little.toml", "--output", tmp_path / "run", "--address", wrong)
            assert done.exit_code == 2
            assert told in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_that_keeps_nothing_says_so_before_it_trains(folder: Path, tmp_path: Path) -> None:
    strict = ("--set", "filters.size.words.min=1000000", "--output", tmp_path / "run")
    for command in (("run", "--executor", "inline"), ("plan",)):
        done = call(command[0], folder / "little.toml", *command[1:], *strict)
        assert done.exit_code == 1
        assert f"error: no document was kept; see curate stats {tmp_path / 'run'}" in done.stderr
    assert json.loads(call("stats", tmp_path / "run", "--json").stdout)["kept"]["documents"] == 0


def test_options_that_do_not_exist_are_mistakes(folder: Path) -> None:
    assert call("run", folder / "little.toml", "--nothing").exit_code == 2
    assert call("run", folder / "little.toml", "--executor", "dask").exit_code == 2
    assert call("nothing").exit_code == 2


def test_assets_are_listed_and_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = call("assets", "list")
    assert done.exit_code == 0
    assert "lid.176" in done.stdout
    assert "missing" in done.stdout
    assert too_wide(done.stdout) == []
    known = json.loads(call("assets", "list", "--json").stdout)
    assert {"name", "sha256", "licence", "path", "state"} <= known[0].keys()
    monkeypatch.setattr(curate.assets, "fetch", lambda names: asked.append(names) or curate.assets.status())
    assert call("assets", "fetch").exit_code == 0
    assert call("assets", "fetch", "lid.176", "--json").exit_code == 0
    assert asked == [None, ["lid.176"]]


def test_the_sample_crawl_is_written(tmp_path: Path) -> None:
    done = call("sample", tmp_path / "crawl", "--json")
    assert done.exit_code == 0, done.stderr
    written = [Path(name) for name in json.loads(done.stdout)]
    assert written
    assert all(path.is_file() for path in written)
    assert any(path.name.endswith(".warc.gz") for path in written)


def test_every_command_explains_itself_in_eighty_columns() -> None:
    commands = ("run", "plan", "stats", "samples", "sample", "shards verify", "shards info", "assets list")
    for command in ("", *commands, "assets fetch", "tokenizer train"):
        done = call(*command.split(), "--help")
        assert done.exit_code == 0
        assert [line for line in done.stdout.splitlines() if cell_len(line) > 80] == []


def test_the_version_is_printed() -> None:
    said = call("--version").stdout
    assert said.startswith("curate")
    assert curate.__version__ in said or curate.__version__ == "unknown"


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    script = """
import sys
import curate.cli
print(sorted({'ray', 'numba', 'pyarrow', 'duckdb', 'torch'} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
