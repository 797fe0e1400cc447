from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from curate.engine import ledger
from curate.errors import LeaseError


def test_a_lease_keeps_a_second_process_out(tmp_path: pathlib.Path) -> None:
    code = "import sys; from curate.engine.ledger import lease\nwith lease(sys.argv[1]): pass"
    with ledger.lease(str(tmp_path)):
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert "is working on this run folder" in other.stderr
    assert not (tmp_path / "lease.json").exists()


def test_the_lease_of_a_dead_process_is_taken(tmp_path: pathlib.Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    content = json.loads(ledger._lease_content("gone"))
    (tmp_path / "lease.json").write_text(json.dumps({**content, "pid": dead.pid}))
    with ledger.lease(str(tmp_path)):
        assert json.loads((tmp_path / "lease.json").read_text())["pid"] == os.getpid()


def test_the_lease_of_another_host_counts_until_it_is_stale(tmp_path: pathlib.Path) -> None:
    lease = {"owner": "other", "pid": 1, "host": "elsewhere.example", "renewed": time.time()}
    (tmp_path / "lease.json").write_text(json.dumps(lease))
    with pytest.raises(LeaseError, match=r"elsewhere\.example"), ledger.lease(str(tmp_path)):
        pass
    with ledger.lease(str(tmp_path), takeover=True):
        pass
    (tmp_path / "lease.json").write_text(json.dumps({**lease, "renewed": time.time() - 2 * ledger.LEASE_STALE_S}))
    with ledger.lease(str(tmp_path)):
        pass


def test_a_lease_cut_off_while_being_written_is_taken(tmp_path: pathlib.Path) -> None:
    (tmp_path / "lease.json").write_text("")
    with ledger.lease(str(tmp_path)):
        pass
