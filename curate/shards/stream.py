"""An endless, resumable stream of samples whose whole state is one integer.

Sample g of the run is sample ``g mod n`` of epoch ``g div n``, in the order of `curate.shards.order`. Rank r of W reads
g = consumed + r, consumed + r + W, …; ``consumed`` counts samples *globally*, so that a job may go on with another
number of ranks or workers and no sample is lost or seen twice. There is no shuffle buffer that a checkpoint could lose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curate.errors import ShardError
from curate.shards.order import order_key, permute
from curate.shards.reader import ShardSet

STATE_VERSION: Final = 1
FIRST_BLOCK, LAST_BLOCK = 16, 1024


class TokenStream:
    """The samples of a `ShardSet` in the order of `seed`, as one rank sees them.

    ``consumed`` advances by ``world_size`` with each sample that this rank is given: all ranks are taken to be in step.
    `epochs` ends the stream (None: never); the last step of the last epoch may then miss some ranks.
    """

    def __init__(
        self, shards: ShardSet, *, seed: int, rank: int = 0, world_size: int = 1, epochs: int | None = None
    ) -> None:
        if world_size < 1 or not 0 <= rank < world_size:
            raise ShardError(f"rank {rank} of world_size {world_size}: ranks are 0 to world_size - 1")
        if not len(shards):
            raise ShardError("these shards hold no sample; is context_length larger than every shard?")
        self.shards, self.seed, self.rank, self.world_size = shards, seed, rank, world_size
        self.total = None if epochs is None else epochs * len(shards)
        self.consumed = 0

    def state(self) -> dict[str, Any]:
        """Return the state to put in a checkpoint; it is the same on every rank."""
        return {
            "version": STATE_VERSION,
            "fingerprint": self.shards.fingerprint,
            "seed": self.seed,
            "consumed": self.consumed,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken. Raises ShardError if it is of other shards, another seed or version."""
        for key, mine in (("version", STATE_VERSION), ("fingerprint", self.shards.fingerprint), ("seed", self.seed)):
            if state.get(key) != mine:
                raise ShardError(f"this state has {key} {state.get(key)!r}, the stream has {mine!r}; its order differs")
        consumed = state.get("consumed")
        if not isinstance(consumed, int) or isinstance(consumed, bool) or consumed < 0:
            raise ShardError(f"this state has consumed {consumed!r}, which counts no samples")
        self.consumed = consumed

    def rows(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the row in the shards, int64, of each global sample number."""
        size = len(self.shards)
        epochs, positions = np.divmod(np.asarray(samples, dtype=np.int64), size)
        found = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs).tolist():
            where = epochs == epoch
            found[where] = permute(positions[where], size, order_key(self.shards.fingerprint, self.seed, epoch))
        return found

    def row_numbers(self) -> Iterator[int]:
        """Yield this rank's rows (indices into the shards) from ``consumed`` on, and count them as consumed."""
        # the order is computed in blocks, which grow so that a short look is cheap; their size changes nothing
        block = FIRST_BLOCK
        while self.total is None or self.consumed < self.total:
            base = self.consumed
            samples = base + self.rank + self.world_size * np.arange(block, dtype=np.int64)
            block = min(2 * block, LAST_BLOCK)
            if self.total is not None:
                samples = samples[samples < self.total]
                if not len(samples):
                    self.consumed = self.total
                    return
            for step, row in enumerate(self.rows(samples).tolist(), 1):
                reached = base + step * self.world_size
                self.consumed = reached = reached if self.total is None else min(reached, self.total)
                yield row
                if self.consumed != reached:
                    break  # a state was loaded meanwhile: go on from there

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """Yield this rank's samples: read-only views of the ids."""
        for row in self.row_numbers():
            yield self.shards[row]

    def batches(self, batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yield this rank's samples as int64 [batch_size, context_length]; the last batch of `epochs` may be smaller.

        ``consumed`` advances by whole batches.
        """
        while self.total is None or self.consumed < self.total:
            samples = self.step(0, batch_size)
            self.consumed += batch_size * self.world_size
            if self.total is not None:
                self.consumed = min(self.consumed, self.total)
            if len(samples):
                yield self.gather(samples)

    def step(self, number: int, batch_size: int) -> npt.NDArray[np.int64]:
        """Return the global sample numbers of this rank's batch `number`, counted from ``consumed``."""
        first = self.consumed + number * batch_size * self.world_size + self.rank
        samples = first + self.world_size * np.arange(batch_size, dtype=np.int64)
        return samples if self.total is None else samples[samples < self.total]

    def gather(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the ids of global samples as int64 [len(samples), context_length]. Raises ShardError if documents are
        of any length."""
        if self.shards.context_length is None:
            raise ShardError(
                "documents differ in length: open the shards with a context_length to batch windows of them"
            )
        ids = np.empty((len(samples), self.shards.context_length), dtype=np.int64)
        for at, row in enumerate(self.rows(samples).tolist()):
            ids[at] = self.shards[row]
        return ids
