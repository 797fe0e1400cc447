from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from curate import assets
from curate.errors import AssetError
from curate.tokenize import card, train_spm

LLAMA: dict[str, Any] = {
    "model_type": 2,
    "vocab_size": 450,
    "character_coverage": 0.99995,
    "input_sentence_size": 200_000_000,
    "shuffle_input_sentence": True,
    "seed_sentencepiece_size": 1_000_000,
    "shrinking_factor": 0.75,
    "max_sentence_length": 4192,
    "num_threads": 80,
    "num_sub_iterations": 2,
    "self_test_sample_size": 0,
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
    "train_extremely_large_corpus": False,
    "enable_differential_privacy": False,
    "differential_privacy_noise_level": 0.0,
    "differential_privacy_clipping_threshold": 0,
}
"""The trainer_spec of the released LLaMA 1/2 model, but for the size of the vocabulary and the paths of its text."""
NORMALIZER: dict[str, Any] = {
    "name": "identity",
    "precompiled_charsmap": b"",
    "add_dummy_prefix": True,
    "remove_extra_whitespaces": False,
}


def parse(files: dict[str, bytes]) -> Any:
    proto = import_module("sentencepiece.sentencepiece_model_pb2").ModelProto()
    proto.ParseFromString(files["tokenizer.model"])
    return proto


def same(value: Any, wanted: Any) -> bool:
    return bool(value == pytest.approx(wanted)) if isinstance(wanted, float) else bool(value == wanted)


def test_every_field_of_the_trained_file_is_that_of_the_released_llama_model(spm_files: dict[str, bytes]) -> None:
    proto = parse(spm_files)
    for spec, wanted in ((proto.trainer_spec, LLAMA), (proto.normalizer_spec, NORMALIZER)):
        recorded = {field.name: value for field, value in spec.ListFields()}
        assert {name: value for name, value in recorded.items() if not same(value, wanted.get(name))} == {}
        for name, value in wanted.items():
            assert same(getattr(spec, name), value), name
            assert spec.HasField(name), f"{name} is not recorded"
    assert not proto.HasField("denormalizer_spec")


def test_the_pieces_are_unk_bos_eos_then_bytes_then_merges_by_score(spm_files: dict[str, bytes]) -> None:
    pieces = parse(spm_files).pieces
    assert [piece.piece for piece in pieces[:3]] == ["<unk>", "<s>", "</s>"]
    assert [piece.piece for piece in pieces[3:259]] == [f"<0x{byte:02X}>" for byte in range(256)]
    assert [piece.score for piece in pieces[259:]] == [-float(i) for i in range(450 - 259)]


def test_the_spec_of_a_real_32k_model_is_the_same() -> None:
    try:
        path = assets.path("mistral-v1-32k")
    except AssetError:
        pytest.skip("needs the asset mistral-v1-32k: curate assets fetch mistral-v1-32k")
    model = import_module("sentencepiece.sentencepiece_model_pb2").ModelProto()
    model.ParseFromString(Path(path).read_bytes())
    paths = {"input", "model_prefix"}
    recorded = {field.name: value for field, value in model.trainer_spec.ListFields() if field.name not in paths}
    for name, value in (LLAMA | {"vocab_size": 32_000}).items():
        assert same(recorded.get(name, getattr(model.trainer_spec, name)), value), name


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_no_byte_depends_on_threads(corpus: list[str], spm_files: dict[str, bytes], threads: int) -> None:
    assert train_spm.train_sentencepiece(corpus, 450, threads=threads) == spm_files


