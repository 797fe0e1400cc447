from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate import assets
from curate.errors import AssetError, RecipeError
from curate.tokenize import bpe, registry, train, train_spm

DIGEST_OF_A_FRESH_PROCESS = """
import hashlib, json, sys
from curate.tokenize import train, train_spm
texts = json.loads(sys.stdin.read())
for files in (train.train_bpe(texts, 400), train_spm.train_sentencepiece(texts, 450)):
    print(hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest())
"""


def test_equal_text_gives_equal_bytes_in_any_order(
    corpus: list[str], bpe_files: dict[str, bytes], spm_files: dict[str, bytes]
) -> None:
    assert train.train_bpe(corpus[::-1], 400) == bpe_files
    assert train_spm.train_sentencepiece(corpus[::-1], 450) == spm_files


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
        read = {
            "documents": len(corpus),
            "characters": sum(map(len, corpus)),
            "bytes": sum(len(text.encode()) for text in corpus),
        }
        pretokens, distinct = (342, 68) if kind == "bpe" else (246, 63)
        counted = {"pretokens": pretokens, "distinct_pretokens": distinct, "learned_from": distinct, "least_count": 1}
        assert card["trained_on"] == read | counted


def test_numbers_split_as_the_models_do(bpe_files: dict[str, bytes], spm_files: dict[str, bytes]) -> None:
    llama1 = registry.from_files(spm_files).encode_text("365")
    assert len(llama1) == 4, "the space before, then each digit alone"
    tokens = bpe.parse_ranks(bpe_files["ranks.tiktoken"], "ranks")
    assert all(len(token) <= 3 for token in tokens if token.isdigit())


def test_too_little_text_says_how_many_merges_it_allows() -> None:
    with pytest.raises(RecipeError, match="allow only 9; set vocab_size to at most 268"):
        train.train_bpe(["hello world"], 4096)
    assert registry.from_files(train.train_bpe(["hello world"], 268)).vocab_size == 268
    with pytest.raises(RecipeError, match="allow at most 287"):
        train_spm.train_sentencepiece(["hello world"], 4096)


def test_no_text_at_all_is_a_mistake() -> None:
    with pytest.raises(RecipeError, match="allow only 0"):
        train.train_bpe([], 300)
    with pytest.raises(RecipeError, match="no line to train on"):
        train_spm.train_sentencepiece(["", "\n"], 300)


def test_a_vocabulary_below_the_fixed_tokens_is_a_mistake(corpus: list[str]) -> None:
    with pytest.raises(RecipeError, match="at least 259"):
        train.train_bpe(corpus, 258)
    with pytest.raises(RecipeError, match="for their characters alone"):
        train_spm.train_sentencepiece(corpus, 261)


def test_settings_that_make_no_sense_are_mistakes(corpus: list[str]) -> None:
    with pytest.raises(RecipeError, match="pattern"):
        train.train_bpe(corpus, 300, pattern="(")
    with pytest.raises(RecipeError, match="named twice"):
        train.train_bpe(corpus, 300, specials=["<|x|>", "<|x|>"])
    with pytest.raises(RecipeError, match="only 'bpe'"):
        train_spm.train_sentencepiece(corpus, 300, settings={"model_type": "unigram"})
    with pytest.raises(RecipeError, match="refused the settings"):
        train_spm.train_sentencepiece(corpus, 300, settings={"no_such_setting": 1})


def test_an_error_of_the_reader_passes_through(corpus: list[str]) -> None:
    def broken() -> Iterator[str]:
        yield from corpus
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        train.train_bpe(broken(), 300)
    with pytest.raises(FileNotFoundError, match="gone"):
        train_spm.train_sentencepiece(broken(), 400)


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
    for files in (train.train_bpe(corpus + hostile, 400), train_spm.train_sentencepiece(corpus + hostile, 450)):
        tokenizer = registry.from_files(files)
        for text in hostile:
            assert tokenizer.decode(tokenizer.encode_text(text)) == text


def ranks_of(files: dict[str, bytes]) -> list[bytes]:
    return list(bpe.parse_ranks(files["ranks.tiktoken"], "ranks"))


def test_a_cut_vocabulary_is_the_one_that_direct_training_gives(corpus: list[str]) -> None:
    largest = train.train_bpe(corpus, 480)
    for size in (470, 400, 300, 259):
        cut, direct = train.cut(largest, size), train.train_bpe(corpus, size)
        assert cut["ranks.tiktoken"] == direct["ranks.tiktoken"]
        assert cut == direct, "the card, too"
        assert train.cut(train.cut(largest, 475), size) == cut
    assert train.cut(largest, 480) == largest


