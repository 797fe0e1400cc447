"""Recipes: what loads, what it means, and that every mistake is told at once with its place and its fix."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from curate.errors import RecipeError
from curate.filters import tables
from curate.filters.rules import Quantile
from curate.pipelines import check, steps
from curate.pipelines.recipe import (
    CleanerStep,
    DedupStep,
    FilterStep,
    Recipe,
    final_view,
    load_recipe,
    required_measures,
    resolve_steps,
    shipped_recipes,
)


class _Measured(NamedTuple):
    signals: Mapping[str, str]
    given: tuple[str, ...] = ()


MEASURES = {
    "text": _Measured({"words.count": "int64", "words.mean_length": "float64", "text.is_latin": "bool"}),
    "language": _Measured({"language.code": "string", "language.score": "float64"}),
}
CLEANERS = {"lines": _Measured({"lines.removed": "int64"}), "redact": _Measured({"redact.count": "int64"})}
TABLES = {
    "words": '[word_count]\nsignal = "words.count"\nmin = 50\nmax = 100000\n'
    '[mean_word_length]\nsignal = "words.mean_length"\nmin = 3\nmax = 10\n',
    "tongue": '[code]\nsignal = "language.code"\nany_of = ["en"]\n[score]\nsignal = "language.score"\nmin = 0.65\n',
}
BASE = """
name = "base"
steps = ["tongue", "words", "lines", "url", "exact"]

[[sources]]
name = "web"
input = ["in/*.warc.gz"]

[tokenizer.train]
vocab_size = 4096
"""


@pytest.fixture
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tables, two measures and two cleaners in the place of the real ones; the folder of the recipe."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for name, text in TABLES.items():
        (folder / f"{name}.toml").write_text(text)
    for module in (steps, check):
        monkeypatch.setattr(module, "CLEANERS", CLEANERS)
    monkeypatch.setattr(steps, "MEASURES", MEASURES)
    monkeypatch.setattr(tables, "FOLDER", folder)
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    tables.shipped.cache_clear()
    tables._shipped_table.cache_clear()


def _load(folder: Path, text: str, overrides: Sequence[str] = (), inputs: Sequence[str] | None = None) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return load_recipe(str(path), overrides, inputs)


def _mistakes(folder: Path, text: str, overrides: Sequence[str] = (), inputs: Sequence[str] | None = None) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        _load(folder, text, overrides, inputs)
    return [mistake.replace(f"{folder}{os.sep}", "") for mistake in caught.value.mistakes]


def _rules(recipe: Recipe) -> dict[str, Any]:
    return {rule.reason: rule for step in resolve_steps(recipe) if isinstance(step, FilterStep) for rule in step.rules}


class TestWhatARecipeMeans:
    def test_steps_read_the_view_of_the_last_cleaner_before_them(self, small_world: Path) -> None:
        recipe = _load(small_world, BASE, ['steps=["words", "lines", "tongue", "exact", "redact", "url"]'])
        found = resolve_steps(recipe)
        assert [step.name for step in found] == ["words", "lines", "tongue", "exact", "redact", "url"]
        assert found[1] == CleanerStep("lines", "extracted")
        assert found[4] == CleanerStep("redact", "lines")
        assert isinstance(found[3], DedupStep)
        assert isinstance(found[5], DedupStep)
        assert (found[3].kind, found[3].view, found[5].view) == ("exact", "lines", "redact")
        signals = [rule.signal for rule in _rules(recipe).values()]
        assert signals == ["words.count", "words.mean_length", "language.code@lines", "language.score@lines"]
        assert required_measures(recipe) == {"extracted": {"text"}, "lines": {"language"}}
        assert final_view(recipe) == "redact"

    def test_without_a_cleaner_the_extracted_text_is_tokenized(self, small_world: Path) -> None:
        assert final_view(_load(small_world, BASE, ['steps=["words"]'])) == "extracted"

    def test_a_rule_may_name_its_view_and_a_signal_of_a_cleaner_has_its_own(self, small_world: Path) -> None:
        text = (
            BASE
            + """