def test_no_byte_depends_on_the_working_folder(
    corpus: list[str], spm_files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train_spm.train_sentencepiece(corpus, 450) == spm_files
    assert os.listdir(tmp_path) == []


def test_lines_longer_than_the_trainer_reads_are_cut_not_skipped() -> None:
    line = "öffentliche wörter " * 2_000
    counts = card.Reading()
    pieces = list(train_spm._lines(counts, [line], 4192))
    assert "".join(pieces) == line
    assert max(len(piece.encode()) for piece in pieces) <= 4192
    unbroken = list(train_spm._lines(counts, ["川" * 9_000], 4192))
    assert "".join(unbroken) == "川" * 9_000
    assert max(len(piece.encode()) for piece in unbroken) <= 4192


def from_text(
    monkeypatch: pytest.MonkeyPatch, texts: list[str], size: int, options: dict[str, Any]
) -> dict[str, bytes]:
    """What the trainer itself makes of the lines of the texts."""
    with monkeypatch.context() as patch:
        patch.setattr(train_spm, "learns_from_counts", lambda settings: False)
        return train_spm.train_sentencepiece(texts, size, settings=options)


HOSTILE = {
    "carriage returns": ["ab\r\r", "\r", "a\rb a\rb\r\n"],
    "zeros": ["a\0b \0", "\0"],
    "spaces at the ends": ["  lead", "trail  ", *["one "] * 50, " ", "   "],
    "tabs": ["a\t\tb", "\t\t", "cat\t", "\tcat\tcat"],
    "the space of pieces": ["\u2581\u2581a\u2581b"],
    "the mark of the trainer": ["ab ab \u2585", "\u2585"],
    "other white space": ["a\x85b\u2028c\u00a0d\u3000e\x0bf\x0cg"],
    "fixed pieces": ["<s> ab</s> <unk>", "<pad> x", "<0x41>ab"],
    "odd characters": ["a\ufdd0b", "\ufeffa", "\ue000\ue000", "\U0010ffff" * 3],
    "long lines": ["w " * 4000, "ö" * 5000, "ab\tc \u2581 " * 1000],
    "empty": ["", "\n\n"],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_counted_words_give_the_file_that_their_text_gives(
    kind: str, corpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, options = [*corpus, *HOSTILE[kind] * 3], {"hard_vocab_limit": False, "character_coverage": 1.0}
    counted = train_spm.train_sentencepiece(texts, 600, settings=options)
    assert counted["tokenizer.model"] == from_text(monkeypatch, texts, 600, options)["tokenizer.model"]


def test_counted_words_give_the_file_that_real_texts_give(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (shared_data / "dev-data" / "lid-dev.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines[::4]]
    counted = train_spm.train_sentencepiece(texts, 5000, settings={"character_coverage": 0.995})
    direct = from_text(monkeypatch, texts, 5000, {"character_coverage": 0.995})
    assert counted["tokenizer.model"] == direct["tokenizer.model"]


def test_symbols_in_words_may_be_counted_too(corpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"user_defined_symbols": "<turn>,river,|x|", "control_symbols": "<c>"}
    assert train_spm.learns_from_counts(options)
    texts = [*corpus, *["<turn> a <turn>river|x||x|\t<turn>\t<c>sea"] * 5]
    counted = train_spm.train_sentencepiece(texts, 450, settings=options)
    assert counted["tokenizer.model"] == from_text(monkeypatch, texts, 450, options)["tokenizer.model"]


@pytest.mark.parametrize(
    "options",
    [
        {"normalization_rule_name": "nmt_nfkc"},
        {"remove_extra_whitespaces": True},
        {"add_dummy_prefix": False},
        {"split_by_whitespace": False},
        {"treat_whitespace_as_suffix": True},
        {"allow_whitespace_only_pieces": False},
        {"input_sentence_size": 101},
        {"max_sentence_length": 100},
        {"user_defined_symbols": "a b"},
        {"required_chars": "\n"},
        {"self_test_sample_size": 3},
    ],
)
def test_options_that_change_how_text_is_read_are_trained_on_text(options: dict[str, Any], corpus: list[str]) -> None:
    assert not train_spm.learns_from_counts(options)
    card = json.loads(train_spm.train_sentencepiece(corpus, 450, settings=options)["card.json"])
    assert card["trained_on"].keys() == {"documents", "characters", "bytes"}
    recorded = {name: value for name, value in card["settings"].items() if name in options}
    assert recorded == options
