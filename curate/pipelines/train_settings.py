"""``[tokenizer.train]``: what tokenizer a run trains on its own kept documents, and on which sample of them."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from curate.filters.rules import Settings

MAX_VOCABULARY: Final = 1 << 20
LLAMA3_VOCABULARY: Final = 128_256
MERGE_BYTES: Final = 128 << 20
"""As in `curate.tokenize.train`, which is not imported to read a recipe."""
PRESETS: Final[dict[str, dict[str, Any]]] = {
    "llama": {"kind": "sentencepiece", "vocab_size": 32_000},
    "llama3": {"kind": "bpe", "vocab_size": LLAMA3_VOCABULARY, "specials": "llama3"},
}
"""What each preset fills in where the recipe says nothing. The trainers' own defaults are LLaMA's and Llama 3's, so
that only what differs is here; the special tokens are those of `bpe.llama3_specials`."""


class TrainSettings(Settings):
    """A tokenizer trained on the run's own kept documents.

    `preset`: ``llama`` (SentencePiece, 32,000 ids) or ``llama3`` (byte-level, 128,000 ranks and 256 special tokens);
    what is given beside it wins. `kind`: ``bpe`` (byte-level, tiktoken ranks) or ``sentencepiece`` (BPE as LLaMA).
    `vocab_size` counts everything, special tokens too.

    `sample_bytes`: bytes of text to train on, chosen by document id and `seed`; `source_weights`: the share of each
    source in them, by default that of the mix.

    Pre-tokens that occur less often than `min_count` are left out, and the rarest if the distinct ones have more than
    `merge_bytes`.

    For ``bpe``: `pattern` and `specials`; `base`, a file, folder or asset, is grown by `new_tokens`.
    For ``sentencepiece``: `sentencepiece` holds options of that library's trainer.
    """

    preset: Literal["llama", "llama3"] | None = None
    kind: Literal["bpe", "sentencepiece"] = "bpe"
    vocab_size: int | None = Field(default=None, ge=259, le=MAX_VOCABULARY)
    sample_bytes: int = Field(default=1 << 28, ge=1)
    source_weights: dict[str, float] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    pattern: str | None = None
    specials: tuple[str, ...] | None = Field(default=None, strict=False)
    min_count: int = Field(default=1, ge=1)
    merge_bytes: int = Field(default=MERGE_BYTES, ge=1, lt=1 << 31)
    base: str | None = None
    new_tokens: int | None = Field(default=None, ge=1, le=MAX_VOCABULARY)
    sentencepiece: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, value: Any) -> Any:
        preset = PRESETS.get(str(value.get("preset"))) if isinstance(value, dict) else None
        if preset is None:
            return value
        filled = {key: default for key, default in preset.items() if value.get(key) is None}
        if value.get("base") is not None:
            filled.pop("vocab_size", None)
        if filled.get("specials") == "llama3":
            from curate.tokenize.bpe import llama3_specials

            filled["specials"] = llama3_specials()
        return {**value, **filled}

    @model_validator(mode="after")
    def _check_kind(self) -> TrainSettings:
        if self.kind == "bpe" and self.sentencepiece:
            raise ValueError('sentencepiece options need kind = "sentencepiece"')
        if self.kind == "sentencepiece" and (self.pattern is not None or self.specials is not None):
            raise ValueError('pattern and specials need kind = "bpe"')
        if self.kind == "sentencepiece" and self.base is not None:
            raise ValueError('base needs kind = "bpe"')
        if (self.base is None) != (self.new_tokens is None):
            raise ValueError("base and new_tokens belong together: what to grow, and by how much")
        if (self.base is None) == (self.vocab_size is None):
            told = "base and vocab_size exclude each other" if self.base else "vocab_size is required"
            raise ValueError(f"{told}; give one of vocab_size, preset, and base with new_tokens")
        if self.base is not None and self.pattern is not None:
            raise ValueError("base and pattern exclude each other: a base has its own pattern")
        least = 256 + len(self.specials or ())
        if self.vocab_size is not None and self.vocab_size < least:
            raise ValueError(f"vocab_size is at least {least}: 256 bytes and {least - 256} special tokens")
        return self
