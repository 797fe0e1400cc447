"""The phases of a semantic dedup step; `semantic.py` explains what its tasks do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from curate.dedup import DEDUPS
from curate.dedup.embedders import EMBEDDERS
from curate.dedup.kmeans import POINTS_PER_CENTROID
from curate.dedup.semantic import SemanticSettings
from curate.engine.driver import check_barrier, total_flow
from curate.engine.tasks import FileRef, Receipt
from curate.pipelines import units
from curate.pipelines.mixing import sample_threshold
from curate.pipelines.semantic import CLUSTER_SORT
from curate.pipelines.standing import standing_settings

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline

TRAINING: Final = ("dim", "epochs", "seed")
CLUSTERING: Final = ("iterations", "kmeans", "seed")
ORDERING: Final = ("scheme", "quality", "scope")
PAIRING: Final = ("scheme", "epsilon", "max_cluster")


def semantic_phases(reason: str) -> list[str]:
    """Return the phases of a semantic step in order, with those that train word vectors."""
    return ["tally", *(f"{reason}-{name}" for name in ("words", "embed", "centroids", "assign", "pairs", "apply"))]


def find_semantic(pipeline: Pipeline, reason: str, kind: str, settings: Mapping[str, Any], view: str | None) -> None:
    """Run one semantic step."""
    given = SemanticSettings.model_validate(settings)
    text = {"view": view, "views": pipeline.views_to(view), "version": DEDUPS[kind].version}
    entry = EMBEDDERS[given.embedder]
    names, model = _model(pipeline, reason, given, text)
    specs = [
        replace(
            pipeline.spec(
                "semantic.embed",
                part.name,
                text | {"embedder": given.embedder, "max_chars": given.max_chars, "model_files": names},
                **pipeline.text_inputs(view, part),
                verdicts=[part.verdicts],
                model=model,
            ),
            libraries=tuple(sorted({*entry.libraries, "pyarrow"})),
        )
        for part in pipeline.parts
    ]
    embedded = pipeline.run_phase(f"{reason}-embed", specs)
    check_barrier(reason, pipeline.kept, total_flow(embedded, "in"))
    vectors = [receipt.files("vectors")[0] for receipt in embedded]
    pipeline.apply_changes(reason, _search(pipeline, reason, given, vectors) if any(v.rows for v in vectors) else [])


def only(settings: SemanticSettings, names: Sequence[str]) -> dict[str, Any]:
    """Return the settings that a stage reads, without the others, so that a moved ε clusters nothing again."""
    return settings.model_dump(mode="json", include=set(names), exclude_none=True)


def _model(
    pipeline: Pipeline, reason: str, settings: SemanticSettings, text: Mapping[str, Any]
) -> tuple[Sequence[str], Sequence[FileRef]]:
    """Return the files of the embedder's model, and what they are called in its folder: the user's, or word vectors
    that are trained now. Where a model lies is no part of a task."""
    if settings.model is not None:
        refs = units.folder_refs(settings.model, f"models/{reason}", pipeline.driver.run)
        return list(refs), list(refs.values())
    spec = pipeline.spec(
        "semantic.words",
        reason,
        {**text, "settings": only(settings, TRAINING), "last_key": str(pipeline.sample_key(settings.sample_bytes))},
        **pipeline.text_inputs(text["view"], *pipeline.parts),
        verdicts=[part.verdicts for part in pipeline.parts],
    )
    (receipt,) = pipeline.run_phase(f"{reason}-words", [spec])
    return [], receipt.files("model")


def _search(pipeline: Pipeline, reason: str, settings: SemanticSettings, vectors: Sequence[FileRef]) -> list[Receipt]:
    """Cluster the vectors and search each cluster; return the receipts that hold the changes."""
    count = sum(ref.rows for ref in vectors)
    clusters = settings.clusters or max(1, math.isqrt(count))
    last_key = sample_threshold(clusters * POINTS_PER_CENTROID, count)
    spec = pipeline.spec(
        "semantic.centroids",
        reason,
        {"settings": only(settings, CLUSTERING), "clusters": clusters, "last_key": str(last_key)},
        vectors=[ref for ref in vectors if ref.rows],
    )
    if settings.kmeans == "faiss":
        spec = replace(spec, libraries=("faiss-cpu", "pyarrow"))
    (centroids,) = pipeline.driver.run_phase(f"{reason}-centroids", [spec])
    ordering = only(settings, ORDERING)
    common = {"settings": ordering, **standing_settings(pipeline.recipe, ordering)}
    specs = [
        pipeline.spec(
            "semantic.assign",
            part.name,
            common | {"part": part.documents.path},
            signals=[part.signals],
            measured=part.measured,
            vectors=[ref],
            centroids=centroids.files("centroids"),
        )
        for part, ref in zip(pipeline.parts, vectors, strict=True)
    ]
    assigned = pipeline.driver.run_phase(f"{reason}-assign", specs)
    runs, partitions = pipeline.gather(reason, assigned, CLUSTER_SORT)
    return pipeline.reduce(
        f"{reason}-pairs",
        partitions,
        lambda index, span: pipeline.spec(
            "semantic.pairs", f"{reason} {index}", {"settings": only(settings, PAIRING), **span}, runs=runs
        ),
    )
