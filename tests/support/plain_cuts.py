"""The readable definitions of steps that cut repeated text, in plain Python, and drawn texts to hold them against."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping

from curate.schema import document_id


def plain_lines(files: list[Mapping[str, str]], scheme: str, max_count: int) -> dict[str, str]:
    """What is left of documents by the definitions, over all of them at once; those with nothing left are missing."""
    documents = {name: (place, text) for place, texts in enumerate(files) for name, text in texts.items()}
    lines = {name: text.split("\n") for name, (_, text) in documents.items()}
    form = ccnet if scheme == "ccnet" else str.strip if scheme == "llama3" else lambda line: line.strip().lower()
    counts: Counter[str] = Counter()
    holders = defaultdict(list)
    for name, (place, _) in documents.items():
        forms = [form(line) for line in lines[name]]
        counts.update(set(forms) if scheme == "ccnet" else forms)
        for one in forms:
            holders[one].append((place, document_id(source=f"s{place}", key=name), name))
    left = {}
    for name in documents:
        seen = set()
        kept = []
        for line in lines[name]:
            one = form(line)
            if scheme == "c4":
                stays = min(holders[one])[2] == name and one not in seen
            else:
                stays = counts[one] <= max_count and not (scheme == "ccnet" and one in seen)
            kept += [line] if stays else []
            seen.add(one)
        # in these texts every line is a sentence
        if scheme != "c4" or len(kept) == len(lines[name]) or len(kept) >= 3:
            left[name] = "\n".join(kept)
    return {name: text for name, text in left.items() if text.strip()}


def ccnet(line: str) -> str:
    """CCNet's form of a line in ASCII."""
    return "".join("0" if one.isdigit() else one for one in line.strip().lower() if one.isprintable())


def random_files(seed: int) -> list[dict[str, str]]:
    """Return the texts by name of three files: lines of menus and of their own, in any order."""
    dice = random.Random(seed)
    lines = [
        f"{dice.choice(['Home', 'home', 'Page 7', 'page 8', 'Read more', 'x'])} {n if n > 6 else ''}" for n in range(40)
    ]
    files = []
    for place in range(3):
        names = [f"{place}-{number}" for number in range(25)]
        files.append({name: "\n".join(dice.choices(lines, k=dice.randint(1, 8))) for name in names})
    return files


def passages_left(files: list[Mapping[str, str]], size: int, *, by_source: bool = False) -> dict[str, str]:
    """What is left by the definition of substring dedup, over all files or within each; documents with nothing left are
    missing."""
    documents = sorted(
        (place, document_id(source=f"s{place}", key=name), name, text)
        for place, texts in enumerate(files)
        for name, text in texts.items()
    )
    first: dict[tuple[int, bytes], tuple[str, int]] = {}
    left = {}
    for source, _, name, text in documents:
        gone: set[int] = set()
        data = text.encode()
        for at in range(len(data) - size + 1):
            passage = source if by_source else 0, data[at : at + size]
            holder, place = first.setdefault(passage, (name, at))
            if holder != name or place + size <= at:
                gone.update(range(at, at + size))
        left[name] = whole_characters(text, gone)
    return {name: text for name, text in left.items() if text.strip()}


def whole_characters(text: str, gone: set[int]) -> str:
    """What is left of a text without these bytes: a character goes with all of its bytes, or stays."""
    left, at = [], 0
    for character in text:
        end = at + len(character.encode())
        left += [] if gone.issuperset(range(at, end)) else [character]
        at = end
    return "".join(left)


def files_with_passages(seed: int, letters: str = "abcd ") -> list[dict[str, str]]:
    """Return the texts by name of three files: passages that come again, inside of each other and of one text, too."""
    dice = random.Random(seed)
    passages = ["".join(dice.choices(letters, k=dice.randint(10, 90))) for _ in range(12)] + ["=" * 100, "ab" * 30]
    files = []
    for place in range(3):
        names = [f"{place}-{number}" for number in range(12)]
        files.append({name: " | ".join(dice.choices(passages, k=dice.randint(1, 6))) for name in names})
    return files
