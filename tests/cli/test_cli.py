"""The commands as people and scripts meet them: what goes to which stream, 80 columns."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from little import WORDS, call, process, too_wide
from rich.cells import cell_len

import curate
import curate.assets
import curate.pipelines.run
from curate.report.run_folder import read_run


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


def test_a_vocabulary_is_cut_and_grown(folder: Path, tmp_path: Path) -> None:
    pages = ("--input", folder / "*.jsonl")
    assert call("tokenizer", "train", *pages, "--vocab-size", "300", "--output", tmp_path / "large").exit_code == 0
    assert call("tokenizer", "train", *pages, "--vocab-size", "280", "--output", tmp_path / "small").exit_code == 0
    done = call("tokenizer", "cut", tmp_path / "large", "--vocab-size", "280", "--output", tmp_path / "cut", "--json")
    assert json.loads(done.stdout)["card"]["vocab_size"] == 280
    for file in (tmp_path / "small").iterdir():
        assert (tmp_path / "cut" / file.name).read_bytes() == file.read_bytes()
    grown = ("--base", tmp_path / "small", "--new-tokens", "20", "--output", tmp_path / "grown")
    assert call("tokenizer", "train", *pages, *grown).exit_code == 0
    ranks = [(tmp_path / name / "ranks.tiktoken").read_bytes() for name in ("large", "grown")]
    assert ranks[0] == ranks[1], "grown on the text of its base, a vocabulary goes on where that ended"
    for arguments, code, told in (
        (("train", *pages, "--output", tmp_path / "none"), 2, "vocab_size is required"),
        (("train", *pages, "--preset", "llama3", "--output", tmp_path / "none"), 2, "allow only"),
        (("cut", tmp_path, "--vocab-size", "280", "--output", tmp_path / "none"), 1, "no tokenizer here"),
        (("cut", tmp_path / "cut", "--vocab-size", "281", "--output", tmp_path / "none"), 2, "259 to 280 ids"),
    ):
        done = call("tokenizer", *arguments)
        assert done.exit_code == code
        assert told in done.stderr.replace("\n", " ")
    assert not (tmp_path / "none").exists()


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
    for command in ("", *commands, "assets fetch", "tokenizer train", "tokenizer compare"):
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
