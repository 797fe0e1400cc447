"""Scratch folders of dead processes are deleted, those of live ones never."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

from curate.engine import scratch

HOLD = """
import sys, time
from curate.engine.scratch import scratch_folder
with scratch_folder(sys.argv[1]) as path:
    open(path + "/half", "w").write("half")
    print(path, flush=True)
    time.sleep(600)
"""


def hold(parent: pathlib.Path) -> tuple[subprocess.Popen[str], pathlib.Path]:
    """Start a process that works in a scratch folder, and return it with the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(parent)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, pathlib.Path(process.stdout.readline().strip())


def test_a_folder_outlives_its_process_only_until_the_next_one_begins(tmp_path: pathlib.Path) -> None:
    killed, left = hold(tmp_path)
    alive, busy = hold(tmp_path)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (left / "half").exists()
        (tmp_path / "curate-scratch-file").write_text("mine")
        (tmp_path / "other").mkdir()
        scratch._sweep_scratch.cache_clear()
        with scratch.scratch_folder(str(tmp_path)) as own:
            assert sorted(os.listdir(tmp_path)) == sorted(
                [busy.name, os.path.basename(own), "curate-scratch-file", "other"]
            )
            assert (busy / "half").exists()
    finally:
        alive.kill()
        alive.communicate()
        killed.communicate()
    assert not os.path.exists(own)
