from __future__ import annotations

import pytest

from curate.tokenize import registry, train, train_spm
from curate.tokenize.tokenizer import Tokenizer

CORPUS = [
    "The river runs down to the sea, and the sea runs down to nothing.\nIt rains in 2024, 365 days a year.\n",
    "Der Fluss fließt zum Meer, und das Meer fließt nirgendwohin. Übermäßig viele Wörter wären überflüssig.\n",
    "川は海に流れ、海はどこにも流れない。水は低いところへ流れる。\n",
    "Река течёт в море, а море никуда не течёт. Вода течёт вниз.\n",
    "def flow(river, sea):\n    while river:\n        sea += river.pop()\n    return sea\n",
    "The water of the river, the salt of the sea, the rain of the year: all of it runs down, down, down.\n",
] * 3


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    return CORPUS


@pytest.fixture(scope="session")
def bpe_files() -> dict[str, bytes]:
    return train.train_bpe(CORPUS, 400)


@pytest.fixture(scope="session")
def spm_files() -> dict[str, bytes]:
    return train_spm.train_sentencepiece(CORPUS, 450)


@pytest.fixture(scope="session")
def byte_pair(bpe_files: dict[str, bytes]) -> Tokenizer:
    return registry.from_files(bpe_files)


@pytest.fixture(scope="session")
def sentencepiece(spm_files: dict[str, bytes]) -> Tokenizer:
    return registry.from_files(spm_files)


@pytest.fixture(params=["byte_pair", "sentencepiece"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(request.param)
