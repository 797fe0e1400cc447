"""From a web crawl to token shards.

``curate.run(curate.load_recipe("recipe.toml"), "runs/first")`` is what the command ``curate run`` does; the other
commands are functions of this module, too. Names are imported when they are first used: ``import curate`` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from curate.errors import (
    AlarmError,
    AssetError,
    CurateError,
    InputError,
    InvariantError,
    LeaseError,
    RecipeError,
    RetryableError,
    ShardError,
    StorageFullError,
    TaskError,
)

__version__: str

if TYPE_CHECKING:
    from curate.assets import fetch as fetch_assets
    from curate.pipelines.plan import Plan, plan
    from curate.pipelines.recipe import Recipe, load_recipe
    from curate.pipelines.run import Options, Summary, run
    from curate.pipelines.sample import write_sample
    from curate.pipelines.train_settings import TrainSettings
    from curate.pipelines.training import train_on_texts as train_tokenizer
    from curate.report.audit import StepAudit, read_audit
    from curate.report.clusters import StepClusters, read_clusters
    from curate.report.comparison import compare_tokenizers
    from curate.report.lookup import Lookup, look_up
    from curate.report.samples import Sample, read_samples
    from curate.report.stats import Stats, read_stats
    from curate.shards.reader import ShardSet
    from curate.shards.verify import verify as verify_shards
    from curate.tokenize.compare import CompareSettings
    from curate.tokenize.export import export as export_tokenizer
    from curate.tokenize.registry import load as load_tokenizer
    from curate.tokenize.registry import save as save_tokenizer
    from curate.tokenize.tokenizer import Tokenizer
    from curate.tokenize.train import cut as cut_tokenizer

_PLACES: Final = {
    "run": "curate.pipelines.run:run",
    "Options": "curate.pipelines.run:Options",
    "Summary": "curate.pipelines.run:Summary",
    "load_recipe": "curate.pipelines.recipe:load_recipe",
    "Recipe": "curate.pipelines.recipe:Recipe",
    "plan": "curate.pipelines.plan:plan",
    "Plan": "curate.pipelines.plan:Plan",
    "read_stats": "curate.report.stats:read_stats",
    "Stats": "curate.report.stats:Stats",
    "read_samples": "curate.report.samples:read_samples",
    "Sample": "curate.report.samples:Sample",
    "read_clusters": "curate.report.clusters:read_clusters",
    "StepClusters": "curate.report.clusters:StepClusters",
    "read_audit": "curate.report.audit:read_audit",
    "StepAudit": "curate.report.audit:StepAudit",
    "look_up": "curate.report.lookup:look_up",
    "Lookup": "curate.report.lookup:Lookup",
    "ShardSet": "curate.shards.reader:ShardSet",
    "verify_shards": "curate.shards.verify:verify",
    "load_tokenizer": "curate.tokenize.registry:load",
    "Tokenizer": "curate.tokenize.tokenizer:Tokenizer",
    "train_tokenizer": "curate.pipelines.training:train_on_texts",
    "TrainSettings": "curate.pipelines.train_settings:TrainSettings",
    "cut_tokenizer": "curate.tokenize.train:cut",
    "export_tokenizer": "curate.tokenize.export:export",
    "save_tokenizer": "curate.tokenize.registry:save",
    "compare_tokenizers": "curate.report.comparison:compare_tokenizers",
    "CompareSettings": "curate.tokenize.compare:CompareSettings",
    "fetch_assets": "curate.assets:fetch",
    "write_sample": "curate.pipelines.sample:write_sample",
}
"""Where each name of the public API lives; the errors need nothing and are always there."""

__all__ = [
    # a run
    "run", "load_recipe", "plan", "Recipe", "Options", "Summary", "Plan",
    # what it did
    "read_stats", "read_samples", "Stats", "Sample",
    "read_clusters", "read_audit", "look_up", "StepClusters", "StepAudit", "Lookup",
    # what it made
    "ShardSet", "verify_shards", "load_tokenizer", "Tokenizer",
    "train_tokenizer", "cut_tokenizer", "export_tokenizer", "save_tokenizer", "TrainSettings",
    "compare_tokenizers", "CompareSettings",
    # what it needs
    "fetch_assets", "write_sample",
    # what goes wrong
    "CurateError", "RecipeError", "InputError", "AssetError", "RetryableError", "StorageFullError", "LeaseError",
    "AlarmError", "TaskError", "ShardError", "InvariantError",
    "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("curate-llm")
        except PackageNotFoundError:
            return "unknown"  # a checkout that was never installed
    if name not in _PLACES:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
