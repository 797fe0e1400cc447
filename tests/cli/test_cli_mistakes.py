"""What goes wrong ends in a message and an exit code, never in a traceback."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from little import call, process

import curate
import curate.assets
import curate.pipelines.run
from curate.errors import CurateError, InvariantError, LeaseError, RecipeError
from curate.pipelines.run import Summary


def test_a_vocabulary_that_the_text_cannot_fill_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("too little")
    arguments = ("--input", tmp_path / "a.txt", "--vocab-size", "4096", "--output", tmp_path / "out")
    done = call("tokenizer", "train", *arguments)
    assert done.exit_code == 2
    assert "set vocab_size to at most" in done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--vocab-size", "30"), "error: --vocab-size: input should be greater than or equal to 259, not 30\n"),
        (("--new-tokens", "5"), "error: base and new_tokens belong together: what to grow, and by how much\n"),
        ((), "error: vocab_size is required; give one of vocab_size, preset, and base with new_tokens\n"),
    ],
)
def test_options_that_make_no_tokenizer_are_named(options: tuple[str, ...], told: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a text")
    done = call("tokenizer", "train", "--input", tmp_path / "a.txt", "--output", tmp_path / "out", *options)
    assert (done.exit_code, done.stderr) == (2, told)


def test_texts_that_could_not_be_read_are_told_when_there_is_too_little(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n{broken\n{"other": 1}\n')
    (tmp_path / "b.txt").write_bytes(b"caf\xe9\n")
    given = ("--input", tmp_path / "*", "--output", tmp_path / "out", "--vocab-size", "300")
    done = call("tokenizer", "train", *given)
    assert done.exit_code == 2
    *unread, mistake = done.stderr.splitlines()
    assert "allow only" in mistake
    assert unread[-1] == "replaced.utf8: 1"
    assert sum(int(line.split(": ")[1]) for line in unread) == 3


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
