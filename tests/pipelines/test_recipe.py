"""Recipes: what loads, what it means, where its paths lead, how it is written out."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_tables import BASE, forget, load, mistakes_of, rules_of

from curate.errors import RecipeError
from curate.filters.rules import Quantile
from curate.pipelines.recipe import (
    CleanerStep,
    DedupStep,
    final_view,
    load_recipe,
    required_measures,
    resolve_steps,
    shipped_recipes,
)


class TestWhatARecipeMeans:
    def test_steps_read_the_view_of_the_last_cleaner_before_them(self, small_world: Path) -> None:
        recipe = load(small_world, BASE, ['steps=["words", "tidy", "tongue", "exact", "redact", "url"]'])
        found = resolve_steps(recipe)
        assert [step.name for step in found] == ["words", "tidy", "tongue", "exact", "redact", "url"]
        assert found[1] == CleanerStep("tidy", "extracted")
        assert found[4] == CleanerStep("redact", "tidy")
        assert isinstance(found[3], DedupStep)
        assert isinstance(found[5], DedupStep)
        assert (found[3].kind, found[3].view, found[5].view) == ("exact", "tidy", "redact")
        signals = [rule.signal for rule in rules_of(recipe).values()]
        assert signals == ["words.count", "words.mean_length", "language.code@tidy", "language.score@tidy"]
        assert required_measures(recipe) == {"extracted": {"text"}, "tidy": {"language"}}
        assert final_view(recipe) == "redact"

    def test_without_a_cleaner_the_extracted_text_is_tokenized(self, small_world: Path) -> None:
        assert final_view(load(small_world, BASE, ['steps=["words"]'])) == "extracted"

    def test_a_rule_may_name_its_view_and_a_signal_of_a_cleaner_has_its_own(self, small_world: Path) -> None:
        text = (
            BASE
            + """
[filters.mine]
early = { signal = "words.count@extracted", min = 1 }
middle = { signal = "words.count@tidy", min = 1 }
cut = { signal = "tidy.removed", max = 9, when = [{ signal = "language.code@extracted", any_of = ["en"] }] }
[filters.mine.where]
signal = "words.count"
min = { quantile = 0.5, per = "language.code" }
when = [{ signal = "source", any_of = ["web"] }]
"""
        )
        recipe = load(small_world, text, ['steps=["tidy", "redact", "mine"]'])
        rules = rules_of(recipe)
        assert rules["mine.early"].signal == "words.count"
        assert rules["mine.middle"].signal == "words.count@tidy"
        assert rules["mine.cut"].signals() == ("tidy.removed@tidy", "language.code")
        assert rules["mine.where"].signals() == ("words.count@redact", "source", "language.code@redact")
        assert rules["mine.where"].low == Quantile(quantile=0.5, per="language.code@redact")
        assert required_measures(recipe) == {
            "extracted": {"text", "language"},
            "tidy": {"text"},
            "redact": {"text", "language"},
        }

    def test_a_threshold_moves_by_its_address(self, small_world: Path) -> None:
        recipe = load(small_world, BASE, ["filters.words.mean_word_length.max=12", "filters.words.word_count=off"])
        assert recipe.filters["words"].rules["mean_word_length"].max == 12
        assert list(recipe.filters["words"].rules) == ["mean_word_length"]

    def test_dedup_steps_of_any_name_state_their_kind(self, small_world: Path) -> None:
        text = BASE + '[dedup.again]\nkind = "exact"\nnormalise = "none"\n'
        recipe = load(small_world, text, ['steps=["exact", "tidy", "again"]'])
        first, _, second = resolve_steps(recipe)
        assert isinstance(first, DedupStep)
        assert isinstance(second, DedupStep)
        assert (first.kind, first.settings.normalise) == ("exact", "whitespace")  # type: ignore[attr-defined]
        assert (second.name, second.kind, second.settings.normalise) == ("again", "exact", "none")  # type: ignore[attr-defined]

    def test_columns_of_a_source_extend_those_of_read(self, small_world: Path) -> None:
        text = BASE.replace('input = ["in/*.warc.gz"]', 'input = "in.jsonl"\ncolumns.text = "body"\nmeta = ["score"]')
        recipe = load(small_world, text + '[read]\ncolumns = { text = "content", url = "link" }\nmeta = ["lang"]\n')
        settings = recipe.read_settings(recipe.sources[0])
        assert settings.columns == {"text": "body", "url": "link"}
        assert settings.meta == ("lang", "score")

    def test_weights_may_stand_with_the_sources(self, small_world: Path) -> None:
        text = (
            BASE + '[[sources]]\nname = "books"\ninput = "b"\nweight = 0.25\n[mix]\ntokens = 1000\nweights.web = 0.75\n'
        )
        recipe = load(small_world, text)
        assert recipe.mix.weights == {"web": 0.75, "books": 0.25}
        assert [source.weight for source in recipe.sources] == [None, None]

    def test_a_recipe_without_a_tokenizer_ends_with_kept_documents(self, small_world: Path) -> None:
        recipe = load(small_world, BASE.partition("[tokenizer")[0])
        assert recipe.tokenizer is None
        assert load(small_world, recipe.resolved_toml()) == recipe

    def test_a_recipe_without_a_name_takes_that_of_its_file(self, small_world: Path) -> None:
        assert load(small_world, BASE.replace('name = "base"', "")).name == "recipe"


class TestPaths:
    def test_paths_are_relative_to_the_recipe(self, small_world: Path) -> None:
        text = BASE.replace(
            "[tokenizer.train]\nvocab_size = 4096", '[tokenizer]\nfile = "tok"\n[assets]\n"lid.176" = "../x.bin"'
        )
        recipe = load(small_world, text)
        assert recipe.tokenizer is not None
        assert recipe.tokenizer.file == str(small_world / "tok")
        assert recipe.sources[0].input == (str(small_world / "in" / "*.warc.gz"),)
        assert recipe.assets == {"lid.176": str(small_world.parent / "x.bin")}

    def test_uris_and_absolute_paths_stay(self, small_world: Path) -> None:
        inputs = ("s3://bucket/a/*.gz?endpoint_override=http://x:1", "/data/b")
        recipe = load(small_world, BASE, [f"sources.web.input={list(inputs)}".replace("'", '"')])
        assert recipe.sources[0].input == inputs

    def test_inputs_of_the_command_line_are_relative_to_the_working_folder(
        self, small_world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        work = small_world / "work"
        work.mkdir()
        monkeypatch.chdir(work)
        assert load(small_world, BASE, inputs=["x=1/*.gz"]).sources[0].input == (str(work / "x=1" / "*.gz"),)
        two = BASE + '[[sources]]\nname = "books"\ninput = "b"\n'
        recipe = load(small_world, two, inputs=["books=x", "books=y"])
        assert recipe.sources[0].input == (str(small_world / "in" / "*.warc.gz"),)
        assert recipe.sources[1].input == (str(work / "x"), str(work / "y"))
        assert "--input x: the recipe has several sources; write NAME=PATTERN with one of web, books" in mistakes_of(
            small_world, two, inputs=["x"]
        )


class TestResolved:
    TEXT = (
        BASE.replace("[tokenizer.train]", '[tokenizer]\nname = "t"\nadd_bos = false\n[tokenizer.train]')
        + """
