"""The texts behind an audit: documents of a run in the view that a dedup step saw, compared pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from curate import storage
from curate.dedup import DEDUPS, IMPLIED
from curate.dedup.minhash import MinHashSettings
from curate.dedup.shingles import Shingles, comparable, shingles
from curate.dedup.similarity import exact_similarity
from curate.filters.measures import CLEANERS
from curate.pipelines.part_texts import stored_texts
from curate.pipelines.views import EXTRACTED
from curate.report.run_folder import PartFiles

READ_CHARACTERS: Final = 1 << 20
"""How far into two texts their first difference is looked for."""
BEFORE_CHARACTERS: Final = 30
PASSAGE_CHARACTERS: Final = 200


class Place(NamedTuple):
    """Where a document is: the number of its part, and its row there."""

    part: int
    row: int


class Looked(NamedTuple):
    """What is known of a document that was looked at: shingles uint32 [any], sorted; digest of its comparable form."""

    id: str
    url: str | None
    source: str
    digest: bytes
    shingles: NDArray[np.uint32]


class Lens(NamedTuple):
    """How a dedup step saw texts: its view, the cleaners' views that lead there, and what it calls similar."""

    view: str
    views: tuple[str, ...]
    settings: MinHashSettings


def lens_of(recipe: Mapping[str, Any], step: str) -> Lens:
    """Return how a step of a resolved recipe (a TOML table) saw texts; a step that compares no shingles gets the
    default settings of ``minhash``."""
    if step in IMPLIED:
        return Lens(EXTRACTED, (), MinHashSettings.model_validate({}))
    steps = list(recipe.get("steps", ()))
    kinds = {name: table.get("kind", name) for name, table in recipe.get("dedup", {}).items()}
    cutting = {name for name, made in kinds.items() if DEDUPS[made].cuts}
    views = tuple(name for name in steps[: steps.index(step)] if name in CLEANERS or name in cutting)
    given = {key: value for key, value in recipe.get("dedup", {}).get(step, {}).items() if key != "alarm"}
    kind = given.pop("kind", step)
    settings = DEDUPS[kind].settings.model_validate(given)
    shape = settings if isinstance(settings, MinHashSettings) else MinHashSettings.model_validate({})
    return Lens(views[-1] if views else EXTRACTED, views, shape)


def read_texts(
    parts: Sequence[PartFiles], lens: Lens, places: Iterable[Place]
) -> Iterator[tuple[list[Place], pa.Table, pa.Array]]:
    """Yield (places, their id, url and source, their text in the view of `lens`), a row group at a time."""
    wanted: dict[int, set[int]] = {}
    for place in places:
        wanted.setdefault(place.part, set()).add(place.row)
    for number in sorted(wanted):
        part = parts[number]
        chosen = np.zeros(part.documents.rows, dtype=bool)
        chosen[sorted(wanted[number])] = True
        edits = {view: storage.join(part.run, ref.path) for view, ref in part.edits.items() if view in lens.views}
        uri = storage.join(part.run, part.documents.path)
        for rows, batch, text in stored_texts(uri, edits, lens.views, ["id", "url", "source"], chosen):
            yield [Place(number, row) for row in rows.tolist()], pa.Table.from_batches([batch]), text


def look_at(parts: Sequence[PartFiles], lens: Lens, places: Iterable[Place]) -> dict[Place, Looked]:
    """Return what is to be compared of some documents."""
    looked = {}
    for here, table, text in read_texts(parts, lens, places):
        found = shingles(text, lens.settings.ngram, lens.settings.unit)
        forms = comparable(text)
        for at, (place, one) in enumerate(zip(here, table.to_pylist(), strict=True)):
            mine = found.hashes[found.bounds[at] : found.bounds[at + 1]].copy()
            digest = xxhash.xxh3_128_digest(forms[at].as_buffer() or b"")
            looked[place] = Looked(one["id"].hex(), one["url"], one["source"], digest, mine)
    return looked


def similarities(
    looked: Mapping[Place, Looked], pairs: Sequence[tuple[Place, Place]], settings: MinHashSettings
) -> NDArray[np.float64]:
    """Return the similarity of each pair, float64 [pairs], 0 to 1. Equal texts are similar however short they are; a
    text shorter than a shingle is similar to no other."""
    places = {place: number for number, place in enumerate(looked)}
    bounds = np.concatenate([[0], np.cumsum([len(one.shingles) for one in looked.values()], dtype=np.int64)])
    hashes = np.concatenate([np.empty(0, dtype=np.uint32), *(one.shingles for one in looked.values())])
    numbers = np.array([(places[one], places[other]) for one, other in pairs], dtype=np.int64).reshape(-1, 2)
    found = exact_similarity(Shingles(hashes, bounds), numbers, settings.similarity)
    equal = np.array([looked[one].digest == looked[other].digest for one, other in pairs], dtype=bool)
    return np.where(equal, 1.0, found)


def beginnings(parts: Sequence[PartFiles], lens: Lens, places: Iterable[Place]) -> dict[Place, str]:
    """Return the first `READ_CHARACTERS` of some texts, with white space collapsed."""
    texts: dict[Place, str] = {}
    for here, _, text in read_texts(parts, lens, places):
        cut = pc.utf8_slice_codeunits(text, 0, READ_CHARACTERS).to_pylist()
        texts |= {place: " ".join(one.split()) for place, one in zip(here, cut, strict=True)}
    return texts


def first_difference(one: str, other: str) -> tuple[str, str]:
    """Return what two texts say from shortly before they begin to differ; both are empty for equal texts."""
    pairs = enumerate(zip(one, other, strict=False))
    at = next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))
    if at == len(one) == len(other):
        return "", ""
    start = max(0, at - BEFORE_CHARACTERS)
    left, right = (text[start : start + PASSAGE_CHARACTERS] for text in (one, other))
    mark = "…" if start else ""
    return mark + left, mark + right
