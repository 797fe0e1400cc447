"""A comparison of tokenizers by name: of assets, files, folders and runs, on the texts that ship, the kept documents of
a run, or files of any format that a run reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from curate import assets, storage
from curate.errors import RecipeError
from curate.filters.language import ASSET as LANGUAGE_ASSET
from curate.filters.language import measure_language
from curate.pipelines.check_tokenizer import tokenizer_place
from curate.pipelines.parts import parquet_file
from curate.pipelines.texts import list_texts, read_texts
from curate.pipelines.views import EDITS_PREFIX, EXTRACTED, view_text
from curate.readers import ReadSettings
from curate.report.run_folder import RECIPE_FILE, PartFiles, RunFolder, read_run
from curate.report.terminal import counted, place_text
from curate.tokenize import registry
from curate.tokenize.compare import CompareSettings, compare
from curate.tokenize.compare_samples import Document, Sample, draw, shipped_documents
from curate.tokenize.compare_speed import measure_speed
from curate.tokenize.tokenizer import Tokenizer

SHIPPED: Final = "samples"
LANGUAGE_SIGNAL: Final = "language.code"
SHARDS_TOKENIZER: Final = "shards/tokenizer"
_NAMED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", re.DOTALL)
_MODEL_ENDING: Final = re.compile(r"\.(model|tiktoken|json)$")


def compare_tokenizers(
    tokenizers: Sequence[str],
    on: Sequence[str] = (),
    *,
    text_column: str = "text",
    max_documents: int = 10_000,
    settings: CompareSettings | None = None,
    speed: bool = False,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return the comparison that ``curate tokenizer compare`` prints with ``--json``, as plain data.

    `tokenizers` are assets, tokenizer files or folders, or runs; `on` are runs, files, folders or globs, and without it
    the texts that ship. ``NAME=`` before one names it. With `speed` the result also has a measurement of this machine.
    `say` is told what is being done.
    Raises RecipeError and AssetError.
    """
    settings = settings or CompareSettings()
    say = say or (lambda _: None)
    loaded = load_tokenizers(tokenizers)
    say(f"reading {', '.join(map(place_text, on)) or 'the sample texts'}")
    name, sample, errors = read_sample(on, text_column=text_column, seed=settings.seed, max_documents=max_documents)
    say(f"encoding {counted(len(sample.documents), 'document')} with {counted(len(loaded), 'tokenizer')}")
    result = compare(loaded, sample, on=name, settings=settings)
    result["on"]["errors"] = errors
    if speed:
        say("measuring speed")
        for item, measured in zip(result["tokenizers"], measure_speed(loaded, sample.documents), strict=True):
            item["speed"] = measured
    return result


def load_tokenizers(wanted: Sequence[str]) -> dict[str, Tokenizer]:
    """Return tokenizers by the names that they are shown under. Each is an asset, a tokenizer file or folder, or a run
    whose shards have one; ``NAME=`` before it names it, else it is called after the asset, the file or the folder.

    Raises RecipeError if two have one name, AssetError if there is no tokenizer.
    """
    places: dict[str, str] = {}
    for text in wanted:
        name, place = _named(text)
        name = name or _default_name(place)
        if name in places:
            raise RecipeError(f"{text}: a tokenizer called {name} is already there; say NAME={place}")
        places[name] = place
    return {name: _load(place, name) for name, place in places.items()}


def _named(text: str) -> tuple[str, str]:
    match = _NAMED.fullmatch(text)
    return (match.group(1), match.group(2)) if match else ("", text)


def _default_name(place: str) -> str:
    return place_text(place).rstrip("/").rpartition("/")[2] or "tokenizer"


def _load(place: str, name: str) -> Tokenizer:
    if storage.exists(storage.join(place, RECIPE_FILE)):
        place = storage.join(place, SHARDS_TOKENIZER)
        if not storage.exists(storage.join(place, registry.CARD_FILE)):
            files = [file for file in storage.list_names(place) if _MODEL_ENDING.search(file)]
            place = storage.join(place, files[0]) if len(files) == 1 else place
    return registry.load(tokenizer_place(place), name=name)


