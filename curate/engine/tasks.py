"""A task: a pure function of settings and input bytes, its content-addressed key, and the receipt that commits it.

A task's key is the hash of everything that can shape its output bytes and of nothing else: stage name and version,
settings, library versions, input content ids and range. No path, time, host or worker takes part. A task writes its
outputs beside their final places, commits them, and then its receipt; a receipt that exists means that work is done.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import pyarrow as pa
import xxhash

from curate import storage
from curate.errors import InvariantError
from curate.schema import ID_MODULUS, id_sum

DOCUMENT: Final = "document "
BEAT_S: Final = 30.0
DIGEST_BYTES: Final = 1 << 20
"""How the heartbeat label of one document begins; only such a label can be quarantined."""
BATCH: Final = "documents from "
"""How the heartbeat label of a batch of documents begins; one that fells its worker is taken one document at a time."""

Kind = Literal["map", "scatter", "reduce"]


@dataclass(frozen=True)
class FileRef:
    """A file that a task reads or wrote. ``path`` is relative to the run folder, or a URI for a source file; ``id``
    identifies its content; ``rows`` is what it holds where that is known."""

    path: str
    id: str
    bytes: int = 0
    rows: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskSpec:
    """One unit of work. ``unit`` is what people see in messages; everything else but ``function`` enters the key."""

    stage: str
    version: int
    kind: Kind
    function: str
    unit: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Sequence[FileRef]]
    libraries: Sequence[str] = ()

    @functools.cached_property
    def key(self) -> str:
        """32 hex digits that change when, and only when, the output bytes may change."""
        content = {
            "stage": self.stage,
            "version": self.version,
            "settings": self.settings,
            "inputs": {name: [ref.id for ref in refs] for name, refs in self.inputs.items()},
            "libraries": {name: _library_version(name) for name in sorted(self.libraries)},
        }
        return hash_json(content)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON data."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> TaskSpec:
        """Return the spec that `to_json` wrote."""
        inputs = {name: tuple(FileRef(**ref) for ref in refs) for name, refs in data["inputs"].items()}
        return TaskSpec(**{**data, "inputs": inputs})


_library_version = functools.cache(importlib.metadata.version)


def hash_json(data: Any) -> str:
    """Return 32 hex digits (xxh3-128) of the canonical JSON of `data`."""
    return xxhash.xxh3_128_hexdigest(canonical_json(data).encode())


def canonical_json(data: Any) -> str:
    """Return JSON with sorted keys and no white space. NaN is refused."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@dataclass
class Flow:
    """How many documents went somewhere, and the sum of their ids modulo 2**128."""

    count: int = 0
    ids: int = 0

    def add(self, ids: pa.Array | pa.ChunkedArray) -> None:
        """Add an array of fixed_size_binary[16] ids."""
        self.count += len(ids)
        self.ids = (self.ids + id_sum(ids)) % ID_MODULUS

    def add_one(self, identity: bytes) -> None:
        """Add one 16-byte id."""
        self.count += 1
        self.ids = (self.ids + int.from_bytes(identity, "big")) % ID_MODULUS

    def to_json(self) -> list[Any]:
        """Return count and id sum; the sum as a hex string, since JSON numbers are not 128 bits wide."""
        return [self.count, f"{self.ids:032x}"]

    @staticmethod
    def from_json(data: Sequence[Any]) -> Flow:
        """Return the flow that `to_json` wrote."""
        return Flow(int(data[0]), int(data[1], 16))

    def plus(self, other: Flow) -> Flow:
        """Return the sum of two flows."""
        return Flow(self.count + other.count, (self.ids + other.ids) % ID_MODULUS)


FLOWS = ("in", "kept", "dropped", "errors")


@dataclass(frozen=True)
class Receipt:
    """The proof that a task is done: what it wrote, what flowed through it, its integer statistics, its quarantine.

    ``cost`` (CPU seconds, peak resident MiB) is information about this attempt; nothing reads it back into outputs.
    """

    key: str
    stage: str
    unit: str
    outputs: Mapping[str, Sequence[FileRef]]
    flows: Mapping[str, Flow]
    stats: Mapping[str, int]
    facts: Mapping[str, Any]
    quarantined: Sequence[Mapping[str, Any]]
    cost: Mapping[str, float]

    def files(self, name: str) -> Sequence[FileRef]:
        """Return the files that the task wrote under an output name, in the order written."""
        return self.outputs.get(name, ())

    def to_json(self) -> dict[str, Any]:
        """Return the receipt as plain JSON data."""
        data = asdict(self)
        data["flows"] = {name: flow.to_json() for name, flow in self.flows.items()}
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Receipt:
        """Return the receipt that `to_json` wrote."""
        return Receipt(
            **{
                **data,
                "outputs": {n: tuple(FileRef(**ref) for ref in refs) for n, refs in data["outputs"].items()},
                "flows": {name: Flow.from_json(flow) for name, flow in data["flows"].items()},
            }
        )


@dataclass(frozen=True)
class Job:
    """One attempt at a task. ``careful`` holds the labels of batches to take one document at a time, so that a crash
    names its document; ``skip`` maps the labels of quarantined documents to the reason. ``import_paths`` are where the
    driver finds modules: a user's ``module:function`` must be found by workers, too."""

    spec: TaskSpec
    run: str
    careful: Sequence[str] = ()
    skip: Mapping[str, str] = field(default_factory=dict)
    scratch: str | None = None
    timeout_s: float = 600.0
    memory_bytes: int = 4 << 30
    import_paths: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the job as plain JSON data."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Job:
        """Return the job that `to_json` wrote."""
        return Job(**{**data, "spec": TaskSpec.from_json(data["spec"])})


