"""What a run looks for before it writes anything: inputs, assets, tokenizer, languages."""

from __future__ import annotations

import pathlib

import pytest

from curate import assets
from curate.errors import AssetError, RecipeError
from curate.pipelines.check_files import checked_units
from curate.pipelines.recipe import Recipe, load_recipe
from curate.tokenize import registry, train

RECIPE = """
name = "lost"
steps = ["mine"]
[[sources]]
name = "web"
input = ["*.jsonl", "nothing/*.jsonl"]
[[sources]]
name = "books"
input = ["gopher://x/y", "page.odd"]
[filters.mine.words]
signal = "words.count"
min = 1
"""


def _recipe(folder: pathlib.Path, text: str = RECIPE) -> Recipe:
    (folder / "lost.toml").write_text(text)
    return load_recipe(str(folder / "lost.toml"))


def test_everything_that_is_not_there_is_told_at_once(tmp_path: pathlib.Path) -> None:
    (tmp_path / "page.odd").write_bytes(b"")
    text = RECIPE + '[tokenizer]\nfile = "no/tokenizer"\n[assets]\n"lid.176" = "no/model"\n'
    with pytest.raises(RecipeError) as caught:
        checked_units(_recipe(tmp_path, text))
    told = [mistake.replace(f"{tmp_path}/", "") for mistake in caught.value.mistakes]
    assert told[:2] == [
        "sources.web.input: *.jsonl: no file matches; check the path or the pattern",
        "sources.web.input: nothing/*.jsonl: no file matches; check the path or the pattern",
    ]
    assert told[2].startswith("sources.books.input: gopher://x/y: no such storage (")
    assert told[3] == "assets.lid.176: the given path no/model is no file"
    assert told[4].startswith("tokenizer.file: no/tokenizer: no tokenizer here; give a .model file")
    assert len(told) == 5


def test_a_model_of_the_users_own_that_is_none_is_a_mistake(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    (tmp_path / "no.bin").write_bytes(b"no model")
    text = RECIPE.replace(', "nothing/*.jsonl"', "").replace('["gopher://x/y", "page.odd"]', '"a.jsonl"')
    text = text.replace('steps = ["mine"]', 'steps = ["language"]').partition("[filters")[0]
    with pytest.raises(RecipeError) as caught:
        checked_units(_recipe(tmp_path, text + '[assets]\n"lid.176" = "no.bin"\n'))
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"assets.lid.176: {tmp_path}/no.bin: not a fastText model")


def test_a_tokenizer_that_cannot_frame_documents_is_a_mistake(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    registry.save(train.train_bpe(["ab " * 9], 258, specials=["</s>"]), str(tmp_path / "made"))
    text = RECIPE.replace(', "nothing/*.jsonl"', "").replace('["gopher://x/y", "page.odd"]', '"a.jsonl"')
    text += '[tokenizer]\nfile = "made"\n'
    with pytest.raises(RecipeError) as caught:
        checked_units(_recipe(tmp_path, text))
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("tokenizer.add_bos: bpe-258-")
    assert mistake.endswith("has no such token; set add_bos = false")
    assert len(checked_units(_recipe(tmp_path, text + "add_bos = false\n"))) == 2


def test_an_asset_that_cannot_be_fetched_is_no_mistake_of_the_recipe(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise AssetError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(assets, "fetch", fail)
    (tmp_path / "a.jsonl").write_text("{}")
    text = RECIPE.replace('["gopher://x/y", "page.odd"]', '"a.jsonl"') + '[tokenizer]\nasset = "mistral-v1-32k"\n'
    with pytest.raises(RecipeError) as caught:
        checked_units(_recipe(tmp_path, text))
    assert len(caught.value.mistakes) == 2
    with pytest.raises(AssetError, match="no network"):
        checked_units(_recipe(tmp_path, text.replace(', "nothing/*.jsonl"', "")))
