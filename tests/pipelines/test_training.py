"""Tokenizers that a run trains: their sample, their phases, and that nothing but documents and settings shapes them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from curate.errors import RecipeError, TaskError
from curate.pipelines.check_tokenizer import load_training
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run
from curate.pipelines.train_settings import MERGE_BYTES, TrainSettings
from curate.pipelines.training import sample_quotas, train_on_texts
from curate.tokenize import bpe, registry, train, train_spm
from curate.tokenize.train import train_bpe

WORDS = {"english": "the river runs down to the sea", "greek": "το ποτάμι τρέχει προς τη θάλασσα"}
RECIPE = """
name = "sources"
sources = [{ name = "english", input = "english-*.jsonl" }, { name = "greek", input = "greek-*.jsonl" }]
[tokenizer.train]
vocab_size = 300
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """300 documents of one source, 40 of another; in two files each."""
    folder = tmp_path_factory.mktemp("sources")
    for name, count in (("english", 300), ("greek", 40)):
        rows = [{"url": f"https://{name}.example/{i}", "text": f"{WORDS[name]} {i}."} for i in range(count)]
        for part in (0, 1):
            lines = "".join(json.dumps(row) + "\n" for row in rows[part::2])
            (folder / f"{name}-{part}.jsonl").write_text(lines)
    return folder


