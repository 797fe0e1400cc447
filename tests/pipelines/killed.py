"""Runs a recipe in child processes that die at commit steps, until one of them finishes. A test's subprocess.

``python killed.py RECIPE OUTPUT [--every-file]`` forks a child a time; each dies (``os._exit``: no clean-up, nothing
flushed) at the first commit step at which none before it died, where a step is told by its phase, the kind of file and
its place in the commit. With ``--every-file`` each file counts by itself: a thousand deaths instead of two hundred.
"""

from __future__ import annotations

import os
import sys

from curate import load_recipe, storage
from curate.pipelines import run as run_module

MAX_DEATHS = 5000


class DiesAtNewSteps:
    """Ends the process at the first step of a commit that is not in `seen`, after telling `report`."""

    def __init__(self, seen: set[str], report: int, output: str, every_file: bool) -> None:
        self.seen, self.report, self.output, self.every_file = seen, report, output, every_file
        self.at = self.phase = ""
        self.commit = storage.commit

    def step(self, name: str) -> None:
        label = f"{self.at}:{name}"
        if label not in self.seen:
            os.write(self.report, label.encode() + b"\n")
            os._exit(9)

    def named_commit(self, path: str, uri: str) -> None:
        place = os.path.relpath(uri, self.output)
        if place.startswith("plan/"):
            self.phase = place
        self.at = place if self.every_file else f"{self.phase or os.sep} {os.path.dirname(place) or place}"
        self.commit(path, uri)


def run_and_die(recipe_path: str, output: str, dies: DiesAtNewSteps) -> None:
    storage.on_commit_step = dies.step
    storage.commit = dies.named_commit
    run_module.run(load_recipe(recipe_path), output, run_module.Options(executor="inline"))
    os._exit(0)


def main(recipe_path: str, output: str, *options: str) -> None:
    seen: set[str] = set()
    for _ in range(MAX_DEATHS):
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(receive)
            run_and_die(recipe_path, output, DiesAtNewSteps(seen, send, output, "--every-file" in options))
        os.close(send)
        with os.fdopen(receive) as stream:
            seen.update(line.rstrip("\n") for line in stream)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            print(len(seen))
            return
        if code != 9:
            raise SystemExit(f"a child ended with {code} after {len(seen)} deaths")
    raise SystemExit(f"not finished after {MAX_DEATHS} deaths")


if __name__ == "__main__":
    main(*sys.argv[1:])
