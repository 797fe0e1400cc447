"""The stages that turn signals into verdicts: rules, and the search for quantile bounds. They touch no text."""

from __future__ import annotations

from curate.engine.tasks import Task
from curate.filters.decide import Columns, decide
from curate.filters.quantiles import Search, rule_histogram
from curate.filters.rules import ResolvedRule
from curate.pipelines.parts import read_kept, read_parquet, read_verdicts, write_verdicts


def decide_part(task: Task) -> None:
    """Apply the rules of consecutive filters to the signals of one part."""
    rules = [ResolvedRule.model_validate(rule) for rule in task.settings["rules"]]
    columns = ["id", *dict.fromkeys(name for rule in rules for name in rule.signals())]
    signals = read_parquet(task, task.input("signals"), columns)
    previous = read_verdicts(task, signals.column("id"))
    write_verdicts(task, decide(signals, rules, previous), previous.column("keep").combine_chunks())


def quantile_part(task: Task) -> None:
    """Count one round of the histograms from which a quantile bound is found, over documents still kept."""
    rule = ResolvedRule.model_validate(task.settings["rule"])
    signals = read_parquet(task, task.input("signals"), ["id", *rule.signals()])
    kept = read_kept(task, len(signals))
    search = Search.model_validate(task.settings["search"])
    task.facts["histogram"] = rule_histogram(Columns(signals), rule, task.settings["side"], kept, search)
