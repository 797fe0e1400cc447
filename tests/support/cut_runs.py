"""Runs of one dedup step that cuts, over a few texts, and what is left of these."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import pyarrow.parquet as pq

from curate.pipelines.part_texts import stored_texts
from curate.pipelines.recipe import load_recipe, view_names
from curate.pipelines.run import Options, run
from curate.report.run_folder import read_run

SHARED = "We sell all kinds of shoes. We ship them to you within a day. Call us now, on any day!"


class Cut(NamedTuple):
    """A document after the last step: its text, whether it is kept, and why not."""

    text: str
    keep: bool
    reason: str | None


Dedup = Callable[..., dict[str, Cut]]


def documents_after(folder: pathlib.Path) -> dict[str, Cut]:
    """Return the documents of a run by name, in its last view."""
    recipe = load_recipe(str(folder / "recipe.toml"))
    views = view_names(recipe)[1:]
    found = {}
    for part in read_run(str(folder)).parts():
        assert part.verdicts is not None
        verdicts = pq.read_table(folder / part.verdicts.path).to_pylist()
        edits = {view: str(folder / ref.path) for view, ref in part.edits.items()}
        for numbers, batch, text in stored_texts(str(folder / part.documents.path), edits, views, ["meta"]):
            rows = zip(numbers.tolist(), batch.column("meta").to_pylist(), text.to_pylist(), strict=True)
            for number, meta, left in rows:
                verdict = verdicts[number]
                found[dict(meta)["name"]] = Cut(left, verdict["keep"], verdict["reason"])
    return found


def dedup_in(tmp_path: pathlib.Path) -> Dedup:
    """Return a function that runs one dedup step over texts, in a folder of its own, and returns what is left by
    name."""
    runs = iter(range(1000))

    def start(
        files: Iterable[Mapping[str, str]],
        step: str,
        settings: str = "",
        engine: str = "",
        read: str = "",
        crawls: Sequence[str] = (),
    ) -> dict[str, Cut]:
        number = next(runs)
        folder = tmp_path / f"run-{number}"
        sources = []
        for place, texts in enumerate(files):
            path = tmp_path / f"{number}-{place}.jsonl"
            rows = [{"id": name, "text": text, "name": name} for name, text in texts.items()]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            sources.append(
                f'[[sources]]\nname = "s{place}"\ninput = ["{path}"]\nmeta = ["name"]\npriority = {-place}\n'
                + (f'crawl = "{crawls[place]}"\n' if crawls else "")
            )
        recipe = tmp_path / "cut.toml"
        recipe.write_text(
            f'name = "cut"\nsteps = ["{step}"]\n{"".join(sources)}\n[read]\n{read}\n'
            f"[dedup.{step}]\n{settings}\n[engine]\n{engine}\n"
        )
        run(load_recipe(str(recipe)), str(folder), Options(executor="inline"))
        return documents_after(folder)

    return start


def texts_of(found: Mapping[str, Cut]) -> dict[str, str]:
    """Return the texts of the documents that are kept."""
    return {name: cut.text for name, cut in found.items() if cut.keep}
