"""Semantic dedup from end to end: what goes is near what stays, whatever the files, partitions or order."""

from __future__ import annotations

import json
import pathlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from little_models import write_onnx

from curate import storage
from curate.engine.exchange import merge
from curate.engine.tasks import Job, Task, TaskSpec
from curate.errors import RecipeError
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run
from curate.pipelines.semantic import cluster_vectors, clusters_of, unpacked
from curate.pipelines.units import folder_refs
from curate.report.run_folder import read_run
from curate.report.sweep import parse_epsilons, read_sweep
from curate.schema import ids_from_words

Verdicts = dict[str, dict[str, Any]]
Dedup = Callable[..., Verdicts]
SMALL = "dim = 24\nepochs = 1\nepsilon = 0.1"


@pytest.fixture
def dedup(tmp_path: pathlib.Path) -> Dedup:
    """Return a function that runs semantic dedup over inputs and returns the verdicts by document id."""

    def start(
        inputs: list[str], settings: str = SMALL, engine: str = "", folder: str = "run", sources: str = ""
    ) -> Verdicts:
        recipe = tmp_path / "semantic.toml"
        recipe.write_text(
            f'name = "semantic"\nsteps = ["exact", "semantic"]\n[[sources]]\nname = "web"\n'
            f"input = {json.dumps(inputs)}\n{sources}\n[dedup.semantic]\n{settings}\n[engine]\n{engine}\n"
        )
        output = str(tmp_path / folder)
        run(load_recipe(str(recipe)), output, Options(executor="inline"))
        found = [part.verdicts for part in read_run(output).parts()]
        tables = [pq.read_table(f"{output}/{ref.path}") for ref in found if ref is not None]
        return {row["id"].hex(): row for row in pa.concat_tables(tables).to_pylist()}

    return start


def stages_run(folder: pathlib.Path) -> dict[str, int]:
    """Return how many receipts of each stage a run folder holds."""
    counts: dict[str, int] = {}
    for path in (folder / "receipts").glob("*.json"):
        stage = json.loads(path.read_bytes())["stage"]
        counts[stage] = counts.get(stage, 0) + 1
    return counts


