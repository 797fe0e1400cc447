"""How often each document is seen: quotas per source from weights and a token budget, and the global shuffle's key.

``epochs = weight * budget / unique_tokens`` (LLaMA, 2302.13971, Table 1). A source of 2.45 epochs gives every document
twice, and a third copy to those whose selection key falls below a threshold. The threshold comes from an integer
histogram of tokens over the selection key, so that the fraction is one of *tokens*, not of documents; it is
interpolated inside a bin, which leaves an error below 1/4096 of the source. No order of documents changes anything.

Keys are a 64-bit hash of (seed, id[, copy]): with the id's two big-endian words w0, w1 and two words k0, k1 of
sha256("<purpose>:<seed>"), ``h = mix64((mix64(w0 ^ k0) + w1) ^ k1)``; for a copy ``mix64(h + (copy + 1) * GOLDEN)``;
mix64 is splitmix64's finaliser. Ids are already hashes; the seed makes the choice independent of them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import RecipeError
from curate.schema import id_words
from curate.shards.order import mix64

BINS: Final = 4096
BIN_WIDTH: Final = (1 << 64) // BINS
BIN_SHIFT: Final = np.uint64(52)
GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
WEIGHT_TOLERANCE: Final = 1e-6
MAX_EPOCHS: Final = 4.0
"""Up to about four epochs repeated data are worth as much as new data (Muennighoff et al., 2305.16264)."""

Words = npt.NDArray[np.uint64]
Histogram = dict[int, int]
"""Tokens per bin of the selection key, empty bins left out."""


@dataclass(frozen=True)
class Quota:
    """What one source gives: ``copies`` of every document, and one more of those with a selection key below
    ``threshold`` (0 to 2**64). ``epochs`` = wanted tokens / unique tokens."""

    weight: float
    unique_tokens: int
    wanted_tokens: int
    epochs: float
    copies: int
    threshold: int


@dataclass(frozen=True)
class MixPlan:
    """The quotas of all sources, and what a person should know of them."""

    seed: int
    quotas: dict[str, Quota]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON values."""
        return {"seed": self.seed, "quotas": {name: asdict(q) for name, q in self.quotas.items()},
                "warnings": list(self.warnings)}  # fmt: skip

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> MixPlan:
        """Return what `to_json` gave."""
        quotas = {name: Quota(**quota) for name, quota in value["quotas"].items()}
        return MixPlan(int(value["seed"]), quotas, tuple(value["warnings"]))


def selection_keys(ids: pa.Array, seed: int) -> Words:
    """Return the uint64 key, [rows], that decides which documents a fractional epoch holds."""
    return _hash(id_words(ids), "select", seed)


def sample_threshold(wanted: int, total: int) -> int:
    """Return the last selection key of a sample of about `wanted` of `total`, of whatever they count."""
    return min((1 << 64) - 1, (wanted << 64) // max(1, total))


def shuffle_keys(ids: pa.Array, copies: npt.NDArray[Any], seed: int) -> Words:
    """Return the 128-bit place of each copy in the global order, uint64 [rows, 2], high word first.

    ``curate.schema.ids_from_words`` makes it a sortable fixed_size_binary[16]. `copies` number the copies of
    each document from 0, 1:1 to `ids`.
    """
    words = id_words(ids)
    step = (np.asarray(copies).astype(np.uint64) + np.uint64(1)) * GOLDEN
    return np.stack([mix64(_hash(words, f"shuffle{half}", seed) + step) for half in (0, 1)], axis=1)


def _hash(words: Words, purpose: str, seed: int) -> Words:
    keys = np.frombuffer(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:16], dtype="<u8").astype(np.uint64)
    return mix64((mix64(words[:, 0] ^ keys[0]) + words[:, 1]) ^ keys[1])


def token_histogram(keys: Words, tokens: npt.NDArray[Any]) -> Histogram:
    """Return the tokens, summed, per bin of the selection key; `tokens` are integers 1:1 to `keys`."""
    bins = (keys >> BIN_SHIFT).astype(np.int64)
    order = np.argsort(bins, kind="stable")
    found, starts = np.unique(bins[order], return_index=True)
    # sums of int64: a float weight would round above 2**53 tokens
    sums = np.add.reduceat(np.asarray(tokens).astype(np.int64)[order], starts) if len(found) else found
    return {int(b): int(n) for b, n in zip(found, sums, strict=True) if n}


def merge_histograms(parts: Iterable[Mapping[Any, int]]) -> Histogram:
    """Return the sum of histograms; keys may be strings, as JSON has them."""
    merged: Histogram = {}
    for part in parts:
        for name, tokens in part.items():
            merged[int(name)] = merged.get(int(name), 0) + int(tokens)
    return dict(sorted(merged.items()))


