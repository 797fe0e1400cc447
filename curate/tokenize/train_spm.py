"""Train a SentencePiece BPE model to the specification of the released LLaMA model; equal text gives equal bytes.

The trainer writes the number of threads into the file; it is replaced by what `LLAMA_SETTINGS` says, so that the bytes
follow from the text alone. What is not here: unigram models (their scores vary from run to run) and sampling of the
text, which is the caller's. The trainer holds all text in memory, at about nine times its size.
"""

from __future__ import annotations

import importlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import sentencepiece

from curate.errors import RecipeError
from curate.tokenize import registry, spm
from curate.tokenize.card import Reading, write_card

LLAMA_VOCABULARY: Final = 32_000
LLAMA_SETTINGS: Final[Mapping[str, Any]] = {
    "model_type": "bpe",
    "character_coverage": 0.99995,
    "input_sentence_size": 200_000_000,
    "shuffle_input_sentence": True,
    "seed_sentencepiece_size": 1_000_000,
    "shrinking_factor": 0.75,
    "max_sentence_length": 4192,
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
    each processor) work; no byte depends on them. Raises RecipeError.
    """
    resolved: dict[str, Any] = {**LLAMA_SETTINGS, **(settings or {})}
    if resolved["model_type"] != "bpe":
        raise RecipeError("tokenizer.train.model_type: only 'bpe' is trained (unigram scores vary from run to run)")
    reading = Reading()
    lines = _lines(reading, texts, int(resolved["max_sentence_length"]))
    model = io.BytesIO()
    working = resolved | ({"num_threads": threads or os.cpu_count() or 1} if resolved["num_threads"] > 0 else {})
    # the trainer samples and shuffles lines with a global generator
    sentencepiece.set_random_generator_seed(0)
    try:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=lines, model_writer=model, vocab_size=vocab_size, minloglevel=2, **working
        )
    except RuntimeError as error:
        if reading.failure is not None:
            raise reading.failure from None
        raise RecipeError(_sentencepiece_mistake(str(error), vocab_size, reading)) from error
    data = recorded(model.getvalue(), int(resolved["num_threads"]))
    tokenizer = spm.from_model(data, where="trained model")
    card = write_card(tokenizer, name, "", {}, reading.told(), resolved)
    return {registry.MODEL_FILES[spm.KIND]: data, registry.CARD_FILE: card}


def recorded(model: bytes, threads: int) -> bytes:
    """Return a model file that records `threads`, no path, and the fields of `RECORDED`."""
    messages = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    proto = messages.ModelProto()
    proto.ParseFromString(model)
    spec = proto.trainer_spec
    spec.num_threads = threads
    for field in ("input", "model_prefix"):
        spec.ClearField(field)
    for field, value in RECORDED.items():
        setattr(spec, field, value)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _lines(reading: Reading, texts: Iterable[str], max_bytes: int) -> Iterator[str]:
    max_chars = max(1, max_bytes // 4)
    for text in reading.over(texts):
        for line in text.split("\n"):
            # a character has at most four bytes; only lines that could be too long are looked at closely
            while len(line) > max_chars and len(line.encode()) > max_bytes:
                cut = line.rfind(" ", 1, max_chars)
                cut = cut if cut > 0 else max_chars
                yield line[:cut]
                line = line[cut:]
            if line:
                yield line


def _sentencepiece_mistake(message: str, vocab_size: int, reading: Reading) -> str:
    """Return the trainer's complaint in the words of a recipe."""
    source = f"{reading.documents} documents of {reading.characters} characters"
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
