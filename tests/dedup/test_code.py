"""Symbols of code are what the plain lexer says; copies with other names are alike, other code is not."""

from __future__ import annotations

import itertools
import random
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.code import code_symbols
from curate.dedup.code_kernel import DIRECTIVES, KEYWORDS
from curate.dedup.minhash import MinHashSettings, signatures
from curate.dedup.shingles import hash_shingle, shingles

TOKEN = re.compile(
    rb"(?P<comment>/\*.*?(?:\*/|\Z)|//[^\n]*|(?<![^\x00-\x20])#(?!\[|" + "|".join(DIRECTIVES).encode() + rb")[^\n]*)"
    rb"|(?P<string>\"\"\".*?(?:\"\"\"|\Z)|'''.*?(?:'''|\Z)"
    rb"|\"(?:\\.|[^\"\\\n])*(?:\"|\\?(?=\n|\Z))|'(?:\\.|[^'\\\n])*(?:'|\\?(?=\n|\Z)))"
    rb"|(?P<number>[0-9](?:[0-9A-Za-z_$\x80-\xff]|\.(?=[0-9]))*)"
    rb"|(?P<word>[A-Za-z_$\x80-\xff][A-Za-z0-9_$\x80-\xff]*)"
    rb"|(?P<mark>[!-~])",
    re.DOTALL,
)
ONE = {"comment": "", "string": '" ', "number": "0 "}


def plain_symbols(code: bytes) -> str:
    """The readable definition: one regular expression, each match a symbol."""
    symbols = []
    for match in TOKEN.finditer(code):
        word = match.group().decode(errors="replace")
        kind = str(match.lastgroup)
        symbols.append(ONE[kind] if kind in ONE else "i " if kind == "word" and word not in KEYWORDS else word + " ")
    return "".join(symbols)


FRAGMENTS = [
    *"aé_$0.'\"`#/*\\\n\t (){}[]<>=+-;:,!@", "if", "else", "return", "iff", "0x1F", "3.14", "1..2", "/*", "*/", "//",
    '"""', "'''", "\\\"", "#include", "# note", "#[x]", "#ifdef", "中", "def ", "don't", "\x00", '"a"', "'b'",
]  # fmt: skip
hostile = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)


@settings(max_examples=600, deadline=None)
@given(st.lists(hostile, min_size=1, max_size=3))
def test_symbols_equal_their_plain_definition(files: list[str]) -> None:
    assert code_symbols(pa.array(files, pa.large_string())).to_pylist() == [
        plain_symbols(code.encode()) for code in files
    ]


@settings(max_examples=200, deadline=None)
@given(hostile, st.integers(1, 6))
def test_shingles_are_ngrams_of_symbols(code: str, n: int) -> None:
    symbols = plain_symbols(code.encode()).split()
    expected = sorted({hash_shingle(symbols[at : at + n]) for at in range(len(symbols) - n + 1)})
    assert shingles(pa.array([code], pa.large_string()), n, "code").hashes.tolist() == expected


def test_a_function_reads_as_symbols() -> None:
    code = 'def area(radius):  # of a circle\n    """Twice."""\n    return 3.14 * radius ** 2\n'
    assert code_symbols(pa.array([code], pa.large_string()))[0].as_py() == 'def i ( i ) : " return 0 * i * * 0 '


def program(seed: int, names: int = 0) -> str:
    """Return a program; `names` chooses what its identifiers are called, and nothing else."""
    dice = random.Random(seed)
    called = [f"{'abcdefgh'[names]}{number}_{names}" for number in range(12)]
    lines = []
    for number in range(60):
        one, two, three = dice.choices(called, k=3)
        form = dice.choice(
            [
                "{0} = {1}({2}, {n})",
                "if {0} > {1}: return {2}",
                "for {0} in {1}[{2}:]: {0}.{1}({2})",
                "while not {0}: {1} += {2} * {n}",
                "def {0}({1}, {2}=None): raise {1}",
                "with {0}.{1}() as {2}: yield {2} - {n}",
                "{0}[{1}] = {{{2}: {n} for {1} in {0}}}",
                "assert {0} is not {1}, 'text {n}'",
            ]
        )
        lines.append(form.format(one, two, three, n=number) + (f"  # {names} {number}" if names else ""))
    return "\n".join(lines)


@pytest.mark.parametrize("ngram", [5, 15])
def test_copies_with_other_names_are_equal_and_words_do_not_find_them(ngram: int) -> None:
    text = pa.array([program(1), program(1, names=3)], pa.large_string())
    values = signatures(text, MinHashSettings(unit="code", ngram=ngram)).values
    assert (values[0] == values[1]).all()
    words = signatures(text, MinHashSettings(unit="words")).values
    assert (words[0] == words[1]).mean() < 0.2


def test_other_programs_of_the_same_style_are_far_apart() -> None:
    text = pa.array([program(seed) for seed in range(20)], pa.large_string())
    found = shingles(text, 15, "code")
    sets = [set(found.hashes[start:end].tolist()) for start, end in itertools.pairwise(found.bounds)]
    nearest = max(len(a & b) / len(a | b) for n, a in enumerate(sets) for b in sets[:n])
    assert nearest < 0.5  # although each is made of eight forms of a line; near-duplicates share 0.8


def test_a_file_of_quotes_and_comment_marks_takes_linear_time() -> None:
    for piece in ('"\\', "'\\\"", "/*/", "#\n", "'''", '"""\n'):
        symbols = code_symbols(pa.array([piece * 300_000], pa.large_string()))[0].as_py()
        assert len(symbols) <= 2 * 300_000 * len(piece)
