from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from encoded import asset_path, raw_pages
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.errors import AssetError
from curate.tokenize import bpe, export, registry, spm
from curate.tokenize.tokenizer import Tokenizer

TEXTS = st.text(alphabet="abcdefgh thewr.,'\n\r\t 0123456789éß川世Рк🙂\x00\u2028", max_size=120)
HF_FILES = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}


@pytest.fixture(scope="module", params=["bpe", "sentencepiece"])
def folder(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bpe_files: dict[str, bytes],
    spm_files: dict[str, bytes],
) -> Path:
    """A saved tokenizer."""
    path = tmp_path_factory.mktemp(request.param)
    registry.save(bpe_files if request.param == "bpe" else spm_files, str(path))
    return path


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported")
    registry.save(export.export(str(folder)), str(path))
    return path


@pytest.fixture(scope="module")
def pair(folder: Path, exported: Path) -> tuple[tokenizers.Tokenizer, Tokenizer]:
    """(what ``tokenizers`` reads, what was exported)."""
    return tokenizers.Tokenizer.from_file(str(exported / "tokenizer.json")), registry.load(str(folder))


def same(theirs: tokenizers.Tokenizer, ours: Tokenizer, texts: list[str]) -> None:
    lists = ours.encode_batch(pa.array(texts, pa.large_string()))
    for row, text in enumerate(texts):
        assert lists[row].as_py() == theirs.encode(text, add_special_tokens=False).ids


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("the  river \n\n   runs" + " " * 41)
@example("aaaaaaa" * 12)
def test_tokenizers_gives_our_ids(pair: tuple[tokenizers.Tokenizer, Tokenizer], text: str) -> None:
    same(*pair, [text])


def test_tokenizers_can_be_told_to_leave_special_tokens_in_text_alone(exported: Path, folder: Path) -> None:
    theirs, ours = tokenizers.Tokenizer.from_file(str(exported / "tokenizer.json")), registry.load(str(folder))
    text = "".join(ours.specials) + " a<s>b"
    assert theirs.encode(text, add_special_tokens=False).ids != ours.encode_text(text).tolist()
    theirs.encode_special_tokens = True
    assert theirs.encode(text, add_special_tokens=False).ids == ours.encode_text(text).tolist()


def test_tokenizers_gives_our_text(pair: tuple[tokenizers.Tokenizer, Tokenizer], corpus: list[str]) -> None:
    for text in corpus:
        assert pair[0].decode(pair[0].encode(text).ids) == text


def test_transformers_loads_the_folder(exported: Path, folder: Path, corpus: list[str]) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(str(exported))
    ours = registry.load(str(folder))
    for text in corpus:
        ids = theirs.encode(text, add_special_tokens=False)
        assert ids == ours.encode_text(text).tolist()
        assert theirs.decode(ids) == text
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (ours.bos_id, ours.eos_id, ours.pad_id)
    assert theirs.encode("a")[0] == ours.bos_id
    assert len(theirs) == ours.vocab_size


def test_the_exported_folder_is_the_same_tokenizer_to_us(exported: Path, folder: Path) -> None:
    assert registry.load(str(exported)).identity() == registry.load(str(folder)).identity()
    # and what we make of its tokenizer.json alone gives the same ids
    alone = registry.load(str(exported / "tokenizer.json"))
    texts = ["the river", "  runs \n\n down", "IT'S 12345", "川は海に"]
    for text in texts:
        assert alone.encode_text(text).tolist() == registry.load(str(folder)).encode_text(text).tolist()
    assert alone.vocab_size == registry.load(str(folder)).vocab_size


def test_the_card_has_the_checksum_of_every_other_file(exported: Path) -> None:
    card = json.loads((exported / "card.json").read_bytes())
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in exported.iterdir()}
    del files["card.json"]
    assert card["checksums"] == files
    assert files.keys() > HF_FILES
    assert card["trained_on"]["documents"] == 18


