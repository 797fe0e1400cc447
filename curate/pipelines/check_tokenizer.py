"""What can be wrong with ``[tokenizer]`` beyond its types: where it comes from, and whether its trainer would take the
settings. Training comes hours after a run begins, so the trainers are asked before, without any text.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from pydantic import ValidationError

from curate import assets, storage
from curate.assets import ASSETS
from curate.errors import AssetError, CurateError, RecipeError
from curate.filters.rules import Mistake, Place
from curate.filters.tables import mistakes_of, suggestion
from curate.pipelines.settings import ORIGINS, origin_mistake
from curate.pipelines.toml_text import apply_override, parse_override
from curate.pipelines.train_settings import TrainSettings

PLACE: Final[Place] = ("tokenizer",)
TRAIN: Final[Place] = ("tokenizer", "train")
PROBE: Final = "It's a  test,\n\n\tof 12,345 words… \r\n Größe 世界 हिन्दी 🙂\x00 "
"""A text in which every kind of character meets every other: a split pattern must leave nothing of it out."""
OF_A_RUN: Final = frozenset({"sample_bytes", "source_weights", "seed"})
"""Settings that choose the sample of a run."""
NO_FRAME: Final[Mapping[str, bool]] = {"add_bos": False, "add_eos": False}
OWN_OPTIONS: Final = frozenset({"input", "input_format", "model_prefix", "vocab_size", "model_type"})
"""Trainer options of SentencePiece that a run sets itself."""
NO_TEXT: Final = "hold no line to train on"
_ITS_SOURCE: Final = re.compile(r"[A-Z_]+: |src/\S+\(\d+\)|trainer_spec_?\.|\(\)")


def check_tokenizer(table: Mapping[str, Any]) -> list[Mistake]:
    """Return what is wrong with the tokenizer of a recipe's table. Types are not looked at: the model tells of them,
    and here a value of a wrong type is left alone."""
    tokenizer = table.get("tokenizer")
    if tokenizer is None:
        given = [key for key in ("shards", "mix") if key in table]
        return [Mistake((key,), "needs a tokenizer; add [tokenizer] or remove this section") for key in given]
    if not isinstance(tokenizer, dict):
        return []
    # the model itself tells of this only when its keys are right, and all mistakes are to be told at once
    wrong = origin_mistake([key for key in ORIGINS if key in tokenizer])
    mistakes = [Mistake(PLACE, wrong)] if wrong else []
    if isinstance(asset := tokenizer.get("asset"), str):
        mistakes += [Mistake((*PLACE, "asset"), told) for told in _asset_mistakes(asset)]
    if isinstance(train := tokenizer.get("train"), dict):
        mistakes += _pattern_mistakes(train.get("pattern")) + _special_mistakes(train.get("specials"))
        if train.get("kind") == "sentencepiece" and isinstance(options := train.get("sentencepiece", {}), dict):
            mistakes += _option_mistakes(options)
        mistakes += _frame_mistakes(tokenizer, train)
    return mistakes


def tokenizer_place(name: str) -> str:
    """Return where the tokenizer is that is named as an asset, or by its path. Raises AssetError for a bare name that
    neither an asset nor a file has."""
    from curate.tokenize import registry

    mistakes = _asset_mistakes(name)
    if not mistakes:
        return assets.path(name)
    if "/" not in name and not registry.file_names(name) and not storage.exists(name):
        raise AssetError(f"{name}: no tokenizer here, and {mistakes[0]}")
    return name


def load_training(given: Mapping[str, Any], overrides: Sequence[str] = ()) -> TrainSettings:
    """Return the settings that options of a command give, None is not given, and ``key=value`` texts over them.

    Raises RecipeError with all that is wrong, as far as it can be told without any text.
    """
    table = {key: value for key, value in given.items() if value is not None}
    options = set(table)
    mistakes: list[str] = []
    for override in overrides:
        try:
            path, value = parse_override(override)
            if path[0] in OF_A_RUN:
                raise ValueError("chooses the sample of a run; here everything is read")
            apply_override(table, path, value)
            options.discard(path[0])
        except ValueError as error:
            mistakes.append(f"--set {override}: {error}")
    try:
        settings = TrainSettings.model_validate(table)
    except ValidationError as error:
        wrong = mistakes_of(error, TrainSettings, TRAIN)
    else:
        wrong = check_tokenizer({"tokenizer": {"train": {**table, "kind": settings.kind}, **NO_FRAME}})
    if mistakes := [*mistakes, *(_option_text(mistake, options) for mistake in wrong)]:
        raise RecipeError(mistakes)
    return settings


def _option_text(mistake: Mistake, options: Set[str]) -> str:
    """Return a mistake with what of the command line it is about, if it is about one thing."""
    path = [str(key) for key in mistake.place[len(TRAIN) :]]
    if not path:
        return mistake.message
    option = f"--{path[0].replace('_', '-')}" if path[0] in options else f"--set {'.'.join(path)}"
    return f"{option}: {mistake.message}"


def check_assets(table: Mapping[str, Any]) -> list[Mistake]:
    """Return the names in ``[assets]`` that no asset has."""
    given = table.get("assets")
    unknown = [name for name in given if name not in ASSETS] if isinstance(given, dict) else []
    known = ", ".join(sorted(ASSETS))
    return [
        Mistake(("assets", name), f"no asset has this name{suggestion(name, ASSETS)}; known: {known}")
        for name in unknown
    ]


def _asset_mistakes(name: str) -> list[str]:
    known = [asset.name for asset in ASSETS.values() if asset.kind == "tokenizer"]
    if name in known:
        return []
    # "llama3" is too short to resemble "llama3-tokenizer", but begins it
    near = [one for one in known if name and one.startswith(name)]
    hint = f"; did you mean {near[0]}?" if near else suggestion(name, known)
    what = f"{name} is a {ASSETS[name].kind}, no tokenizer" if name in ASSETS else f"no tokenizer is called {name!r}"
    return [f"{what}{hint}; known: {', '.join(known)}"]


def _pattern_mistakes(pattern: Any) -> list[Mistake]:
    if not isinstance(pattern, str):
        return []
    from curate.tokenize import bpe

    place = (*TRAIN, "pattern")
    ranks = bpe.format_ranks({bytes([byte]): byte for byte in range(256)})
    try:
        tokenizer = bpe.from_ranks(ranks, where="pattern", pattern=pattern, specials=())
    except AssetError as error:
        return [Mistake(place, f"does not compile: {error.__cause__ or error}")]
    left = tokenizer.decode(tokenizer.encode_text(PROBE))
    if left == PROBE:
        return []
    lost = next((one for one in dict.fromkeys(PROBE) if PROBE.count(one) > left.count(one)), "")
    return [Mistake(place, f"leaves text out (such as {lost!r}): every character must be part of a match")]


def _special_mistakes(specials: Any) -> list[Mistake]:
    names = [name for name in specials if isinstance(name, str)] if isinstance(specials, list) else []
    place = (*TRAIN, "specials")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    mistakes = [Mistake(place, f"{name} is named twice") for name in twice]
    return mistakes + ([Mistake(place, "a special token has no characters")] if "" in names else [])


def _frame_mistakes(tokenizer: Mapping[str, Any], train: Mapping[str, Any]) -> list[Mistake]:
    """Return which token a document is to begin or end with although the tokenizer will not have it."""
    from curate.tokenize.bpe import ROLES

    specials, options = train.get("specials"), train.get("sentencepiece")
    mistakes = []
    for role in ("bos", "eos"):
        off = isinstance(options, dict) and isinstance(at := options.get(f"{role}_id", 0), int) and at < 0
        named = isinstance(specials, list) and not any(name in specials for name in ROLES[role])
        if tokenizer.get(f"add_{role}", True) is True and (off or named):
            fix = "name it in specials or " if named else ""
            known = f" ({' or '.join(ROLES[role])})" if named else ""
            told = f"there will be no {role} token{known}; {fix}set add_{role} = false"
            mistakes.append(Mistake((*PLACE, f"add_{role}"), told))
    return mistakes


def _option_mistakes(options: Mapping[str, Any]) -> list[Mistake]:
    """Return what is wrong with options of the SentencePiece trainer: unknown names, and what the trainer refuses."""
    mistakes = []
    known = _trainer_options()
    rest: dict[str, Any] = {}
    for name, value in options.items():
        place = (*TRAIN, "sentencepiece", name)
        if name == "model_type" and value != "bpe":
            mistakes.append(Mistake(place, "only 'bpe' is trained (unigram scores vary from run to run)"))
        elif name in OWN_OPTIONS and name != "model_type":
            mistakes.append(Mistake(place, "is set by the run; remove it"))
        elif name not in known and name != "model_type":
            mistakes.append(Mistake(place, f"is no option of the trainer{suggestion(name, known)}"))
        elif isinstance(value, str | int | float):
            rest[name] = value
    # the trainer names one mistake at a time: take out what it stumbles over, and ask again
    while told := _trainer_says(rest):
        others = ({key: value for key, value in rest.items() if key != name} for name in rest)
        name = next((name for name, left in zip(rest, others, strict=True) if _trainer_says(left) != told), "")
        mistakes.append(Mistake((*TRAIN, "sentencepiece", *([name] if name else [])), told))
        if not name:
            break
        del rest[name]
    return mistakes


@functools.cache
def _trainer_options() -> frozenset[str]:
    messages = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    specs = (messages.TrainerSpec, messages.NormalizerSpec)
    fields = {field.name for spec in specs for field in spec.DESCRIPTOR.fields}
    return frozenset((fields | {"normalization_rule_name"}) - OWN_OPTIONS)


def _trainer_says(options: Mapping[str, Any]) -> str:
    """Return why the trainer refuses these options, "" if all it lacks is text."""
    from curate.tokenize.train_spm import train_sentencepiece

    try:
        train_sentencepiece(iter(()), 4096, settings=options)
    except RecipeError as error:
        if NO_TEXT in str(error):
            return ""
        told = str(error).rpartition("refused the settings: ")[2]
    except (CurateError, ValueError, TypeError) as error:
        told = str(error)
    # "INTERNAL: src/trainer_interface.cc(94) [trainer_spec.num_threads() >= 1]" is for who wrote the trainer
    return "the trainer refuses it: " + _ITS_SOURCE.sub("", told).strip(" []")
