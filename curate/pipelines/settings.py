"""The model of a recipe: what each section may say, with its default. Sections of a stage live beside that stage.

`curate.pipelines.recipe` loads and checks one; nothing here looks at a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, SerializeAsAny, field_validator, model_validator

from curate.dedup.keys import MAX_PRIORITY
from curate.extract import ExtractSettings
from curate.filters.rules import Settings
from curate.filters.tables import Filter
from curate.pipelines.toml_text import write_toml
from curate.pipelines.train_settings import TrainSettings
from curate.readers import ReadSettings
from curate.shards.layout import MAX_SHARD_BYTES

Strings = tuple[str, ...]
MAX_COUNT: Final = (1 << 63) - 1
MAX_REPEATS: Final = 100
FINEWEB2_REPEATS: Final[Mapping[str, int]] = {"1": 1, "2": 2, "3": 3, "5": 5, "100": 8, "1000": 1}
"""How often FineWeb2 repeats a document by the least size of its MinHash cluster (huggingface/fineweb-2)."""
ORIGINS: Final = ("file", "asset", "train")
"""Where a tokenizer can come from."""


class Source(Settings):
    """One source of documents: where its files are and how they are read.

    `input` holds files, folders or globs (local, or any URI that pyarrow opens); `format` is guessed from each name
    when it is not given; `columns` and `meta` extend those of ``[read]``. Of equal documents, the one of the source
    with the highest `priority` stays. Sources of one `crawl` (by default, each is its own) are deduplicated together
    where a step's scope is the crawl.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    input: Strings = Field(min_length=1, strict=False)
    format: str | None = None
    weight: float | None = Field(default=None, ge=0)
    priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    crawl: str | None = Field(default=None, min_length=1, max_length=100)
    columns: dict[str, str] = Field(default_factory=dict)
    meta: Strings = Field(default=(), strict=False)

    @model_validator(mode="before")
    @classmethod
    def _one_input_is_a_list_of_one(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("input"), str):
            return {**value, "input": [value["input"]]}
        return value


class EngineSettings(Settings):
    """How work is cut, and what a task may take. Only `unit_bytes`, `partition_bytes` and `roll_bytes` shape output
    files; none of them depends on the machine.

    `unit_bytes`: input bytes of a collect task. `partition_bytes`: bytes that one reduce task merges. `roll_bytes`:
    text bytes of one documents file. `timeout_s`: seconds without progress on one document before it is given up.
    `memory_bytes`: resident bytes of a worker before it is stopped. `max_attempts`: tries of a task that dies.
    `max_quarantined`: documents that one task may lose to crashes. `verify_inputs`: hash inputs whole instead of
    their first and last MiB.
    """

    unit_bytes: int = Field(default=256 << 20, ge=1 << 12)
    partition_bytes: int = Field(default=256 << 20, ge=1)
    roll_bytes: int = Field(default=256 << 20, ge=1)
    timeout_s: float = Field(default=600.0, gt=0)
    memory_bytes: int = Field(default=4 << 30, ge=1 << 20)
    max_attempts: int = Field(default=5, ge=3)
    max_quarantined: int = Field(default=100, ge=0)
    verify_inputs: bool = False


class RehydrateSettings(Settings):
    """Repeat a kept document by the size of the cluster that it was kept of (FineWeb2).

    `step` is the dedup step whose clusters count. `repeats` maps the smallest size to how often a document of a cluster
    of this size, up to the next one listed, is seen in an epoch; below the smallest listed, once.
    """

    step: str = "minhash"
    repeats: dict[str, int] = Field(default_factory=lambda: dict(FINEWEB2_REPEATS))

    @field_validator("repeats")
    @classmethod
    def _check_repeats(cls, repeats: dict[str, int]) -> dict[str, int]:
        for size, often in repeats.items():
            # canonical, so that no size can be given twice
            if not (size.isascii() and size.isdecimal() and len(size) <= 18 and size == str(int(size)) and size != "0"):
                raise ValueError(f"{size!r} is no size of a cluster; write whole numbers from 1: {{ 2 = 2, 1000 = 1 }}")
            if not 1 <= often <= MAX_REPEATS:
                raise ValueError(
                    f"{size} = {often}: a document is seen 1 to {MAX_REPEATS} times; drop it with a filter"
                )
        return dict(sorted(repeats.items(), key=lambda item: int(item[0])))


class MixSettings(Settings):
    """The mix: a budget of `tokens`, and the share of each source (`weights`, their sum is 1).

    Without `tokens` every kept document appears once. `seed` decides which documents make up a fraction of an epoch,
    and the order of all. `max_epochs`: a source that would be repeated more often is reported. `rehydrate`: an epoch
    holds documents of large clusters more than once.
    """

    tokens: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    max_epochs: float = Field(default=4.0, gt=0)
    weights: dict[str, float] = Field(default_factory=dict)
    rehydrate: RehydrateSettings | None = None