class Task:
    """What a stage function is given: settings, inputs, places to write, and books to keep."""

    def __init__(self, job: Job, heartbeat: Callable[[str], None], scratch: str) -> None:
        self.spec = job.spec
        self.settings = job.spec.settings
        self.key = job.spec.key
        self.run = job.run
        self.careful = job.careful
        self.heartbeat = heartbeat
        self.flows = {name: Flow() for name in FLOWS}
        self.stats: Counter[str] = Counter()
        self.facts: dict[str, Any] = {}
        self.quarantined: list[dict[str, Any]] = []
        self.skip = job.skip
        self.scratch = scratch
        self._staged: list[Output] = []
        self._open: set[str] = set()

    def inputs(self, name: str) -> Sequence[FileRef]:
        """Return the input files of a name; none if the plan gave none."""
        return self.spec.inputs.get(name, ())

    def input(self, name: str) -> FileRef:
        """Return the one input file of a name."""
        (ref,) = self.spec.inputs[name]
        return ref

    def uri(self, ref: FileRef) -> str:
        """Return where to read `ref`."""
        return ref.path if "://" in ref.path or os.path.isabs(ref.path) else storage.join(self.run, ref.path)

    def local(self, refs: Sequence[FileRef], names: Sequence[str] = ()) -> str:
        """Return a local folder that holds `refs` under `names`, the ends of their paths, by default the last part of
        each: the folder that they are in if they are local, else a copy that later tasks of this machine share."""
        names = names or [os.path.basename(ref.path) for ref in refs]
        uris = [self.uri(ref) for ref in refs]
        if all(storage.is_local(uri) for uri in uris):
            return storage.local_path(uris[0]).removesuffix(f"/{names[0]}")
        known = [[name, ref.id] for name, ref in zip(names, refs, strict=True)]
        folder = os.path.join(tempfile.gettempdir(), f"curate-files-{os.getuid()}-{hash_json(known)}")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if os.stat(folder, follow_symlinks=False).st_uid != os.getuid():
            raise InvariantError(f"{folder} belongs to another user, who could have put anything there; remove it")
        for name, uri in zip(names, uris, strict=True):
            target = os.path.join(folder, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.exists(target):
                storage.write_bytes(target, storage.read_bytes(uri))
        return folder

    @contextlib.contextmanager
    def write(self, name: str, pattern: str) -> Iterator[Output]:
        """Give a local path to build one output file in. It is published after the stage function has returned, at
        `pattern` below the run folder, where ``{key}``, ``{number}`` (of the file among those of its name) and
        ``{digest}`` (16 hex digits of its content) are filled in."""
        number = sum(1 for staged in self._staged if staged.name == name)
        folder, name_of_file = pattern.partition("/")[0], pattern.rpartition("/")[2]
        path = storage.staging_path(storage.join(self.run, folder, name_of_file), self.scratch)
        output = Output(name, pattern, path, number)
        self._open.add(path)
        yield output
        self._staged.append(output)

    @contextlib.contextmanager
    def folder(self, name: str) -> Iterator[str]:
        """Give a fresh local folder, on the disk where outputs `name` are built, for a writer that names its own files;
        it is gone with what is left in it when the block ends."""
        path = storage.staging_path(storage.join(self.run, name, "folder"), self.scratch)
        os.makedirs(path)
        try:
            yield path
        finally:
            shutil.rmtree(path)

    @contextlib.contextmanager
    def beating(self, label: str) -> Iterator[None]:
        """Say every half minute that the task is alive, around a call that says nothing for as long as it works."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT_S):
                self.heartbeat(label)

        thread = threading.Thread(target=beat, name=label, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def commit(self) -> dict[str, list[FileRef]]:
        """Publish every output and return what was written, by output name."""
        outputs: dict[str, list[FileRef]] = {}
        for output in self._staged:
            size, digest = _digest(output.path)
            final = output.pattern.format(key=self.key, number=f"{output.number:05d}", digest=digest[:16])
            storage.commit(output.path, storage.join(self.run, final))
            outputs.setdefault(output.name, []).append(
                FileRef(final, f"{size}-{digest}", size, output.rows, output.facts)
            )
        return outputs

    def discard(self) -> None:
        """Delete what was staged and not published."""
        for path in self._open:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def check_flows(self) -> None:
        """Raise InvariantError unless in = kept + dropped + errors, as a count and as a sum of ids."""
        out = self.flows["kept"].plus(self.flows["dropped"]).plus(self.flows["errors"])
        if out != self.flows["in"]:
            raise InvariantError(
                f"{self.spec.stage} {self.spec.unit}: {self.flows['in'].count} documents in, but "
                f"{out.count} kept, dropped or in error; this is a bug, please report it"
            )


@dataclass
class Output:
    """A file being written: its local path, and what its receipt will say of it."""

    name: str
    pattern: str
    path: str
    number: int
    rows: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def _digest(path: str) -> tuple[int, str]:
    """Return size and xxh3-128 of a file."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as stream:
        while block := stream.read(DIGEST_BYTES):
            digest.update(block)
    return os.path.getsize(path), digest.hexdigest()


def check_rows(where: str, expected: int, found: int) -> None:
    """Raise InvariantError unless as many rows arrived as were sent."""
    if expected != found:
        raise InvariantError(f"{where}: {expected} rows were to arrive, {found} did; this is a bug, please report it")
