"""The end of a run: quotas, the global shuffle, packing, and the manifest that makes the shards real.

The manifest is removed before the first shard of a new packing is written and comes back when all are there: a reader
either finds a manifest whose every shard exists, or none. Shards that it does not name are then deleted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from curate import storage
from curate.dedup import IMPLIED
from curate.engine import exchange
from curate.engine.driver import check_barrier, total_flow
from curate.engine.tasks import FileRef, Flow, Receipt, check_rows, hash_json
from curate.pipelines import mixing
from curate.pipelines.packing import SHUFFLE_SORT
from curate.pipelines.rehydration import realised_repeats
from curate.pipelines.settings import Recipe
from curate.shards.layout import ShardSpec
from curate.shards.manifest import MANIFEST_FILE, build_manifest, write_manifest

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline

SHARDS: Final = "shards"


def shards(pipeline: Pipeline, tokenizer: Sequence[FileRef], tally: Mapping[str, int]) -> dict[str, Any]:
    """Draw the mix, shuffle, pack and publish; return the manifest."""
    recipe, driver = pipeline.recipe, pipeline.driver
    sources = [source.name for source in recipe.sources]
    mix = find_mix(pipeline, tally)
    common = pipeline.repeating({"sources": sources, "mix": mix.to_json() if mix else None, "seed": recipe.mix.seed})
    specs = [
        pipeline.spec(
            "shuffle",
            part.name,
            common,
            signals=[part.signals],
            verdicts=[part.verdicts],
            tokens=[part.tokens],
            clusters=[part.clusters],
            clusters_before=[part.clusters_before],
        )
        for part in pipeline.parts
    ]
    scattered = driver.run_phase("shuffle", specs)
    check_barrier("shuffle", pipeline.kept, total_flow(scattered, "in"))
    runs, _ = pipeline.gather("shuffle", scattered, SHUFFLE_SORT)
    identity = next(receipt.facts["tokenizer"] for receipt in driver.used if receipt.stage == "tokenize")
    spec = shard_spec(pipeline, identity, sources)
    drawn = sum(receipt.stats.get("drawn_tokens", 0) for receipt in scattered)
    # from tokens, not from file sizes: how inputs were cut must not move a partition's edge
    partitions = exchange.partition_count(drawn * spec.dtype.itemsize, recipe.engine.partition_bytes)
    folder = storage.join(driver.run, SHARDS)
    packed = pack(pipeline, runs, partitions, spec, folder)
    check_barrier("pack", total_of(scattered, "drawn"), total_of(packed, "packed"))
    written = sum(ref.facts["tokens"] for receipt in packed for ref in receipt.files("shards"))
    check_rows("pack: tokens", drawn, written)
    epochs = {name: quota.epochs for name, quota in mix.quotas.items()} if mix else dict.fromkeys(sources, 1.0)
    repeats = realised_repeats(scattered) if recipe.mix.rehydrate else None
    return publish(pipeline, packed, spec, tokenizer, epochs, repeats, folder)


def total_of(receipts: Sequence[Receipt], fact: str) -> Flow:
    """Return the sum of a flow that receipts hold among their facts."""
    total = Flow()
    for receipt in receipts:
        total = total.plus(Flow.from_json(receipt.facts[fact]))
    return total


def shaping_settings(recipe: Recipe, older: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the part of a recipe that shapes the bytes of shards: no path, and nothing of how work is cut or run.
    `older` identifies the older runs that dedup steps went against, by the step's name."""
    table = recipe.as_table()
    left_out = ("name", "description", "assets", "keep_text", "engine", "sources")
    settings = {key: value for key, value in table.items() if key not in left_out}
    settings["sources"] = {
        source.name: {"priority": source.priority} | ({"crawl": source.crawl} if source.crawl else {})
        for source in recipe.sources
    }
    for filter_table in settings["filters"].values():
        for words in ("title", "citation", "provenance"):
            filter_table.pop(words, None)
    for name, step in settings["dedup"].items():
        for key in ("alarm", "max_edges_in_memory", "against"):
            step.pop(key, None)
        if name in older:
            step["against"] = list(older[name])
    settings["dedup"] = {name: step for name, step in settings["dedup"].items() if name not in IMPLIED}
    settings["mix"].pop("max_epochs", None)
    settings["read"].pop("batch_bytes", None)
    settings["partition_bytes"] = recipe.engine.partition_bytes
    if "tokenizer" in settings:
        settings["tokenizer"] = {key: value for key, value in settings["tokenizer"].items() if key != "file"}
    return settings