[filters.mine]
early = { signal = "words.count@extracted", min = 1 }
middle = { signal = "words.count@lines", min = 1 }
cut = { signal = "lines.removed", max = 9, when = [{ signal = "language.code@extracted", any_of = ["en"] }] }
[filters.mine.where]
signal = "words.count"
min = { quantile = 0.5, per = "language.code" }
when = [{ signal = "source", any_of = ["web"] }]
"""
        )
        recipe = _load(small_world, text, ['steps=["lines", "redact", "mine"]'])
        rules = _rules(recipe)
        assert rules["mine.early"].signal == "words.count"
        assert rules["mine.middle"].signal == "words.count@lines"
        assert rules["mine.cut"].signals() == ("lines.removed@lines", "language.code")
        assert rules["mine.where"].signals() == ("words.count@redact", "source", "language.code@redact")
        assert rules["mine.where"].low == Quantile(quantile=0.5, per="language.code@redact")
        assert required_measures(recipe) == {
            "extracted": {"text", "language"},
            "lines": {"text"},
            "redact": {"text", "language"},
        }

    def test_a_threshold_moves_by_its_address(self, small_world: Path) -> None:
        recipe = _load(small_world, BASE, ["filters.words.mean_word_length.max=12", "filters.words.word_count=off"])
        assert recipe.filters["words"].rules["mean_word_length"].max == 12
        assert list(recipe.filters["words"].rules) == ["mean_word_length"]

    def test_dedup_steps_of_any_name_state_their_kind(self, small_world: Path) -> None:
        text = BASE + '[dedup.again]\nkind = "exact"\nnormalise = "none"\n'
        recipe = _load(small_world, text, ['steps=["exact", "lines", "again"]'])
        first, _, second = resolve_steps(recipe)
        assert isinstance(first, DedupStep)
        assert isinstance(second, DedupStep)
        assert (first.kind, first.settings.normalise) == ("exact", "whitespace")  # type: ignore[attr-defined]
        assert (second.name, second.kind, second.settings.normalise) == ("again", "exact", "none")  # type: ignore[attr-defined]

    def test_columns_of_a_source_extend_those_of_read(self, small_world: Path) -> None:
        text = BASE.replace('input = ["in/*.warc.gz"]', 'input = "in.jsonl"\ncolumns.text = "body"\nmeta = ["score"]')
        recipe = _load(small_world, text + '[read]\ncolumns = { text = "content", url = "link" }\nmeta = ["lang"]\n')
        settings = recipe.read_settings(recipe.sources[0])
        assert settings.columns == {"text": "body", "url": "link"}
        assert settings.meta == ("lang", "score")

    def test_weights_may_stand_with_the_sources(self, small_world: Path) -> None:
        text = (
            BASE + '[[sources]]\nname = "books"\ninput = "b"\nweight = 0.25\n[mix]\ntokens = 1000\nweights.web = 0.75\n'
        )
        recipe = _load(small_world, text)
        assert recipe.mix.weights == {"web": 0.75, "books": 0.25}
        assert [source.weight for source in recipe.sources] == [None, None]

    def test_a_recipe_without_a_tokenizer_ends_with_kept_documents(self, small_world: Path) -> None:
        recipe = _load(small_world, BASE.partition("[tokenizer")[0])
        assert recipe.tokenizer is None
        assert _load(small_world, recipe.resolved_toml()) == recipe

    def test_a_recipe_without_a_name_takes_that_of_its_file(self, small_world: Path) -> None:
        assert _load(small_world, BASE.replace('name = "base"', "")).name == "recipe"


class TestPaths:
    def test_paths_are_relative_to_the_recipe(self, small_world: Path) -> None:
        text = BASE.replace(
            "[tokenizer.train]\nvocab_size = 4096", '[tokenizer]\nfile = "tok"\n[assets]\n"lid.176" = "../x.bin"'
        )
        recipe = _load(small_world, text)
        assert recipe.tokenizer is not None
        assert recipe.tokenizer.file == str(small_world / "tok")
        assert recipe.sources[0].input == (str(small_world / "in" / "*.warc.gz"),)
        assert recipe.assets == {"lid.176": str(small_world.parent / "x.bin")}

    def test_uris_and_absolute_paths_stay(self, small_world: Path) -> None:
        inputs = ("s3://bucket/a/*.gz?endpoint_override=http://x:1", "/data/b")
        recipe = _load(small_world, BASE, [f"sources.web.input={list(inputs)}".replace("'", '"')])
        assert recipe.sources[0].input == inputs

    def test_inputs_of_the_command_line_are_relative_to_the_working_folder(
        self, small_world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        work = small_world / "work"
        work.mkdir()
        monkeypatch.chdir(work)
        assert _load(small_world, BASE, inputs=["x=1/*.gz"]).sources[0].input == (str(work / "x=1" / "*.gz"),)
        two = BASE + '[[sources]]\nname = "books"\ninput = "b"\n'
        recipe = _load(small_world, two, inputs=["books=x", "books=y"])
        assert recipe.sources[0].input == (str(small_world / "in" / "*.warc.gz"),)
        assert recipe.sources[1].input == (str(work / "x"), str(work / "y"))
        assert "--input x: the recipe has several sources; write NAME=PATTERN with one of web, books" in _mistakes(
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
        recipe = _load(small_world, self.TEXT)
        text = recipe.resolved_toml()
        again = _load(small_world, text)
        assert again == recipe
        assert again.resolved_toml() == text
        assert resolve_steps(again) == resolve_steps(recipe)

    def test_it_does_not_depend_on_the_tables_that_ship(self, small_world: Path) -> None:
        recipe = _load(small_world, self.TEXT)
        (small_world / "tables" / "words.toml").write_text('[new]\nsignal = "words.count"\nmin = 1\n')
        _forget()
        assert _load(small_world, recipe.resolved_toml()) == recipe

    def test_it_says_every_default(self, small_world: Path) -> None:
        text = _load(small_world, BASE).resolved_toml()
        for line in (
            "unit_bytes = 268435456",
            "context_length = 2048",
            'normalise = "whitespace"',
            "min = 50",
            "add_bos = true",
        ):
            assert line in text.splitlines()


WRONG: list[tuple[str, str, str]] = [
    ("steps", 'steps = ["wrds"]', "recipe.toml:3: steps.0: unknown step 'wrds'; did you mean words?"),
    ("steps", 'steps = ["words", "words"]', "recipe.toml:3: steps.1: step words comes twice"),
    ("steps", 'steps = ["id"]', "recipe.toml:3: steps.0: id: every run begins with this step"),
    ("steps", 'steps = "words"', "recipe.toml:3: steps: is a list of step names"),
    ("steps", "steps = []\nstepz = 1", "recipe.toml:4: stepz: unknown key; did you mean steps?"),
    (
        "steps",
        'steps = []\nkeep_text = "some"',
        "recipe.toml:4: keep_text: input should be 'all' or 'kept', not 'some'",
    ),
    ("name", 'name = "a/b"', "recipe.toml:2: name: 'a/b' does not match"),
    ("input", "input = []", "recipe.toml:7: sources.0.input: must not be empty"),
    ("input", "", "recipe.toml:5: sources.0.input: is missing"),
    (
        "input",
        'input = "a"\nformat = "wrc"',
        "recipe.toml:8: sources.0.format: unknown format 'wrc'; did you mean warc?",
    ),
    (
        "input",
        'input = "a"\npriority = "1"',
        "recipe.toml:8: sources.0.priority: must be a whole number, not '1'",
    ),
    (
        "input",
        'input = "a"\npriority = 8388608',
        "recipe.toml:8: sources.0.priority: input should be less than or equal to 8388607",
    ),
    ("input", 'input = "a"\nwieght = 1', "recipe.toml:8: sources.0.wieght: unknown key; did you mean weight?"),
    ("input", 'input = "a"\n[sources.columns]\ntxt = "x"', "recipe.toml:5: sources.0: columns: txt is not one of"),
    (
        "vocab",
        "vocab_size = 258",
        "recipe.toml:10: tokenizer.train.vocab_size: input should be greater than or equal to 259",
    ),
    (
        "vocab",
        "vocab_size = 2000000",
        "recipe.toml:10: tokenizer.train.vocab_size: input should be less than or equal to 1048576",
    ),
    (
        "vocab",
        'vocab_size = 512\nkind = "bep"',
        "recipe.toml:11: tokenizer.train.kind: input should be 'bpe' or 'sentencepiece'",
    ),
]
WRONG += [
    ("[[sou", "[[sources]]\nmeta = 3", "recipe.toml:6: sources.0.meta: must be a list, not 3"),
    (
        "vocab",
        "vocab_size = 512\nsentencepiece = 3",
        "recipe.toml:11: tokenizer.train.sentencepiece: must be a table, not 3",
    ),
    (
        "[tok",
        "[tokenizer]\nadd_bos = 1\n[tokenizer.train]",
        "recipe.toml:10: tokenizer.add_bos: must be true or false, not 1",
    ),
]
ADDED: list[tuple[str, str]] = [
    (
        "[filters.words.mean_word_lenght]\nmin = 3",
        "filters.words.mean_word_lenght: unknown rule; did you mean mean_word_length?",
    ),
    ("[filters.words.word_count]\nmn = 3", "filters.words.word_count.mn: unknown key; did you mean min?"),
    ("[filters.words.word_count]\nmin = 3\nmax = 2", "filters.words.word_count: no value lies between min 3 and max 2"),
    ("[filters.words.word_count]\nmin = 3\nabove = 2", "filters.words.word_count: min and above exclude each other"),
    (
        '[filters.words.x]\nsignal = "wrds.count"\nmin = 3',
        "filters.words.x.signal: unknown signal wrds.count; did you mean words.count?",
    ),
    (
        '[filters.words.x]\nsignal = "words.count@lines"\nmin = 3',
        "filters.words.x.signal: view lines does not exist yet: the cleaner lines does not come before this step",
    ),
    (
        '[filters.words.x]\nsignal = "words.count@extractd"\nmin = 3',
        "filters.words.x.signal: unknown view 'extractd'; did you mean extracted?; views here: extracted",
    ),
    (
        '[filters.words.x]\nsignal = "lines.removed"\nmin = 3',
        "filters.words.x.signal: signal lines.removed is measured by the cleaner lines, which does not come before",
    ),
    (
        '[filters.words.x]\nsignal = "lines.removed@extracted"\nmin = 3',
        "filters.words.x.signal: signal lines.removed belongs to the view lines; remove @extracted",
    ),
    ('[filters.words.x]\nsignal = "source@extracted"\nany_of = ["a"]', "signal source is the same on every view"),
    (
        '[filters.words.x]\nsignal = "language.code"\nmin = 3',
        "filters.words.x: signal language.code is a string: use any_of",
    ),
    (
        '[filters.words.x]\nsignal = "words.count"\nmin = 3\nwhen = [{ signal = "language.cod", any_of = [] }]',
        "filters.words.x.when.0.signal: unknown signal language.cod; did you mean language.code?",
    ),
    (
        '[filters.words.x]\nsignal = "words.count"\nmin = { quantile = 0.9, per = "language" }',
        "filters.words.x: unknown signal language",
    ),
    ("[filters.wrds.x]\nmin = 3", "filters.wrds: no step uses this filter; did you mean words?"),
    ("[filters.exact.x]\nmin = 3", "filters.exact: exact is a dedup step, not a filter"),
    ("[filters]\nwords = 3", "filters.words: is a table: write [filters.words]"),
    ('[dedup.exact]\nnormalize = "none"', "dedup.exact.normalize: unknown key; did you mean normalise?"),
    ('[dedup.exakt]\nnormalise = "none"', "dedup.exakt: unknown kind 'exakt'; did you mean exact?"),
    ('[dedup.twice]\nkind = "exact"', "dedup.twice: no step of this name"),
    ("[engine]\nunit_bytes = 0", "engine.unit_bytes: input should be greater than or equal to"),
    ("[shards]\ncontext_length = 1", "shards.context_length: input should be greater than or equal to 2"),
    ('[shards]\nlayout = "pakced"', "shards.layout: input should be 'packed' or 'documents'"),
    ('[extract]\nengine = "resilparse"', "extract.engine: unknown engine 'resilparse'; did you mean resiliparse?"),
    ("[mix]\ntokens = 10\n[mix.weights]\nwbe = 1.0", "mix.weights.wbe: no source has this name; did you mean web?"),
    ("[mix.weights]\nweb = 1.0", "mix.weights: weights need a budget; add tokens = … to [mix]"),
    (
        "[mix]\ntokens = 10\n[mix.weights]\nweb = 0.5",
        "mix.weights: the weights sum to 0.5; they are shares and must sum to 1",
    ),
    ("[mix]\ntokens = 10\n[mix.weights]\nweb = -1.0", "mix.weights.web: a weight is a share from 0 to 1, not -1.0"),
    ('[tokenizer]\nfile = "x"', "tokenizer: file and train exclude each other; give exactly one of file, asset and"),
    ('[[sources]]\nname = "web"\ninput = "x"', "sources.1.name: another source has the name web; names are unique"),
    (
        '[assets]\n"lid.177" = "x"',
        "assets.lid.177: no asset has this name; did you mean lid.176?; known: bad-words, lid",
    ),
    (
        '[filters.words.x]\nsignal = "source"\nany_of = ["wbe"]',
        "filters.words.x.any_of: no source is called 'wbe'; did you",
    ),
    (
        '[filters.words.x]\nsignal = "words.count"\nmin = 3\nwhen = [{ signal = "source", none_of = ["web", "bok"] }]',
        "filters.words.x.when.0.none_of: no source is called 'bok'",
    ),
    ('[filters.error.x]\nsignal = "words.count"\nmin = 3', "filters.error: error is what reports call documents by"),
    ('[filters.kept.x]\nsignal = "words.count"\nmin = 3', "filters.kept: kept is what reports call documents by"),
    ('[extract]\nengine = "os:getcwd"', "extract.engine: 'os:getcwd' has no Python source"),
    ('[extract]\nengine = "no_such_module:f"', "extract.engine: 'no_such_module:f': ModuleNotFoundError: No module"),
    ('[extract]\nengine = ":f"', "extract.engine: ':f' is not one of resiliparse, trafilatura, nor a module:function"),
]
TRAIN: list[tuple[str, str]] = [
    ('pattern = "("', "tokenizer.train.pattern: does not compile: Parsing error at position 1"),
    ('pattern = "[a-z]+"', "tokenizer.train.pattern: leaves text out (such as 'I')"),
    (
        'specials = ["<s>", "</s>", "a", "a"]',
        "tokenizer.train.specials: a is named twice",
    ),
    ('specials = ["<s>", "</s>", ""]', "tokenizer.train.specials: a special token has no characters"),
    ('specials = ["</s>"]', "tokenizer.add_bos: there will be no bos token (<|begin_of_text|> or "),
    ('kind = "sentencepiece"\nsentencepiece = { eos_id = -1 }', "tokenizer.add_eos: there will be no eos token; set"),
    (
        'kind = "sentencepiece"\nsentencepiece = { character_coverag = 1.0 }',
        "tokenizer.train.sentencepiece.character_coverag: is no option of the trainer; did you mean character_co",
    ),
    (
        'kind = "sentencepiece"\nsentencepiece = { character_coverage = 3.0, split_digits = true }',
        "tokenizer.train.sentencepiece.character_coverage: the trainer refuses it: character_coverage >= 0.98 && ",
    ),
    (
        'kind = "sentencepiece"\nsentencepiece = { max_sentence_length = "x" }',
        "tokenizer.train.sentencepiece.max_sentence_length: the trainer refuses it: invalid literal",
    ),
    (
        'kind = "sentencepiece"\nsentencepiece = { model_type = "unigram" }',
        "tokenizer.train.sentencepiece.model_type: only 'bpe' is trained",
    ),
    (
        'kind = "sentencepiece"\nsentencepiece = { vocab_size = 300 }',
        "tokenizer.train.sentencepiece.vocab_size: is set by the run; remove it",
    ),
]


class TestMistakes:
    @pytest.mark.parametrize(("line", "instead", "expected"), WRONG)
    def test_a_wrong_line_is_told_with_its_place(
        self, small_world: Path, line: str, instead: str, expected: str
    ) -> None:
        old = next(written for written in BASE.splitlines() if written.startswith(line))
        assert any(mistake.startswith(expected) for mistake in _mistakes(small_world, BASE.replace(old, instead)))

    @pytest.mark.parametrize(("text", "expected"), ADDED)
    def test_a_wrong_section_is_told_with_its_place(self, small_world: Path, text: str, expected: str) -> None:
        before = (
            BASE
            if not text.startswith("[tokenizer]")
            else BASE.replace("[tokenizer.train]", f"{text}\n[tokenizer.train]")
        )
        mistakes = _mistakes(small_world, before if before != BASE else BASE + text + "\n")
        assert len(mistakes) == 1
        where, told = mistakes[0].split(": ", 1)
        assert expected in told
        number = int(where.removeprefix("recipe.toml:"))
        assert number >= (10 if before == BASE else 9)

    @pytest.mark.parametrize(("line", "expected"), TRAIN)
    def test_what_a_trainer_would_refuse_is_told_before_anything_runs(
        self, small_world: Path, line: str, expected: str
    ) -> None:
        (mistake,) = _mistakes(small_world, f"{BASE}{line}\n")
        assert expected in mistake

    def test_trainer_options_are_tried_together(self, small_world: Path) -> None:
        together = 'kind = "sentencepiece"\nsentencepiece = { unk_id = 1, bos_id = 0, num_threads = 2 }\n'
        assert _load(small_world, BASE + together).tokenizer is not None
        alone = together.replace("unk_id = 1, ", "")
        assert "sentencepiece.bos_id: the trainer refuses it" in _mistakes(small_world, BASE + alone)[0]

    @pytest.mark.parametrize(
        ("asset", "expected"),
        [
            ("llama3", "tokenizer.asset: no tokenizer is called 'llama3'; did you mean llama3-tokenizer?"),
            ("lid.176", "tokenizer.asset: lid.176 is a language model, no tokenizer"),
        ],
    )
    def test_an_asset_that_is_no_tokenizer_is_told(self, small_world: Path, asset: str, expected: str) -> None:
        (mistake,) = _mistakes(small_world, BASE, [f"tokenizer.asset={asset}"])
        assert expected in mistake

    def test_an_item_of_steps_that_is_no_name_hides_and_invents_nothing(self, small_world: Path) -> None:
        text = BASE.replace('"words",', '3, "wrds", "words", {},') + "[filters.words.word_count]\nmn = 3\n"
        told = [mistake.partition(": ")[2] for mistake in _mistakes(small_world, text)]
        assert [mistake.partition("; did")[0] for mistake in told] == [
            "steps.1: a step is a name in quotes, not 3",
            "steps.2: unknown step 'wrds'",
            "steps.4: a step is a name in quotes, not {}",
            "filters.words.word_count.mn: unknown key",
        ]

    def test_another_origin_of_the_tokenizer_takes_the_place_of_the_recipes(self, small_world: Path) -> None:
        found = _load(small_world, BASE, ["tokenizer.asset=mistral-v1-32k"]).tokenizer
        assert found is not None
        assert (found.asset, found.train) == ("mistral-v1-32k", None)
        named = BASE.replace("[tokenizer.train]\nvocab_size = 4096", '[tokenizer]\nfile = "x"\nadd_bos = false')
        found = _load(small_world, named, ["tokenizer.train.vocab_size=300", "tokenizer.train.kind=bpe"]).tokenizer
        assert found is not None
        assert found.train is not None
        assert (found.file, found.train.vocab_size, found.add_bos) == (None, 300, False)
        (mistake,) = _mistakes(small_world, BASE, ["tokenizer.asset=mistral-v1-32k", "tokenizer.file=x"])
        assert "file and asset exclude each other" in mistake

    def test_all_mistakes_come_at_once_in_the_order_of_the_file(self, small_world: Path) -> None:
        text = BASE.replace("steps = [", 'steps = ["wrds", ').replace("4096", "12")
        text += '[filters.words.word_count]\nmin = "x"\n[shards]\ncontext_length = 0\n'
        mistakes = _mistakes(small_world, text, ["nonsense", "engine.unit_bites=3"])
        assert [mistake.split(": ")[:2] for mistake in mistakes] == [
            ["--set nonsense", "has no =; write key=value, for example filters.gopher_quality.mean_word_length.max=12"],
            ["--set engine.unit_bites=3", "engine.unit_bites"],
            ["recipe.toml:3", "steps.0"],
            ["recipe.toml:10", "tokenizer.train.vocab_size"],
            ["recipe.toml:12", "filters.words.word_count.min"],
            ["recipe.toml:14", "shards.context_length"],
        ]

    def test_what_was_set_on_the_command_line_is_blamed_there(self, small_world: Path) -> None:
        text = BASE + "[filters.words.word_count]\nmin = 3\nmax = 4\n"
        (mistake,) = _mistakes(small_world, text, ["filters.words.word_count={min = 3, max = 2}"])
        assert mistake.startswith(
            "--set filters.words.word_count={min = 3, max = 2}: filters.words.word_count: no value"
        )

    def test_sections_that_need_a_tokenizer_say_so(self, small_world: Path) -> None:
        text = BASE.partition("[tokenizer")[0] + "[shards]\ncontext_length = 512\n"
        assert _mistakes(small_world, text) == [
            "recipe.toml:9: shards: needs a tokenizer; add [tokenizer] or remove this section"
        ]

    def test_a_tokenizer_from_nowhere_says_so(self, small_world: Path) -> None:
        text = BASE.replace("[tokenizer.train]\nvocab_size = 4096", "[tokenizer]\nadd_bos = true")
        assert "does not say where it comes from" in _mistakes(small_world, text)[0]

    def test_a_recipe_without_sources_says_so(self, small_world: Path) -> None:
        assert "at least one source is needed" in _mistakes(small_world, 'name = "x"\n')[0]

    def test_what_is_not_toml_is_told_with_its_line(self, small_world: Path) -> None:
        (mistake,) = _mistakes(small_world, 'name = "x"\nsteps = [\n')
        assert mistake == "recipe.toml: not valid TOML: Invalid value (at end of document)"
        (mistake,) = _mistakes(small_world, 'name = "x"\nsteps = ]\n')
        assert mistake.startswith("recipe.toml:2: not valid TOML at column 9: ")
        path = small_world / "latin.toml"
        path.write_bytes(b'name = "caf\xe9"')
        with pytest.raises(RecipeError, match="is not UTF-8"):
            load_recipe(str(path))

    def test_values_of_the_wrong_kind_anywhere_are_mistakes_and_never_crashes(self, small_world: Path) -> None:
        sections = (
            "name",
            "steps",
            "sources",
            "read",
            "extract",
            "filters",
            "dedup",
            "engine",
            "mix",
            "tokenizer",
            "shards",
            "assets",
        )
        for section in sections:
            for value in (
                "3",
                '"x"',
                "true",
                "[]",
                "[3]",
                "{}",
                "{ x = 1 }",
                "[{ x = 1 }]",
                "{ x = {} }",
                "[[]]",
                "[{}]",
            ):
                _never_crashes(small_world, [f"{section}={value}"])
        for key in (
            "filters.words.word_count",
            "filters.words.x",
            "mix.weights",
            "tokenizer.train",
            "dedup.exact",
            "sources.web",
        ):
            for value in ("3", "[]", "{}", "{ signal = 3 }", '{ signal = "words.count", when = 3 }', "[{ x = [] }]"):
                _never_crashes(small_world, [f"{key}={value}"])


def _never_crashes(folder: Path, overrides: list[str]) -> None:
    with contextlib.suppress(RecipeError):
        _load(folder, BASE, overrides)


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
