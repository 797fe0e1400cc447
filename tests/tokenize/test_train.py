from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from curate.errors import RecipeError
from curate.tokenize import bpe, registry, train

DIGEST_OF_A_FRESH_PROCESS = """
import hashlib, json, sys
from curate.tokenize import train
texts = json.loads(sys.stdin.read())
for files in (train.train_bpe(texts, 400), train.train_sentencepiece(texts, 450)):
    print(hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest())
"""


def test_equal_text_gives_equal_bytes_in_any_order(
    corpus: list[str], bpe_files: dict[str, bytes], spm_files: dict[str, bytes]
) -> None:
    assert train.train_bpe(corpus[::-1], 400) == bpe_files
    assert train.train_sentencepiece(corpus[::-1], 450) == spm_files


def test_two_fresh_processes_train_the_same_bytes(corpus: list[str]) -> None:
    runs = [
        subprocess.run(
            [sys.executable, "-c", DIGEST_OF_A_FRESH_PROCESS],
            input=json.dumps(corpus), capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert len(runs[0].split()) == 2


def test_vocab_size_counts_bytes_merges_and_special_tokens(bpe_files: dict[str, bytes]) -> None:
    ranks = bpe.parse_ranks(bpe_files["ranks.tiktoken"], "ranks")
    assert len(ranks) == 400 - 3
    assert list(ranks)[:256] == [bytes([i]) for i in range(256)]


def test_the_card_says_what_it_was_trained_on_and_nothing_else(
    corpus: list[str], bpe_files: dict[str, bytes], spm_files: dict[str, bytes]
) -> None:
    for files, kind in ((bpe_files, "bpe"), (spm_files, "sentencepiece")):
        card = json.loads(files["card.json"])
        assert set(card) == {
            "format", "kind", "name", "pattern", "sha256", "settings", "specials", "trained_on", "vocab_size"
        }  # fmt: skip
        assert card["kind"] == kind
        assert card["trained_on"] == {
            "documents": len(corpus),
            "characters": sum(map(len, corpus)),
            "bytes": sum(len(text.encode()) for text in corpus),
        }


def test_numbers_split_as_the_models_do(bpe_files: dict[str, bytes], spm_files: dict[str, bytes]) -> None:
    llama1 = registry.from_files(spm_files).encode_text("365")
    assert len(llama1) == 4, "the space before, then each digit alone"
    tokens = bpe.parse_ranks(bpe_files["ranks.tiktoken"], "ranks")
    assert all(len(token) <= 3 for token in tokens if token.isdigit())


def test_every_setting_of_llama_is_in_the_trained_file(spm_files: dict[str, bytes]) -> None:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(spm_files["tokenizer.model"])
    spec = proto.trainer_spec
    for key, value in train.LLAMA_SETTINGS.items():
        if key == "model_type":
            assert spec.ModelType.Name(spec.model_type) == "BPE"
        elif key in {"normalization_rule_name", "add_dummy_prefix", "remove_extra_whitespaces", "input_format"}:
            continue
        elif isinstance(value, float):
            assert getattr(spec, key) == pytest.approx(value)
        elif key != "required_chars":
            assert getattr(spec, key) == value, key
    assert spec.required_chars == ""
    assert spec.self_test_sample_size == 0
    assert not spec.train_extremely_large_corpus
    normalizer = proto.normalizer_spec
    assert normalizer.name == "identity"
    assert normalizer.precompiled_charsmap == b""
    assert normalizer.add_dummy_prefix
    assert not normalizer.remove_extra_whitespaces
    assert proto.pieces[3].piece == "<0x00>"
    assert proto.pieces[258].piece == "<0xFF>"


def test_too_little_text_says_how_many_merges_it_allows() -> None:
    with pytest.raises(RecipeError, match="allow only 9; set vocab_size to at most 268"):
        train.train_bpe(["hello world"], 4096)
    assert registry.from_files(train.train_bpe(["hello world"], 268)).vocab_size == 268
    with pytest.raises(RecipeError, match="allow at most 287"):
        train.train_sentencepiece(["hello world"], 4096)


def test_no_text_at_all_is_a_mistake() -> None:
    with pytest.raises(RecipeError, match="allow only 0"):
        train.train_bpe([], 300)
    with pytest.raises(RecipeError, match="no line to train on"):
        train.train_sentencepiece(["", "\n"], 300)


def test_a_vocabulary_below_the_fixed_tokens_is_a_mistake(corpus: list[str]) -> None:
    with pytest.raises(RecipeError, match="at least 259"):
        train.train_bpe(corpus, 258)
    with pytest.raises(RecipeError, match="for their characters alone"):
        train.train_sentencepiece(corpus, 261)


def test_settings_that_make_no_sense_are_mistakes(corpus: list[str]) -> None:
    with pytest.raises(RecipeError, match="pattern"):
        train.train_bpe(corpus, 300, pattern="(")
    with pytest.raises(RecipeError, match="named twice"):
        train.train_bpe(corpus, 300, specials=["<|x|>", "<|x|>"])
    with pytest.raises(RecipeError, match="only 'bpe'"):
        train.train_sentencepiece(corpus, 300, settings={"model_type": "unigram"})
    with pytest.raises(RecipeError, match="refused the settings"):
        train.train_sentencepiece(corpus, 300, settings={"no_such_setting": 1})


def test_an_error_of_the_reader_passes_through(corpus: list[str]) -> None:
    def broken() -> Iterator[str]:
        yield from corpus
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        train.train_bpe(broken(), 300)
    with pytest.raises(FileNotFoundError, match="gone"):
        train.train_sentencepiece(broken(), 400)


def test_lines_longer_than_the_trainer_reads_are_cut_not_skipped() -> None:
    line = "öffentliche wörter " * 2_000
    counts = train._Counts()
    pieces = list(train._lines(counts, [line], 4192))
    assert "".join(pieces) == line
    assert max(len(piece.encode()) for piece in pieces) <= 4192
    unbroken = list(train._lines(counts, ["川" * 9_000], 4192))
    assert "".join(unbroken) == "川" * 9_000
    assert max(len(piece.encode()) for piece in unbroken) <= 4192


def test_hostile_text_trains_and_comes_back(corpus: list[str]) -> None:
    hostile = [
        "\x00\x01",
        "\u2581\u2581 x",
        "\u2585\ufdd0",
        "\r\n\t\x85",
        "<s>",
        "<|pad|>",
        "\U0010ffff" * 50,
        " " * 5000,
    ]
    for files in (train.train_bpe(corpus + hostile, 400), train.train_sentencepiece(corpus + hostile, 450)):
        tokenizer = registry.from_files(files)
        for text in hostile:
            assert tokenizer.decode(tokenizer.encode_text(text)) == text
