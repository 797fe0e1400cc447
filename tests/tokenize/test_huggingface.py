from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from curate.errors import AssetError
from curate.tokenize import huggingface, pretokens, registry
from curate.tokenize.huggingface_file import MAX_BYTES
from curate.tokenize.tokenizer import Tokenizer

SPECIALS = ["<s>", "</s>", "<|pad|>"]
TEXTS = st.text(alphabet="abcdefgh thewr.,'\n\r\t 0123456789éß川世Рк🙂\x00\u2028", max_size=120)


def byte_level(corpus: list[str], pattern: str | None, *, ignore_merges: bool = False) -> tokenizers.Tokenizer:
    trained = tokenizers.Tokenizer(models.BPE(ignore_merges=ignore_merges))
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    split = [] if pattern is None else [pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")]
    trained.pre_tokenizer = pre_tokenizers.Sequence([*split, byte]) if split else byte
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=alphabet, special_tokens=SPECIALS, show_progress=False
    )
    trained.train_from_iterator(corpus, trainer)
    return trained


def sentencepiece_style(corpus: list[str], *, prefix: bool = True) -> tokenizers.Tokenizer:
    trained = tokenizers.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    steps: list[Any] = [normalizers.Prepend("\u2581")] if prefix else []
    trained.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "\u2581")])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    plain = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    trained.decoder = decoders.Sequence([*plain, *strip])
    pieces = ["<unk>", *SPECIALS]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=pieces, show_progress=False, max_token_length=12)
    # pieces across words, which the pattern of other tokenizers never allows
    trained.train_from_iterator([text[start : start + 40] for text in corpus for start in range(0, 80, 40)], trainer)
    file = json.loads(trained.to_str())
    at = len(file["model"]["vocab"])
    file["model"]["vocab"].update({f"<0x{byte:02X}>": at + byte for byte in range(256)})
    return tokenizers.Tokenizer.from_str(json.dumps(file))


def ours(trained: tokenizers.Tokenizer) -> Tokenizer:
    return huggingface.from_json(trained.to_str().encode(), where="tokenizer.json")


def same(trained: tokenizers.Tokenizer, tokenizer: Tokenizer, texts: list[str]) -> None:
    lists = tokenizer.encode_batch(pa.array(texts, pa.large_string())).to_pylist()
    assert lists == [trained.encode(text, add_special_tokens=False).ids for text in texts]
    for ids, text in zip(lists, texts, strict=True):
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode_text(text).tolist() == ids


@pytest.mark.parametrize("pattern", [None, *pretokens.PATTERNS])
@pytest.mark.parametrize("ignore_merges", [False, True])
def test_a_byte_level_file_gives_the_ids_of_tokenizers(
    corpus: list[str], pattern: str | None, ignore_merges: bool
) -> None:
    trained = byte_level(corpus, pattern, ignore_merges=ignore_merges)
    tokenizer = ours(trained)
    same(trained, tokenizer, [*corpus, "", " ", "IT'S 'S it's  \n\n x", "the river " * 20, "ab" * 300])
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.unk_id) == (0, 1, 2, None)
    assert tokenizer.specials == {"<s>": 0, "</s>": 1, "<|pad|>": 2}


@pytest.fixture(scope="module")
def llama_like(corpus: list[str]) -> tuple[tokenizers.Tokenizer, Tokenizer]:
    trained = sentencepiece_style(corpus)
    return trained, ours(trained)


@pytest.fixture(scope="module")
def llama3_like(corpus: list[str]) -> tuple[tokenizers.Tokenizer, Tokenizer]:
    trained = byte_level(corpus, pretokens.LLAMA3_PATTERN)
    return trained, ours(trained)


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=4))
@example(["  the   water", " ", "the river runs down to the sea" * 5])
def test_any_text_gets_the_ids_of_tokenizers(
    llama_like: tuple[tokenizers.Tokenizer, Tokenizer],
    llama3_like: tuple[tokenizers.Tokenizer, Tokenizer],
    texts: list[str],
) -> None:
    same(*llama_like, texts)
    same(*llama3_like, texts)


def test_a_file_without_a_dummy_prefix_gives_the_ids_of_tokenizers(corpus: list[str]) -> None:
    trained = sentencepiece_style(corpus, prefix=False)
    same(trained, ours(trained), [*corpus, "", " a", "a"])


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
def test_metaspace_is_the_same_as_the_normalizers(
    llama_like: tuple[tokenizers.Tokenizer, Tokenizer], scheme: str, corpus: list[str]
) -> None:
    trained = tokenizers.Tokenizer.from_str(llama_like[0].to_str())
    trained.normalizer = normalizers.Sequence([])
    file = json.loads(trained.to_str())
    file["normalizer"] = None
    file["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": False}
    if scheme == "never":
        file["decoder"]["decoders"].pop()
    trained = tokenizers.Tokenizer.from_str(json.dumps(file))
    same(trained, ours(trained), [*corpus, "", "a", "the  sea"])