def write_lines(path: pathlib.Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
    return str(path)


@pytest.mark.parametrize("scheme", ["semdedup", "llama3"])
def test_the_kept_ids_do_not_depend_on_units_or_partitions(dedup: Dedup, crawl: pathlib.Path, scheme: str) -> None:
    settings = f'{SMALL}\nscheme = "{scheme}"'
    whole = dedup([str(crawl / "crawl")], settings)
    parts = dedup(
        [str(crawl / "crawl")], settings, "unit_bytes = 60_000\npartition_bytes = 30_000\nroll_bytes = 100_000", "cut"
    )
    assert whole == parts
    gone = [row for row in whole.values() if row["reason"] == "duplicate.semantic"]
    assert 5 < len(gone) < len(whole) / 2
    for row in gone:
        kept = whole[row["kept_id"].hex()]
        assert kept["keep"]
        assert kept["cluster_size"] >= 2
        assert 0.0 < row["similarity"] <= 1.0


@pytest.mark.parametrize("scheme", ["semdedup", "llama3"])
def test_resharded_and_renamed_inputs_give_the_same_verdicts(dedup: Dedup, tmp_path: pathlib.Path, scheme: str) -> None:
    settings = f'{SMALL}\nscheme = "{scheme}"'
    files = write_copies(tmp_path)
    lines = [line for file in files for line in pathlib.Path(file).read_text().splitlines(keepends=True)]
    random.Random(7).shuffle(lines)
    others = [tmp_path / f"other-{number}.jsonl" for number in range(3)]
    for number, other in enumerate(others):
        other.write_text("".join(lines[number::3]))
    found = dedup(files, settings)
    assert 0 < sum(not row["keep"] for row in found.values()) < len(lines)
    assert dedup([str(other) for other in others], settings, folder="other") == found


def signals_of(folder: pathlib.Path, *names: str) -> dict[str, tuple[Any, ...]]:
    """Return signals of each document of a run, by its id."""
    table = pq.read_table(folder / "signals", columns=["id", *names])
    return {row["id"].hex(): tuple(row[name] for name in names) for row in table.to_pylist()}


def removed(verdicts: Verdicts) -> dict[str, str]:
    """Return the id of the document that is kept for each one that the semantic step removed."""
    gone = {name: row for name, row in verdicts.items() if row["reason"] == "duplicate.semantic"}
    return {name: row["kept_id"].hex() for name, row in gone.items()}


def write_copies(folder: pathlib.Path, count: int = 12, copies: int = 4) -> list[str]:
    """Write a file for each copy of some texts: the words are the same, so is the vector; the order is another, and
    every next copy has one word more. Return the files."""
    dice = random.Random(3)
    vocabulary = ["".join(dice.choices("aeioklmnrst", k=6)) for _ in range(200)]
    texts = [dice.choices(vocabulary, k=40) for _ in range(count)]
    lines: dict[int, list[str]] = {copy: [] for copy in range(copies)}
    for number, words in enumerate(texts):
        for copy in range(copies):
            text = " ".join([*dice.sample(words, len(words)), *words[:copy]])
            lines[copy].append(json.dumps({"id": f"{copy}-{number}", "text": text}) + "\n")
    for copy, written in lines.items():
        (folder / f"copy-{copy}.jsonl").write_text("".join(written))
    return [str(folder / f"copy-{copy}.jsonl") for copy in lines]


LLAMA3 = f'{SMALL}\nscheme = "llama3"'
OTHER = '[[sources]]\nname = "books"\ninput = [{}]\n'


def test_the_quality_decides_who_stays(dedup: Dedup, tmp_path: pathlib.Path) -> None:
    files = write_copies(tmp_path)
    found = dedup(files, f'{LLAMA3}\nquality = "words.count"')
    words = signals_of(tmp_path / "run", "words.count")
    assert [words[name] for name, row in found.items() if row["keep"]] == [(43,)] * 12
    assert all(row["cluster_size"] == 4 for row in found.values() if row["keep"])
    by_id = dedup(files, LLAMA3, folder="by-id")
    kept: dict[str, set[str]] = {}
    for name, winner in removed(by_id).items():
        kept.setdefault(winner, {winner}).add(name)
    assert len(kept) == 12
    assert all(winner == min(group) for winner, group in kept.items())
    assert {name for name, row in by_id.items() if row["keep"]} != {name for name, row in found.items() if row["keep"]}


@pytest.mark.parametrize("settings", [f'{LLAMA3}\nquality = "words.count"', SMALL], ids=["llama3", "semdedup"])
def test_the_better_source_stays_before_all_else(dedup: Dedup, tmp_path: pathlib.Path, settings: str) -> None:
    *others, longest = write_copies(tmp_path)
    better = OTHER.format(json.dumps(others[0])) + "priority = 1"
    found = dedup([*others[1:], longest], settings, sources=better)
    sources = signals_of(tmp_path / "run", "source", "words.count")
    assert [sources[name] for name, row in found.items() if row["keep"]] == [("books", 40)] * 12


def test_the_farthest_from_the_centroid_stays_in_semdedup(
    dedup: Dedup, crawl: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    found = dedup([str(crawl / "crawl")], f"{SMALL}\nclusters = 3")
    run_folder = read_run(str(tmp_path / "run"))
    ((centroids,), (assigned,)) = (run_folder.of_stage(f"semantic.{name}") for name in ("centroids", "assign"))
    with pa.memory_map(f"{tmp_path}/run/{centroids.done[0].files('centroids')[0].path}") as stream:
        centers = unpacked(pa.ipc.open_file(stream).get_batch(0).column("vector")).astype(np.int64)
    runs = [f"{tmp_path}/run/{receipt.files('run')[0].path}" for receipt in assigned.done]
    nearness = {}
    for cluster in clusters_of(merge(runs)):
        ids = ids_from_words(np.stack([cluster.column(name).to_numpy() for name in ("id_hi", "id_lo")], axis=1))
        products = (cluster_vectors(cluster).astype(np.int64) @ centers.T).max(axis=1)
        nearness |= dict(zip([name.hex() for name in ids.to_pylist()], products.tolist(), strict=True))
    pairs = removed(found)
    assert len(pairs) > 5
    assert all((nearness[kept], kept) < (nearness[name], name) for name, kept in pairs.items())


def test_documents_of_different_scopes_never_meet(dedup: Dedup, tmp_path: pathlib.Path) -> None:
    first, second, *others = write_copies(tmp_path)
    source = OTHER.format(json.dumps([second, *others])[1:-1])
    kept = {}
    for scope, crawls in {"global": "", "source": "", "crawl": "", "crawl of both": 'crawl = "web"'}.items():
        found = dedup([first], f'{SMALL}\nscope = "{scope.split()[0]}"', sources=source + crawls, folder=scope)
        kept[scope] = sum(row["keep"] for row in found.values())
    assert kept == {"global": 12, "source": 24, "crawl": 24, "crawl of both": 12}


def test_documents_of_different_languages_never_meet(dedup: Dedup, crawl: pathlib.Path, tmp_path: pathlib.Path) -> None:
    settings = f"{SMALL}\nclusters = 1".replace("0.1", "0.5")
    anywhere = dedup([str(crawl / "crawl")], settings)
    within = dedup([str(crawl / "crawl")], f'{settings}\nscope = "language"', folder="within")
    language = signals_of(tmp_path / "within", "language.code")
    assert any(language[name] != language[kept] for name, kept in removed(anywhere).items())
    assert len(removed(within)) > 5
    assert all(language[name] == language[kept] for name, kept in removed(within).items())


@pytest.mark.parametrize("quality", ["source", "nothing.like.it", "words.count@c4_lines"])
def test_a_quality_that_is_no_number_here_is_refused(dedup: Dedup, tmp_path: pathlib.Path, quality: str) -> None:
    with pytest.raises(RecipeError, match=r"dedup\.semantic\.quality"):
        dedup([write_lines(tmp_path / "few.jsonl", ["a text"])], f'{LLAMA3}\nquality = "{quality}"')


def test_a_moved_epsilon_embeds_nothing_again(dedup: Dedup, crawl: pathlib.Path, tmp_path: pathlib.Path) -> None:
    few = dedup([str(crawl / "crawl")], SMALL.replace("0.1", "0.01"))
    before = stages_run(tmp_path / "run")
    many = dedup([str(crawl / "crawl")], SMALL)
    after = stages_run(tmp_path / "run")
    assert sum(not row["keep"] for row in few.values()) < sum(not row["keep"] for row in many.values())
    assert {stage for stage in after if after[stage] != before.get(stage)} == {
        "semantic.pairs",
        "duplicates.apply",
        "tally",
    }


@pytest.mark.parametrize("scheme", ["semdedup", "llama3"])
def test_the_sweep_tells_what_a_run_at_each_epsilon_removes(
    dedup: Dedup, crawl: pathlib.Path, tmp_path: pathlib.Path, scheme: str
) -> None:
    settings = f'{SMALL}\nscheme = "{scheme}"'
    counts = {}
    for epsilon in (0.01, 0.1):
        verdicts = dedup([str(crawl / "crawl")], settings.replace("0.1", str(epsilon)))
        counts[epsilon] = sum(row["reason"] == "duplicate.semantic" for row in verdicts.values())
    (sweep,) = read_sweep(str(tmp_path / "run"), epsilons=[0.1, 0.01], number=3)
    assert {level.epsilon: level.documents for level in sweep.levels} == counts
    few, many = sweep.levels
    assert 0 < few.bytes < many.bytes < sweep.bytes
    assert few.tokens is None
    assert len(many.examples) == 3
    for pair in many.examples:
        assert verdicts[pair.removed.id]["reason"] == "duplicate.semantic"
        assert verdicts[pair.kept.id]["keep"]
    assert json.loads(json.dumps(sweep.to_json()))["levels"][1]["documents"] == counts[0.1]


def test_a_sweep_needs_a_semantic_step_and_numbers(dedup: Dedup, crawl: pathlib.Path, tmp_path: pathlib.Path) -> None:
    dedup([write_lines(tmp_path / "few.jsonl", ["one text"])])
    with pytest.raises(RecipeError, match="no semantic step"):
        read_sweep(str(tmp_path / "run"), "minhash")
    for wrong in ("", "a", "1.0", "0.1,-1"):
        with pytest.raises(RecipeError, match="--epsilon"):
            parse_epsilons(wrong)


def test_empty_few_and_equal_documents(dedup: Dedup, tmp_path: pathlib.Path) -> None:
    same = "the quiet harbour sleeps under a heavy fog until the bell rings again"
    texts = ["", "  ", "?!", *([same + " !" * n for n in range(3)])]
    verdicts = dedup([write_lines(tmp_path / "few.jsonl", texts)])
    assert sum(row["reason"] == "duplicate.semantic" for row in verdicts.values()) == 2
    only = dedup([write_lines(tmp_path / "one.jsonl", ["one word and one word more"])], folder="one")
    assert [row["keep"] for row in only.values()] == [True]


def test_a_model_beside_the_recipe_embeds_and_its_name_does_not_count(dedup: Dedup, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("onnxruntime")
    texts = ["the river runs dark", "dark runs the river", "bells ring far away", "away the bells ring far", "tonight"]
    few = [write_lines(tmp_path / "few.jsonl", texts)]
    settings = 'embedder = "onnx"\nmodel = "{}"\nclusters = 1'
    write_onnx(tmp_path / "models" / "little")
    verdicts = dedup(few, settings.format("models/little"))
    assert sum(row["keep"] for row in verdicts.values()) == 3
    before = stages_run(tmp_path / "run")
    (tmp_path / "models" / "little").rename(tmp_path / "renamed")
    assert dedup(few, settings.format("renamed")) == verdicts
    assert stages_run(tmp_path / "run") == before
    (tmp_path / "renamed" / "more").mkdir()
    (tmp_path / "renamed" / "more" / "config.json").write_text("{}")
    assert dedup(few, settings.format("renamed")) == verdicts
    assert stages_run(tmp_path / "run")["semantic.embed"] == before["semantic.embed"] + 1


def test_clusters_of_faiss_lead_to_the_same_copies(dedup: Dedup, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("faiss")
    files = write_copies(tmp_path)
    assert dedup(files, f'{SMALL}\nkmeans = "faiss"') == dedup(files, folder="builtin")


def test_a_model_that_is_not_there_is_told_before_any_work(dedup: Dedup, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("onnxruntime")
    few = [write_lines(tmp_path / "few.jsonl", ["a text"])]
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "model.onnx").write_bytes(b"")
    for model, wrong in {"none": "none is no folder", "half": r"half has no tokenizer\.json"}.items():
        # a relative path is relative to the recipe
        with pytest.raises(RecipeError, match=rf"^dedup\.semantic\.model: {tmp_path}/{wrong}"):
            dedup(few, f'embedder = "onnx"\nmodel = "{model}"')
    assert not (tmp_path / "run").exists()


def test_the_folders_of_a_model_arrive_where_its_own_are_not_seen(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    for name in ("config.json", "pooling/config.json", ".git/config"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(name)
    remote: dict[str, bytes] = {}
    read, write = storage.read_bytes, storage.write_bytes
    monkeypatch.setattr(storage, "read_bytes", lambda uri: remote[uri] if uri in remote else read(uri))
    monkeypatch.setattr(
        storage, "write_bytes", lambda uri, data: remote.update({uri: data}) if "://" in uri else write(uri, data)
    )
    refs = folder_refs(str(model), "models/one", "s3://bucket/run")
    assert list(refs) == ["config.json", "pooling/config.json"]
    assert set(remote) == {f"s3://bucket/run/models/one/{name}" for name in refs}
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spec = TaskSpec("semantic.embed", 1, "map", "module:name", "part", {}, {"model": tuple(refs.values())})
    folder = pathlib.Path(Task(Job(spec, "s3://bucket/run"), lambda label: None, "").local([*refs.values()], [*refs]))
    assert folder != model
    assert {name: (folder / name).read_text() for name in refs} == {name: name for name in refs}
    # a run on this machine reads the model where it is
    here = folder_refs(str(model), "models/one", str(tmp_path / "run"))
    assert Task(Job(spec, str(tmp_path)), lambda label: None, "").local([*here.values()], [*here]) == str(model)
