"""Train a byte-level BPE (rustbpe) or a SentencePiece BPE tokenizer; equal text gives equal bytes.

Both return the files of a saved folder (see `registry`), which name no time, host or path. What is not here: unigram
models (their scores vary from run to run) and sampling of the text, which is the caller's.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import rustbpe
import sentencepiece

from curate.errors import RecipeError
from curate.tokenize import bpe, registry, spm

RUSTBPE_BUFFER: Final = 256
SPARE_MERGES: Final = 64

LLAMA_SETTINGS: Final[Mapping[str, Any]] = {
    "model_type": "bpe",
    "character_coverage": 0.99995,
    "input_sentence_size": 200_000_000,
    "shuffle_input_sentence": True,
    "seed_sentencepiece_size": 1_000_000,
    "shrinking_factor": 0.75,
    "max_sentence_length": 4192,
    "num_threads": 8,
    "num_sub_iterations": 2,
    "input_format": "text",
    "max_sentencepiece_length": 16,
    "split_by_unicode_script": True,
    "split_by_number": True,
    "split_by_whitespace": True,
    "split_digits": True,
    "treat_whitespace_as_suffix": False,
    "allow_whitespace_only_pieces": True,
    "vocabulary_output_piece_score": True,
    "hard_vocab_limit": True,
    "use_all_vocab": False,
    "byte_fallback": True,
    "required_chars": "",
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": -1,
    "unk_piece": "<unk>",
    "bos_piece": "<s>",
    "eos_piece": "</s>",
    "pad_piece": "<pad>",
    "unk_surface": " \u2047 ",
    "normalization_rule_name": "identity",
    "add_dummy_prefix": True,
    "remove_extra_whitespaces": False,
}
"""What the released LLaMA 1/2 model records of its training, but for 8 threads (80 there): the number is part of the
file, and a constant keeps the bytes equal on every machine. Left out, for the library no longer takes them and records
LLaMA's values anyway: ``self_test_sample_size = 0``, ``train_extremely_large_corpus = false``."""


def train_bpe(
    texts: Iterable[str],
    vocab_size: int,
    *,
    pattern: str = bpe.LLAMA3_PATTERN,
    specials: Sequence[str] = bpe.DEFAULT_SPECIALS,
    name: str = "",
    buffer: int = RUSTBPE_BUFFER,
) -> dict[str, bytes]:
    """Return the files of a byte-level BPE of `vocab_size` ids: 256 bytes, then merges, then the special tokens.

    Texts are cut as the encoder cuts them. Any order of the texts gives the same ranks, and so does any
    `buffer`, the number of texts that are read before they are cut. Raises RecipeError if the text
    holds too few pairs for so many merges, or if the settings make no sense.
    """
    _check_bpe(vocab_size, specials)
    wanted = vocab_size - len(specials)
    counts = _Counts()
    trainer = rustbpe.Tokenizer()
    try:
        # two merges can spell the same token; the second is dropped, and a few spare ones make up for it
        trainer.train_from_iterator(_bpe_blocks(counts, texts), wanted + SPARE_MERGES, buffer, pattern)
    except ValueError as error:
        if "regex" not in str(error).lower():
            raise
        raise RecipeError(f"tokenizer.train.pattern: {error}") from error
    ranked = sorted(trainer.get_mergeable_ranks(), key=lambda item: item[1])
    tokens = list(dict.fromkeys(bytes(token) for token, _ in ranked))
    if len(tokens) < wanted:
        raise RecipeError(_too_little(vocab_size, wanted - 256, len(tokens) - 256, counts))
    ranks = bpe.format_ranks({token: rank for rank, token in enumerate(tokens[:wanted])})
    tokenizer = bpe.from_ranks(ranks, where="trained ranks", pattern=pattern, specials=specials)
    settings = {"trainer": "rustbpe"}
    ids = {token: wanted + i for i, token in enumerate(specials)}
    card = _card(bpe.KIND, name, vocab_size, pattern, ids, tokenizer.sha256, counts, settings)
    return {registry.MODEL_FILES[bpe.KIND]: ranks, registry.CARD_FILE: card}