[mix]
tokens = 1000000
weights = { web = 1.0 }
[filters.words]
word_count.above = { quantile = 0.1, per = "language.code" }
mean_word_length = "off"
mine = { signal = "words.mean_length@extracted", min = "off", max = 1e3, action = "mark", missing = "pass" }
[filters.words.second]
signal = "language.code"
none_of = ["de", 'f"r']
when = [{ signal = "words.count", min = 1, max = 2 }, { signal = "text.is_latin", any_of = [true] }]
[dedup.url]
ignored_parameters = ["x"]
[read.columns]
text = "a.b"
"""
    )

    def test_the_resolved_recipe_loads_to_an_equal_one_and_the_same_text(self, small_world: Path) -> None:
        recipe = load(small_world, self.TEXT)
        text = recipe.resolved_toml()
        again = load(small_world, text)
        assert again == recipe
        assert again.resolved_toml() == text
        assert resolve_steps(again) == resolve_steps(recipe)

    def test_it_does_not_depend_on_the_tables_that_ship(self, small_world: Path) -> None:
        recipe = load(small_world, self.TEXT)
        (small_world / "tables" / "words.toml").write_text('[new]\nsignal = "words.count"\nmin = 1\n')
        forget()
        assert load(small_world, recipe.resolved_toml()) == recipe

    def test_it_says_every_default(self, small_world: Path) -> None:
        text = load(small_world, BASE).resolved_toml()
        for line in (
            "unit_bytes = 268435456",
            "context_length = 2048",
            'normalise = "whitespace"',
            "min = 50",
            "add_bos = true",
        ):
            assert line in text.splitlines()


class TestShipped:
    def test_every_shipped_recipe_loads_by_its_bare_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert "crawl-to-shards.toml" in shipped_recipes()
        for name in shipped_recipes():
            recipe = load_recipe(name)
            assert load_recipe(name.removesuffix(".toml")) == recipe
            path = tmp_path / "out.toml"
            path.write_text(recipe.resolved_toml())
            assert load_recipe(str(path)) == recipe

    def test_its_input_is_relative_to_the_working_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        recipe = load_recipe("crawl-to-shards.toml")
        assert recipe.sources[0].input == (str(tmp_path / "crawl" / "*.warc.gz"),)
        recipe = load_recipe("crawl-to-shards.toml", inputs=["other"])
        assert recipe.sources[0].input == (str(tmp_path / "other"),)

    def test_a_file_of_that_name_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "crawl-to-shards.toml").write_text('[[sources]]\nname = "mine"\ninput = "x"\n')
        assert load_recipe("crawl-to-shards.toml").sources[0].name == "mine"

    def test_a_name_that_is_nowhere_is_an_error_with_what_there_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(RecipeError, match=r"cannot be read .* did you mean crawl-to-shards.toml"):
            load_recipe("crawl-to-shard.toml")
        with pytest.raises(RecipeError, match=r"recipes that ship: crawl-to-shards\.toml"):
            load_recipe("x/y.toml")
