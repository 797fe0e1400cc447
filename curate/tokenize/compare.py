"""Compare tokenizers on the same texts: how far they compress, how they treat words, numbers, code and languages, how
much of their vocabulary they use, and what that costs a trainer.

*Parity* is the number of tokens of a text over that of its English translation (the premium of Petrov et al. 2023,
arXiv:2305.15425), on the parallel sentences that ship. Documents that are no translations of each other have
no parity. Their *estimated* parity is that of their tokens per byte, times the bytes that the language takes to say
what English says in one, which the parallel sentences tell.

Training costs 6 FLOPs per parameter and token (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). No special token is
counted in. Nothing here depends on the machine, but `curate.tokenize.compare_speed`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import RecipeError
from curate.tokenize.compare_counts import COLUMN, COLUMNS, RATIOS, Vocabulary, count, encode, vocabulary
from curate.tokenize.compare_intervals import interval, or_none, ratio, rounded, totals
from curate.tokenize.compare_samples import ENGLISH, UNKNOWN, Document, Sample, parallel_sentences, programs
from curate.tokenize.compare_segments import segments
from curate.tokenize.compare_spans import shape
from curate.tokenize.compare_vocabulary import vocabulary_use
from curate.tokenize.tokenizer import Tokenizer

FORMAT: Final = "tokenizer-comparison/1"
FLOPS_PER_PARAMETER_AND_TOKEN: Final = 6
LISTED_FAILURES: Final = 20
EXCERPT_CHARACTERS: Final = 60
MAX_GROUPS: Final = 200
OTHERS: Final = "(others)"
GROUPINGS: Final = ("language", "source", "script")


@dataclass(frozen=True)
class CompareSettings:
    """`seed` and `resamples` of the bootstrap; `parameters` of the model that training is costed for; tokens of its
    context."""

    seed: int = 0
    resamples: int = 1000
    parameters: int = 8_000_000_000
    context_length: int = 8192


class _Counted(NamedTuple):
    """Counts, int64 [tokenizers, documents, columns], how often each tokenizer gave each id, what did not come back,
    and the groups of each document by `GROUPINGS`."""

    counts: npt.NDArray[np.int64]
    uses: list[npt.NDArray[np.int64]]
    failures: list[list[dict[str, Any]]]
    groups: dict[str, list[str]]


def compare(
    tokenizers: Mapping[str, Tokenizer], sample: Sample, *, on: str, settings: CompareSettings | None = None
) -> dict[str, Any]:
    """Return the comparison of named tokenizers on a sample called `on`, as plain JSON data: see docs/commands.md.

    Figures with an interval are {value, low, high}; figures that do not exist are None. Relative figures are over the
    first tokenizer. Raises RecipeError without tokenizers or documents.
    """
    settings = settings or CompareSettings()
    if not tokenizers or not sample.documents:
        raise RecipeError("nothing to compare: " + ("no tokenizer is named" if not tokenizers else "there is no text"))
    vocabularies = [vocabulary(name, tokenizer) for name, tokenizer in tokenizers.items()]
    counted = _count(vocabularies, sample.documents, settings)
    parallel = {
        code: _count(vocabularies, [Document(text, code, "") for text in texts], settings).counts
        for code, texts in parallel_sentences().items()
    }
    code = {
        name: _count(vocabularies, [Document(text, name, "")], settings).counts for name, text in programs().items()
    }
    figures = _figures(counted.counts, settings)
    by = {kind: _by_group(counted, kind, settings) for kind in GROUPINGS}
    found = []
    for number, item in enumerate(vocabularies):
        alike = {kind: {name: group[number] for name, group in groups.items()} for kind, groups in by.items()}
        found.append(
            {
                "name": item.name,
                **{key: value for key, value in item.tokenizer.identity().items() if key in ("kind", "sha256")},
                "ids": item.tokenizer.vocab_size,
                "bytes_per_id": item.tokenizer.dtype.itemsize,
                "all": figures[number],
                **{f"by_{kind}": alike[kind] for kind in GROUPINGS},
                "parity": _parity(number, parallel, alike["language"], settings),
                "code": {name: _figures(counts, settings)[number] for name, counts in code.items()},
                "vocabulary": vocabulary_use(item.tokenizer, item.spelled, item.flags, counted.uses[number]),
                "cost": _cost(item, counted.counts[number], settings),
                "round_trip": _round_trip(counted.failures[number]),
            }
        )
    return {
        "format": FORMAT,
        "on": {"name": on, **_described(sample), "errors": {}},
        "settings": asdict(settings),
        "tokenizers": found,
        "segments": segments(vocabularies),
    }


def _described(sample: Sample) -> dict[str, Any]:
    return {
        "documents": len(sample.documents),
        "bytes": sum(len(document.text.encode()) for document in sample.documents),
        "seen_documents": sample.seen_documents,
        "seen_bytes": sample.seen_bytes,
        "cut_documents": sample.cut,
    }


def _count(vocabularies: Sequence[Vocabulary], documents: Sequence[Document], settings: CompareSettings) -> _Counted:
    counts = np.zeros((len(vocabularies), len(documents), len(COLUMNS)), dtype=np.int64)
    uses = [np.zeros(item.tokenizer.vocab_size, dtype=np.int64) for item in vocabularies]
    failures: list[list[dict[str, Any]]] = [[] for _ in vocabularies]
    groups: dict[str, list[str]] = {kind: [] for kind in GROUPINGS}
    for row, document in enumerate(documents):
        text, about = document.text.encode(), shape(document.text)
        for kind, name in zip(GROUPINGS, (document.language or UNKNOWN, document.source, about.script), strict=True):
            groups[kind].append(name)
        for number, item in enumerate(vocabularies):
            found = encode(item, document.text)
            exact = found.decoded == text
            counts[number, row] = count(found, about, item.flags, context_length=settings.context_length, exact=exact)
            ids, times = np.unique(found.ids, return_counts=True)
            uses[number][ids] += times
            if not exact:
                failures[number].append(_failure(document, text, found.decoded))
    return _Counted(counts, uses, failures, groups)


def _figures(counts: npt.NDArray[np.int64], settings: CompareSettings) -> list[dict[str, Any]]:
    """Return the figures of each tokenizer on documents with `counts`, int64 [tokenizers, documents, columns]."""
    tokenizers, documents, columns = counts.shape
    side_by_side = counts.transpose(1, 0, 2).reshape(documents, tokenizers * columns)
    sums = totals(side_by_side, resamples=settings.resamples, seed=settings.seed).reshape(-1, tokenizers, columns)
    result = []
    for number in range(tokenizers):
        column = {name: sums[:, number, index] for name, index in COLUMN.items()}
        figures = {name: interval(ratio(column[above], column[below])) for name, (above, below) in RATIOS.items()}
        relative = interval(ratio(column["tokens"], sums[:, 0, COLUMN["tokens"]]))
        plain = {name: int(column[name][0]) for name in ("documents", "bytes", "characters", "words", "tokens")}
        result.append({**plain, **figures, "relative_tokens": relative})
    return result


def _by_group(counted: _Counted, kind: str, settings: CompareSettings) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of each tokenizer in each group, the group of most bytes first; after `MAX_GROUPS` of them the
    rest is one."""
    size: Counter[str] = Counter()
    for name, number in zip(counted.groups[kind], counted.counts[0, :, COLUMN["bytes"]].tolist(), strict=True):
        size[name] += number
    ordered = sorted(size, key=lambda name: (-size[name], name))
    place = {name: min(number, MAX_GROUPS) for number, name in enumerate(ordered)}
    places = np.array([place[name] for name in counted.groups[kind]])
    names = [*ordered[:MAX_GROUPS], *([OTHERS] if len(ordered) > MAX_GROUPS else [])]
    return {name: _figures(counted.counts[:, places == number], settings) for number, name in enumerate(names)}


