"""Runs a recipe in child processes that die at commit steps, until one of them finishes. Not a test: a test's subprocess.

``python killed.py RECIPE OUTPUT [--every-file]`` forks a child a time; each dies (``os._exit``: no clean-up, no flushing) at
the first commit step at which none before it died, where a step is told by its phase, the kind of file and its place in
the commit. With ``--every-file`` each file counts by itself: some thousand deaths instead of some hundred.
"""

from __future__ import annotations

import os
import sys

from curate import load_recipe, storage
from curate.pipelines import run as run_module

MAX_DEATHS = 5000


class DiesAtNewSteps:
    """Ends the process at the first step that is not in `seen`."""

    def __init__(self, seen: set[str], report: int) -> None:
        self.seen = seen
        self.report = report
        self.at = self.phase = ""

    def __call__(self, step: str) -> None:
        label = f"{self.at}:{step}"
        if label not in self.seen:
            os.write(self.report, label.encode() + b"\n")
            os._exit(9)


def main(recipe_path: str, output: str, *options: str) -> None:
    recipe = load_recipe(recipe_path)
    every_file = "--every-file" in options
    seen: set[str] = set()
    commit = storage.commit
    for _ in range(MAX_DEATHS):
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(receive)
            fail = DiesAtNewSteps(seen, send)
            storage.on_commit_step = fail

            def named(path: str, uri: str) -> None:
                place = os.path.relpath(uri, output)
                if place.startswith("plan/"):
                    fail.phase = place
                fail.at = place if every_file else f"{fail.phase or os.sep} {os.path.dirname(place) or place}"
                commit(path, uri)

            storage.commit = named
            run_module.run(recipe, output, run_module.Options(executor="inline"))
            os._exit(0)
        os.close(send)
        with os.fdopen(receive) as stream:
            seen.update(line.strip() for line in stream)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            print(len(seen))
            return
        if code != 9:
            raise SystemExit(f"a child ended with {code} after {len(seen)} deaths")
    raise SystemExit(f"not finished after {MAX_DEATHS} deaths")


if __name__ == "__main__":
    main(*sys.argv[1:])