def find_mix(pipeline: Pipeline, tally: Mapping[str, int]) -> mixing.MixPlan | None:
    """Return each source's quota of the token budget; None without a budget, when every document is drawn once."""
    mix = pipeline.recipe.mix
    if mix.tokens is None:
        return None
    histograms: dict[str, dict[int, int]] = {source.name: {} for source in pipeline.recipe.sources}
    for key, count in tally.items():
        if key.startswith("mix|"):
            name, _, place = key.removeprefix("mix|").rpartition("|")
            histograms[name][int(place)] = count
    plan = mixing.plan_mix(
        histograms, weights=mix.weights or None, tokens=mix.tokens, seed=mix.seed, max_epochs=mix.max_epochs
    )
    for name, quota in plan.quotas.items():
        pipeline.driver.progress.note(f"mix: {name}: {quota.epochs:.2f} epochs of {quota.unique_tokens} tokens")
    for warning in plan.warnings:
        pipeline.driver.progress.note(f"mix: {warning}")
    return plan


def shard_spec(pipeline: Pipeline, identity: Mapping[str, Any], sources: Sequence[str]) -> ShardSpec:
    """Return what the shards' bytes depend on beside their tokens."""
    settings = pipeline.recipe.shards
    return ShardSpec(
        layout=settings.layout,
        context_length=settings.context_length,
        tokenizer=identity,
        sources=tuple(sources),
        shard_bytes=settings.shard_bytes,
        packing=settings.packing,
        run=hash_json(shaping_settings(pipeline.recipe, pipeline.older)),
    )


def pack(pipeline: Pipeline, runs: Sequence[FileRef], partitions: int, spec: ShardSpec, folder: str) -> list[Receipt]:
    """Pack every shuffle partition."""
    settings = {**asdict(spec), "sources": list(spec.sources)}
    specs = []
    for index in range(partitions):
        low, high = exchange.partition_range(index, partitions)
        span = {"range": [str(low), str(high)], "partition": index, "spec": settings}
        specs.append(pipeline.spec("pack", f"partition {index}", span, runs=runs))
    keys = {task.key for task in specs}
    if len(pipeline.driver.ledger.find_all(keys)) < len(keys):
        storage.delete(storage.join(folder, MANIFEST_FILE))
    return pipeline.driver.run_phase("pack", specs)


def publish(
    pipeline: Pipeline,
    packed: Sequence[Receipt],
    spec: ShardSpec,
    tokenizer: Sequence[FileRef],
    epochs: Mapping[str, float],
    repeats: Mapping[str, Any] | None,
    folder: str,
) -> dict[str, Any]:
    """Write the manifest and the tokenizer beside the shards, and delete shards of earlier packings."""
    files = [ref for receipt in packed for ref in receipt.files("shards")]
    entries = [{**ref.facts, "path": os.path.basename(ref.path)} for ref in files]
    manifest = build_manifest(
        entries,
        spec,
        settings=shaping_settings(pipeline.recipe, pipeline.older),
        epochs=epochs,
        quarantined=pipeline.quarantined,
        repeats=repeats,
    )
    run = pipeline.driver.run
    for ref in tokenizer:
        uri = ref.path if os.path.isabs(ref.path) else storage.join(run, ref.path)
        storage.write_bytes(storage.join(folder, "tokenizer", os.path.basename(ref.path)), storage.read_bytes(uri))
    write_manifest(manifest, folder)
    named = {entry["path"] for entry in entries}
    for name in storage.list_names(folder):
        if name.endswith(".arrow") and name not in named:
            storage.delete(storage.join(folder, name))
    return manifest
