"""Every mistake of a recipe is told at once with its place and its fix."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from small_tables import BASE, load, mistakes_of

from curate.errors import RecipeError
from curate.pipelines.recipe import (
    load_recipe,
)

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
        '[filters.words.x]\nsignal = "words.count@tidy"\nmin = 3',
        "filters.words.x.signal: view tidy does not exist yet: the cleaner tidy does not come before this step",
    ),
    (
        '[filters.words.x]\nsignal = "words.count@extractd"\nmin = 3',
        "filters.words.x.signal: unknown view 'extractd'; did you mean extracted?; views here: extracted",
    ),
    (
        '[filters.words.x]\nsignal = "tidy.removed"\nmin = 3',
        "filters.words.x.signal: signal tidy.removed is measured by the cleaner tidy, which does not come before",
    ),
    (
        '[filters.words.x]\nsignal = "tidy.removed@extracted"\nmin = 3',
        "filters.words.x.signal: signal tidy.removed belongs to the view tidy; remove @extracted",
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
    ('[dedup.exakt]\nnormalise = "none"', "dedup.exakt: no step of this name; did you mean exact?"),
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
    ("source_weights = { web = 0.5 }", "tokenizer.train.source_weights: the weights sum to 0.5; they are shares and"),
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
        assert any(mistake.startswith(expected) for mistake in mistakes_of(small_world, BASE.replace(old, instead)))

    @pytest.mark.parametrize(("text", "expected"), ADDED)
    def test_a_wrong_section_is_told_with_its_place(self, small_world: Path, text: str, expected: str) -> None:
        before = (
            BASE
            if not text.startswith("[tokenizer]")
            else BASE.replace("[tokenizer.train]", f"{text}\n[tokenizer.train]")
        )
        mistakes = mistakes_of(small_world, before if before != BASE else BASE + text + "\n")
        assert len(mistakes) == 1
        where, told = mistakes[0].split(": ", 1)
        assert expected in told
        number = int(where.removeprefix("recipe.toml:"))
        assert number >= (10 if before == BASE else 9)

    @pytest.mark.parametrize(("line", "expected"), TRAIN)
    def test_what_a_trainer_would_refuse_is_told_before_anything_runs(
        self, small_world: Path, line: str, expected: str
    ) -> None:
        (mistake,) = mistakes_of(small_world, f"{BASE}{line}\n")
        assert expected in mistake

    def test_trainer_options_are_tried_together(self, small_world: Path) -> None:
        together = 'kind = "sentencepiece"\nsentencepiece = { unk_id = 1, bos_id = 0, num_threads = 2 }\n'
        assert load(small_world, BASE + together).tokenizer is not None
        alone = together.replace("unk_id = 1, ", "")
        assert "sentencepiece.bos_id: the trainer refuses it" in mistakes_of(small_world, BASE + alone)[0]

    @pytest.mark.parametrize(
        ("asset", "expected"),
        [
            ("llama3", "tokenizer.asset: no tokenizer is called 'llama3'; did you mean llama3-tokenizer?"),
            ("lid.176", "tokenizer.asset: lid.176 is a language model, no tokenizer"),
        ],
    )
    def test_an_asset_that_is_no_tokenizer_is_told(self, small_world: Path, asset: str, expected: str) -> None:
        (mistake,) = mistakes_of(small_world, BASE, [f"tokenizer.asset={asset}"])
        assert expected in mistake

    def test_an_item_of_steps_that_is_no_name_hides_and_invents_nothing(self, small_world: Path) -> None:
        text = BASE.replace('"words",', '3, "wrds", "words", {},') + "[filters.words.word_count]\nmn = 3\n"
        told = [mistake.partition(": ")[2] for mistake in mistakes_of(small_world, text)]
        assert [mistake.partition("; did")[0] for mistake in told] == [
            "steps.1: a step is a name in quotes, not 3",
            "steps.2: unknown step 'wrds'",
            "steps.4: a step is a name in quotes, not {}",
            "filters.words.word_count.mn: unknown key",
        ]

    def test_another_origin_of_the_tokenizer_takes_the_place_of_the_recipes(self, small_world: Path) -> None:
        found = load(small_world, BASE, ["tokenizer.asset=mistral-v1-32k"]).tokenizer
        assert found is not None
        assert (found.asset, found.train) == ("mistral-v1-32k", None)
        named = BASE.replace("[tokenizer.train]\nvocab_size = 4096", '[tokenizer]\nfile = "x"\nadd_bos = false')
        found = load(small_world, named, ["tokenizer.train.vocab_size=300", "tokenizer.train.kind=bpe"]).tokenizer
        assert found is not None
        assert found.train is not None
        assert (found.file, found.train.vocab_size, found.add_bos) == (None, 300, False)
        (mistake,) = mistakes_of(small_world, BASE, ["tokenizer.asset=mistral-v1-32k", "tokenizer.file=x"])
        assert "file and asset exclude each other" in mistake

    def test_all_mistakes_come_at_once_in_the_order_of_the_file(self, small_world: Path) -> None:
        text = BASE.replace("steps = [", 'steps = ["wrds", ').replace("4096", "12")
        text += '[filters.words.word_count]\nmin = "x"\n[shards]\ncontext_length = 0\n'
        mistakes = mistakes_of(small_world, text, ["nonsense", "engine.unit_bites=3"])
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
        (mistake,) = mistakes_of(small_world, text, ["filters.words.word_count={min = 3, max = 2}"])
        assert mistake.startswith(
            "--set filters.words.word_count={min = 3, max = 2}: filters.words.word_count: no value"
        )

    def test_sections_that_need_a_tokenizer_say_so(self, small_world: Path) -> None:
        text = BASE.partition("[tokenizer")[0] + "[shards]\ncontext_length = 512\n"
        assert mistakes_of(small_world, text) == [
            "recipe.toml:9: shards: needs a tokenizer; add [tokenizer] or remove this section"
        ]

    def test_a_tokenizer_from_nowhere_says_so(self, small_world: Path) -> None:
        text = BASE.replace("[tokenizer.train]\nvocab_size = 4096", "[tokenizer]\nadd_bos = true")
        assert "does not say where it comes from" in mistakes_of(small_world, text)[0]

    def test_a_recipe_without_sources_says_so(self, small_world: Path) -> None:
        assert "at least one source is needed" in mistakes_of(small_world, 'name = "x"\n')[0]

    def test_what_is_not_toml_is_told_with_its_line(self, small_world: Path) -> None:
        (mistake,) = mistakes_of(small_world, 'name = "x"\nsteps = [\n')
        assert mistake == "recipe.toml: not valid TOML: Invalid value (at end of document)"
        (mistake,) = mistakes_of(small_world, 'name = "x"\nsteps = ]\n')
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
        load(folder, BASE, overrides)