def test_special_tokens_in_a_text_stay_text(
    llama_like: tuple[tokenizers.Tokenizer, Tokenizer], llama3_like: tuple[tokenizers.Tokenizer, Tokenizer]
) -> None:
    for _, tokenizer in (llama_like, llama3_like):
        for text in ("<s>", "a<s>b</s>", "<|pad|>", "<unk><0x0A>", "\u2581a \u2581", " a"):
            ids = tokenizer.encode_batch(pa.array([text])).to_pylist()[0]
            assert not set(ids) & set(tokenizer.specials.values())
            assert tokenizer.decode(ids) == text


def test_a_folder_as_transformers_saves_it_loads(
    tmp_path: Path, llama3_like: tuple[tokenizers.Tokenizer, Tokenizer]
) -> None:
    (tmp_path / "tokenizer.json").write_text(llama3_like[0].to_str(), encoding="utf-8")
    assert registry.load(str(tmp_path)).identity() == llama3_like[1].identity()
    assert registry.load(str(tmp_path / "tokenizer.json")).sha256 == llama3_like[1].sha256
    config = {"bos_token": None, "eos_token": {"content": "<|pad|>", "special": True}, "model_max_length": 8192}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = registry.load(str(tmp_path))
    assert (loaded.bos_id, loaded.eos_id, loaded.pad_id) == (None, 2, 2)
    assert loaded.sha256 != llama3_like[1].sha256, "what ends a text is part of a tokenizer"
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</end>"}')
    with pytest.raises(AssetError, match="eos_token"):
        registry.load(str(tmp_path))


def change(file: dict[str, Any], place: str, value: Any) -> bytes:
    *path, last = place.split(".")
    at = file
    for key in path:
        at = at[key]
    at[last] = value
    return json.dumps(file).encode()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("truncation", {"max_length": 8}, "truncation"),
        ("padding", {"strategy": "BatchLongest"}, "padding"),
        ("surprise", 1, 'the field "surprise"'),
        ("model.surprise", 1, 'the field "model.surprise"'),
        ("model.type", "WordPiece", 'model "WordPiece"'),
        ("model.dropout", 0.1, "model.dropout"),
        ("model.continuing_subword_prefix", "##", "continuing_subword_prefix"),
        ("model.end_of_word_suffix", "</w>", "end_of_word_suffix"),
        ("model.byte_fallback", True, "byte_fallback"),
        ("model.vocab", {}, "model.vocab"),
        ("model.vocab", {"a": -1}, "ids are"),
        ("model.vocab", {"a": True}, "ids are"),
        ("model.vocab", {"a": 1 << 40}, "ids are"),
        ("model.vocab", {"a": 1, "b": 1}, "the same id"),
        ("model.vocab", {"a" * 300: 1}, "too long"),
        ("model.merges", None, "model.merges"),
        ("model.merges", ["a b c"], r"merges\[0\]"),
        ("model.merges", [[1, 2]], r"merges\[0\]"),
        ("model.merges", ["q zz"], "without an id"),
        ("model", None, "no model"),
        ("normalizer", {"type": "NFC"}, "NFC"),
        ("pre_tokenizer", {"type": "Whitespace"}, "Whitespace"),
        ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True}, "add_prefix_space"),
        ("pre_tokenizer.pretokenizers", 3, "no component"),
        ("post_processor", {"type": "BertProcessing"}, "BertProcessing"),
        ("decoder", {"type": "WordPiece"}, "WordPiece"),
        ("added_tokens", [{"id": 3, "content": "hi", "special": False}], "found in text"),
        ("added_tokens", [{"id": "3", "content": "hi", "special": True}], "is no token"),
        ("added_tokens", 3, "added_tokens"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    llama3_like: tuple[tokenizers.Tokenizer, Tokenizer], place: str, value: Any, message: str
) -> None:
    data = change(json.loads(llama3_like[0].to_str()), place, value)
    with pytest.raises(AssetError, match=message):
        huggingface.from_json(data, where="tokenizer.json")


def test_another_split_pattern_is_refused_by_name(llama3_like: tuple[tokenizers.Tokenizer, Tokenizer]) -> None:
    file = json.loads(llama3_like[0].to_str())
    file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+"
    with pytest.raises(AssetError, match="split pattern"):
        huggingface.from_json(json.dumps(file).encode(), where="tokenizer.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{" * 200_000, "not JSON"),
        (b'{"a":' * 200_000, "nested too deep|not JSON"),
        (b'{"model": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deep"),
        (b'{"model": {"vocab": {"\xff": 1}}}', "not JSON"),
        (b"{}", "no model"),
        (b'{"version": "1.0", "model": {"type": "BPE", "vo', "not JSON"),
    ],
    ids=["braces", "objects", "lists", "utf8", "empty", "truncated"],
)
def test_a_damaged_file_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(AssetError, match=message):
        registry.load(str(tmp_path))


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "t.model").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(AssetError, match="too many for a tokenizer"):
        registry.load(str(tmp_path / "t.model"))
