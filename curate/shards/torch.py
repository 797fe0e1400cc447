"""The stream as a PyTorch dataset. Importing this module imports torch (extra ``curate-llm[torch]``)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from curate.shards.stream import TokenStream

torch: Any = importlib.import_module("torch")
data: Any = importlib.import_module("torch.utils.data")


class TokenDataset(data.IterableDataset):  # type: ignore[misc]  # torch may be absent where types are checked
    """Yields int64 tensors [batch_size, context_length]; give it to a DataLoader with ``batch_size=None``.

    Batches are whole work items: worker w of n takes batches w, w + n, …, which the loader hands out in turn, so that
    the order is the same for any number of workers. Workers are processes with copies of the stream, so the position
    follows from the steps that the trainer has taken: `state`.
    """

    def __init__(self, stream: TokenStream, batch_size: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size}: must be at least 1")
        self.stream, self.batch_size = stream, batch_size

    def __iter__(self) -> Iterator[Any]:
        worker = data.get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        while len(samples := self.stream.step(number, self.batch_size)):
            # int64: torch can neither add nor look up uint16
            yield torch.from_numpy(self.stream.gather(samples))
            number += workers

    def state(self, steps: int) -> dict[str, Any]:
        """Return the state after the trainer took `steps` batches from this dataset's start on every rank."""
        consumed = self.stream.consumed + steps * self.batch_size * self.stream.world_size
        total = self.stream.total
        return {**self.stream.state(), "consumed": consumed if total is None else min(consumed, total)}
