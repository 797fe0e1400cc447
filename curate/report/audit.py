"""How often a dedup step removed what is no copy: a sample of removed documents, compared again with what was kept.

Of each step the `sample` removed documents with the smallest hash of (seed, id) are taken: a uniform sample without
replacement that depends on neither files nor their order. Each is compared exactly, by the Jaccard similarity (or
containment) of its shingles in the step's own settings, with

- the document that it was removed for: below the threshold, the removal is *false*;
- the one that stands for it at the end: where the former was itself removed by a later dedup step, its kept document,
  and so on (*chained*). Below the threshold, the removal is *false at the end*. Where a filter dropped the last one
  later, nothing of the text is *left*.

Steps that compare no shingles (``exact``, ``url``, ``id``, ``semantic``) are looked at through the default settings of
``minhash``: for ``url`` that tells how often captures of one page say different things, for ``semantic`` how many
removals are no near-copies; whether they mean the same is for people to judge. A text shorter than a shingle is similar
to an equal one alone. What was removed for a document of an older run (``against``) is compared with the text there;
where that run no longer holds it, it is counted apart (*elsewhere*).

Memory is the ids and verdicts of one part, and the shingles of the sampled documents and their kept ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.pipelines.guards import losses
from curate.report.audit_sample import (
    Kept,
    Node,
    Sample,
    draw_samples,
    find_documents,
    find_kept,
    older_runs,
    step_order,
)
from curate.report.audit_texts import (
    Lens,
    Looked,
    Place,
    beginnings,
    first_difference,
    lens_of,
    look_at,
    similarities,
)
from curate.report.interval import Interval, clopper_pearson
from curate.report.run_folder import DedupRounds, PartFiles, RunFolder, read_run

MAX_SAMPLE: Final = 100_000


class Side(NamedTuple):
    """One document of an example, and what it says from where the two begin to differ."""

    id: str
    url: str | None
    source: str
    passage: str


class Example(NamedTuple):
    """A removed document and the one that it was removed for, with their similarity, 0 to 1."""

    similarity: float
    removed: Side
    kept: Side


class Rate(NamedTuple):
    """How many of the compared documents are far from what was kept: the share with its 95% interval."""

    compared: int
    false: int
    interval: Interval

    @property
    def share(self) -> float | None:
        """The estimated share, 0 to 1; None where nothing was compared."""
        return self.false / self.compared if self.compared else None

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON data."""
        low, high = self.interval
        return {"compared": self.compared, "false": self.false, "share": self.share, "low": low, "high": high}


