"""A worker starts without packages that others only look for, and has them when they are asked for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

STARTED = """
import sys
from curate.engine.worker import start_light
start_light()
import numpy as np, pyarrow as pa
pa.table({"a": np.arange(3)}).column("a").to_numpy()
print([name for name in ("pandas", "scipy.linalg") if name in sys.modules])
"""


def run(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    return done.stdout.splitlines()


def test_a_worker_starts_without_pandas_and_scipy() -> None:
    assert run(STARTED) == ["[]"]


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="needs pandas")
def test_a_function_of_the_user_finds_pandas_all_the_same() -> None:
    told = run(STARTED + "import pandas\nprint(len(pa.table({'a': [1, 2]}).to_pandas()), pa.array(pandas.Series([3])))")
    assert told[0] == "[]"
    assert told[1].startswith("2 ")


@pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="needs scipy")
def test_a_kernel_of_the_user_finds_scipy_all_the_same() -> None:
    asked = (
        "from numba import njit\n@njit\ndef dot(a, b):\n    return np.dot(a, b)\nprint(dot(np.eye(2), np.eye(2)).sum())"
    )
    script = STARTED + asked
    assert run(script) == ["[]", "2.0"]
