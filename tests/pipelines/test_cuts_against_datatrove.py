"""`c4_spans` leaves what datatrove's SentenceDedup leaves, on sentences that both find; `lines` what it leaves of
lines."""

from __future__ import annotations

import json
import pathlib
import random
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate.pipelines.part_texts import stored_texts
from curate.pipelines.recipe import load_recipe
from curate.pipelines.run import Options, run
from curate.report.run_folder import read_run
from curate.schema import document_id

pytest.importorskip("spacy")
pytest.importorskip("datatrove")
pytestmark = pytest.mark.slow

SUBJECTS = ("The cat", "A dog", "My friend", "Our teacher", "The old man", "A small bird", "The rain", "Her brother")
ENDS = ("sat down.", "ran away!", "went home in 1999.", "looked at us?", "came back, too late.", "was “very” happy.")


def random_texts(seed: int) -> dict[str, str]:
    """Return texts of sentences of which many come again, in other cases and with other numbers and marks."""
    dice = random.Random(seed)
    sentences = [f"{subject} {end}" for subject in SUBJECTS for end in ENDS]
    spans = [dice.choices(sentences, k=dice.randint(3, 5)) for _ in range(8)]
    texts = {}
    for number in range(60):
        parts: list[str] = []
        for _ in range(dice.randint(1, 3)):
            parts += dice.choice(spans) if dice.random() < 0.5 else dice.choices(sentences, k=3)
        text = " ".join(parts)
        texts[str(number)] = text.replace("1999", "2024") if number % 3 else text
    return texts


def datatrove_leaves(texts: list[str], folder: pathlib.Path, **shape: Any) -> list[str]:
    from datatrove.data import Document
    from datatrove.pipeline.dedup import SentenceDedupFilter, SentenceDedupSignature, SentenceFindDedups
    from datatrove.pipeline.dedup.sentence_dedup import SentDedupConfig
    from datatrove.utils.hashing import HashConfig

    config = SentDedupConfig(
        only_dedup_in_index=False, min_doc_words=0, hash_config=HashConfig(hash_fc="sha1"), **shape
    )
    documents = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]
    SentenceDedupSignature(str(folder / "a"), config=config).run(iter(documents), 0, 1)
    SentenceFindDedups(str(folder / "a"), str(folder / "b"), config=config).run(None, 0, 1)
    return [
        document.text for document in SentenceDedupFilter(str(folder / "b"), config=config).run(iter(documents), 0, 1)
    ]


def curate_leaves(texts: dict[str, str], tmp_path: pathlib.Path, step: str, settings: str) -> list[str]:
    rows = [json.dumps({"id": name, "text": text}) for name, text in texts.items()]
    (tmp_path / "texts.jsonl").write_text("\n".join(rows))
    (tmp_path / "spans.toml").write_text(
        f'name = "spans"\nsteps = ["{step}"]\nsources = [{{ name = "web", input = "texts.jsonl" }}]\n'
        f"dedup.{step} = {{ {settings} }}\n"
    )
    run(load_recipe(str(tmp_path / "spans.toml")), str(tmp_path / "run"), Options(executor="inline"))
    (part,) = read_run(str(tmp_path / "run")).parts()
    assert part.verdicts is not None
    keep = pq.read_table(tmp_path / "run" / part.verdicts.path, columns=["keep"]).column("keep").to_numpy()
    edits = {view: str(tmp_path / "run" / ref.path) for view, ref in part.edits.items()}
    left = []
    for _, _, text in stored_texts(str(tmp_path / "run" / part.documents.path), edits, [step], ["id"], keep):
        left += text.to_pylist()
    return left


def in_order_of_ids(texts: dict[str, str]) -> list[str]:
    """The first copy stays there; in this order it is the one that stays here."""
    return [text for _, text in sorted((document_id(source="web", key=name), text) for name, text in texts.items())]


@pytest.mark.parametrize("seed", [1, 2])
def test_spans_that_datatrove_removes_go_and_no_others(tmp_path: pathlib.Path, seed: int) -> None:
    texts = random_texts(seed)
    left = curate_leaves(texts, tmp_path, "c4_spans", "min_words = 0")
    expected = datatrove_leaves(in_order_of_ids(texts), tmp_path, min_num_sentences=3)
    assert sorted(left) == sorted(expected)
    assert sum(map(len, left)) < 0.8 * sum(map(len, texts.values()))


@pytest.mark.parametrize("seed", [1, 2])
def test_lines_that_datatrove_removes_go_and_no_others(tmp_path: pathlib.Path, seed: int) -> None:
    dice = random.Random(seed)
    lines = [f"{dice.choice(['', ' '])}{subject} {end}" for subject in SUBJECTS for end in ENDS for _ in range(2)]
    lines += [f"Only {number:b} here" for number in range(300)]
    texts = {str(number): "\n".join(dice.choices(lines, k=dice.randint(1, 9))) for number in range(60)}
    settings = 'normalise = "comparable", max_count = 1, keep = "first", bucket_documents = "all"'
    left = curate_leaves(texts, tmp_path, "lines", settings)
    shape = {"split_sentences": False, "n_sentences": 1, "min_num_sentences": 0}
    expected = datatrove_leaves(in_order_of_ids(texts), tmp_path, **shape)
    # it strips what is left
    assert sorted(map(str.lstrip, left)) == sorted(map(str.lstrip, expected))
    assert sum(map(len, left)) < 0.8 * sum(map(len, texts.values()))
