from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.tokenize import bpe, registry, train_spm
from curate.tokenize.compare import FORMAT, CompareSettings, compare
from curate.tokenize.compare_counts import COLUMN, RATIOS, count, encode, vocabulary
from curate.tokenize.compare_samples import Document, Sample, parallel_sentences, programs, shipped_documents
from curate.tokenize.compare_segments import pieces
from curate.tokenize.compare_spans import shape
from curate.tokenize.compare_vocabulary import renyi_efficiency, vocabulary_use
from curate.tokenize.tokenizer import Tokenizer

FEW = CompareSettings(resamples=20)
HOSTILE = st.text(max_size=60) | st.text(alphabet=" \n\tab1é世\u2581\u3000", max_size=60)


def sample(*texts: str, language: str | None = "en", source: str = "web") -> Sample:
    documents = [Document(text, language, source) for text in texts]
    return Sample(documents, len(documents), sum(len(text.encode()) for text in texts), 0)


@pytest.fixture(scope="module")
def result(byte_pair: Tokenizer, sentencepiece: Tokenizer) -> dict:
    drawn = sample("The river runs down.", "Water 123 and salt.", "def f():\n    return 1\n")
    german = Document("Der Fluss fließt.", "de", "books")
    both = drawn._replace(documents=[*drawn.documents, german], seen_documents=4)
    return compare({"one": byte_pair, "two": sentencepiece}, both, on="tests", settings=FEW)


# Counts, by plain definitions


def plain_counts(text: str, tokens: list[bytes]) -> dict[str, int]:
    """The definitions, read off the text character by character; `tokens` join to the text."""
    edges = {0}
    for token in tokens:
        edges.add(max(edges) + len(token))

    def touching(start: int, end: int) -> int:
        return 1 + sum(start < edge < end for edge in edges)

    def spans(pattern: str) -> list[tuple[int, int]]:
        found = re.finditer(pattern, text)
        return [(len(text[: one.start()].encode()), len(text[: one.end()].encode())) for one in found]

    words, numbers = (
        [touching(*span) for span in spans(r"[^ \n\t\u3000\r]+")],
        [touching(*span) for span in spans("[0-9]+")],
    )
    return {
        "words": len(words),
        "word_tokens": sum(words),
        "continued": sum(number > 1 for number in words),
        "numbers": len(numbers),
        "number_tokens": sum(numbers),
        "digits": len(re.findall("[0-9]", text)),
        "blank": sum(token.isspace() or token.decode(errors="replace").isspace() for token in tokens),
    }


@settings(deadline=None)
@given(text=st.text(alphabet=" \n\tabz019é\u3000", max_size=40))
def test_counts_are_those_of_the_plain_definitions(text: str, byte_pair: Tokenizer, sentencepiece: Tokenizer) -> None:
    for tokenizer in (byte_pair, sentencepiece):
        item = vocabulary("one", tokenizer)
        found = encode(item, text)
        row = count(found, shape(text), item.flags, context_length=8, exact=True)
        tokens = [item.spelled[int(i)] for i in found.ids]
        if tokens and found.decoded != b"".join(tokens):
            tokens[0] = tokens[0][1:]  # the space that SentencePiece puts before a text
        plain = plain_counts(text, tokens)
        if tokens and not tokens[0]:
            plain["blank"] += 1
        assert {name: row[COLUMN[name]] for name in plain} == plain
        assert row[COLUMN["bytes"]] == len(text.encode())
        assert row[COLUMN["tokens"]] == len(tokens)
        assert row[COLUMN["fits"]] == (len(tokens) <= 8)


@settings(deadline=None)
@given(text=HOSTILE)
def test_the_ends_of_tokens_reach_the_end_of_any_text(text: str, byte_pair: Tokenizer) -> None:
    found = encode(vocabulary("one", byte_pair), text)
    assert found.decoded == text.encode()
    assert [*found.ends.tolist()[-1:]] == ([len(text.encode())] if text else [])


