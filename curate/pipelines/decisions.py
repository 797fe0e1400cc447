"""The stages that turn signals into verdicts: rules, and the search for quantile bounds. They touch no text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate.engine.tasks import Task
from curate.filters.decide import Columns, decide
from curate.filters.quantiles import Search, merge, rule_histogram
from curate.filters.rules import ResolvedRule
from curate.pipelines.parts import read_kept, read_signals, read_verdicts, write_verdicts
from curate.pipelines.quarantine import drop_lost, lost_in, pieces


def decide_part(task: Task) -> None:
    """Apply the rules of consecutive filters to the signals of one part, but for the documents in quarantine."""
    rules = [ResolvedRule.model_validate(rule) for rule in task.settings["rules"]]
    signals = read_signals(task, list(dict.fromkeys(("id", *(name for rule in rules for name in rule.signals())))))
    reasons = lost_in(task, signals.column("id"))
    previous = drop_lost(read_verdicts(task, signals.column("id")), reasons)
    rows = [np.flatnonzero(reasons.is_valid())]
    verdicts = [previous.take(rows[0])]
    for piece in pieces(task, signals.append_column("row", pa.array(np.arange(len(signals))))):
        rows.append(piece.column("row").to_numpy())
        verdicts.append(decide(piece, rules, previous.take(rows[-1])))
    decided = pa.concat_tables(verdicts).take(np.argsort(np.concatenate(rows))).combine_chunks()
    write_verdicts(task, decided, previous.column("keep").combine_chunks())


def quantile_part(task: Task) -> None:
    """Count one round of the histograms from which a quantile bound is found, over documents still kept."""
    rule = ResolvedRule.model_validate(task.settings["rule"])
    signals = read_signals(task, list(dict.fromkeys(("id", *rule.signals()))))
    signals = signals.filter(read_kept(task, len(signals)))
    search = Search.model_validate(task.settings["search"])
    task.facts["histogram"] = merge(
        rule_histogram(Columns(piece), rule, task.settings["side"], np.ones(len(piece), dtype=bool), search)
        for piece in pieces(task, signals)
    )
