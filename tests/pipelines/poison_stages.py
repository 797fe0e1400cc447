"""Stage functions that do to their worker what hostile documents do: each stage dies of the marks that name it.

A test puts ``poison_stages:measure`` and so on in the place of the stages' own functions. What meets the text there is
watched: a text with ``poison-<kind>-<stage>`` does to the process what its kind says.
"""

from __future__ import annotations

import os
import pathlib
import signal
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pyarrow as pa

from curate.engine.tasks import Task
from curate.pipelines import collect, signatures, tokens
from curate.pipelines import training as counting


def suffer(stage: str, text: str) -> None:
    """Die, hang or eat memory if `text` is poison for the stage."""
    if f"poison-crash-{stage} " in text:
        os.kill(os.getpid(), signal.SIGSEGV)
    if f"poison-timeout-{stage} " in text:
        pathlib.Path("hanging").touch()
        time.sleep(3600)
    if f"poison-memory-{stage} " in text:
        held = []
        while True:
            held.append(bytearray(64 << 20))
            time.sleep(0.005)


def watched(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, watching the texts that it returns or is given."""

    def watch(*arguments: Any) -> Any:
        if isinstance(arguments[0], str):
            suffer(stage, arguments[0])
            return function(*arguments)
        found = function(*arguments)
        texts = found if isinstance(found, pa.Array) else arguments[0].column("text")
        for text in texts.to_pylist():
            suffer(stage, text)
        return found

    return watch


def run_watched(stage: str, module: Any, name: str, function: Callable[[Task], None], task: Task) -> None:
    with mock.patch.object(module, name, watched(stage, getattr(module, name))):
        function(task)


def measure(task: Task) -> None:
    run_watched("measure", collect, "measure_batch", collect.collect, task)


def sign(task: Task) -> None:
    run_watched("sign", signatures, "view_text", signatures.sign, task)


def training(task: Task) -> None:
    run_watched("training", counting, "view_text", counting.count_pretokens, task)


def tokenize(task: Task) -> None:
    run_watched("tokenize", tokens, "view_text", tokens.tokenize_part, task)