def test_indentation_costs_the_tokens_that_hold_nothing_else(byte_pair: Tokenizer) -> None:
    text = "a\n    b\n        c\n  \n\td\n x"
    about = shape(text)
    assert about.levels == 1 + 2 + 1  # a line of white space, and one single space, are no indentation
    item = vocabulary("one", byte_pair)
    edges = [0, *encode(item, text).ends.tolist()]
    wholly = sum(
        any(start <= first and last <= end for start, end in zip(*about.indents, strict=True))
        for first, last in pairwise(edges)
    )
    row = count(encode(item, text), about, item.flags, context_length=1, exact=True)
    assert (row[COLUMN["levels"]], row[COLUMN["indent_tokens"]]) == (4, wholly)


def test_a_document_that_does_not_come_back_counts_no_words(byte_pair: Tokenizer) -> None:
    item = vocabulary("one", byte_pair)
    text = "two words"
    row = count(encode(item, text), shape(text), item.flags, context_length=1, exact=False)
    assert row[COLUMN["bytes"]] == 9
    assert row[COLUMN["tokens"]] > 0
    assert row[COLUMN["words"] :] == [0] * len(row[COLUMN["words"] :])


@pytest.mark.parametrize(
    ("text", "script", "words"),
    [
        ("two words", "Latin", 2),
        ("два слова", "Cyrillic", 2),
        ("דוגמה אחת", "Hebrew", 2),
        ("二つ の 言葉 です", "Kana", 0),
        ("两个 词", "Han", 0),
        ("สอง คำ", "Thai", 0),
        ("두 단어", "Hangul", 2),
        ("12 + 3", "other", 3),
        ("", "other", 0),
    ],
)
def test_words_are_runs_without_white_space_where_a_script_has_them(text: str, script: str, words: int) -> None:
    found = shape(text)
    assert (found.script, len(found.words.starts)) == (script, words)


# The whole comparison


def test_every_figure_is_one_sum_over_another(byte_pair: Tokenizer, sentencepiece: Tokenizer) -> None:
    texts = ["The river runs down.", "Water 123 and salt."]
    found = compare({"one": byte_pair, "two": sentencepiece}, sample(*texts), on="x", settings=FEW)["tokenizers"]
    tokens = [sum(len(tokenizer.encode_text(text)) for text in texts) for tokenizer in (byte_pair, sentencepiece)]
    size = sum(map(len, texts))
    for item, number in zip(found, tokens, strict=True):
        assert item["all"]["tokens"] == number
        assert item["all"]["bytes_per_token"]["value"] == pytest.approx(size / number, rel=1e-5)
        assert item["all"]["relative_tokens"]["value"] == pytest.approx(number / tokens[0], rel=1e-5)
        width = item["bytes_per_id"]
        assert item["cost"]["shard_bytes_per_document"] == pytest.approx(width * number / 2, rel=1e-5)
        assert item["cost"]["training_flops_per_document"] == pytest.approx(6 * 8e9 * number / 2, rel=1e-5)
        assert item["cost"]["documents_per_context"] == pytest.approx(8192 * 2 / number, rel=1e-5)
        assert item["round_trip"] == {"failed_documents": 0, "failures": []}


def test_a_comparison_has_the_documented_keys_and_is_plain_json(result: dict) -> None:
    assert result["format"] == FORMAT
    assert set(result) == {"format", "on", "settings", "tokenizers", "segments"}
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for item in result["tokenizers"]:
        assert set(RATIOS) < set(item["all"])
        assert set(item["by_language"]) == {"en", "de"}
        assert set(item["by_source"]) == {"web", "books"}
        assert set(item["by_script"]) == {"Latin"}
        assert set(item["parity"]) == set(parallel_sentences())
        assert set(item["code"]) == set(programs())
    whole, parts = (result["tokenizers"][1][key] for key in ("all", "by_language"))
    assert sum(part["tokens"] for part in parts.values()) == whole["tokens"]