def test_only_byte_level_vocabularies_are_cut_and_only_to_what_they_hold(
    bpe_files: dict[str, bytes], spm_files: dict[str, bytes]
) -> None:
    with pytest.raises(RecipeError, match="259 to 400 ids"):
        train.cut(bpe_files, 258)
    with pytest.raises(RecipeError, match="259 to 400 ids"):
        train.cut(bpe_files, 401)
    with pytest.raises(RecipeError, match="must be a byte-level BPE"):
        train.cut(spm_files, 300)


@pytest.fixture
def base(tmp_path: Path, bpe_files: dict[str, bytes]) -> train.Base:
    registry.save(bpe_files, str(tmp_path / "base"))
    return train.read_base(str(tmp_path / "base"))


OTHER_LANGUAGES = [
    "Η θάλασσα και ο ποταμός, το νερό και το αλάτι. Η θάλασσα δεν τρέχει πουθενά.\n",
    "नदी समुद्र की ओर बहती है।\n",
] * 4


def test_a_grown_vocabulary_keeps_the_ids_of_its_base(base: train.Base, bpe_files: dict[str, bytes]) -> None:
    files = train.train_bpe(OTHER_LANGUAGES, 450, base=base)
    tokens = ranks_of(files)
    assert tokens[:397] == ranks_of(bpe_files) == list(base.tokens)
    assert len(set(tokens)) == 447
    assert any("θάλασσα".encode() in token for token in tokens[397:])
    card = json.loads(files["card.json"])
    assert card["settings"]["base"] == base.sha256
    assert card["specials"]["<|pad|>"] == 449, "special tokens come after all ranks"
    grown, before = registry.from_files(files), registry.from_files(bpe_files)
    for text in OTHER_LANGUAGES:
        assert grown.decode(grown.encode_text(text)) == text
        assert len(grown.encode_text(text)) < len(before.encode_text(text))
    with pytest.raises(RecipeError, match="400 to 450 ids"):
        train.cut(files, 399)


def test_growing_on_its_own_text_goes_on_where_the_base_ended(base: train.Base, corpus: list[str]) -> None:
    assert train.train_bpe(corpus, 480, base=base)["ranks.tiktoken"] == train.train_bpe(corpus, 480)["ranks.tiktoken"]


def test_llama_3_grows_by_tokens_that_it_lacks() -> None:
    try:
        path = assets.path("llama3-tokenizer")
    except AssetError:
        pytest.skip("needs the asset llama3-tokenizer: curate assets fetch llama3-tokenizer")
    base = train.read_base(path)
    assert (len(base.tokens), len(base.specials)) == (128_000, 256)
    text = "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᎤᏓᏅᏘ ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ\n" * 5
    files = train.train_bpe([text], 128_256 + 12, base=base, specials=base.specials)
    assert ranks_of(files)[:128_000] == list(base.tokens)
    grown, before = registry.from_files(files), registry.load(path)
    plain = "The water of the river, 水は低いところへ流れる。"
    assert list(grown.encode_text(plain)) == list(before.encode_text(plain))
    assert len(grown.encode_text(text)) < len(before.encode_text(text))
    assert grown.decode(grown.encode_text(text)) == text


def test_only_a_byte_level_vocabulary_can_be_grown(tmp_path: Path, spm_files: dict[str, bytes]) -> None:
    registry.save(spm_files, str(tmp_path / "spm"))
    with pytest.raises(RecipeError, match="must be a byte-level BPE"):
        train.read_base(str(tmp_path / "spm"))


def test_a_bare_rank_file_is_a_base_with_the_default_special_tokens(
    tmp_path: Path, bpe_files: dict[str, bytes]
) -> None:
    path = tmp_path / "ranks"
    path.write_bytes(bpe_files["ranks.tiktoken"])
    base = train.read_base(str(path))
    assert base.specials == bpe.DEFAULT_SPECIALS
    assert base.tokens == tuple(ranks_of(bpe_files))
    with pytest.raises(RecipeError, match="at least 400"):
        train.train_bpe([], 399, base=base)


def test_rare_words_are_left_out_and_the_card_says_so() -> None:
    texts = ["often " * 50 + "seldom seldom " + "once"]
    card = json.loads(train.train_bpe(texts, 262, min_count=3)["card.json"])
    assert card["trained_on"]["least_count"] == 3
    assert (card["trained_on"]["distinct_pretokens"], card["trained_on"]["learned_from"]) == (4, 1)
    with pytest.raises(RecipeError, match="allow only 5"):
        train.train_bpe(texts, 300, min_count=3)


def test_a_text_of_one_endless_line_trains_in_linear_time() -> None:
    files = train.train_bpe(["ab" * 2_000_000], 262)
    assert ranks_of(files)[256:] == [b"ab", b"abab", b"abababab"]
