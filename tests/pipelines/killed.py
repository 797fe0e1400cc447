"""Runs a recipe in child processes that die at commit steps, until one of them finishes. A test's subprocess.

``python killed.py RECIPE OUTPUT [--each KIND] [--s3]`` forks a child a time; each dies (``os._exit``: no clean-up,
nothing flushed) at the first commit step at which none before it died. Steps are told apart by their place in the
commit and, as ``--each`` says, by the ``file``, by the ``phase`` and the folder (the default), or by the ``kind`` of
file alone: a thousand deaths, two hundred, or some twenty. With ``--s3`` OUTPUT is a folder of a bucket on a server of
our own. What is printed: the steps, and the manifest's fingerprint and the digests of its shards.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal

from curate import load_recipe, storage
from curate.engine import ledger
from curate.pipelines import run as run_module

MAX_DEATHS = 5000
COMPACT_AT = 5
"""On an object store: so few receipts become a log, or no log would ever be written."""


class DiesAtNewSteps:
    """Ends the process at the first step of a commit that is not in `seen`, after telling `report`."""

    def __init__(self, seen: set[str], report: int, output: str, each: str) -> None:
        self.seen, self.report, self.each = seen, report, each
        self.root = output.partition("?")[0].rstrip("/") + "/"
        self.at = self.phase = ""
        self.commit, self.write_bytes = storage.commit, storage.write_bytes

    def step(self, name: str) -> None:
        label = f"{self.at}:{name}"
        if label not in self.seen:
            os.write(self.report, label.encode() + b"\n")
            os._exit(9)

    def name(self, uri: str) -> None:
        place = uri.partition("?")[0].removeprefix(self.root)
        if place.startswith("plan/"):
            self.phase = place
        folder, _, file = place.rpartition("/")
        if self.each == "file":
            self.at = place
        elif self.each == "phase":
            self.at = f"{self.phase or os.sep} {folder or place}"
        elif os.path.isabs(place):
            self.at = "local copy"
        elif folder in ("plan", "shards/tokenizer"):
            self.at = folder
        elif not folder or file == "manifest.json":
            self.at = file
        elif folder == "receipts":
            self.at = "log" if file.endswith(".arrow") else "receipt"
        else:
            self.at = "output"

    def named_commit(self, path: str, uri: str) -> None:
        self.name(uri)
        self.commit(path, uri)

    def named_write(self, uri: str, data: bytes) -> None:
        self.name(uri)
        self.write_bytes(uri, data)


def run_and_die(recipe_path: str, output: str, dies: DiesAtNewSteps) -> None:
    storage.on_commit_step = dies.step
    storage.commit, storage.write_bytes = dies.named_commit, dies.named_write
    if not storage.is_local(output):
        ledger.Ledger.compact = functools.partialmethod(ledger.Ledger.compact, COMPACT_AT)  # type: ignore[assignment]
    run_module.run(load_recipe(recipe_path), output, run_module.Options(executor="inline"))
    os._exit(0)


def start_s3() -> tuple[int, str]:
    """Start an S3 server in a child process, and return its id and the query of its URIs."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        import boto3
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="curate-test")
        os.write(send, f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1\n".encode())
        signal.pause()
    os.close(send)
    with os.fdopen(receive) as stream:
        return child, stream.readline().strip()


def run_until_finished(recipe: str, output: str, each: str) -> set[str]:
    """Fork children until one finishes, and return the steps at which the others died."""
    seen: set[str] = set()
    for _ in range(MAX_DEATHS):
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(receive)
            run_and_die(recipe, output, DiesAtNewSteps(seen, send, output, each))
        os.close(send)
        with os.fdopen(receive) as stream:
            seen.update(line.rstrip("\n") for line in stream)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return seen
        if code != 9:
            raise SystemExit(f"a child ended with {code} after {len(seen)} deaths")
    raise SystemExit(f"not finished after {MAX_DEATHS} deaths")


def main(recipe: str, output: str, each: str, s3: bool) -> None:
    server = None
    if s3:
        server, query = start_s3()
        output = f"s3://curate-test/{output}{query}"
    try:
        deaths = run_until_finished(recipe, output, each)
        # this process asks the store only now: what a store's client knows must not be forked
        place = storage.join(output, "shards", "manifest.json")
        found = storage.read_bytes(place) if storage.exists(place) else b'{"fingerprint": null, "shards": []}'
        manifest = json.loads(found)
    finally:
        if server is not None:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
    shards = {shard["path"]: shard["sha256"] for shard in manifest["shards"]}
    print(json.dumps({"deaths": sorted(deaths), "fingerprint": manifest["fingerprint"], "shards": shards}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("output")
    parser.add_argument("--each", choices=["file", "phase", "kind"], default="phase")
    parser.add_argument("--s3", action="store_true")
    main(**vars(parser.parse_args()))