def test_the_smallest_of_very_many_groups_are_one(byte_pair: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.tokenize.compare.MAX_GROUPS", 2)
    documents = [Document("text" * (1 + number % 5), "en", f"s{number % 5}") for number in range(10)]
    found = compare({"one": byte_pair}, Sample(documents, 10, 0, 0), on="x", settings=FEW)["tokenizers"][0]
    sources = found["by_source"]
    assert list(sources) == ["s4", "s3", "(others)"]
    assert [group["documents"] for group in sources.values()] == [2, 2, 6]
    assert sum(group["tokens"] for group in sources.values()) == found["all"]["tokens"]


def test_the_same_comparison_has_the_same_bytes(byte_pair: Tokenizer) -> None:
    drawn = sample("The river runs down.", "Water 123 and salt.", "and so on")
    first, second = (json.dumps(compare({"one": byte_pair}, drawn, on="x", settings=FEW)) for _ in range(2))
    assert first == second
    other = json.dumps(compare({"one": byte_pair}, drawn, on="x", settings=CompareSettings(seed=1, resamples=20)))
    assert first != other


def test_parity_is_tokens_over_those_of_the_english_sentences(result: dict, byte_pair: Tokenizer) -> None:
    def tokens(code: str) -> int:
        return sum(len(byte_pair.encode_text(text)) for text in parallel_sentences()[code])

    item = result["tokenizers"][0]
    assert item["parity"]["en"]["sentences"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert item["parity"]["hi"]["sentences"]["value"] == pytest.approx(tokens("hi") / tokens("en"), rel=1e-5)
    assert item["parity"]["hi"]["estimated"] is None  # no document is in Hindi
    here, there = (item["by_language"][code] for code in ("de", "en"))
    sizes = [sum(len(text.encode()) for text in parallel_sentences()[code]) for code in ("de", "en")]
    wanted = here["tokens"] / here["bytes"] / (there["tokens"] / there["bytes"]) * sizes[0] / sizes[1]
    assert item["parity"]["de"]["estimated"] == pytest.approx(wanted, rel=1e-5)


def test_estimated_parity_on_the_parallel_sentences_is_parity(byte_pair: Tokenizer) -> None:
    documents = [one for one in shipped_documents() if one.source == "sentences"]
    item = compare({"one": byte_pair}, Sample(documents, 0, 0, 0), on="x", settings=FEW)["tokenizers"][0]
    for code, found in item["parity"].items():
        assert found["estimated"] == pytest.approx(found["sentences"]["value"], rel=1e-5), code


def test_what_does_not_come_back_is_listed_with_its_place(byte_pair: Tokenizer) -> None:
    def lossy(ids: object) -> bytes:
        return byte_pair.token_bytes(ids).replace(b"salt", b"sand")  # type: ignore[arg-type]

    broken = replace(byte_pair, token_bytes=lossy)
    drawn = sample("all is well", "sea and salt", source="web")
    found = compare({"broken": broken}, drawn, on="x", settings=FEW)["tokenizers"][0]["round_trip"]
    assert found["failed_documents"] == 1
    (failure,) = found["failures"]
    assert (failure["at_byte"], failure["source"], failure["bytes"]) == (10, "web", 12)
    assert (failure["text"], failure["decoded"]) == ("a and salt", "a and sand")


def test_a_tokenizer_that_normalises_and_has_unknown_characters_is_compared(corpus: list[str]) -> None:
    options = {"normalization_rule_name": "nmt_nfkc", "byte_fallback": False, "character_coverage": 0.98}
    lossy = registry.from_files(train_spm.train_sentencepiece(corpus, 200, settings=options))
    drawn = sample("the river", "ﬁve ② rivers", "  two  spaces", "\u4e16")
    item, _ = compare({"lossy": lossy, "again": lossy}, drawn, on="x", settings=FEW)["tokenizers"]
    failed = [(failure["text"], failure["decoded"]) for failure in item["round_trip"]["failures"]]
    assert failed[0] == ("ﬁve ② rivers", "five 2 rivers")
    assert failed[-1] == ("\u4e16", " \u2047 ")
    # only what came back is counted by the word
    assert (item["round_trip"]["failed_documents"], item["all"]["words"]) == (3, 2)
    assert item["vocabulary"]["special"] == 3  # <unk>, <s> and </s>


def test_nothing_to_compare_is_a_mistake(byte_pair: Tokenizer) -> None:
    with pytest.raises(RecipeError, match="no text"):
        compare({"one": byte_pair}, sample(), on="x")
    with pytest.raises(RecipeError, match="no tokenizer"):
        compare({}, sample("text"), on="x")


# The vocabulary


def test_ids_of_the_vocabulary_are_each_counted_once(tokenizer: Tokenizer) -> None:
    item = vocabulary("one", tokenizer)
    counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    for text in ["The river runs down to the sea."] * 12 + ["salt"]:
        counts += np.bincount(tokenizer.encode_text(text), minlength=tokenizer.vocab_size)
    use = vocabulary_use(tokenizer, item.spelled, item.flags, counts)
    kinds = ("special", "frequent", "rare", "dead", "partial", "unreachable")
    assert sum(use[kind] for kind in kinds) == use["ids"] == tokenizer.vocab_size
    assert use["frequent"] == int((counts >= 10).sum())
    assert use["rare"] == int(((counts > 0) & (counts < 10)).sum())


def test_a_token_that_its_own_text_never_gives_is_unreachable() -> None:
    # no merge leads to "abc": neither "ab" nor "bc" is a token, so that two merges would be needed at once
    ranks = {bytes([byte]): byte for byte in range(256)} | {b" a": 256, b"abc": 257}
    tokenizer = bpe.from_ranks(bpe.format_ranks(ranks), where="x", pattern=r"a|[^a]+", specials=())
    item = vocabulary("one", tokenizer)
    use = vocabulary_use(tokenizer, item.spelled, item.flags, np.zeros(258, dtype=np.int64))
    # the pattern cuts before and behind every "a"
    assert {entry["text"] for entry in use["unreachable_tokens"]} == {" a", "abc"}
    assert use["unreachable"] == 2


def test_a_token_that_is_always_a_step_to_a_longer_one_is_a_glitch_candidate() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"qu": 256, b"que": 257}
    tokenizer = bpe.from_ranks(bpe.format_ranks(ranks), where="x", specials=())
    item = vocabulary("one", tokenizer)
    counts = np.bincount(tokenizer.encode_text("que" * 100), minlength=258).astype(np.int64)
    use = vocabulary_use(tokenizer, item.spelled, item.flags, counts)
    found = {entry["text"]: entry["spelled"] for entry in use["glitch_tokens"]}
    assert found == {"q": 100, "u": 100, "e": 100, "qu": 100}


@pytest.mark.parametrize(
    ("counts", "size", "wanted"),
    [([5, 5, 5, 5], 4, 1.0), ([7], 4, 0.0), ([1, 1], 4, 0.5), ([], 4, None), ([3], 1, None)],
)
def test_renyi_efficiency_of_known_distributions(counts: list[int], size: int, wanted: float | None) -> None:
    assert renyi_efficiency(np.array(counts, dtype=np.int64), size) == wanted


def test_renyi_efficiency_follows_the_formula() -> None:
    counts = [9, 4, 2, 1]
    total = sum(Fraction(number, 16) ** 2 * Fraction(number, 16) ** Fraction(1, 2) for number in counts)
    wanted = math.log(float(total)) / (1 - 2.5) / math.log(50)
    assert renyi_efficiency(np.array(counts), 50) == pytest.approx(wanted, rel=1e-5)


# Segments


@settings(deadline=None)
@given(text=HOSTILE)
def test_pieces_join_to_the_text(text: str, byte_pair: Tokenizer) -> None:
    found = pieces(vocabulary("one", byte_pair), text)
    assert b"".join(bytes.fromhex(one[0]) if isinstance(one, list) else one.encode() for one in found) == text.encode()


def test_shipped_sentences_are_parallel_and_in_their_languages() -> None:
    sentences = parallel_sentences()
    assert len(sentences) >= 20
    assert len(programs()) >= 8
    assert {len(lines) for lines in sentences.values()} == {12}
    everything = Counter(line for lines in sentences.values() for line in lines)
    assert everything.most_common(1)[0][1] == 1
    for lines in sentences.values():
        assert all("7:45" in lines[i] for i in (2,))
        assert "1874" in lines[7]
