from __future__ import annotations

from pathlib import Path

import pytest
from encoded import asset_path, large, raw_pages, same
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from curate.tokenize import batches, registry, spm, words
from curate.tokenize.tokenizer import Tokenizer

TEXTS = st.text(alphabet="abcdefgh thewr.,'\n\r\t 0123456789éß川世Рк🙂\x00\u2028\u2581", max_size=200)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def model(
    pieces: dict[str, float], *, special: tuple[tuple[str, int], ...] = (), prefix: bool = True, fallback: bool = True
) -> bytes:
    """Return a model of these pieces, with byte pieces first."""
    proto = sentencepiece_model_pb2.ModelProto()
    for name, kind in (("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), *special):
        proto.pieces.add(piece=name, score=0, type=kind)
    for byte in range(256 if fallback else 0):
        proto.pieces.add(piece=f"<0x{byte:02X}>", score=0, type=BYTE)
    for name, score in pieces.items():
        proto.pieces.add(piece=name, score=score, type=NORMAL)
    proto.trainer_spec.model_type = proto.trainer_spec.BPE
    proto.trainer_spec.byte_fallback = fallback
    proto.trainer_spec.vocab_size = len(proto.pieces)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = prefix
    proto.normalizer_spec.remove_extra_whitespaces = False
    return proto.SerializeToString()


LETTERS = {"\u2581": -90.0, "a": -91.0, "b": -92.0, "é": -93.0, "川": -94.0}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(TEXTS, st.text(max_size=80)), max_size=5))
@example(["", " ", "  the water", "<s></s><0x0A><unk>", "\u2581", "a\u2581b", "\n\n", " \u2581 "])
def test_any_text_gets_the_ids_of_the_library(sentencepiece: Tokenizer, texts: list[str]) -> None:
    same(sentencepiece, texts)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.text(alphabet="ab\u2581é川", min_size=2, max_size=6), st.sampled_from([-1.0, -2.0, -3.5, 0.0])),
    st.lists(st.text(alphabet="ab é川c", max_size=60), max_size=4),
    st.booleans(),
)
@example({"aa": -1.0, "aaa": -1.0, "ba": -1.0}, ["aaaaab" * 20, "baab"], False)
@example({"\u2581\u2581": -1.0, "\u2581" * 4: -1.0, "a\u2581": -1.0}, [" " * 50, "a a  a   a"], True)
def test_any_vocabulary_gives_the_ids_of_the_library(pieces: dict[str, float], texts: list[str], prefix: bool) -> None:
    same(spm.from_model(model({**LETTERS, **pieces}, prefix=prefix), where="model"), texts)


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="ab ", min_size=41, max_size=600))
def test_long_pieces_with_ties_are_merged_as_by_the_library(text: str) -> None:
    same(TIES, [text, text.replace(" ", "a")])


TIES = spm.from_model(
    model({**LETTERS, "aa": -1.0, "ab": -1.0, "aaa": -2.0, "ba": -1.0, "aba": -2.0, "bb": -1.0, "b\u2581a": 0.0}),
    where="ties",
)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 24, 25, 30, 31, 32, 33, 64, 1000])
def test_words_of_every_size_are_encoded_alike_the_first_and_the_second_time(
    sentencepiece: Tokenizer, size: int
) -> None:
    word = ("riverwaterseaß" * 100).encode()[:size].decode(errors="ignore")
    same(sentencepiece, [word, f"x {word} {word}", f"x{word[:-1]}"])


def test_what_was_encoded_before_never_shows_in_the_ids(sentencepiece: Tokenizer) -> None:
    count = 3 << words.BITS >> 2
    texts = [" ".join(f"{chr(0x4E00 + at % 20_000)}the{at:x}w" for at in range(n, count, 3)) for n in range(3)]
    for order in (texts, texts[::-1], texts[:1]):
        same(sentencepiece, order)


def test_little_room_is_made_larger_on_the_way(
    sentencepiece: Tokenizer, monkeypatch: pytest.MonkeyPatch, corpus: list[str]
) -> None:
    monkeypatch.setattr(batches, "FIRST_ROOM", 1)
    monkeypatch.setattr(batches, "GUESSED_BYTES_PER_TOKEN", 1 << 30)
    same(sentencepiece, [*corpus, "x" * 50_000, "", "🙂" * 100, "the" * 20_000])
    lists = sentencepiece.encode_batch(large(["", "a", ""]), add_bos=True, add_eos=True).to_pylist()
    assert (lists[0], lists[2]) == ([1, 2], [1, 2])
    assert (lists[1][0], lists[1][-1]) == (1, 2)


@pytest.mark.parametrize("text", ["a" * 900_000, "the river\n" * 60_000, " " * 500_000, "🙂" * 450_000])
def test_long_texts_are_cut_as_by_the_library(sentencepiece: Tokenizer, text: str) -> None:
    same(sentencepiece, ["before", text, "after"])


@pytest.mark.parametrize("kind", [CONTROL, USER_DEFINED])
@pytest.mark.parametrize("char", ["Q", "☺"])
def test_a_special_piece_of_one_character_is_never_found_in_text(kind: int, char: str) -> None:
    tokenizer = spm.from_model(model(LETTERS, special=((char, kind),)), where="model")
    for text in (char, f"a{char}b", f" {char}"):
        ids = tokenizer.encode_batch(large([text]))[0].as_py()
        assert 3 not in ids, "id 3 is the special piece"
        assert tokenizer.decode(ids) == text
        assert ids == tokenizer.encode_text(text).tolist()


def test_the_first_token_of_a_text_keeps_its_role_under_a_name_of_one_character() -> None:
    proto = sentencepiece_model_pb2.ModelProto.FromString(model(LETTERS))
    proto.pieces[1].piece = proto.trainer_spec.bos_piece = "Q"
    tokenizer = spm.from_model(proto.SerializeToString(), where="model")
    assert tokenizer.bos_id == 1
    assert tokenizer.decode(tokenizer.encode_text("Q")) == "Q"


@pytest.mark.parametrize(
    "data",
    [
        model({**LETTERS, "xy": -1.0}),  # x is no piece
        model({piece: score for piece, score in LETTERS.items() if piece != "\u2581"}),
        model(LETTERS, fallback=False),
        model({**LETTERS, "a\nb": -1.0}),
        model(LETTERS, special=(("\u2581\u2581", USER_DEFINED),)),
        model({**LETTERS, "a" * 1025: -1.0}),
    ],
    ids=["character", "space", "fallback", "line break", "user-defined", "long"],
)
def test_what_is_not_covered_is_left_to_the_library(data: bytes) -> None:
    tokenizer = spm.from_model(data, where="model")
    assert tokenizer.kernel is None
    assert tokenizer.encode_batch(large(["ab a"])).to_pylist() == [tokenizer.encode_text("ab a").tolist()]


@pytest.mark.slow
def test_a_real_model_gives_the_ids_of_the_library_on_raw_pages(shared_data: Path) -> None:
    tokenizer = registry.load(asset_path("mistral-v1-32k"))
    for text in raw_pages(shared_data, 3_000_000):
        same(tokenizer, [text])
