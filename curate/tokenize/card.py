"""The card of a trained tokenizer: what it is, and what it was trained on. It names no time, host or path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from curate.tokenize import registry
from curate.tokenize.tokenizer import Tokenizer


class Reading:
    """Documents, characters and UTF-8 bytes that a trainer has read, and the error that its reading ended with."""

    def __init__(self) -> None:
        self.documents = self.characters = self.bytes = 0
        self.failure: Exception | None = None

    def over(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield `texts`, counting them."""
        try:
            for text in texts:
                self.documents += 1
                self.characters += len(text)
                self.bytes += len(text.encode())
                yield text
        except Exception as error:
            # the SentencePiece trainer turns it into a RuntimeError of its own
            self.failure = error
            raise

    def told(self) -> dict[str, int]:
        """Return what a card says of it."""
        return {"documents": self.documents, "characters": self.characters, "bytes": self.bytes}


def write_card(
    tokenizer: Tokenizer,
    name: str,
    pattern: str,
    specials: Mapping[str, int],
    trained_on: Mapping[str, int],
    settings: Mapping[str, Any],
) -> bytes:
    """Return the card of a tokenizer as JSON; without a `name` it is made of kind, size and sha256."""
    card = {
        "format": registry.CARD_FORMAT,
        "name": name or f"{tokenizer.kind}-{tokenizer.vocab_size}-{tokenizer.sha256[:12]}",
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "pattern": pattern,
        "specials": dict(specials),
        "sha256": tokenizer.sha256,
        "settings": dict(settings),
        "trained_on": dict(trained_on),
    }
    return (json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