def plan_mix(
    histograms: Mapping[str, Mapping[Any, int]],
    *,
    weights: Mapping[str, float] | None = None,
    tokens: int | None = None,
    seed: int = 0,
    max_epochs: float = MAX_EPOCHS,
) -> MixPlan:
    """Return how often each source's documents are seen.

    `histograms` has the tokens of every source (see `token_histogram`). Without `weights`, sources keep their natural
    share; without `tokens`, the budget is all unique tokens: with neither, every document is seen once. More than
    `max_epochs` is a warning. Raises RecipeError with every mistake: weights that do not sum to 1 within 1e-6, an
    unknown or unweighted source, a weighted source without tokens.
    """
    merged = {name: merge_histograms([histogram]) for name, histogram in histograms.items()}
    unique = {name: sum(histogram.values()) for name, histogram in merged.items()}
    total = sum(unique.values())
    mistakes = _mistakes(unique, weights, tokens)
    if mistakes:
        raise RecipeError(mistakes)
    budget = total if tokens is None else tokens
    quotas = {}
    for name in merged:
        if weights is None:
            # integers all the way, so that the natural mix is exactly one copy of everything
            wanted = budget * unique[name] // total
            weight = unique[name] / total
        else:
            weight = float(weights[name])
            wanted = round(weight * budget)
        quotas[name] = _quota(merged[name], unique[name], weight, wanted)
    return MixPlan(seed, quotas, tuple(_warnings(quotas, max_epochs)))


def _mistakes(unique: Mapping[str, int], weights: Mapping[str, float] | None, tokens: int | None) -> list[str]:
    mistakes = []
    if tokens is not None and tokens < 1:
        mistakes.append(f"mix.tokens = {tokens}: must be at least 1")
    if not sum(unique.values()):
        mistakes.append("mix: no source has a token; nothing was kept, see the statistics")
    if weights is None:
        return mistakes
    for name, weight in weights.items():
        if name not in unique:
            mistakes.append(f"mix.weights.{name}: no such source; there are {', '.join(unique) or 'none'}")
        elif not math.isfinite(weight) or weight < 0:
            mistakes.append(f"mix.weights.{name} = {weight}: must be a number from 0 to 1")
        elif weight > 0 and not unique[name]:
            mistakes.append(
                f"mix.weights.{name} = {weight}: the source has no token left; set it to 0 or look at its filters"
            )
    for name in unique:
        if name not in weights:
            mistakes.append(f"mix.weights: source {name} has no weight; set it to 0 to leave it out")
    given = math.fsum(weights.values())
    if not abs(given - 1) <= WEIGHT_TOLERANCE:
        mistakes.append(f"mix.weights: sum to {given:.9g}, not to 1")
    return mistakes


def _quota(histogram: Histogram, unique: int, weight: float, wanted: int) -> Quota:
    copies, rest = divmod(wanted, unique) if unique else (0, 0)
    return Quota(weight, unique, wanted, wanted / unique if unique else 0.0, copies, _threshold(histogram, rest))


def _threshold(histogram: Histogram, wanted: int) -> int:
    """Return the selection key below which `wanted` tokens lie, interpolated inside its bin."""
    below = 0
    for number, tokens in sorted(histogram.items()):
        if wanted <= below:
            break
        if below + tokens >= wanted:
            return number * BIN_WIDTH + BIN_WIDTH * (wanted - below) // tokens
        below += tokens
    return 0


def _warnings(quotas: Mapping[str, Quota], max_epochs: float) -> Iterable[str]:
    for name, quota in quotas.items():
        if quota.epochs > max_epochs:
            yield (
                f"{name}: {quota.epochs:.2f} epochs of {quota.unique_tokens} tokens (mix.max_epochs = {max_epochs:g}); "
                f"lower its weight to {quota.weight * max_epochs / quota.epochs:.4g} or find more of it"
            )


def copies_of(keys: Words, quota: Quota) -> npt.NDArray[np.int64]:
    """Return how often each document of a source is seen, int64 [rows], from its selection keys."""
    extra = keys < np.uint64(quota.threshold) if quota.threshold < 1 << 64 else np.ones(len(keys), dtype=bool)
    return quota.copies + extra.astype(np.int64)


def draw(
    ids: pa.Array,
    sources: npt.NDArray[Any],
    names: Sequence[str],
    plan: MixPlan | None,
    repeats: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows to take, each as often as it has copies, and the number of each copy from 0.

    `sources` are indices into `names`, 1:1 to `ids`; without a `plan` there is one epoch of everything. `repeats`, 1:1,
    says how often an epoch holds each document, once if None. The result is in row order; `shuffle_keys` gives the
    final one.
    """
    counts = np.ones(len(ids), dtype=np.int64)
    if plan is not None:
        keys = selection_keys(ids, plan.seed)
        counts[:] = 0
        for index, name in enumerate(names):
            if name in plan.quotas:
                mine = sources == index
                counts[mine] = copies_of(keys[mine], plan.quotas[name])
    if repeats is not None:
        counts *= repeats
    rows = np.repeat(np.arange(len(ids)), counts)
    copies = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, copies
