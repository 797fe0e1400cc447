"""``curate tokenizer compare`` as people and scripts call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from little import call, process, too_wide

import curate


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    text = folder / "text.txt"
    text.write_text("The river runs down to the sea, and 365 days a year it rains.\n" * 20)
    for kind, size in (("bpe", 280), ("sentencepiece", 300)):
        done = call(
            "tokenizer", "train", "--input", text, "--output", folder / kind, "--vocab-size", size, "--kind", kind
        )
        assert done.exit_code == 0, done.stderr
    return folder


def test_compare_prints_tables_of_eighty_columns(models: Path) -> None:
    done = call("tokenizer", "compare", models / "bpe", f"pieces={models / 'sentencepiece'}")
    assert done.exit_code == 0, done.stderr
    assert too_wide(done.stdout) == []
    heading = next(line for line in done.stdout.splitlines() if line.startswith("all documents"))
    assert heading.split()[2:] == ["bpe", "pieces"]
    assert "every document came back byte for byte" in done.stdout


def test_compare_prints_the_same_json_again_and_as_the_function(models: Path) -> None:
    arguments = ("tokenizer", "compare", models / "bpe", "--max-documents", 40, "--json")
    first, second = call(*arguments), call(*arguments)
    assert first.exit_code == 0, first.stderr
    assert first.stdout == second.stdout
    assert first.stderr.splitlines() == ["reading the sample texts", "encoding 40 documents with 1 tokenizer"]
    assert str(models) not in first.stdout
    assert json.loads(first.stdout) == curate.compare_tokenizers([str(models / "bpe")], max_documents=40)


def test_compare_reads_the_kept_documents_of_a_run_and_its_tokenizer(run: Path) -> None:
    done = process("tokenizer", "compare", f"own={run}", "--on", run, "--json", "--parameters", 10)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    kept = curate.read_stats(str(run)).kept
    assert found["on"]["seen_documents"] == kept.documents
    (item,) = found["tokenizers"]
    assert item["name"] == "own"
    # the run counts the tokens that begin and end a document, too
    assert item["all"]["tokens"] + 2 * kept.documents == kept.tokens
    assert set(item["by_source"]) == {"web"}
    assert item["cost"]["training_flops_per_document"] == pytest.approx(
        60 * item["all"]["tokens"] / kept.documents, rel=1e-5
    )


def test_files_and_folders_here_need_no_slash(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models)
    done = call("tokenizer", "compare", "bpe", "sentencepiece", "--max-documents", "5", "--json")
    assert done.exit_code == 0, done.stderr
    assert [item["name"] for item in json.loads(done.stdout)["tokenizers"]] == ["bpe", "sentencepiece"]
    monkeypatch.chdir(models / "bpe")
    for command in (
        ("compare", "ranks.tiktoken"),
        ("cut", "ranks.tiktoken", "--vocab-size", "270", "--output", "less"),
    ):
        done = call("tokenizer", *command)
        assert done.exit_code == 0, done.stderr


def test_compare_writes_a_page(models: Path, tmp_path: Path) -> None:
    done = call("tokenizer", "compare", models / "bpe", "--html", tmp_path / "page.html", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["format"] == "tokenizer-comparison/1"
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["nowhere/at-all"], "no tokenizer here", 1),
        (["llama3"], "no tokenizer is called 'llama3'; did you mean llama3-tokenizer?", 1),
        (["lid.176"], "lid.176 is a language model, no tokenizer; known: llama3-tokenizer, mistral-v1-32k", 1),
        (["{models}/bpe", "--html", "{models}"], "is a folder; name a file in it", 2),
        (["{models}/bpe", "{models}/bpe"], "a tokenizer called bpe is already there", 2),
        (["{models}/bpe", "--on", "{models}/*.jsonl"], "no file matches", 2),
        (["{models}/bpe", "--on", "{models}/bpe/ranks.tiktoken"], "--on", 2),
        (["{models}/text.txt"], "neither a SentencePiece model nor", 1),
    ],
)
def test_compare_tells_what_is_wrong(arguments: list[str], told: str, code: int, models: Path) -> None:
    done = call("tokenizer", "compare", *(argument.format(models=models) for argument in arguments))
    assert done.exit_code == code, done.stderr
    assert told in " ".join(done.stderr.split())
