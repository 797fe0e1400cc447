"""What a recipe names and a run needs: inputs, assets, sentence models, the tokenizer and the languages of its model,
all looked for before anything is written, and all that is missing told at once.
"""

from __future__ import annotations

from typing import Final

from curate.assets import ASSETS
from curate.dedup.embedders import model_mistake
from curate.errors import AssetError, RecipeError
from curate.filters.bad_words import ASSET as WORD_LISTS
from curate.filters.bad_words import load_lists
from curate.filters.language import known_languages
from curate.filters.rules import check_language_codes
from curate.pipelines.older_runs import older_mistakes
from curate.pipelines.recipe import FilterStep, Recipe, TokenizerSettings, resolve_steps
from curate.pipelines.units import Unit, all_views, base_path, list_units, local_asset, needed_assets, tokenizer_path
from curate.tokenize import registry
from curate.tokenize.bpe import ROLES
from curate.tokenize.train import read_base

LANGUAGE_MODEL: Final = "lid.176"


def checked_units(recipe: Recipe) -> list[Unit]:
    """Return the units of a recipe (see `list_units`) once everything else that it names was found, too.

    Raises RecipeError with all that is wrong with inputs, models, assets, tokenizer and languages; AssetError if
    nothing is, but an asset cannot be fetched.
    """
    mistakes: list[str] = []
    listed: list[Unit] = []
    try:
        listed = list_units(recipe)
    except RecipeError as error:
        mistakes += error.mistakes
    mistakes += older_mistakes(recipe)
    found = {name: model_mistake(choice.settings) for name, choice in recipe.dedup.items()}
    mistakes += [f"dedup.{name}.model: {wrong}" for name, wrong in found.items() if wrong]
    try:
        check_models(recipe)
    except RecipeError as error:
        mistakes += error.mistakes
    except AssetError as error:
        if not mistakes:
            raise
        mistakes.append(str(error))
    if mistakes:
        raise RecipeError(mistakes)
    return listed


def check_models(recipe: Recipe) -> None:
    """Fetch and check every asset and tokenizer that a recipe names, before any work.

    Raises RecipeError with every file that is missing, is no tokenizer or holds no word lists, and every language that
    a rule lists and the language model does not know; AssetError for assets that cannot be fetched.
    """
    named = recipe.tokenizer if recipe.tokenizer is not None and recipe.tokenizer.train is None else None
    names = {*needed_assets(all_views(recipe)), *recipe.assets}
    names |= {named.asset} if named and named.asset else set()
    base = _base(recipe)
    names |= {base} & ASSETS.keys()
    paths: dict[str, str] = {}
    mistakes: list[str] = []
    missing: list[str] = []
    for name in sorted(names):
        try:
            paths[name] = local_asset(recipe, name)
        except AssetError as error:
            if name in recipe.assets:
                mistakes.append(f"assets.{str(error).removeprefix('asset ')}")
            else:
                missing.append(str(error))
    needed = {name: paths[name] for name in needed_assets(all_views(recipe)) if name in paths}
    if LANGUAGE_MODEL in needed:
        mistakes += _language_mistakes(recipe, needed[LANGUAGE_MODEL])
    if WORD_LISTS in needed:
        mistakes += _word_list_mistakes(needed[WORD_LISTS])
    if named and (named.file or named.asset in paths):
        mistakes += _tokenizer_mistakes(recipe, named)
    if base and (base not in ASSETS or base in paths):
        mistakes += _base_mistakes(recipe)
    if mistakes:
        raise RecipeError([*mistakes, *missing])
    if missing:
        raise AssetError("\n".join(missing))


def _language_mistakes(recipe: Recipe, model: str) -> list[str]:
    """Return the languages that rules list and the model at `model` does not know."""
    rules = [rule for step in resolve_steps(recipe) if isinstance(step, FilterStep) for rule in step.rules]
    try:
        check_language_codes(rules, known_languages(model))
    except RecipeError as error:
        return list(error.mistakes)
    except AssetError as error:
        return [f"assets.{LANGUAGE_MODEL}: {error}"]
    return []


def _word_list_mistakes(path: str) -> list[str]:
    """Return why the file of bad words cannot be used."""
    try:
        load_lists(path)
    except AssetError as error:
        return [f"assets.{WORD_LISTS}: {error}"]
    return []


def _tokenizer_mistakes(recipe: Recipe, named: TokenizerSettings) -> list[str]:
    """Return why the tokenizer that a recipe names cannot be loaded, or cannot frame documents."""
    try:
        loaded = registry.load(tokenizer_path(recipe))
    except AssetError as error:
        return [f"tokenizer.{'file' if named.file else 'asset'}: {error}"]
    roles = (("add_bos", named.add_bos, loaded.bos_id), ("add_eos", named.add_eos, loaded.eos_id))
    lacking = [key for key, wanted, found in roles if wanted and found is None]
    return [f"tokenizer.{key}: {loaded.name} has no such token; set {key} = false" for key in lacking]


def _base(recipe: Recipe) -> str:
    """Return the file, folder or asset that a recipe grows its tokenizer from, "" if there is none."""
    trained = recipe.tokenizer.train if recipe.tokenizer is not None else None
    return (trained.base or "") if trained is not None else ""


def _base_mistakes(recipe: Recipe) -> list[str]:
    """Return why the tokenizer that a recipe grows cannot be, or what it would not frame documents with."""
    assert recipe.tokenizer is not None
    assert recipe.tokenizer.train is not None
    try:
        base = read_base(base_path(recipe))
    except AssetError as error:
        return [f"tokenizer.train.base: {error}"]
    except RecipeError as error:
        return list(error.mistakes)
    specials = recipe.tokenizer.train.specials or base.specials
    framed = {"bos": recipe.tokenizer.add_bos, "eos": recipe.tokenizer.add_eos}
    lacking = [role for role, wanted in framed.items() if wanted and not set(ROLES[role]) & set(specials)]
    return [
        f"tokenizer.add_{role}: the base has no such token; name it in train.specials or set add_{role} = false"
        for role in lacking
    ]
