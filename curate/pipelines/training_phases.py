"""The phases that train a tokenizer: draw the sample, count its pre-tokens, add them up, learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from curate.engine.tasks import FileRef
from curate.pipelines import training, units
from curate.pipelines.train_settings import TrainSettings
from curate.tokenize.counts import SORT, least_count
from curate.tokenize.train import read_base
from curate.tokenize.train_spm import learns_from_counts

if TYPE_CHECKING:
    from curate.pipelines.pipeline import Pipeline

READ: Final = ("documents", "characters", "bytes")
LEARNED: Final = frozenset(
    {"kind", "vocab_size", "pattern", "specials", "min_count", "merge_bytes", "base", "new_tokens", "sentencepiece"}
)
"""The settings that the last phase reads; the others choose its sample."""


def training_phases(settings: TrainSettings) -> list[str]:
    """Return the phases in order."""
    text = settings.kind == "sentencepiece" and not learns_from_counts(settings.sentencepiece)
    counted = [] if text else ["tokenizer-count", "tokenizer-sum"]
    return ["tally", *counted, "tokenizer"]


def train_tokenizer(pipeline: Pipeline, settings: TrainSettings, view: str) -> Sequence[FileRef]:
    """Train a tokenizer on a sample of the documents that are kept, and return its files."""
    kept: Counter[str] = Counter()
    for key, count in pipeline.tally().items():
        what, *labels = key.split("|")
        if what == "tally" and labels[-2:] == ["kept", "bytes"]:
            kept[labels[0]] += count
    weights = settings.source_weights or pipeline.recipe.mix.weights
    sample = {
        "seed": settings.seed,
        "quotas": training.sample_quotas(kept, settings.sample_bytes, weights),
        "views": pipeline.views_to(view),
        "view": view,
    }
    unit = f"{settings.kind} {settings.vocab_size or settings.new_tokens}"
    base = units.base_path(pipeline.recipe) if settings.base else None
    pattern = training.counted_pattern(settings, read_base(base) if base else None)
    options: dict[str, Any] = {"train": settings.model_dump(mode="json", include=set(LEARNED), exclude_none=True)}
    inputs: dict[str, Sequence[FileRef | None]]
    if pattern is None:
        options |= sample
        verdicts = [part.verdicts for part in pipeline.parts]
        inputs = {**pipeline.text_inputs(view, *pipeline.parts), "verdicts": verdicts}
    else:
        options["told"], words = _count(pipeline, settings, {**sample, "pattern": pattern})
        inputs = {"words": words, "base": units.shared_files(base, pipeline.driver.run) if base else []}
    spec = pipeline.spec("tokenizer", unit, options, **inputs)
    (receipt,) = pipeline.run_phase("tokenizer", [spec])
    return receipt.files("tokenizer")


def _count(
    pipeline: Pipeline, settings: TrainSettings, sample: Mapping[str, Any]
) -> tuple[dict[str, int], list[FileRef]]:
    """Count the pre-tokens of the sample; return what the card says of them, and the files that hold them."""
    specs = [
        pipeline.spec(
            "tokenizer.count",
            part.name,
            sample,
            **pipeline.text_inputs(sample["view"], part),
            verdicts=[part.verdicts],
        )
        for part in pipeline.parts
    ]
    receipts = pipeline.run_phase("tokenizer-count", specs, partial(training.warm_up, sample["pattern"]))
    runs, partitions = pipeline.gather("tokenizer-count", receipts, SORT)
    sums = pipeline.reduce(
        "tokenizer-sum",
        partitions,
        lambda index, span: pipeline.spec("tokenizer.sum", f"words {index}", span, runs=runs),
    )
    found: dict[int, list[int]] = {}
    for receipt in sums:
        training.add_histogram(found, receipt.facts["histogram"])
    words = [ref for receipt in sums for ref in receipt.files("words")]
    told = {name: sum(receipt.stats.get(name, 0) for receipt in receipts) for name in READ}
    told["pretokens"] = sum(receipt.stats.get("pretokens", 0) for receipt in sums)
    told["distinct_pretokens"] = sum(ref.rows for ref in words)
    told["least_count"] = least_count(found, settings.min_count, settings.merge_bytes)
    return told, words