def test_an_export_of_an_export_has_the_same_bytes(folder: Path, exported: Path) -> None:
    assert export.export(str(exported)) == export.export(str(folder))


def test_tiktoken_loads_the_exported_ranks(tmp_path: Path, bpe_files: dict[str, bytes], corpus: list[str]) -> None:
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    (tmp_path / "ranks").write_bytes(bpe_files["ranks.tiktoken"])
    registry.save(export.export(str(tmp_path / "ranks")), str(tmp_path / "out"))
    card = json.loads((tmp_path / "out" / "card.json").read_bytes())
    ranks = load_tiktoken_bpe(str(tmp_path / "out" / "ranks.tiktoken"))
    theirs = tiktoken.Encoding("t", pat_str=card["pattern"], mergeable_ranks=ranks, special_tokens=card["specials"])
    for text in corpus:
        assert theirs.encode_ordinary(text) == registry.load(str(tmp_path / "ranks")).encode_text(text).tolist()


def test_what_a_tokenizer_json_cannot_say_is_refused(tmp_path: Path, exported: Path, corpus: list[str]) -> None:
    with pytest.raises(AssetError, match="already"):
        export.export(str(exported / "tokenizer.json"))
    (tmp_path / "m.model").write_bytes(_normalising(corpus))
    with pytest.raises(AssetError, match=r"no tokenizer\.json can be made"):
        export.export(str(tmp_path / "m.model"))


def _normalising(corpus: list[str]) -> bytes:
    from curate.tokenize import train_spm

    return train_spm.train_sentencepiece(corpus, 450, settings={"normalization_rule_name": "nmt_nfkc"})[
        "tokenizer.model"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("asset", ["llama3-tokenizer", "mistral-v1-32k"])
def test_a_real_vocabulary_gives_our_ids_on_raw_pages(asset: str, shared_data: Path) -> None:
    path = asset_path(asset)
    theirs = tokenizers.Tokenizer.from_str(export.export(path)["tokenizer.json"].decode())
    theirs.encode_special_tokens = True
    ours = registry.load(path)
    for page in raw_pages(shared_data, 600_000):
        text = page.replace(spm.SPACE, "")
        lines = [line for line in text.split("\n") if len(line) < bpe.MAX_RUN_CHARS]
        assert np.mean([len(line) > 0 for line in lines]) > 0.1
        same(theirs, ours, lines)


def test_a_32k_model_gets_code_llamas_infilling_tokens_at_their_ids(tmp_path: Path) -> None:
    path = asset_path("mistral-v1-32k")
    registry.save(export.export(path, name="mistral-v1-32k", infilling=True), str(tmp_path / "folder"))
    ours, plain = registry.load(str(tmp_path / "folder")), registry.load(path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "folder" / "tokenizer.json"))
    names = {"\u2581<PRE>": 32_007, "\u2581<SUF>": 32_008, "\u2581<MID>": 32_009, "\u2581<EOT>": 32_010}
    assert (ours.name, ours.vocab_size) == ("mistral-v1-32k-infilling", 32_016)
    assert {name: ours.specials[name] for name in names} == names
    assert {name: theirs.token_to_id(name) for name in names} == names
    for text in ("def f(x):\n    return <PRE> x <SUF>", "a <MID> b <EOT>"):
        assert ours.encode_text(text).tolist() == plain.encode_text(text).tolist()
    card = json.loads((tmp_path / "folder" / "card.json").read_text())
    assert (card["vocab_size"], card["sha256"]) == (32_016, ours.sha256)


def test_infilling_tokens_are_for_sentencepiece_models_only(tmp_path: Path, bpe_files: dict[str, bytes]) -> None:
    registry.save(bpe_files, str(tmp_path / "bpe"))
    with pytest.raises(AssetError, match="of a SentencePiece model"):
        export.export(str(tmp_path / "bpe"), infilling=True)
