"""Equal ids are one record, whatever files it came in: the step that every run begins with.

The key is the document id itself, so a group is the records of one id. The source with the highest priority stays; the
caller breaks the tie that is left (by digest and place), since these rows have no smaller id to go by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from curate.dedup.keys import Dedup, DedupSettings, Rows, one_array, priority_rank
from curate.schema import id_words


class IdSettings(DedupSettings):
    """Nothing to set."""


def id_keys(text: pa.Array | None, batch: pa.Table, settings: IdSettings, priorities: Mapping[str, int]) -> Rows:
    """Return the exchange rows of a batch; see `Dedup`. `text` is not read, and every document has a key."""
    words = id_words(one_array(batch.column("id")))
    return Rows(words, priority_rank(batch.column("source"), priorities), np.ones(len(words), dtype=bool))


ID: Final = Dedup(IdSettings, id_keys, needs_text=False, version=1, libraries=())