def _parity(
    number: int,
    parallel: Mapping[str, npt.NDArray[np.int64]],
    on_source: Mapping[str, Mapping[str, Any]],
    settings: CompareSettings,
) -> dict[str, dict[str, Any]]:
    english = parallel[ENGLISH][number]
    result = {}
    for code, counts in parallel.items():
        both = np.stack([counts[number][:, COLUMN["tokens"]], english[:, COLUMN["tokens"]]], axis=1)
        sums = totals(both, resamples=settings.resamples, seed=settings.seed)
        bytes_ratio = counts[number][:, COLUMN["bytes"]].sum() / english[:, COLUMN["bytes"]].sum()
        estimate = None
        if code in on_source and ENGLISH in on_source:
            here, there = on_source[code], on_source[ENGLISH]
            tokens_per_byte = (here["tokens"] / here["bytes"]) / (there["tokens"] / there["bytes"])
            estimate = rounded(tokens_per_byte * bytes_ratio)
        result[code] = {"sentences": interval(ratio(sums[:, 0], sums[:, 1])), "estimated": estimate}
    return result


def _cost(item: Vocabulary, counts: npt.NDArray[np.int64], settings: CompareSettings) -> dict[str, Any]:
    sums = dict(zip(COLUMNS, counts.sum(axis=0).tolist(), strict=True))
    width = item.tokenizer.dtype.itemsize
    flops = FLOPS_PER_PARAMETER_AND_TOKEN * settings.parameters
    return {
        "shard_bytes_per_document": rounded(width * sums["tokens"] / sums["documents"]),
        "shard_bytes_per_text_byte": rounded(width * sums["tokens"] / sums["bytes"]),
        "training_flops_per_document": rounded(flops * sums["tokens"] / sums["documents"]),
        "training_flops_per_text_gigabyte": rounded(flops * sums["tokens"] / sums["bytes"] * 10**9),
        "documents_per_context": or_none(lambda: settings.context_length * sums["documents"] / sums["tokens"]),
    }


def _failure(document: Document, text: bytes, decoded: bytes) -> dict[str, Any]:
    """Return where the bytes that came back first differ from a document, and the characters there."""
    shorter = min(len(text), len(decoded))
    at = next((i for i in range(shorter) if text[i] != decoded[i]), shorter)
    wanted, got = (data[max(0, at - 8) : at + EXCERPT_CHARACTERS].decode(errors="replace") for data in (text, decoded))
    return {
        "source": document.source,
        "language": document.language or UNKNOWN,
        "bytes": len(text),
        "at_byte": at,
        "text": wanted,
        "decoded": got,
    }


def _round_trip(failures: Iterable[dict[str, Any]]) -> dict[str, Any]:
    listed = list(failures)
    return {"failed_documents": len(listed), "failures": listed[:LISTED_FAILURES]}