def train_sentencepiece(
    texts: Iterable[str], vocab_size: int, *, settings: Mapping[str, Any] | None = None, name: str = ""
) -> dict[str, bytes]:
    """Return the files of a SentencePiece BPE model of `vocab_size` ids, by default with LLaMA's settings.

    `settings` override `LLAMA_SETTINGS`. The trainer reads lines: texts are split at line breaks, and longer lines than
    ``max_sentence_length`` bytes, which it would silently skip, are cut at white space. Raises RecipeError.
    """
    resolved: dict[str, Any] = {**LLAMA_SETTINGS, **(settings or {})}
    if resolved["model_type"] != "bpe":
        raise RecipeError("tokenizer.train.model_type: only 'bpe' is trained (unigram scores vary from run to run)")
    counts = _Counts()
    lines = _lines(counts, texts, int(resolved["max_sentence_length"]))
    model = io.BytesIO()
    # the trainer samples and shuffles lines with a global generator
    sentencepiece.set_random_generator_seed(0)
    try:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=lines, model_writer=model, vocab_size=vocab_size, minloglevel=2, **resolved
        )
    except RuntimeError as error:
        if counts.failure is not None:
            raise counts.failure from None
        raise RecipeError(_sentencepiece_mistake(str(error), vocab_size, counts)) from error
    tokenizer = spm.from_model(model.getvalue(), where="trained model")
    card = _card(spm.KIND, name, vocab_size, "", {}, tokenizer.sha256, counts, resolved)
    return {registry.MODEL_FILES[spm.KIND]: model.getvalue(), registry.CARD_FILE: card}


class _Counts:
    """Documents, characters and UTF-8 bytes that a trainer has read, and the error that its reading ended with."""

    def __init__(self) -> None:
        self.documents = self.characters = self.bytes = 0
        self.failure: Exception | None = None

    def over(self, texts: Iterable[str]) -> Iterator[str]:
        try:
            for text in texts:
                self.documents += 1
                self.characters += len(text)
                self.bytes += len(text.encode())
                yield text
        except Exception as error:
            # the SentencePiece trainer turns it into a RuntimeError of its own
            self.failure = error
            raise


def _bpe_blocks(counts: _Counts, texts: Iterable[str]) -> Iterator[str]:
    for text in counts.over(texts):
        yield from bpe.blocks(text)


def _lines(counts: _Counts, texts: Iterable[str], max_bytes: int) -> Iterator[str]:
    max_chars = max(1, max_bytes // 4)
    for text in counts.over(texts):
        for line in text.split("\n"):
            # a character has at most four bytes; only lines that could be too long are looked at closely
            while len(line) > max_chars and len(line.encode()) > max_bytes:
                cut = line.rfind(" ", 1, max_chars)
                cut = cut if cut > 0 else max_chars
                yield line[:cut]
                line = line[cut:]
            if line:
                yield line


def _check_bpe(vocab_size: int, specials: Sequence[str]) -> None:
    if len(set(specials)) != len(specials):
        raise RecipeError("tokenizer.train.specials: a special token is named twice")
    if vocab_size < 256 + len(specials):
        raise RecipeError(
            f"tokenizer.train.vocab_size = {vocab_size}: must be at least {256 + len(specials)} "
            f"(256 bytes and {len(specials)} special tokens)"
        )


def _too_little(vocab_size: int, wanted: int, possible: int, counts: _Counts) -> str:
    return (
        f"tokenizer.train.vocab_size = {vocab_size} needs {wanted} merges, but {counts.documents} documents of "
        f"{counts.characters} characters allow only {possible}; set vocab_size to at most "
        f"{vocab_size - wanted + possible}, or give more text"
    )


def _sentencepiece_mistake(message: str, vocab_size: int, counts: _Counts) -> str:
    """Return the trainer's complaint in the words of a recipe."""
    source = f"{counts.documents} documents of {counts.characters} characters"
    high = re.search(r"set it to a value <= (\d+)", message)
    low = re.search(r"smaller than required_chars\. \d+ vs (\d+)", message)
    if high:
        most = int(high.group(1))
        base = min(259, most)
        return (
            f"tokenizer.train.vocab_size = {vocab_size}: {source} allow at most {most} "
            f"({most - base} characters and merges beside {base} fixed pieces); lower vocab_size or give more text"
        )
    if low:
        return (
            f"tokenizer.train.vocab_size = {vocab_size}: {source} need {low.group(1)} pieces for their characters "
            "alone; raise vocab_size or lower character_coverage (rarer characters then become byte pieces)"
        )
    if "sentences_.empty()" in message:
        return f"tokenizer.train: {source} hold no line to train on"
    return f"tokenizer.train: SentencePiece refused the settings: {message}"


def _card(
    kind: str,
    name: str,
    vocab_size: int,
    pattern: str,
    specials: Mapping[str, int],
    sha256: str,
    counts: _Counts,
    settings: Mapping[str, Any],
) -> bytes:
    card = {
        "format": registry.CARD_FORMAT,
        "name": name or f"{kind}-{vocab_size}-{sha256[:12]}",
        "kind": kind,
        "vocab_size": vocab_size,
        "pattern": pattern,
        "specials": dict(specials),
        "sha256": sha256,
        "settings": dict(settings),
        "trained_on": {"documents": counts.documents, "characters": counts.characters, "bytes": counts.bytes},
    }
    return (json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