def trained(
    folder: pathlib.Path, output: pathlib.Path, *overrides: str, text: str = RECIPE
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the card and the files of the tokenizer that a run of the recipe trains."""
    recipe = output.with_suffix(".toml")
    recipe.write_text(text.replace('input = "', f'input = "{folder}/'))
    run(load_recipe(str(recipe), overrides), str(output), Options(executor="inline"))
    (saved,) = (output / "tokenizer").glob("*/")
    files = {file.name: file.read_bytes() for file in saved.iterdir()}
    return json.loads(files["card.json"]), files


def texts_of(folder: pathlib.Path) -> list[str]:
    return [json.loads(line)["text"] for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


def test_a_run_trains_what_its_texts_train_in_memory(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    card, files = trained(folder, tmp_path / "run")
    assert card["trained_on"]["documents"] == 340
    assert files == train_bpe(texts_of(folder), 300)
    assert files == train_on_texts(texts_of(folder), TrainSettings(vocab_size=300))


@pytest.mark.parametrize("options", [{}, {"split_digits": False}, {"allow_whitespace_only_pieces": False}])
def test_a_run_trains_sentencepiece_as_its_texts_do_in_memory(
    options: dict[str, Any], folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    settings = ["tokenizer.train.kind=sentencepiece", "tokenizer.train.vocab_size=320"]
    given = [f"tokenizer.train.sentencepiece.{name}={str(value).lower()}" for name, value in options.items()]
    card, files = trained(folder, tmp_path / "run", *settings, *given)
    assert ("pretokens" in card["trained_on"]) == train_spm.learns_from_counts(options)
    assert files == train_spm.train_sentencepiece(texts_of(folder), 320, settings=options)
    wanted = TrainSettings(kind="sentencepiece", vocab_size=320, sentencepiece=options)
    assert files == train_on_texts(texts_of(folder), wanted)


@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_units_and_partitions_change_no_byte(folder: pathlib.Path, tmp_path: pathlib.Path, kind: str) -> None:
    settings = [f"tokenizer.train.kind={kind}", "tokenizer.train.sample_bytes=6000", "tokenizer.train.seed=7"]
    weights = "tokenizer.train.source_weights={english = 0.5, greek = 0.5}"
    small = ["engine.unit_bytes=4096", "engine.partition_bytes=1000", "engine.roll_bytes=500"]
    one = trained(folder, tmp_path / "one", *settings, weights)
    assert trained(folder, tmp_path / "many", *settings, weights, *small) == one
    other_seed = trained(folder, tmp_path / "seed", *settings[:2], "tokenizer.train.seed=8", weights)
    assert other_seed[1] != one[1]


def test_the_sample_follows_weights_and_size(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    greek = ord("θ")
    natural, _ = trained(folder, tmp_path / "natural", "tokenizer.train.sample_bytes=6000")
    assert natural["trained_on"]["bytes"] == pytest.approx(6000, rel=0.2)
    weights = "tokenizer.train.source_weights={english = 0.0, greek = 1.0}"
    card, files = trained(folder, tmp_path / "greek", "tokenizer.train.sample_bytes=6000", weights)
    # all of the source has 2,700 bytes: twice, and a part of it three times
    assert card["trained_on"]["bytes"] == pytest.approx(6000, rel=0.2)
    assert 80 <= card["trained_on"]["documents"] <= 120
    assert any(chr(greek).encode() in token for token in bpe.parse_ranks(files["ranks.tiktoken"], "ranks"))
    assert not any(b"river" in token for token in bpe.parse_ranks(files["ranks.tiktoken"], "ranks"))


def test_the_weights_of_the_mix_are_those_of_the_sample(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    mix = RECIPE + "[mix]\ntokens = 5000\nweights = { english = 0.0, greek = 1.0 }\n[shards]\ncontext_length = 64\n"
    _, files = trained(folder, tmp_path / "mix", text=mix)
    assert not any(b"river" in token for token in bpe.parse_ranks(files["ranks.tiktoken"], "ranks"))


@pytest.mark.parametrize("kind", ["bpe", "sentencepiece"])
def test_too_little_memory_leaves_out_the_rarest_and_the_card_says_so(
    kind: str, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    settings = [f"tokenizer.train.kind={kind}", "tokenizer.train.vocab_size=290", "tokenizer.train.merge_bytes=150"]
    card, _ = trained(folder, tmp_path / "run", *settings)
    told = card["trained_on"]
    assert told["least_count"] > 1
    assert told["learned_from"] < told["distinct_pretokens"]


def test_a_run_grows_a_base_and_keeps_its_ids(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    base = train_bpe([WORDS["english"]] * 9, 275)
    registry.save(base, str(tmp_path / "base"))
    text = RECIPE.replace("vocab_size = 300", 'base = "base"\nnew_tokens = 20')
    card, files = trained(folder, tmp_path / "run", text=text)
    assert card["vocab_size"] == 295
    assert files["ranks.tiktoken"].startswith(base["ranks.tiktoken"])
    assert card["settings"]["base_tokens"] == 272
    with pytest.raises(RecipeError, match=r"tokenizer\.train\.base: .*no tokenizer here"):
        trained(folder, tmp_path / "none", text=text.replace('"base"', '"nowhere"'))
    bare = text.replace("new_tokens", 'specials = ["<s>"]\nnew_tokens')
    with pytest.raises(RecipeError, match="add_eos"):
        trained(folder, tmp_path / "bare", text=bare)


def test_too_few_words_say_how_many_merges_there_are(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(TaskError, match=r"documents of \d+ characters allow only \d+; set vocab_size to at most"):
        trained(folder, tmp_path / "run", "tokenizer.train.vocab_size=4000")


def test_quotas_are_whole_copies_and_a_part() -> None:
    assert sample_quotas({"a": 900, "b": 100}, 10_000, {}) == {"a": (1, "0"), "b": (1, "0")}
    half = str(1 << 63)
    assert sample_quotas({"a": 900, "b": 100}, 500, {}) == {"a": (0, half), "b": (0, half)}
    assert sample_quotas({"a": 900, "b": 100}, 500, {"a": 0.5, "b": 0.5})["b"] == (2, half)
    assert sample_quotas({"a": 0}, 500, {}) == {"a": (0, "0")}
    with pytest.raises(RecipeError, match="b shall be part of the sample"):
        sample_quotas({"a": 900}, 500, {"a": 0.5, "b": 0.5})


def test_presets_fill_in_what_the_recipe_leaves_open() -> None:
    llama = TrainSettings.model_validate({"preset": "llama"})
    assert (llama.kind, llama.vocab_size) == ("sentencepiece", 32_000)
    llama3 = TrainSettings.model_validate({"preset": "llama3"})
    assert (llama3.kind, llama3.vocab_size, llama3.specials) == ("bpe", 128_256, bpe.llama3_specials())
    assert TrainSettings.model_validate(llama3.model_dump()) == llama3
    own = TrainSettings.model_validate({"preset": "llama3", "vocab_size": 1000, "specials": ["<s>"]})
    assert (own.vocab_size, own.specials) == (1000, ("<s>",))
    grown = TrainSettings.model_validate({"preset": "llama3", "base": "x", "new_tokens": 28_000})
    assert grown.vocab_size is None
    assert MERGE_BYTES == train.MERGE_BYTES


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "vocab_size is required"),
        ({"vocab_size": 300, "base": "x", "new_tokens": 5}, "base and vocab_size exclude each other"),
        ({"base": "x"}, "base and new_tokens belong together"),
        ({"vocab_size": 300, "new_tokens": 5}, "base and new_tokens belong together"),
        ({"base": "x", "new_tokens": 5, "pattern": "."}, "base and pattern exclude each other"),
        ({"base": "x", "new_tokens": 5, "kind": "sentencepiece"}, 'base needs kind = "bpe"'),
        ({"vocab_size": 12}, "--vocab-size: input should be"),
    ],
)
def test_settings_that_contradict_each_other_are_mistakes(given: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        load_training(given)


def test_any_setting_can_be_given_as_key_and_value() -> None:
    sets = ['specials=["<s>"]', "pattern=(?s:.)"]
    found = load_training({"vocab_size": 300, "preset": None}, sets)
    assert (found.specials, found.pattern) == (("<s>",), "(?s:.)")
    pieces = load_training({"preset": "llama"}, ["sentencepiece.character_coverage=1.0"])
    assert pieces.sentencepiece == {"character_coverage": 1.0}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["seed=3"], "--set seed=3: chooses the sample of a run; here everything is read"),
        (["vocab"], "--set vocab: has no =; write key=value"),
        (["patern=x"], "--set patern: unknown key; did you mean pattern"),
        (["pattern=("], "--set pattern: does not compile"),
        (["kind=sentencepiece", "sentencepiece.bos=1"], "--set sentencepiece.bos: is no option of the trainer"),
        (["vocab_size=2"], "--set vocab_size: input should be greater than or equal to 259, not 2"),
    ],
)
def test_a_mistaken_key_and_value_is_told_before_any_text_is_read(overrides: list[str], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_training({"vocab_size": 300}, overrides)
    assert told in str(caught.value)
