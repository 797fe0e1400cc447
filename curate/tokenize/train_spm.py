"""Train a SentencePiece BPE model to the specification of the released LLaMA model; equal text gives equal bytes.

The trainer counts words before it learns anything, and knows the text by these counts only. So it is given counted
words (its format ``tsv``): the model is the same, and memory follows the distinct words, at about 50 times their bytes,
not the text. Only options that change how it reads text (`COUNTED` has the others) make it read all of it, at about
eleven times its size in memory.

The trainer writes into the file how it was fed, and the number of threads; both are replaced by what `LLAMA_SETTINGS`
says, so that the bytes follow from the text alone. What is not here: unigram models (their scores vary from run to run)
and sampling of the text, which is the caller's.
"""

from __future__ import annotations

import importlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import sentencepiece

from curate.errors import RecipeError
from curate.text.compiled import Ints
from curate.tokenize import registry, spm
from curate.tokenize.card import Reading, write_card
from curate.tokenize.counts import LINES, count_texts
from curate.tokenize.lines_kernel import MAX_LINE_BYTES

LLAMA_VOCABULARY: Final = 32_000
LLAMA_SETTINGS: Final[Mapping[str, Any]] = {
    "model_type": "bpe",
    "character_coverage": 0.99995,
    "input_sentence_size": 200_000_000,
    "shuffle_input_sentence": True,
    "seed_sentencepiece_size": 1_000_000,
    "shrinking_factor": 0.75,
    "max_sentence_length": MAX_LINE_BYTES,
    "num_threads": 80,
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
"""What the released LLaMA 1/2 model records of its training, as options of the trainer. ``num_threads`` is recorded
only: how many work is an argument."""
RECORDED: Final[Mapping[str, Any]] = {
    "self_test_sample_size": 0,
    "train_extremely_large_corpus": False,
    "enable_differential_privacy": False,
    "differential_privacy_noise_level": 0.0,
    "differential_privacy_clipping_threshold": 0,
}
"""Fields that the released model records, too, and the trainer leaves out when they have these, its default values."""
COUNTED: Final = frozenset(
    {
        *("vocab_size", "model_type", "character_coverage", "max_sentencepiece_length", "num_threads"),
        *("split_by_unicode_script", "split_by_number", "split_digits", "byte_fallback"),
        *("hard_vocab_limit", "use_all_vocab", "vocabulary_output_piece_score", "unk_surface"),
        *("unk_id", "bos_id", "eos_id", "pad_id", "num_sub_iterations", "shrinking_factor", "seed_sentencepiece_size"),
    }
)
"""Options that do not change how the trainer makes words of text, whatever they are. Any other one, too, when it is as
in `LLAMA_SETTINGS` or `RECORDED`, and what `SYMBOLS` name as long as none goes over the end of a word."""
SYMBOLS: Final = frozenset({"user_defined_symbols", "control_symbols", "required_chars"})
WORDS_AT_A_TIME: Final = 1 << 16
_ENDS_A_WORD: Final = re.compile("[ \t\n\r\u2581\u2585]")


def learns_from_counts(settings: Mapping[str, Any]) -> bool:
    """Return whether a model with these options, over `LLAMA_SETTINGS`, can be trained from counted words."""
    usual = {**RECORDED, **LLAMA_SETTINGS}

    def harmless(name: str, value: Any) -> bool:
        if name in SYMBOLS:
            return not _ENDS_A_WORD.search(str(value))
        return name in COUNTED or (name in usual and value == usual[name])

    return all(harmless(name, value) for name, value in settings.items())


def train_sentencepiece(
    texts: Iterable[str],
    vocab_size: int,
    *,
    settings: Mapping[str, Any] | None = None,
    name: str = "",
    threads: int | None = None,
) -> dict[str, bytes]:
    """Return the files of a SentencePiece BPE model of `vocab_size` ids, by default with LLaMA's settings.

    `settings` override `LLAMA_SETTINGS`. The trainer reads lines: texts are split at line breaks, and longer lines than
    ``max_sentence_length`` bytes, which it would silently skip, are cut at white space. `threads` (default: one for
    each processor) work; no byte depends on them. Counts, or the text where `learns_from_counts` says no, are held in
    memory; see `from_counts` for more words than that. Raises RecipeError.
    """
    reading = Reading()
    if learns_from_counts(settings or {}):
        words, counts = count_texts(reading.over(texts), LINES)
        found = {"pretokens": int(counts.sum()), "distinct_pretokens": len(words), "least_count": 1}
        told = reading.told() | found
        return from_counts(words, counts, vocab_size, told, settings=settings, name=name, threads=threads)
    resolved = _resolved(settings)
    lines = _lines(reading, texts, int(resolved["max_sentence_length"]))
    try:
        data = _train(lines, vocab_size, resolved, threads)
    except RuntimeError as error:
        if reading.failure is not None:
            raise reading.failure from None
        raise RecipeError(_sentencepiece_mistake(str(error), vocab_size, reading.told())) from error
    return _files(data, resolved, reading.told(), name)


def from_counts(
    words: pa.Array,
    counts: Ints,
    vocab_size: int,
    trained_on: Mapping[str, int],
    *,
    settings: Mapping[str, Any] | None = None,
    name: str = "",
    threads: int | None = None,
) -> dict[str, bytes]:
    """Return the files of the model that texts give whose lines have these distinct `words` (large_binary, see
    `lines_kernel`) so many times (int64, 1:1); their order is of no consequence.

    `trained_on`: the documents, characters, bytes and words that were read. The others are those of
    `train_sentencepiece`; `learns_from_counts` holds for `settings`. Raises RecipeError.
    """
    resolved = _resolved(settings)
    # a word has the space before it already
    fed = resolved | {"input_format": "tsv", "add_dummy_prefix": False}
    try:
        data = _train(_counted(words, counts), vocab_size, fed, threads)
    except RuntimeError as error:
        raise RecipeError(_sentencepiece_mistake(str(error), vocab_size, trained_on)) from error
    return _files(data, resolved, {**trained_on, "learned_from": len(words)}, name)


def _resolved(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    resolved: dict[str, Any] = {**LLAMA_SETTINGS, **(settings or {})}
    if resolved["model_type"] != "bpe":
        raise RecipeError("tokenizer.train.model_type: only 'bpe' is trained (unigram scores vary from run to run)")
    return resolved


def _train(lines: Iterator[str | bytes], vocab_size: int, settings: Mapping[str, Any], threads: int | None) -> bytes:
    """Return the model file that the trainer writes."""
    model = io.BytesIO()
    working = {**settings} | ({"num_threads": threads or os.cpu_count() or 1} if settings["num_threads"] > 0 else {})
    # the trainer samples and shuffles lines with a global generator
    sentencepiece.set_random_generator_seed(0)
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=lines, model_writer=model, vocab_size=vocab_size, minloglevel=2, **working
    )
    return model.getvalue()


def _files(model: bytes, resolved: Mapping[str, Any], trained_on: Mapping[str, int], name: str) -> dict[str, bytes]:
    data = recorded(model, resolved)
    card = write_card(spm.from_model(data, where="trained model"), name, "", {}, trained_on, resolved)
    return {registry.MODEL_FILES[spm.KIND]: data, registry.CARD_FILE: card}


def recorded(model: bytes, settings: Mapping[str, Any]) -> bytes:
    """Return a model file that records `settings`, not how it was trained: no path, and the fields of `RECORDED`."""
    messages = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    proto = messages.ModelProto()
    proto.ParseFromString(model)
    spec = proto.trainer_spec
    if spec.input_format == "tsv":
        for piece in proto.pieces:
            # a tab had to be a line break among words with a tab behind them
            piece.piece = piece.piece.replace("\n", "\t")
        spec.input_format = LLAMA_SETTINGS["input_format"]
        proto.normalizer_spec.add_dummy_prefix = LLAMA_SETTINGS["add_dummy_prefix"]
    spec.num_threads = int(settings["num_threads"])
    for field in ("input", "model_prefix"):
        spec.ClearField(field)
    for field, value in RECORDED.items():
        setattr(spec, field, settings.get(field, value))
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _counted(words: pa.Array, counts: Ints) -> Iterator[bytes]:
    """Yield words and counts as the trainer reads them."""
    for first in range(0, len(words), WORDS_AT_A_TIME):
        last = first + WORDS_AT_A_TIME
        for word, count in zip(words[first:last].to_pylist(), counts[first:last].tolist(), strict=True):
            yield b"%b\t%d" % (word, count)


def _lines(reading: Reading, texts: Iterable[str], max_bytes: int) -> Iterator[str]:
    """Yield the lines of texts, long ones in parts of at most `max_bytes` bytes that join to the line."""
    max_chars = max(1, max_bytes // 4)
    for text in reading.over(texts):
        for line in text.split("\n"):
            left, done = len(line.encode()), 0
            while left > max_bytes:
                cut = line.rfind(" ", done + 1, done + max_chars)
                cut = cut if cut > 0 else done + max_chars
                yield line[done:cut]
                left -= len(line[done:cut].encode())
                done = cut
            if done < len(line):
                yield line[done:]


def _sentencepiece_mistake(message: str, vocab_size: int, told: Mapping[str, int]) -> str:
    """Return the trainer's complaint in the words of a recipe."""
    source = f"{told['documents']} documents of {told['characters']} characters"
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
