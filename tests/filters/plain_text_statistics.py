"""The readable definition of every text signal, in plain Python. The kernel must agree with it on any bytes.

Nothing here is fast, and nothing is shared with the kernel but the table of character classes. Text that came from
invalid UTF-8 is decoded with ``surrogateescape``: each bad byte is one character without a class.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence

from curate.filters import unicode_table as unicode
from curate.filters.text_statistics_words import ABBREVIATION_LIST, UNIT_LIST

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
ABBREVIATIONS = set(ABBREVIATION_LIST.split())
UNITS = set(UNIT_LIST.split())
JOINERS = "-/\\@^|~‐‑"  # never split off at an edge
WORD = unicode.LETTER | unicode.NUMBER | unicode.COMBINING
MARK = unicode.PUNCTUATION | unicode.SYMBOL


flags_of = functools.cache(unicode.flags_of)


def has(character: str, flags: int) -> bool:
    """Whether a character (or none, the empty string) has any of the flags."""
    return bool(character and flags_of(character) & flags)


def is_space(character: str) -> bool:
    return has(character, unicode.SPACE)


def is_lower(character: str) -> bool:
    """A letter that is not upper case: also the letters of scripts without case."""
    return has(character, unicode.LETTER) and not has(character, unicode.UPPER)


# ------------------------------------------------------------------------------------------------- segments


def segments(text: str, max_piece: int = 1 << 14) -> list[str]:
    """Words and marks, in order."""
    found = []
    for word in whitespace_words(text):
        for start in range(0, len(word), max_piece):
            found += split_piece(word[start : start + max_piece])
    return found


def whitespace_words(text: str) -> list[str]:
    words, word = [], ""
    for character in text + " ":
        if not is_space(character):
            word += character
        elif word:
            words.append(word)
            word = ""
    return words


def split_piece(piece: str) -> list[str]:
    """Split marks off both edges, one by one, then split what is left."""
    if len(piece) == 1 or (piece.isascii() and piece.isalpha()):
        return [piece]
    opening: list[str] = []
    closing: list[str] = []
    while piece and piece not in ABBREVIATIONS:
        if size := opening_size(piece):
            opening.append(piece[:size])
            piece = piece[size:]
        elif size := closing_size(piece):
            closing.insert(0, piece[-size:])
            piece = piece[:-size]
        else:
            break
    core = [piece] if piece in ABBREVIATIONS else split_core(piece)
    return opening + core + closing


def opening_size(piece: str) -> int:
    """How many characters to split off the front."""
    first, second = piece[0], piece[1:2]
    if first == ".":
        dots = len(piece) - len(piece.lstrip("."))
        return dots if dots >= 2 else 0
    if first in JOINERS:
        return 0
    if first == "+":
        return 0 if has(second, unicode.NUMBER) else 1
    return int(has(first, MARK))


def closing_size(piece: str) -> int:
    """How many characters to split off the back."""
    if piece.endswith(".."):
        return len(piece) - len(piece.rstrip("."))
    if len(piece) > 2 and piece[-2:] in ("'s", "'S", "’s", "’S"):
        return 2
    if closes(piece[-1], piece[:-1]):
        return 1
    unit = re.search(r"[A-Za-z]*\Z", piece[-4:])
    assert unit is not None
    before = piece[: len(piece) - len(unit[0])][-1:]
    return len(unit[0]) if unit[0] in UNITS and has(before, unicode.NUMBER) else 0


def closes(mark: str, before: str) -> bool:
    """Whether the last character of a piece is split off, given what stands before it."""
    if not has(mark, MARK) or mark in JOINERS + "=§":
        return False
    last, last_but_one = before[-1:], before[-2:-1]
    if mark == ".":
        if has(last, unicode.UPPER):
            return has(last_but_one, unicode.UPPER)  # NATO. but not J. or U.S.
        if has(last, unicode.LETTER):
            return bool(last_but_one) or not last.isascii()  # end. but not a.
        if has(last, unicode.NUMBER | unicode.COMBINING):
            return True
        return has(last, MARK) and last not in JOINERS + "=."
    if mark in "+%" or has(mark, unicode.CURRENCY):
        return has(last, unicode.NUMBER)
    return True


def split_core(core: str) -> list[str]:
    """What is left of a word without the marks at its edges: an address, or parts between separators."""
    if not core:
        return []
    if "." in core and not any(has(c, unicode.SOLO) for c in core) and is_address(core):
        return [core]
    parts, start, at = [], 0, 0
    while at < len(core):
        end = at
        if has(core[at], unicode.SOLO):
            end += 1
            while end < len(core) and has(core[end], unicode.COMBINING):
                end += 1
        elif at > 0:
            end += separator_size(core, at)
        if end > at:
            parts += [core[start:at], core[at:end]]
            start = at = end
        else:
            at += 1
    if start == 0:
        parts += split_contraction(core)
    else:
        parts.append(core[start:])
    return [part for part in parts if part]


def separator_size(core: str, at: int) -> int:
    """How many characters a separator inside a word has that begins at `at`; 0 if there is none."""
    mark, before, after = core[at], core[at - 1], core[at + 1 : at + 2]
    alphanumeric = unicode.LETTER | unicode.NUMBER
    digit_follows = has(after, unicode.NUMBER) or after == "-"
    if mark == "…" or has(mark, unicode.ICON):
        return 1
    if mark == ".":
        dots = re.match(r"\.+", core[at:])
        assert dots is not None
        if len(dots[0]) >= 2:
            return len(dots[0])
        sentence_ends = is_lower(before) or has(before, unicode.QUOTE)
        return int(sentence_ends and has(after, unicode.UPPER | unicode.QUOTE))
    if has(mark, unicode.HYPHEN):
        longest = {"-": 3, "—": 2}.get(mark, 1)
        size = 1
        while size < longest and core[at + size : at + size + 1] == mark:
            size += 1
        if has(before, alphanumeric) and has(core[at + size : at + size + 1], unicode.LETTER):
            return size
        return int(mark == "-" and has(before, unicode.NUMBER) and digit_follows)
    if mark == ",":
        return int(has(before, unicode.LETTER) and has(after, unicode.LETTER))
    if mark in ":<>=/":
        return int(has(before, alphanumeric) and has(after, unicode.LETTER))
    if mark in "+*^":
        return int(has(before, unicode.NUMBER) and digit_follows)
    return 0


def split_contraction(word: str) -> list[str]:
    found = re.search(r"(n['’]t|['’](?:ll|ve|re|d|m))\Z", word)
    if found is None:
        return [word]
    stem = word[: found.start()]
    if not stem or not all(has(c, unicode.LETTER) for c in stem):
        return [word]
    return [stem, found[0]]


def is_address(core: str) -> bool:
    """[scheme://][user@]host.tld[:port][/path]: a URL or an e-mail address."""
    at = 0
    while at < len(core) and (has(core[at], WORD) or core[at] in "+,-._"):
        at += 1
    rest = core[at + 3 :] if at >= 2 and core[at : at + 3] == "://" else core
    first, last = rest.find("@"), rest.rfind("@")
    return (
        is_host(rest) or (first > 0 and is_host(rest[first + 1 :])) or (last > first >= 0 and is_host(rest[last + 1 :]))
    )


def is_host(text: str) -> bool:
    end = 0
    while end < len(text) and (has(text[end], WORD) or text[end] in "-_."):
        end += 1
    *labels, top = text[:end].split(".")
    if not labels or not all(1 <= len(label) <= 64 for label in labels):
        return False
    if any(label[0] in "-_" or label[-1] in "-_" for label in labels):
        return False
    is_ip = len(labels) == 3 and all(len(x) <= 3 and all(has(c, unicode.NUMBER) for c in x) for x in [*labels, top])
    if not (is_ip and top) and not (2 <= len(top) <= 63 and all(is_lower(c) for c in top)):
        return False
    rest = text[end:]
    if rest.startswith(":"):
        digits = 1
        while has(rest[digits : digits + 1], unicode.NUMBER):
            digits += 1
        if not 2 <= digits - 1 <= 5:
            return False
        rest = rest[digits:]
    return rest == "" or rest[0] in "/?#"


# ------------------------------------------------------------------------------------------------- counting


def is_word(segment: str) -> bool:
    return any(has(c, WORD) for c in segment)


def is_alphabetic(segment: str) -> bool:
    return any(has(c, unicode.LETTER) for c in segment)


def count_sentences(line: Sequence[str]) -> int:
    """Sentences in the segments of one line: one, and one more after each terminal mark and its punctuation."""
    count, ended = int(bool(line)), False
    for segment in line:
        ends = len(segment) == 1 and has(segment, unicode.TERMINAL)
        if ended and not ends and not all(has(c, unicode.PUNCTUATION) for c in segment):
            count, ended = count + 1, False
        ended = ended or ends
    return count


def duplicates(items: Sequence[str]) -> tuple[int, int]:
    """How many items equal an earlier one, and the characters of those."""
    seen: set[str] = set()
    repeated = [item for item in items if item in seen or seen.add(item)]  # type: ignore[func-returns-value]
    return len(repeated), sum(map(len, repeated))


def top_ngram_characters(words: Sequence[str], n: int) -> int:
    ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not ngrams:
        return 0
    ngram, count = Counter(ngrams).most_common(1)[0]  # the first of the most frequent
    return len(" ".join(ngram)) * count


def duplicate_ngram_characters(words: Sequence[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    characters, at = 0, 0
    while at + n <= len(words):
        ngram = tuple(words[at : at + n])
        if ngram in seen:
            characters += len("".join(ngram))
            at += n
        else:
            seen.add(ngram)
            at += 1
    return characters


def union_ngram_characters(words: Sequence[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    covered: set[int] = set()
    for at in range(len(words) - n + 1):
        ngram = tuple(words[at : at + n])
        if ngram in seen:
            covered.update(range(at, at + n))
        seen.add(ngram)
    return sum(len(words[at]) for at in covered)


def strip(text: str) -> str:
    start, end = 0, len(text)
    while start < end and is_space(text[start]):
        start += 1
    while end > start and is_space(text[end - 1]):
        end -= 1
    return text[start:end]


def count_folded(text: str, phrase: str) -> int:
    """Occurrences of a phrase, with ASCII letters in any case."""
    return len(re.findall(re.escape(phrase), text, re.IGNORECASE | re.ASCII))


def measure(text: str, split: Callable[[str], Sequence[str]] = segments) -> dict[str, int | float]:
    """Every signal of a text. `split` may replace our segmentation by another tokenizer."""
    parts = split(text)
    real = [part for part in parts if is_word(part)]
    spaced = whitespace_words(text)
    newlines = text.count("\n")
    raw_lines = text.split("\n")
    all_lines = len(raw_lines) - (raw_lines[-1] == "")
    nonempty = [line for line in raw_lines if line]
    lines = [line for line in nonempty if strip(line)]
    paragraphs = [part for part in re.split(r"\n{2,}", strip(text)) if part]
    bullets = sum(strip(line).startswith(("-", "•")) for line in lines)
    wide_bullets = sum(strip(line).startswith(("-", "•", "*", "●")) for line in lines)
    ellipsis_ends = sum(strip(line).endswith(("...", "…")) for line in lines)
    symbols = text.count("#") + text.count("...") + text.count(". . .") + text.count("…")
    line_duplicates, nonempty_duplicates = duplicates(lines), duplicates(nonempty)
    paragraph_duplicates = duplicates(paragraphs)

    def ratio(part: int, whole: int) -> float:
        return part / whole if whole else 0.0

    signals: dict[str, int | float] = {
        "text.bytes": len(text.encode("utf-8", "surrogateescape")),
        "text.characters": len(text),
        "text.curly_brackets": text.count("{"),
        "text.lorem_ipsum": count_folded(text, "lorem ipsum"),
        "segments.count": len(parts),
        "segments.alphabetic_fraction": ratio(sum(map(is_alphabetic, parts)), len(parts)),
        "words.count": len(real),
        "words.mean_length": ratio(sum(map(len, real)), len(real)),
        "words.alphabetic_fraction": ratio(sum(map(is_alphabetic, real)), len(real)),
        "whitespace_words.count": len(spaced),
        "whitespace_words.mean_length": ratio(sum(map(len, spaced)), len(spaced)),
        "whitespace_words.alphabetic_fraction": ratio(sum(map(is_alphabetic, spaced)), len(spaced)),
        "sentences.count": sum(count_sentences(split(line)) for line in lines),
        "stop_words.distinct": len(STOP_WORDS & set(parts)),
        "stop_words.count": sum(word.isascii() and word.lower() in STOP_WORDS for word in spaced),
        "hashes.per_segment": ratio(text.count("#"), len(parts)),
        "ellipses.per_segment": ratio(text.count("...") + text.count("…"), len(parts)),
        "hashes_and_ellipses.per_whitespace_word": ratio(symbols, len(spaced)),
        "hashes.per_word": ratio(text.count("#"), len(real)),
        "ellipses.per_word": ratio(text.count("...") + text.count("…"), len(real)),
        "newlines.per_segment": ratio(newlines, len(parts)),
        "lines.count": len(lines),
        "all_lines.bullet_fraction": ratio(bullets, all_lines),
        "all_lines.ellipsis_fraction": ratio(ellipsis_ends, all_lines),
        "lines.bullet_fraction": ratio(bullets, len(lines)),
        "lines.wide_bullet_fraction": ratio(wide_bullets, len(lines)),
        "lines.ellipsis_fraction": ratio(ellipsis_ends, len(lines)),
        "lines.terminal_punctuation_fraction": ratio(
            sum(has(line[-1], unicode.TERMINAL) for line in lines), len(lines)
        ),
        "lines.at_most_30_chars_fraction": ratio(sum(len(line) <= 30 for line in lines), len(lines)),
        "lines.below_30_chars_fraction": ratio(sum(len(line) < 30 for line in lines), len(lines)),
        "lines.duplicate_fraction": ratio(line_duplicates[0], len(lines)),
        "lines.duplicate_char_fraction": ratio(line_duplicates[1], len(text) - newlines),
        "nonempty_lines.duplicate_fraction": ratio(nonempty_duplicates[0], len(nonempty)),
        "nonempty_lines.duplicate_char_fraction": ratio(nonempty_duplicates[1], len(text)),
        "paragraphs.count": len(paragraphs),
        "paragraphs.duplicate_fraction": ratio(paragraph_duplicates[0], len(paragraphs)),
        "paragraphs.duplicate_char_fraction": ratio(paragraph_duplicates[1], len(text)),
    }
    for n in (2, 3, 4):
        signals[f"ngrams.top_{n}_char_fraction"] = ratio(top_ngram_characters(parts, n), len(text))
    for n in (5, 6, 7, 8, 9, 10):
        signals[f"ngrams.duplicate_{n}_char_fraction"] = ratio(duplicate_ngram_characters(parts, n), len(text))
        signals[f"ngrams.duplicate_{n}_union_char_fraction"] = ratio(union_ngram_characters(parts, n), len(text))
    return signals
