from __future__ import annotations

import base64
import json
from pathlib import Path

import pyarrow as pa
import pytest

from curate import assets
from curate.errors import AssetError
from curate.tokenize import bpe, registry


def byte_lines(count: int = 256) -> list[bytes]:
    return [base64.b64encode(bytes([i])) + b" %d" % i for i in range(count)]


def test_a_saved_folder_loads_as_the_same_tokenizer(tmp_path: Path, bpe_files: dict[str, bytes]) -> None:
    registry.save(bpe_files, str(tmp_path / "t"))
    loaded = registry.load(str(tmp_path / "t"))
    assert loaded.identity() == registry.from_files(bpe_files).identity()
    assert loaded.vocab_size == 400
    assert (loaded.bos_id, loaded.eos_id, loaded.pad_id) == (397, 398, 399)


def test_files_are_told_apart_by_content(
    tmp_path: Path, bpe_files: dict[str, bytes], spm_files: dict[str, bytes]
) -> None:
    for kind, data in (("bpe", bpe_files["ranks.tiktoken"]), ("sentencepiece", spm_files["tokenizer.model"])):
        path = tmp_path / "tokenizer.model"
        path.write_bytes(data)
        assert registry.load(str(path)).kind == kind


def test_a_bare_rank_file_gives_the_fingerprint_of_the_folder(tmp_path: Path, bpe_files: dict[str, bytes]) -> None:
    (tmp_path / "anything").write_bytes(bpe_files["ranks.tiktoken"])
    assert registry.load(str(tmp_path / "anything")).sha256 == registry.from_files(bpe_files).sha256


def test_pattern_and_specials_change_the_fingerprint(bpe_files: dict[str, bytes]) -> None:
    data = bpe_files["ranks.tiktoken"]
    variants = [
        bpe.from_ranks(data, where="r"),
        bpe.from_ranks(data, where="r", specials=["<|end_of_text|>"]),
        bpe.from_ranks(data, where="r", pattern=r"\s+|\S+"),
    ]
    assert len({variant.sha256 for variant in variants}) == 3


def test_the_name_does_not_depend_on_the_path(tmp_path: Path, bpe_files: dict[str, bytes]) -> None:
    names = set()
    for file in ("a.model", "b.model"):
        (tmp_path / file).write_bytes(bpe_files["ranks.tiktoken"])
        names.add(registry.load(str(tmp_path / file)).name)
    assert len(names) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*byte_lines(), b"not/base64! 256"], "257: not a line"),
        ([*byte_lines(), b"YWI="], "257: not a line"),
        ([*byte_lines(), b"YWI= x"], "257: not a line"),
        ([*byte_lines(), b"YWI= 257"], "rank 256 is missing"),
        ([*byte_lines(), b"YWI= 255"], "rank 255 is there twice"),
        ([*byte_lines(), b"YWI= -1"], "rank 0 is missing|rank -1|missing"),
        ([*byte_lines(), b"YWI= 256", b"YWI= 257"], "there twice"),
        (byte_lines(255), "single byte 0xff"),
    ],
)
def test_a_damaged_rank_file_is_named(lines: list[bytes], message: str) -> None:
    with pytest.raises(AssetError, match=message):
        bpe.from_ranks(b"\n".join(lines), where="ranks")


def test_rank_files_with_windows_line_ends_load() -> None:
    assert bpe.from_ranks(b"\r\n".join(byte_lines()) + b"\r\n", where="ranks").vocab_size == 259


def test_a_pattern_that_does_not_compile_is_named(bpe_files: dict[str, bytes]) -> None:
    with pytest.raises(AssetError, match="split pattern"):
        bpe.from_ranks(bpe_files["ranks.tiktoken"], where="ranks", pattern="(")


@pytest.mark.parametrize("data", [b"", b"\x00\x01", b"hello there, this is no model", b"\n\x05hello"])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.model").write_bytes(data)
    with pytest.raises(AssetError, match=r"t\.model"):
        registry.load(str(tmp_path / "t.model"))


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="no tokenizer here"):
        registry.load(str(tmp_path / "gone"))


def test_a_model_that_its_card_does_not_describe_is_refused(bpe_files: dict[str, bytes]) -> None:
    changed = dict(bpe_files)
    changed["ranks.tiktoken"] = b"\n".join(byte_lines()) + b"\n"
    with pytest.raises(AssetError, match=r"not the file that card\.json describes"):
        registry.from_files(changed)


@pytest.mark.parametrize(
    "card", [b"", b"[]", b"{}", b'{"format": "tokenizer/9"}', b'{"format": "tokenizer/1", "kind": "bpe"}']
)
def test_a_damaged_card_is_named(bpe_files: dict[str, bytes], card: bytes) -> None:
    with pytest.raises(AssetError, match="card"):
        registry.from_files({**bpe_files, "card.json": card})


def test_an_unknown_kind_is_named(bpe_files: dict[str, bytes]) -> None:
    card = {**json.loads(bpe_files["card.json"]), "kind": "unigram"}
    with pytest.raises(AssetError, match="unknown kind"):
        registry.from_files({**bpe_files, "card.json": json.dumps(card).encode()})


def test_llama_3_gives_its_known_ids() -> None:
    ready = {status.asset.name: status.path for status in assets.status() if status.state == "ready"}
    if "llama3-tokenizer" not in ready:
        pytest.skip("needs the asset llama3-tokenizer: curate assets fetch llama3-tokenizer")
    tokenizer = registry.load(ready["llama3-tokenizer"])
    text = pa.array(["This is a test sentence.", "<|eot_id|>"], pa.large_string())
    ids = tokenizer.encode_batch(text, add_bos=True, add_eos=True).to_pylist()
    assert ids[0] == [128000, 2028, 374, 264, 1296, 11914, 13, 128001]
    assert max(ids[1][1:-1]) < 128_000
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.dtype) == (128_256, 128_004, "uint32")


def test_llama_3_has_256_special_tokens_at_their_places() -> None:
    specials = bpe.llama3_specials()
    assert len(set(specials)) == 256
    assert specials[:2] == ("<|begin_of_text|>", "<|end_of_text|>")
    assert specials[4] == "<|finetune_right_pad_id|>"
    assert specials[9] == "<|eot_id|>"
    assert specials[11] == "<|image|>"
    assert specials[12] == "<|reserved_special_token_2|>"
