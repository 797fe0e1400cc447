"""Where documents stand in a dedup step: which of them may meet, and which one of a group is the best to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.dedup.keys import GroupSettings, Scope, one_array, priority_rank, quality_rank, scope_words
from curate.engine.tasks import Task
from curate.pipelines.parts import read_signals
from curate.pipelines.settings import Recipe
from curate.pipelines.steps import SOURCE

LANGUAGE = "language.code"


class Standing(NamedTuple):
    """Of each document of a part: `priority` and `quality` uint64 [rows], smaller is better, in this order; `scope`
    uint64 [rows, 2], equal for documents that may meet."""

    priority: NDArray[np.uint64]
    quality: NDArray[np.uint64]
    scope: NDArray[np.uint64]


def standing_settings(recipe: Recipe, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tasks of a step with these settings must know of the recipe's sources."""
    crawls = {source.name: source.crawl or source.name for source in recipe.sources}
    return {
        "priorities": {source.name: source.priority for source in recipe.sources},
        "crawls": crawls if settings.get("scope") == "crawl" else {},
    }


def read_standing(task: Task, settings: Mapping[str, Any]) -> Standing:
    """Return where the documents of a task's signals file stand. `settings` holds those of the step, and what
    `standing_settings` returns."""
    chosen = GroupSettings.model_validate(
        {key: value for key, value in settings["settings"].items() if key in GroupSettings.model_fields}
    )
    columns = scope_columns(chosen.scope)
    columns += [chosen.quality] if chosen.quality else []
    signals = read_signals(task, list(dict.fromkeys(columns)))
    rows = len(signals)
    source = one_array(signals.column(SOURCE))
    quality = quality_rank(signals.column(chosen.quality)) if chosen.quality else np.zeros(rows, np.uint64)
    scope = scope_of(signals, chosen.scope, settings["crawls"])
    return Standing(priority_rank(source, settings["priorities"]), quality, scope)


def scope_columns(scope: Scope) -> list[str]:
    """Return the columns of a signals file that `scope_of` reads, and the source."""
    return [SOURCE, *([LANGUAGE] if scope == "language" else [])]


def scope_of(signals: pa.Table, scope: Scope, crawls: Mapping[str, str]) -> NDArray[np.uint64]:
    """Return what tells apart the documents that may not meet, uint64 [rows, 2]. `crawls`: the crawl of each source,
    where the scope is the crawl."""
    if scope == "global":
        return np.zeros((len(signals), 2), np.uint64)
    if scope == "language":
        return scope_words(signals.column(LANGUAGE))
    source = one_array(signals.column(SOURCE))
    if scope == "source":
        return scope_words(source)
    encoded = source.dictionary_encode()
    names = pa.array([crawls[name] for name in encoded.dictionary.to_pylist()], pa.string())
    return scope_words(names.take(encoded.indices))
