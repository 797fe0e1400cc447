"""Whatever happens to a run, it ends in the same bytes."""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
import ray

from curate.pipelines.recipe import Recipe, load_recipe
from curate.pipelines.run import Options, Summary, run

HERE = pathlib.Path(__file__).parent
FINISH_S = 240


def load(name: str) -> dict[str, object]:
    """Return the names of a neighbouring file; tests are no package."""
    import runpy

    return runpy.run_path(str(HERE / f"{name}.py"))


CONFTEST = load("conftest")
result_of: Callable[[object], object] = CONFTEST["result_of"]  # type: ignore[assignment]
Result: Callable[[str, dict[str, str]], object] = CONFTEST["Result"]  # type: ignore[assignment]
kept_ids: Callable[[object], set[str]] = CONFTEST["kept_ids"]  # type: ignore[assignment]


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """One Ray for the tests of this file."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_the_reference_has_many_units_and_partitions(reference: pathlib.Path) -> None:
    plans = {
        path.stem.partition("-")[2]: json.loads(path.read_text())["tasks"] for path in (reference / "plan").iterdir()
    }
    assert len(plans["collect"]) >= 8
    assert len(plans["pack"]) >= 4
    assert len(json.loads((reference / "shards" / "manifest.json").read_text())["shards"]) >= 5


def test_a_second_run_does_nothing(
    reference: pathlib.Path,
    small_recipe: Callable[..., Recipe],
    run_inline: Callable[..., Summary],
    tmp_path: pathlib.Path,
) -> None:
    shutil.copytree(reference, tmp_path / "run")
    summary = run_inline(small_recipe(), tmp_path / "run")
    assert dict(summary.executed) == {}
    assert result_of(tmp_path / "run") == result_of(reference)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_gives_the_bytes_of_inline(
    local_ray: None, reference: pathlib.Path, small_recipe: Callable[..., Recipe], tmp_path: pathlib.Path, workers: int
) -> None:
    run(small_recipe(), str(tmp_path / "run"), Options(executor="ray", workers=workers))
    assert result_of(tmp_path / "run") == result_of(reference)


def run_killed(recipe: pathlib.Path, output: object, *options: str, **environment: str) -> tuple[list[str], object]:
    """Run a recipe in processes that die at commit steps; return the steps and what the manifest says in the end."""
    command = [sys.executable, str(HERE / "killed.py"), str(recipe), str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    return told["deaths"], Result(told["fingerprint"], told["shards"])


@pytest.mark.slow
def test_a_death_at_every_commit_step_changes_nothing(
    reference: pathlib.Path, crawl: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    deaths, result = run_killed(crawl / "small.toml", tmp_path / "run")
    assert len(deaths) > 150
    assert result == result_of(reference)
    assert not list((tmp_path / "run").rglob(".*.tmp*"))


@pytest.mark.slow
def test_a_death_at_every_kind_of_commit_step_on_an_object_store_changes_nothing(
    crawl: pathlib.Path, run_inline: Callable[..., Summary], tmp_path: pathlib.Path
) -> None:
    steps = """steps = ["gopher_quality", "exact"]"""
    text = re.sub(r"^steps = .*$", steps, (crawl / "small.toml").read_text(), flags=re.MULTILINE)
    text = text.replace("unit_bytes = 100_000", "unit_bytes = 10_000_000").replace("crawl/", f"{crawl}/crawl/")
    (tmp_path / "brief.toml").write_text(text)
    (tmp_path / "scratch").mkdir()
    deaths, result = run_killed(
        tmp_path / "brief.toml", "runs/one", "--s3", "--each", "kind", TMPDIR=str(tmp_path / "scratch")
    )
    assert {death for death in deaths if not death.startswith("local copy:")} == {
        *(f"output:{step}" for step in ("staged", "uploaded", "committed")),
        *(
            f"{kind}:{step}"
            for kind in ("recipe.toml", "lease.json", "plan", "receipt", "log", "shards/tokenizer", "manifest.json")
            for step in ("ready", "committed")
        ),
    }
    run_inline(load_recipe(str(tmp_path / "brief.toml")), tmp_path / "run")
    assert result == result_of(tmp_path / "run")
    left = [path.name for path in (tmp_path / "scratch").iterdir()]
    assert not [name for name in left if name.startswith("curate-scratch-")], left


def _start(crawl: pathlib.Path, output: pathlib.Path) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from curate import load_recipe, run, Options; "
        "run(load_recipe(sys.argv[1]), sys.argv[2], Options(executor='ray', workers=2))"
    )
    command = [sys.executable, "-c", code, str(crawl / "small.toml"), str(output)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _workers(family: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in family:
        try:
            if "curate.engine.worker" in process.cmdline() or process.name().startswith("ray::"):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.ray
@pytest.mark.slow
def test_random_kills_of_workers_and_driver_change_nothing(
    reference: pathlib.Path, crawl: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    output = tmp_path / "run"
    dice = random.Random(20)
    deaths = {"driver": 0, "worker": 0}
    deadline = time.monotonic() + FINISH_S
    finished = False
    while not finished:
        assert time.monotonic() < deadline, f"not finished after {deaths}"
        driver = _start(crawl, output)
        started = time.monotonic()
        # the first starts die soon, later ones live longer, so that the run ends
        life = dice.uniform(6, 10) + 4 * deaths["driver"]
        family: list[psutil.Process] = []
        while driver.poll() is None:
            assert time.monotonic() < deadline, f"not finished after {deaths}"
            time.sleep(dice.uniform(0.1, 0.6))
            family = _family(driver.pid) or family
            workers = _workers(family)
            if workers and deaths["worker"] < 6 and dice.random() < 0.4:
                dice.choice(workers).kill()
                deaths["worker"] += 1
            if time.monotonic() - started > life and deaths["driver"] < 3:
                driver.send_signal(signal.SIGKILL)
                deaths["driver"] += 1
                break
        code = driver.wait(timeout=60)
        for process in family:
            if process.pid != driver.pid and process.is_running():
                process.kill()
        finished = code == 0
        assert finished or code in (-signal.SIGKILL, 1)
    assert result_of(output) == result_of(reference)


@pytest.mark.ray
@pytest.mark.slow
def test_two_nodes_without_a_shared_disk_and_an_object_store(
    reference: pathlib.Path, crawl: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    command = [sys.executable, str(HERE / "two_nodes.py"), str(crawl / "small.toml"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FINISH_S)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["nodes_used"] == 2
    assert (told["fingerprint"], told["shards"]) == tuple(result_of(reference))  # type: ignore[arg-type]


def test_resharded_and_renamed_inputs_keep_the_same_documents(
    reference: pathlib.Path,
    crawl: pathlib.Path,
    small_recipe: Callable[..., Recipe],
    run_inline: Callable[..., Summary],
    tmp_path: pathlib.Path,
) -> None:
    members = [data for path in sorted((crawl / "crawl").glob("*.warc.gz")) for data in _members(path.read_bytes())]
    random.Random(5).shuffle(members)
    (tmp_path / "other").mkdir()
    for number in range(3):
        (tmp_path / "other" / f"part-{number}.warc.gz").write_bytes(b"".join(members[number::3]))
    run_inline(small_recipe(inputs=[str(tmp_path / "other" / "*.gz")]), tmp_path / "run")
    assert kept_ids(tmp_path / "run") == kept_ids(reference)
    assert result_of(tmp_path / "run") == result_of(reference)


def _members(data: bytes) -> list[bytes]:
    """Return the gzip members of a WARC file."""
    import zlib

    members = []
    while data:
        inflate = zlib.decompressobj(wbits=31)
        inflate.decompress(data)
        size = len(data) - len(inflate.unused_data)
        members.append(data[:size])
        data = data[size:]
    return members