class StepAudit(NamedTuple):
    """The audit of one step: `removed` documents in all, `sampled` of them. `older` were compared with a document of
    an older run, `elsewhere` were removed for one that no run holds.

    `rate` is against the document that each was removed for, `end` against the one that is left for it; `chained` are
    those where the two differ, `gone` those for which this run has none left, by the reason that dropped the last one.
    `sources` has `rate` by source of the removed document. `kind` is that of the step.
    """

    step: str
    kind: str
    threshold: float
    similarity: str
    removed: int
    sampled: int
    older: int
    elsewhere: int
    rate: Rate
    end: Rate
    chained: int
    gone: Mapping[str, int]
    sources: Mapping[str, Rate]
    examples: Sequence[Example]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON data."""
        return {
            **self._asdict(),
            "rate": self.rate.to_json(),
            "end": self.end.to_json(),
            "gone": dict(self.gone),
            "sources": {name: rate.to_json() for name, rate in self.sources.items()},
            "examples": [
                {
                    "similarity": example.similarity,
                    "removed": example.removed._asdict(),
                    "kept": example.kept._asdict(),
                }
                for example in self.examples
            ],
        }


def read_audit(
    run: str,
    step: str | None = None,
    *,
    sample: int = 1000,
    seed: int = 0,
    threshold: float | None = None,
    number: int = 5,
) -> list[StepAudit]:
    """Return the audit of each dedup step of a run that removed something, or of one `step`.

    `sample` is how many removed documents of each step are compared, at most `MAX_SAMPLE`; `threshold` the similarity
    below which a removal is false, that of the step if None; `number` how many examples come with it, least similar
    first.

    Raises RecipeError for a folder that is no run and a step that it does not have.
    """
    folder = read_run(run)
    steps = folder.dedup_steps(step)
    parts = folder.parts()
    samples = draw_samples(folder, parts, steps, min(sample, MAX_SAMPLE), seed)
    named = {kept for one in samples.values() for kept in one.kept_ids()}
    here = find_documents(folder, parts, named)
    named |= {node.kept for node in here.values() if node.kept is not None}
    older: dict[bytes, Node] = {}
    own = len(parts)
    for run_before in older_runs(folder):
        held = run_before.parts()
        older |= find_kept(run_before, held, named, len(parts))
        parts += held
    kept = Kept(here, older, step_order(folder.recipe))
    return [
        _audit(folder, parts, own, rounds, samples[name], kept, threshold, number)
        for name, rounds in steps.items()
        if len(samples[name].rows)
    ]


def _audit(
    folder: RunFolder,
    parts: Sequence[PartFiles],
    own: int,
    rounds: DedupRounds,
    sample: Sample,
    kept: Kept,
    threshold: float | None,
    number: int,
) -> StepAudit:
    step = rounds.name
    lens = lens_of(folder.recipe, step)
    bound = lens.settings.threshold if threshold is None else threshold
    pairs = zip(sample.places(), sample.kept_ids(), strict=True)
    found = [(place, node) for place, identity in pairs if (node := kept.named(identity, step)) is not None]
    direct = [(place, node.place) for place, node in found]
    ends = [kept.at_end(node) for _, node in found]
    final = [(place, end.place) for (place, _), end in zip(found, ends, strict=True)]
    looked = look_at(parts, lens, {place for pair in (*direct, *final) for place in pair})
    near = similarities(looked, direct, lens.settings)
    at_end = similarities(looked, final, lens.settings)
    left = np.array([end.reason is None for end in ends], dtype=bool)
    sources = np.array([looked[place].source for place, _ in found], dtype=object)
    total = sum(loss.removed for loss in losses(rounds.own, "source", rounds.older))
    whole = len(found) == total
    return StepAudit(
        step=step,
        kind=folder.recipe.get("dedup", {}).get(step, {}).get("kind", step),
        threshold=bound,
        similarity=lens.settings.similarity,
        removed=total,
        sampled=len(sample.rows),
        older=sum(node.place.part >= own for _, node in found),
        elsewhere=len(sample.rows) - len(found),
        rate=_rate(near < bound, whole),
        end=_rate(at_end[left] < bound, whole),
        chained=sum(one != other for one, other in zip(direct, final, strict=True)),
        gone=dict(sorted(Counter(end.reason for end in ends if end.reason is not None).items())),
        sources={name: _rate(near[sources == name] < bound, whole) for name in sorted(set(sources.tolist()))},
        examples=_examples(parts, lens, looked, direct, near, number),
    )


def _rate(false: NDArray[np.bool_], whole: bool) -> Rate:
    """Return the share of `false` documents; it is no estimate if the `whole` of what was removed was compared."""
    hits = int(false.sum())
    if whole and len(false):
        return Rate(len(false), hits, Interval(hits / len(false), hits / len(false)))
    return Rate(len(false), hits, clopper_pearson(hits, len(false)))


def _examples(
    parts: Sequence[PartFiles],
    lens: Lens,
    looked: Mapping[Place, Looked],
    pairs: Sequence[tuple[Place, Place]],
    similarity: NDArray[np.float64],
    number: int,
) -> list[Example]:
    """Return the least similar pairs, and from where their texts differ."""
    order = sorted(range(len(pairs)), key=lambda at: (similarity[at], looked[pairs[at][0]].id, pairs[at][0]))[:number]
    texts = beginnings(parts, lens, {place for at in order for place in pairs[at]})
    examples = []
    for at in order:
        passages = first_difference(*(texts[place] for place in pairs[at]))
        removed, kept = (
            Side(looked[place].id, looked[place].url, looked[place].source, passage)
            for place, passage in zip(pairs[at], passages, strict=True)
        )
        examples.append(Example(float(similarity[at]), removed, kept))
    return examples
