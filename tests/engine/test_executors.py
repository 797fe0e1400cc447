"""The inline executor and the process that it works in."""

from __future__ import annotations

import gc
import pathlib
from collections.abc import Callable

from curate.engine.executors import InlineExecutor
from curate.engine.tasks import Job, TaskSpec


def test_the_garbage_collector_is_left_as_it_was(spec: Callable[..., TaskSpec], tmp_path: pathlib.Path) -> None:
    job = Job(spec(1), str(tmp_path))
    gc.unfreeze()  # what other tests left open
    executor = InlineExecutor()
    assert gc.get_freeze_count() == 0  # a plan makes an executor and gives it nothing to do
    executor.submit(job)
    assert gc.get_freeze_count() > 0
    executor.close()
    assert gc.get_freeze_count() == 0
    gc.freeze()
    executor.submit(job)
    executor.close()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()
