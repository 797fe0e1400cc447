from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.errors import InputError, RecipeError
from curate.tokenize import bpe, registry, spm, train_spm
from curate.tokenize.tokenizer import Tokenizer, encode_batch, token_dtype

HOSTILE = [
    "",
    " ",
    "  two  spaces  ",
    "\n\n",
    "\x00\x01\x7f",
    "a\u2581b\u2581",
    "\u2581",
    "\ufdd0 \ufdd1 \u2581",
    "\u2047 \u2585",
    "e\u0301 é ﬁ Å",
    "👩‍👩‍👧‍👦🇨🇭",
    "\U0010ffff\ue000",
    "<s></s><unk><pad><0x0A>",
    "<|begin_of_text|>hi<|end_of_text|><|pad|>",
    "tab\tcr\r\nnel\x85ls\u2028ps\u2029nbsp\xa0ideographic\u3000",
]
texts = st.lists(
    st.one_of(st.text(max_size=60), st.sampled_from(HOSTILE), st.text(alphabet=" \n\u2581a\ufdd0", max_size=20)),
    max_size=6,
)


def large(values: list[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


def ids_of(lists: pa.ListArray, row: int) -> np.ndarray:
    return lists[row].values.to_numpy()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_comes_back_byte_for_byte(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(ids_of(tokenizer.encode_batch(large([text])), 0)) == text


@settings(max_examples=60, deadline=None)
@given(texts)
@example(HOSTILE)
def test_any_text_comes_back_byte_for_byte(byte_pair: Tokenizer, sentencepiece: Tokenizer, values: list[str]) -> None:
    for tokenizer in (byte_pair, sentencepiece):
        lists = tokenizer.encode_batch(large(values), add_bos=True, add_eos=True)
        lists.validate(full=True)
        for row, text in enumerate(values):
            ids = ids_of(lists, row)
            assert ids[0] == tokenizer.bos_id
            assert ids[-1] == tokenizer.eos_id
            assert tokenizer.decode_bytes(ids) == text.encode()


@settings(max_examples=40, deadline=None)
@given(texts, st.integers(0, 6))
def test_any_split_of_a_batch_gives_the_same_ids(sentencepiece: Tokenizer, values: list[str], cut: int) -> None:
    whole = sentencepiece.encode_batch(large(values))
    parts = [sentencepiece.encode_batch(large(values)[:cut]), sentencepiece.encode_batch(large(values)[cut:])]
    assert pa.concat_arrays(parts).to_pylist() == whole.to_pylist()


def test_special_tokens_in_a_text_stay_plain_text(tokenizer: Tokenizer) -> None:
    special = {tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.unk_id} - {None}
    lists = tokenizer.encode_batch(large(["<|begin_of_text|><|end_of_text|><|pad|>", "<s></s><unk><pad>", "a<s>b</s>"]))
    assert not special & set(lists.values.to_pylist())


def test_a_byte_piece_spelled_out_stays_plain_text(sentencepiece: Tokenizer) -> None:
    spelled = ids_of(sentencepiece.encode_batch(large(["x<0x0A>y"])), 0)
    meant = ids_of(sentencepiece.encode_batch(large(["x\ny"])), 0)
    assert len(spelled) > len(meant)


def test_user_defined_pieces_are_never_found_in_text(corpus: list[str]) -> None:
    files = train_spm.train_sentencepiece(corpus, 450, settings={"user_defined_symbols": "<turn>"})
    tokenizer = registry.from_files(files)
    ids = ids_of(tokenizer.encode_batch(large(["a<turn>b"])), 0)
    assert tokenizer.decode(ids) == "a<turn>b"
    assert 3 not in ids, "id 3 is the user-defined piece"


def test_sentencepiece_gives_the_ids_of_the_library(sentencepiece: Tokenizer, spm_files: dict[str, bytes]) -> None:
    from sentencepiece import SentencePieceProcessor

    oracle = SentencePieceProcessor(model_proto=spm_files["tokenizer.model"])
    for text in HOSTILE:
        if "\u2581" not in text:
            assert ids_of(sentencepiece.encode_batch(large([text])), 0).tolist() == oracle.encode(text)
            assert sentencepiece.decode(oracle.encode(text)) == oracle.decode(oracle.encode(text))


def test_byte_pair_gives_the_ids_of_tiktoken(
    byte_pair: Tokenizer, bpe_files: dict[str, bytes], corpus: list[str]
) -> None:
    import tiktoken

    ranks = bpe.parse_ranks(bpe_files["ranks.tiktoken"], "ranks")
    oracle = tiktoken.Encoding("oracle", pat_str=bpe.LLAMA3_PATTERN, mergeable_ranks=ranks, special_tokens={})
    for text in corpus + HOSTILE:
        assert ids_of(byte_pair.encode_batch(large([text])), 0).tolist() == oracle.encode_ordinary(text)


def test_long_texts_in_blocks_have_the_ids_of_the_whole(
    sentencepiece: Tokenizer, spm_files: dict[str, bytes], corpus: list[str]
) -> None:
    from sentencepiece import SentencePieceProcessor

    oracle = SentencePieceProcessor(model_proto=spm_files["tokenizer.model"])
    text = ("".join(corpus) + "\n\n \n" + "x" * spm.BLOCK_CHARS) * 5
    assert len(text) > 4 * spm.BLOCK_CHARS
    assert ids_of(sentencepiece.encode_batch(large([text])), 0).tolist() == oracle.encode(text)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab \n\r\t川é<\x00\u2028", max_size=40), st.integers(1, 6))
def test_blocks_of_any_size_have_the_ids_of_the_whole(
    sentencepiece: Tokenizer, spm_files: dict[str, bytes], text: str, block_chars: int
) -> None:
    from sentencepiece import SentencePieceProcessor

    oracle = SentencePieceProcessor(model_proto=spm_files["tokenizer.model"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spm, "BLOCK_CHARS", block_chars)
        assert sentencepiece.encode_text(text).tolist() == oracle.encode(text)
        # lines longer than a block may be cut inside: their bytes survive
        patch.setattr(spm, "MAX_BLOCK_CHARS", block_chars)
        assert sentencepiece.decode(sentencepiece.encode_text(text)) == text


@pytest.mark.parametrize("text", ["a" * 900_000, " " * 900_000, "^" * 900_000, "é\n" * 400_000, "\u2581" * 200_000])
def test_long_runs_are_encoded_in_linear_time_and_survive(tokenizer: Tokenizer, text: str) -> None:
    start = time.process_time()
    ids = ids_of(tokenizer.encode_batch(large([text])), 0)
    # linear is well below a second; quadratic would take hours
    assert time.process_time() - start < 30
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    ("text", "cuts"),
    [
        ("a" * 25_000, []),
        ("a" * 25_001, [25_000]),
        ("b " + "a" * 50_001 + " " * 25_000, [25_002, 50_002]),
        (" " * 25_001 + "a" * 25_001, [25_000, 50_001]),
        ("ab " * 133_333 + "a" + "a" * 25_000, [400_000]),
    ],
)
def test_input_is_cut_where_llama_3_cuts_it(text: str, cuts: list[int]) -> None:
    parts = list(bpe.blocks(text))
    assert np.cumsum([len(part) for part in parts]).tolist() == [*cuts, len(text)]
    assert "".join(parts) == text


def test_a_sliced_array_is_encoded_like_a_fresh_one(tokenizer: Tokenizer) -> None:
    values = large(["one", "two words", "", "trois"])
    assert (
        tokenizer.encode_batch(values[1:3]).to_pylist() == tokenizer.encode_batch(large(["two words", ""])).to_pylist()
    )
    assert tokenizer.encode_batch(values[:0]).to_pylist() == []


def test_plain_string_arrays_are_accepted(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_batch(pa.array(["one"])).equals(tokenizer.encode_batch(large(["one"])))


def test_a_missing_text_and_bytes_that_are_no_text_are_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="null"):
        tokenizer.encode_batch(pa.array(["a", None], pa.large_string()))
    broken = pa.Array.from_buffers(
        pa.large_string(), 1, [None, pa.py_buffer(np.array([0, 2], dtype=np.int64)), pa.py_buffer(b"\xff\xfe")]
    )
    with pytest.raises(InputError) as caught:
        tokenizer.encode_batch(broken)
    assert caught.value.kind == "utf8"


def test_asking_for_a_special_token_that_is_not_there_is_a_mistake_in_the_recipe(bpe_files: dict[str, bytes]) -> None:
    bare = bpe.from_ranks(bpe_files["ranks.tiktoken"], where="ranks", specials=[])
    with pytest.raises(RecipeError, match="add_eos = false"):
        encode_batch(bare, large(["a"]), add_bos=False, add_eos=True)


def test_ids_outside_the_vocabulary_are_refused(tokenizer: Tokenizer) -> None:
    for wrong in (-1, tokenizer.vocab_size):
        with pytest.raises(InputError, match="outside the vocabulary"):
            tokenizer.decode([wrong])


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_are_16_bits_wide_up_to_65536(vocab_size: int, dtype: type) -> None:
    assert token_dtype(vocab_size) == dtype


def test_a_character_cut_in_two_decodes_to_the_replacement_character(byte_pair: Tokenizer) -> None:
    ids = ids_of(byte_pair.encode_batch(large(["\U0001f9ff"])), 0)
    assert len(ids) > 1
    assert "\ufffd" in byte_pair.decode(ids[:1])
