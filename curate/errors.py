"""The errors that ``curate`` raises, as a tree.

::

    CurateError
    ├── RecipeError       the recipe or the command line is wrong; nothing was started (exit 2)
    ├── InputError        this file or record is bad; it is counted and the run goes on
    ├── AssetError        a named model or vocabulary is missing or damaged
    ├── RetryableError    storage did not answer; the same call may succeed later
    ├── StorageFullError  no space left; the run stopped with nothing half-committed
    ├── LeaseError        another process is working on this run folder
    ├── AlarmError        a dedup step took more than its alarm allows; look, then go on with an override (exit 4)
    ├── TaskError         a task failed in a way that a retry would repeat
    ├── ShardError        a shard or manifest is not what it says it is
    └── InvariantError    documents were lost or invented: our bug, stop

Every message says what is wrong, where (``file:offset``) and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class CurateError(Exception):
    """Base of every error that ``curate`` raises on purpose."""


class RecipeError(CurateError):
    """The recipe is wrong. Holds every mistake found, each with its place and its fix."""

    def __init__(self, mistakes: Sequence[str] | str) -> None:
        self.mistakes: tuple[str, ...] = (mistakes,) if isinstance(mistakes, str) else tuple(mistakes)
        super().__init__("\n".join(self.mistakes))

    def __reduce__(self) -> tuple[type[RecipeError], tuple[tuple[str, ...]]]:
        return type(self), (self.mistakes,)


class InputError(CurateError):
    """A file or record is bad. ``kind`` becomes the reason ``error.<kind>`` in the rejects."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        return type(self), (self.kind, str(self))


class AssetError(CurateError):
    """A model or vocabulary is missing, or its checksum differs."""


class RetryableError(CurateError):
    """Storage failed in a way that often passes: time-outs, throttling, dropped connections."""


class StorageFullError(CurateError):
    """The disk, quota or file-size limit is reached."""


class LeaseError(CurateError):
    """Another process holds the lease of this run folder."""


class TaskError(CurateError):
    """A task raised an error that a retry would only repeat."""


class AlarmError(CurateError):
    """A dedup step took more than its alarm allows. The step is done and can be looked at; nothing after it is.

    `broken` says which bounds, with the figures; `run` is the run folder as it is shown; `commands` are those of
    ``curate dedup`` that show what the step did.
    """

    def __init__(
        self, step: str, broken: Sequence[str], run: str, commands: Sequence[str] = ("clusters", "audit")
    ) -> None:
        self.step = step
        self.broken = tuple(broken)
        self.run = run
        self.commands = tuple(commands)
        look = " and ".join(f"`curate dedup {command} {run} --step {step}`" for command in commands)
        told = [
            f"the dedup step {step} takes more than its alarm allows; the run stopped after it:",
            *(f"  {one}" for one in broken),
            f"look with {look};",
            f"if it is right, the same command goes on with --allow-loss {step} or another bound in dedup.{step}.alarm",
        ]
        super().__init__("\n".join(told))

    def __reduce__(self) -> tuple[type[AlarmError], tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
        return type(self), (self.step, self.broken, self.run, self.commands)


class ShardError(CurateError):
    """A shard, a manifest or a reader state does not match what it claims to be."""


class InvariantError(CurateError):
    """In = kept + dropped + errors does not hold, or two attempts of one task wrote different bytes."""