def read_sample(
    on: Sequence[str], *, text_column: str, seed: int, max_documents: int
) -> tuple[str, Sample, dict[str, int]]:
    """Return the name of a source, the documents drawn from it, each with its language, and how many records could not
    be read by kind of error: what ships if `on` is empty, else everything that these runs, files, folders and globs
    hold. Languages that nothing tells are identified on the documents that were drawn. Raises RecipeError.
    """
    tally: Counter[str] = Counter()
    documents = _documents(on, text_column, tally) if on else iter(shipped_documents())
    sample = draw(documents, seed=seed, max_documents=max_documents)
    names = dict.fromkeys(_named(text)[0] or _default_name(text) for text in on)
    errors = {kind: tally[kind] for kind in sorted(tally) if kind.startswith("error.")}
    return ", ".join(names) or SHIPPED, sample._replace(documents=_with_languages(sample.documents)), errors


def _documents(on: Sequence[str], text_column: str, tally: Counter[str]) -> Iterator[Document]:
    settings = ReadSettings(columns={"text": text_column})
    for text in on:
        name, place = _named(text)
        if storage.exists(storage.join(place, RECIPE_FILE)):
            yield from _kept(read_run(place), name)
            continue
        for file in list_texts([place], option="--on"):
            for found in read_texts([file], settings, tally):
                yield Document(found, None, name or file[1].name)


def _kept(run: RunFolder, name: str) -> Iterator[Document]:
    """Yield the kept documents of a run in the view that its tokenizer reads, the last one."""
    parts = run.parts()
    if not parts or any(part.verdicts is None for part in parts):
        raise RecipeError(f"{place_text(run.uri)}: nothing is decided yet ({run.unfinished}); finish the run first")
    for part in parts:
        yield from _kept_of_part(run, part, name)


def _kept_of_part(run: RunFolder, part: PartFiles, name: str) -> Iterator[Document]:
    assert part.verdicts is not None
    with storage.open_input(storage.join(run.uri, part.verdicts.path)) as stream:
        keep = parquet_file(stream, part.verdicts).read(columns=["keep"]).column("keep").combine_chunks()
    with storage.open_input(storage.join(run.uri, part.signals.path)) as stream:
        signals = parquet_file(stream, part.signals)
        known = LANGUAGE_SIGNAL in signals.schema_arrow.names
        table = signals.read(columns=[LANGUAGE_SIGNAL if known else "id"])
    languages = table.column(0).combine_chunks() if known else pa.nulls(len(keep), pa.string())
    with storage.open_input(storage.join(run.uri, part.documents.path)) as stream:
        file = parquet_file(stream, part.documents)
        edits = [column for column in file.schema_arrow.names if column.startswith(EDITS_PREFIX)]
        views = [column.removeprefix(EDITS_PREFIX) for column in edits]
        first = 0
        for group in range(file.num_row_groups):
            for batch in file.read_row_group(group, columns=["source", "text", *edits]).to_batches():
                mask = keep.slice(first, len(batch))
                spoken = languages.slice(first, len(batch)).filter(mask)
                first += len(batch)
                batch = batch.filter(mask)
                texts = view_text(batch, views, views[-1] if views else EXTRACTED)
                for text, language, source in zip(texts, spoken, batch.column("source"), strict=True):
                    yield Document(text.as_py(), language.as_py(), name or source.as_py())


def _with_languages(documents: list[Document]) -> list[Document]:
    unknown = [number for number, document in enumerate(documents) if document.language is None]
    if not unknown:
        return documents
    paths: Mapping[str, str] = {LANGUAGE_ASSET: assets.path(LANGUAGE_ASSET)}
    texts = pa.array([documents[number].text for number in unknown], pa.large_string())
    codes = measure_language(texts, paths)[LANGUAGE_SIGNAL].to_pylist()
    known = dict(zip(unknown, codes, strict=True))
    return [
        document._replace(language=known.get(number, document.language)) for number, document in enumerate(documents)
    ]