class TokenizerSettings(Settings):
    """Where the tokenizer comes from (exactly one of `file`, `asset` and `train`), and what frames a document."""

    name: str | None = None
    file: str | None = None
    asset: str | None = None
    train: TrainSettings | None = None
    add_bos: bool = True
    add_eos: bool = True

    @model_validator(mode="after")
    def _check_origin(self) -> TokenizerSettings:
        wrong = origin_mistake([key for key in ORIGINS if getattr(self, key) is not None])
        if wrong:
            raise ValueError(wrong)
        return self


def origin_mistake(given: Sequence[str]) -> str | None:
    """Return what is wrong with a tokenizer for which these of `ORIGINS` are given, None if nothing."""
    if len(given) == 1:
        return None
    told = f"{' and '.join(given)} exclude each other" if given else "does not say where it comes from"
    return f"{told}; give exactly one of file, asset and [tokenizer.train]"


class ShardSettings(Settings):
    """What token shards look like.

    `layout`: ``packed`` (rows of `context_length` tokens) or ``documents`` (a row per document). `packing` of packed
    rows: ``concatenate`` (as LLaMA) or ``best_fit`` (cuts fewer documents). `shard_bytes`: bytes after which a new file
    begins.
    """

    layout: Literal["packed", "documents"] = "packed"
    context_length: int = Field(default=2048, ge=2, le=1 << 24)
    packing: Literal["concatenate", "best_fit"] = "concatenate"
    shard_bytes: int = Field(default=128 << 20, ge=1, lt=MAX_SHARD_BYTES)


class AlarmSettings(Settings):
    """What a dedup step may take before the run stops: shares of the documents that came to the step (and of their
    bytes, where it cuts) of each source and language that has at least `min_documents` of them, and documents of one
    cluster. None of it shapes bytes."""

    max_lost_share_per_source: float = Field(default=0.9, ge=0, le=1)
    max_lost_share_per_language: float = Field(default=0.9, ge=0, le=1)
    max_cluster_size: int = Field(default=100_000, ge=1, le=MAX_COUNT)
    min_documents: int = Field(default=1000, ge=1, le=MAX_COUNT)


NO_ALARM: Final = AlarmSettings(
    max_lost_share_per_source=1.0, max_lost_share_per_language=1.0, max_cluster_size=MAX_COUNT
)
"""``alarm = "off"``: bounds that nothing can exceed."""


class DedupChoice(Settings):
    """The settings of one dedup step, its kind (a key of ``curate.dedup.DEDUPS``; mostly the step's own name), and the
    alarm over what it takes."""

    kind: str
    settings: SerializeAsAny[BaseModel]
    alarm: AlarmSettings = AlarmSettings()


class Recipe(Settings):
    """Everything that a run depends on. Paths are absolute, filters complete, every default filled in."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    description: str = ""
    steps: Strings = Field(default=(), strict=False)
    keep_text: Literal["all", "kept"] = "all"
    sources: tuple[Source, ...] = Field(min_length=1, strict=False)
    read: ReadSettings = ReadSettings()
    extract: ExtractSettings = ExtractSettings()
    filters: dict[str, Filter] = Field(default_factory=dict)
    dedup: dict[str, DedupChoice] = Field(default_factory=dict)
    engine: EngineSettings = EngineSettings()
    mix: MixSettings = MixSettings()
    tokenizer: TokenizerSettings | None = None
    shards: ShardSettings = ShardSettings()
    assets: dict[str, str] = Field(default_factory=dict)

    def read_settings(self, source: Source) -> ReadSettings:
        """Return how the files of `source` are read: ``[read]`` with the source's own columns."""
        columns = {**self.read.columns, **source.columns}
        meta = tuple(dict.fromkeys((*self.read.meta, *source.meta)))
        return self.read.model_copy(update={"columns": columns, "meta": meta})

    def as_table(self) -> dict[str, Any]:
        """Return the recipe as the TOML table that loads to an equal recipe."""
        unused = {"shards", "mix"} if self.tokenizer is None else set()
        table = self.model_dump(mode="python", exclude_none=True, exclude={"filters", "dedup", *unused})
        table["filters"] = {name: found.as_table() for name, found in self.filters.items()}
        table["dedup"] = {
            name: {
                "kind": choice.kind,
                **choice.settings.model_dump(exclude_none=True),
                "alarm": choice.alarm.model_dump(),
            }
            for name, choice in self.dedup.items()
        }
        return table

    def resolved_toml(self) -> str:
        """Return the recipe as TOML with every default written out; loading it gives an equal recipe."""
        return write_toml(self.as_table())
