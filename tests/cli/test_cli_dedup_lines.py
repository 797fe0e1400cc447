"""`curate dedup lines` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from little import process


def test_dedup_lines_prints_tables_and_json(tmp_path: Path) -> None:
    texts = [json.dumps({"text": f"Menu\nPage {number}."}) for number in range(8)]
    (tmp_path / "pages.jsonl").write_text("\n".join(texts))
    (tmp_path / "cut.toml").write_text(
        'name = "cut"\nsteps = ["lines"]\nsources = [{ name = "web", input = "pages.jsonl" }]\n'
    )
    assert process("run", "cut.toml", "--executor", "inline", cwd=tmp_path).returncode == 0
    told = process("dedup", "lines", "runs/cut", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "Menu" in told.stdout
    data = json.loads(
        process("dedup", "lines", "runs/cut", "--json", "--step", "lines", "-n", "1", cwd=tmp_path).stdout
    )
    assert data[0]["lines"] == [{"count": 8, "text": "Menu"}]
    wrong = process("dedup", "lines", "runs/cut", "--step", "url", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "known: lines" in wrong.stderr
    cutting = process("dedup", "clusters", "runs/cut", "--step", "lines", cwd=tmp_path)
    assert cutting.returncode == 2
    assert "curate dedup lines" in cutting.stderr
