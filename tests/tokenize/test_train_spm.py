from __future__ import annotations

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
