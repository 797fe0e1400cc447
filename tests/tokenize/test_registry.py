from __future__ import annotations

import base64
import json
from pathlib import Path

import pyarrow as pa
import pytest
from encoded import asset_path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.errors import AssetError
from curate.tokenize import bpe, registry, spm


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
    tokenizer = registry.load(asset_path("llama3-tokenizer"))
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


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_model_loads_as_one_or_is_refused(
    tmp_path: Path, bpe_files: dict[str, bytes], spm_files: dict[str, bytes], data: st.DataObject
) -> None:
    good = data.draw(st.sampled_from([bpe_files["ranks.tiktoken"], spm_files["tokenizer.model"]]))
    places = data.draw(st.lists(st.integers(0, len(good) - 1), max_size=3))
    bad = bytearray(good)
    for place in places:
        bad[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(bad)), st.integers(0, len(bad))))
    (tmp_path / "t.model").write_bytes(bad[:end])
    try:
        loaded = registry.load(str(tmp_path / "t.model"))
    except AssetError:
        return
    else:
        assert max(loaded.encode_text("the river"), default=0) < loaded.vocab_size


def test_a_model_cut_off_before_its_settings_is_named(tmp_path: Path, spm_files: dict[str, bytes]) -> None:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(spm_files["tokenizer.model"])
    proto.ClearField("trainer_spec")
    (tmp_path / "t.model").write_bytes(proto.SerializeToString())
    with pytest.raises(AssetError, match="cut off"):
        registry.load(str(tmp_path / "t.model"))


def test_a_piece_that_is_no_text_is_named(tmp_path: Path, spm_files: dict[str, bytes]) -> None:
    (tmp_path / "t.model").write_bytes(spm_files["tokenizer.model"].replace(b"<0x41>", b"<0x\xff1>"))
    with pytest.raises(AssetError, match=r"not UTF-8|not a usable"):
        registry.load(str(tmp_path / "t.model"))


GOLDEN_TEXTS = [
    "Hello, world!",
    "it's 12,345.6 km²",
    "Größe und Übermut tun selten gut.",
    "Вода течёт вниз.",
    "川は海に流れる。",
    "물은 흐른다.",
    "الماء يجري",
    "पानी नीचे",
    "def f(x):\n    return x ** 2\n",
    "🙂👍🏽 naïve  \t\r\n",
]
GOLDEN = {
    "llama3-tokenizer": [
        [9906, 11, 1917, 0],
        [275, 596, 220, 717, 11, 12901, 13, 21, 13437, 30556],
        [6600, 80040, 2073, 50471, 7129, 11716, 12069, 2002, 18340, 13],
        [16604, 87878, 123134, 106822, 121076, 13],
        [101701, 15682, 56235, 20230, 89753, 104028, 1811],
        [101438, 34804, 122040, 84065, 13447, 13],
        [101952, 99819, 120927, 100438],
        [87262, 100306, 44747, 100282, 104138, 35470],
        [755, 282, 2120, 997, 262, 471, 865, 3146, 220, 17, 198],
        [9468, 19044, 9468, 239, 235, 9468, 237, 121, 95980, 588, 256, 4574],
    ],
    "mistral-v1-32k": [
        [22557, 28725, 1526, 28808],
        [378, 28742, 28713, 28705, 28740, 28750, 28725, 28770, 28781, 28782, 28723, 28784, 3535, 28941],
        [1778, 28834, 9526, 640, 19265, 3244, 15013, 7530, 1210, 16492, 28723],
        [9665, 1225, 3882, 27380, 649, 669, 28812, 28723],
        [28705, 30133, 29277, 29726, 29174, 29642, 29387, 29116, 28944],
        [28705, 30895, 29538, 28705, 240, 160, 147, 30879, 29043, 28723],
        [19078, 28954, 28915, 30052, 28705, 28972, 29156, 28947, 28972],
        [28705, 29794, 29232, 29540, 29735, 28705, 29540, 29735, 30671, 29586],
        [801, 285, 28732, 28744, 1329, 13, 2287, 604, 1318, 619, 28705, 28750, 13],
        [28705, 29340, 30195, 31007, 1879, 28920, 333, 259, 12, 28801, 13],
    ],
}


@pytest.mark.parametrize("asset", GOLDEN)
def test_a_real_vocabulary_gives_its_known_ids(asset: str) -> None:
    tokenizer = registry.load(asset_path(asset))
    assert tokenizer.encode_batch(pa.array(GOLDEN_TEXTS)).to_pylist() == GOLDEN[asset]
    assert [tokenizer.encode_text(text).tolist() for text in GOLDEN_TEXTS] == GOLDEN[asset]
    assert [tokenizer.decode(ids) for ids in GOLDEN[asset]] == GOLDEN_TEXTS


def test_llama_3_names_its_special_tokens() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"a%d" % at: at for at in range(256, bpe.LLAMA3_RANKS)}
    tokenizer = bpe.from_ranks(bpe.format_ranks(ranks), where="ranks")
    assert tokenizer.vocab_size == 128_256
    assert tokenizer.specials["<|begin_of_text|>"] == 128_000
    assert tokenizer.specials["<|eot_id|>"] == 128_009
    assert sorted(tokenizer.specials.values()) == list(range(128_000, 128_256))
    text = "".join(tokenizer.specials)
    ids = tokenizer.encode_batch(pa.array([text])).to_pylist()[0]
    assert max(ids) < 128_000
    assert tokenizer.decode(ids) == text


def test_a_32k_model_with_infilling_tokens_has_them_where_code_llama_has(spm_files: dict[str, bytes]) -> None:
    plain = spm.from_model(spm_files["tokenizer.model"], where="model")
    model = spm.with_infilling(spm_files["tokenizer.model"], where="model")
    tokenizer = spm.from_model(model, where="model")
    assert tokenizer.vocab_size == plain.vocab_size + 16
    shift = plain.vocab_size - 32_000
    assert [tokenizer.specials[name] - shift for name in spm.INFILLING] == [32_007, 32_008, 32_009, 32_010]
    assert spm.INFILLING == ("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>", "\u2581<EOT>")
    for text in ("a <PRE> b <SUF>c <MID> d <EOT>", "\u2581<PRE>", "<PRE"):
        assert tokenizer.encode_text(text).tolist() == plain.encode_text(text).tolist()
        assert tokenizer.encode_batch(pa.array([text])) == plain.encode_batch(pa.array([text]))
    with pytest.raises(AssetError, match="there already"):
        spm.with_infilling(model, where="model")


def test_infilling_tokens_that_are_ordinary_pieces_are_never_found_in_text(spm_files: dict[str, bytes]) -> None:
    # so they are in Code Llama's own model: parts that merge to the whole
    proto = spm.parse(spm.with_infilling(spm_files["tokenizer.model"], where="model"), "model")
    for piece in proto.pieces[-16:]:
        piece.type, piece.score = 1, -1000.0
    tokenizer = spm.from_model(proto.SerializeToString(), where="model")
    ids = tokenizer.encode_batch(pa.array(["a <PRE> b <SUF>c <MID> d <EOT>"])).to_pylist()[0]
    assert not set(ids) & {tokenizer.specials[name] for name in spm.INFILLING}
    assert tokenizer.decode(ids) == "a <PRE> b <SUF>c <MID> d <EOT>"
