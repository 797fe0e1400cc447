from __future__ import annotations

import fcntl
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from curate.engine import ledger
from curate.errors import LeaseError


def test_an_object_store_is_asked_for_several_receipts_at_once() -> None:
    together = threading.Barrier(4)

    def ask(name: str) -> str:
        together.wait(timeout=30)
        return name.upper()

    assert list(ledger._each("s3://bucket/run", ask, list("abcdefgh"))) == list("ABCDEFGH")


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


def test_a_lease_that_is_given_back_while_it_is_asked_for_is_still_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ledger.Lease(str(tmp_path), "first")
    first.lock(takeover=False)
    first.write()

    def flock(handle: int, operation: int) -> None:
        monkeypatch.undo()
        first.close()
        fcntl.flock(handle, operation)

    monkeypatch.setattr(ledger.fcntl, "flock", flock)
    with ledger.lease(str(tmp_path)) as second:
        assert second.read() == json.loads((tmp_path / "lease.json").read_text())
        with pytest.raises(LeaseError), ledger.lease(str(tmp_path)):
            pass


def test_a_lease_cut_off_while_being_written_is_taken(tmp_path: pathlib.Path) -> None:
    (tmp_path / "lease.json").write_text("")
    with ledger.lease(str(tmp_path)):
        pass


def test_a_takeover_ends_the_lease_of_the_process_before(tmp_path: pathlib.Path) -> None:
    with ledger.lease(str(tmp_path)) as first:
        with ledger.lease(str(tmp_path), takeover=True) as second:
            first.renew()
            with pytest.raises(LeaseError, match="has taken over"):
                first.check()
            second.check()
        first.close()
        first._lock = None


def test_of_many_processes_that_find_a_dead_lease_one_gets_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "lease.json").write_text(json.dumps({**json.loads(ledger._lease_content("gone")), "pid": 2**22 - 1}))
    code = (
        "import sys, time\nfrom curate.engine.ledger import lease\nfrom curate.errors import LeaseError\n"
        "try:\n    with lease(sys.argv[1]):\n        print('in', flush=True)\n        time.sleep(8)\n"
        "except LeaseError:\n    print('out', flush=True)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in started)
    assert said == ["in", "out", "out"]
