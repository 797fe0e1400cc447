"""What reports say of a run that is deduplicated against an older one, which holds some of the same records."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest
from dedup_run import words

from curate.errors import AlarmError
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run
from curate.report.audit import read_audit
from curate.report.clusters import read_clusters
from curate.report.dedup_tables import show_audit, show_clusters
from curate.report.terminal import make_console

NEAR, COPIES, NEW = 5, 3, 4


def page(seed: int, *ends: str) -> str:
    return " ".join([*words(seed, 200), *ends])


OLD = [(f"old-{n}", page(n)) for n in range(10)]
YOUNG = [
    *((f"near-{n}", page(n, "end")) for n in range(NEAR)),
    # the older run's own record, a copy of it, and copies among what is new
    OLD[7],
    ("copy-of-7", page(7)),
    *((f"new-{n}", page(100 + n)) for n in range(NEW)),
    *((f"copy-{n}", page(100 + n, "end")) for n in range(COPIES)),
]
OLDER = NEAR + 2


def start(folder: pathlib.Path, name: str, texts: list[tuple[str, str]], step: str = "", steps: str = "") -> str:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in texts))
    (folder / f"{name}.toml").write_text(
        f'name = "near"\nsteps = [{steps} "minhash"]\nsources = [{{ name = "web", input = ["{name}.jsonl"] }}]\n'
        f"[dedup.minhash]\n{step}\n"
    )
    run(load_recipe(str(folder / f"{name}.toml")), str(folder / name), Options(executor="inline"))
    return str(folder / name)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> str:
    return start(tmp_path_factory.mktemp("older"), "older", OLD)


@pytest.fixture(scope="module")
def younger(older: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return start(tmp_path_factory.mktemp("younger"), "younger", YOUNG, f'against = ["{older}"]')


def test_what_went_for_older_runs_is_compared_with_the_texts_there(younger: str) -> None:
    (audit,) = read_audit(younger, number=20)
    assert (audit.removed, audit.sampled, audit.older, audit.elsewhere) == (OLDER + COPIES, OLDER + COPIES, OLDER, 0)
    assert (audit.rate.compared, audit.rate.false, audit.chained) == (OLDER + COPIES, 0, 0)
    assert audit.rate.interval == (0.0, 0.0), "all were compared"
    # two are equal to what was kept; of 197 shingles of the others one is theirs alone
    assert sorted(example.similarity for example in audit.examples)[-2:] == [1.0, 1.0]
    assert audit.examples[0].similarity == pytest.approx(196 / 197)
    assert audit.examples[0].removed.passage.endswith("end")


def test_a_stricter_threshold_finds_them_far(younger: str) -> None:
    (audit,) = read_audit(younger, threshold=0.999)
    assert audit.rate.false == audit.end.false == NEAR + COPIES


def test_chains_lead_into_the_older_run(older: str, tmp_path: pathlib.Path) -> None:
    folder = start(tmp_path, "chain", YOUNG, f'against = ["{older}"]', '"exact",')
    exact, minhash = read_audit(folder)
    assert (exact.step, exact.removed, exact.older, exact.chained) == ("exact", 1, 0, 1)
    assert (exact.end.compared, exact.end.false, dict(exact.gone)) == (1, 0, {})
    assert (minhash.removed, minhash.older) == (OLDER + COPIES - 1, OLDER - 1)


def test_without_its_texts_what_went_for_an_older_run_is_counted_apart(younger: str, tmp_path: pathlib.Path) -> None:
    shutil.copytree(younger, tmp_path / "copy")
    written = (tmp_path / "copy" / "recipe.toml").read_text()
    (place,) = [line.split('"')[1] for line in written.splitlines() if line.startswith("against")]
    shutil.copytree(place, tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone" / "documents")
    for other in (tmp_path / "gone", tmp_path / "nowhere"):
        (tmp_path / "copy" / "recipe.toml").write_text(written.replace(place, str(other)))
        (audit,) = read_audit(str(tmp_path / "copy"))
        assert (audit.older, audit.elsewhere, audit.rate.compared) == (0, OLDER, COPIES)
        assert audit.rate.interval.high > 0.5, "of most nothing is known"


def test_clusters_count_what_went_for_older_runs_and_are_of_this_run(younger: str) -> None:
    step = read_clusters(younger, "minhash")[0]
    assert step.complete
    assert (step.documents, step.removed, step.older) == (len(YOUNG), OLDER + COPIES, OLDER)
    assert [(bucket.smallest, bucket.clusters, bucket.documents) for bucket in step.histogram] == [(2, 3, 6)]
    assert [(group.loss.documents, group.loss.removed) for group in step.sources] == [(len(YOUNG), OLDER + COPIES)]
    assert [cluster.size for cluster in step.largest] == [2, 2, 2]


def test_both_are_told(younger: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_clusters(make_console(), read_clusters(younger, "minhash"))
    show_audit(make_console(), read_audit(younger))
    told = " ".join(capsys.readouterr().out.split())
    assert f"{len(YOUNG)} in, {OLDER + COPIES} removed (71.4%), {OLDER} of them for older runs" in told
    assert f"{OLDER} were removed for a document of an older run, and compared with it" in told


def test_the_alarm_counts_what_went_in_both_rounds(older: str, tmp_path: pathlib.Path) -> None:
    bound = "alarm = { min_documents = 1, max_lost_share_per_source = %s }"
    share = (OLDER + COPIES) / len(YOUNG)
    # each round by itself takes less
    assert max(OLDER, COPIES) / len(YOUNG) < share - 0.01
    with pytest.raises(AlarmError, match=rf"source web: {OLDER + COPIES} of {len(YOUNG)} documents would go"):
        start(tmp_path, "stopped", YOUNG, f'against = ["{older}"]\n{bound % (share - 0.01)}')
    start(tmp_path, "allowed", YOUNG, f'against = ["{older}"]\n{bound % (share + 0.01)}')
