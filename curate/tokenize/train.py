"""Train a byte-level BPE tokenizer from counted pre-tokens; equal text gives equal bytes.

Memory follows the distinct pre-tokens, not the text (`counts`, `learn`), and the ranks are those of ``rustbpe``. A
vocabulary can be cut from a larger one (`cut`), which gives what training it directly would have given, and be grown
from another one (`Base`), as Llama 3 added 28,000 tokens for other languages to the 100,000 of ``cl100k`` (2407.21783,
section 3.2). All return the files of a saved folder (see `registry`), which name no time, host or path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import tiktoken

from curate.errors import RecipeError
from curate.text.compiled import Ints
from curate.tokenize import bpe, registry
from curate.tokenize.card import Reading, write_card
from curate.tokenize.counts import count_texts, histogram, least_count
from curate.tokenize.learn import Learner

MERGE_BYTES: Final = 128 << 20
"""Bytes of distinct pre-tokens that reach the merge step: it takes about ten times as much memory."""
SINGLE_BYTES: Final = 256


@dataclass(frozen=True)
class Base:
    """A byte-level BPE to grow from: its tokens in rank order, its split pattern and its special tokens."""

    tokens: tuple[bytes, ...]
    pattern: str
    specials: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class Plan:
    """What a byte-level BPE is to be. `vocab_size` counts all ids: bytes (or those of `base`), merges, `specials`.

    Pre-tokens that occur less often than `min_count` are left out, and the rarest of those that would not fit into
    `merge_bytes`. Raises RecipeError if it makes no sense.
    """

    vocab_size: int
    pattern: str = bpe.LLAMA3_PATTERN
    specials: tuple[str, ...] = bpe.DEFAULT_SPECIALS
    min_count: int = 1
    merge_bytes: int = MERGE_BYTES
    base: Base | None = None

    def __post_init__(self) -> None:
        if len(set(self.specials)) != len(self.specials):
            raise RecipeError("tokenizer.train.specials: a special token is named twice")
        first = len(self.base.tokens) if self.base else SINGLE_BYTES
        if self.vocab_size < first + len(self.specials):
            raise RecipeError(
                f"tokenizer.train.vocab_size = {self.vocab_size}: must be at least {first + len(self.specials)} "
                f"({first} {'of the base' if self.base else 'bytes'} and {len(self.specials)} special tokens)"
            )

    def settings(self) -> dict[str, Any]:
        """Return what a card says of it."""
        told: dict[str, Any] = {"min_count": self.min_count, "merge_bytes": self.merge_bytes}
        return told | ({"base": self.base.sha256, "base_tokens": len(self.base.tokens)} if self.base else {})


def train_bpe(
    texts: Iterable[str],
    vocab_size: int,
    *,
    pattern: str = bpe.LLAMA3_PATTERN,
    specials: Sequence[str] = bpe.DEFAULT_SPECIALS,
    name: str = "",
    min_count: int = 1,
    base: Base | None = None,
) -> dict[str, bytes]:
    """Return the files of a byte-level BPE of `vocab_size` ids: 256 bytes (or `base`), merges, the special tokens.

    Texts are cut as the encoder cuts them. Any order of the texts gives the same ranks. Counts are held in memory; see
    `from_counts` for texts with more distinct pre-tokens than that. Raises RecipeError if the text holds too few pairs
    for so many merges, or if the settings make no sense.
    """
    plan = Plan(vocab_size, pattern, tuple(specials), min_count, base=base)
    reading = Reading()
    words, counts = count_texts(reading.over(texts), pattern)
    least = least_count(histogram(words, counts), plan.min_count, plan.merge_bytes)
    pretokens = {"pretokens": int(counts.sum()), "distinct_pretokens": len(words), "least_count": least}
    used = counts >= least
    return from_counts(words.filter(pa.array(used)), counts[used], plan, reading.told() | pretokens, name=name)


def from_counts(
    words: pa.Array, counts: Ints, plan: Plan, trained_on: Mapping[str, int], *, name: str = ""
) -> dict[str, bytes]:
    """Return the files of a byte-level BPE learned from distinct `words` (large_binary) that occur `counts` times
    (int64, 1:1). `trained_on`: the documents, characters, bytes and pre-tokens that were read. Raises RecipeError."""
    learner = Learner(words, counts, **_start(plan.base))
    wanted = plan.vocab_size - len(plan.specials)
    tokens = list(dict.fromkeys(learner.tokens))
    # two merges can spell the same token; the second is dropped, and a further one makes up for it
    while len(tokens) < wanted:
        missing = wanted - len(tokens)
        learned = learner.learn(missing)
        tokens = list(dict.fromkeys(learner.tokens))
        if learned < missing:
            break
    if len(tokens) < wanted:
        first = len(plan.base.tokens) if plan.base else SINGLE_BYTES
        raise RecipeError(_too_little(plan.vocab_size, wanted - first, len(tokens) - first, trained_on))
    told = {**trained_on, "learned_from": len(words)}
    return _files(tokens, plan.pattern, plan.specials, told, plan.settings(), name)


def cut(files: Mapping[str, bytes], vocab_size: int, *, where: str = "tokenizer", name: str = "") -> dict[str, bytes]:
    """Return the files of a byte-level BPE with its first ranks only: what training `vocab_size` ids on the same text
    gives. The special tokens come along. Raises RecipeError."""
    card = _byte_level(files, where)
    specials, settings = _specials(card), card.get("settings", {})
    least = max(SINGLE_BYTES, settings.get("base_tokens", 0)) + len(specials)
    if not least <= vocab_size <= card["vocab_size"]:
        raise RecipeError(f"--vocab-size {vocab_size}: {where} can be cut to {least} to {card['vocab_size']} ids")
    tokens = _tokens(files, where)[: vocab_size - len(specials)]
    return _files(tokens, card["pattern"], specials, card.get("trained_on", {}), settings, name)


def read_base(uri: str) -> Base:
    """Return the byte-level BPE at `uri`, a saved folder or a bare tiktoken rank file (then with Llama 3's pattern), to
    grow from. Raises AssetError, or RecipeError if it is of another kind."""
    loaded, files = registry.read(uri)
    card = _byte_level(files, f"tokenizer.train.base: {uri}")
    return Base(_tokens(files, uri), card["pattern"], _specials(card), loaded.sha256)


def _byte_level(files: Mapping[str, bytes], where: str) -> dict[str, Any]:
    """Return the card of a byte-level BPE with a rank file. Raises RecipeError if it is none."""
    card = json.loads(files[registry.CARD_FILE]) if registry.CARD_FILE in files else {"kind": "a tokenizer.json"}
    if card["kind"] != bpe.KIND:
        raise RecipeError(f"{where}: must be a byte-level BPE with a rank file, not {card['kind']}")
    return dict(card)


def _tokens(files: Mapping[str, bytes], where: str) -> tuple[bytes, ...]:
    ranks = bpe.parse_ranks(files[registry.MODEL_FILES[bpe.KIND]], where)
    return tuple(sorted(ranks, key=lambda token: ranks[token]))


def _specials(card: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(card["specials"], key=lambda token: card["specials"][token]))


def _start(base: Base | None) -> dict[str, Any]:
    """Return the arguments of a Learner that begins with the tokens of `base`."""
    if base is None:
        return {}
    ranks = {token: rank for rank, token in enumerate(base.tokens)}
    # a word is one pre-token, and is encoded as a whole
    encoding = tiktoken.Encoding("base", pat_str="(?s:.+)", mergeable_ranks=ranks, special_tokens={})
    return {"base": base.tokens, "encode": lambda word: encoding.encode_to_numpy(word.decode(), disallowed_special=())}


def _files(
    tokens: Sequence[bytes],
    pattern: str,
    specials: Sequence[str],
    trained_on: Mapping[str, int],
    settings: Mapping[str, Any],
    name: str,
) -> dict[str, bytes]:
    ranks = bpe.format_ranks({token: rank for rank, token in enumerate(tokens)})
    tokenizer = bpe.from_ranks(ranks, where="trained ranks", pattern=pattern, specials=specials)
    ids = {token: len(tokens) + i for i, token in enumerate(specials)}
    card = write_card(tokenizer, name, pattern, ids, trained_on, settings)
    return {registry.MODEL_FILES[bpe.KIND]: ranks, registry.CARD_FILE: card}


def _too_little(vocab_size: int, wanted: int, possible: int, told: Mapping[str, int]) -> str:
    return (
        f"tokenizer.train.vocab_size = {vocab_size} needs {wanted} merges, but {told['documents']} documents of "
        f"{told['characters']} characters allow only {possible}; set vocab_size to at most "
        f"{vocab_size - wanted + possible}, or give more text"
    )
