"""The page of a comparison of tokenizers: plots, the tables beside them, and how each cuts the sample texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from curate import storage
from curate.report import charts
from curate.report.charts import Point
from curate.report.compare_table import (
    cost_rows,
    figure_rows,
    number_text,
    quoted,
    source_line,
    vocabulary_rows,
)
from curate.report.page import beside, page, section, table, text
from curate.report.terminal import count_text, counted, printable
from curate.tokenize.compare_samples import parallel_sentences

TITLE: Final = "Tokenizers compared"
TOP_GROUPS: Final = 40
NAME_CHARACTERS: Final = 32
PIECE_COLOURS: Final = 5
OPEN_SEGMENTS: Final = 6
KINDS: Final[Mapping[str, str]] = {
    "frequent": "given 10 times or more",
    "rare": "given 1 to 9 times",
    "dead": "never given",
    "partial": "never given, part of a character",
    "unreachable": "that no text can give",
    "special": "special",
}

Item = Mapping[str, Any]


def comparison_page(result: Mapping[str, Any]) -> str:
    """Return the page of a comparison (`curate.tokenize.compare`); equal comparisons give equal pages."""
    return page(TITLE, _body(result, result["tokenizers"]))


def write_page(uri: str, result: Mapping[str, Any]) -> None:
    """Write the page of a comparison to a file or URI."""
    storage.write_bytes(uri, comparison_page(result).encode())


def _body(result: Mapping[str, Any], items: Sequence[Item]) -> Iterator[str]:
    yield f'<h1>{TITLE}</h1>\n<p class="dim">{text(source_line(result))}.</p>'
    yield _legend(items)
    yield _whole(items)
    higher, lower = "Higher is better.", "Lower is better."
    for kind, about in (
        ("language", f"{higher} Bytes are UTF-8: a Thai character has three, a Latin one has one."),
        ("source", higher),
        ("script", f"The script of a document is that of most of its letters. {higher}"),
    ):
        if len(items[0][f"by_{kind}"]) > 1:
            yield _groups(items, kind, "bytes_per_token", "Bytes per token", about)
    about = f"{lower} Languages that are written without spaces between words have none."
    yield _groups(items, "language", "fertility", "Tokens per word", about)
    yield _parity(items)
    yield _code(items)
    yield _vocabulary(items)
    rows = [(name, [_cell(show(item)) for item in items]) for name, show in cost_rows(result["settings"])]
    about = f"For a model of {result['settings']['parameters']:,} parameters, at 6 FLOPs per parameter and token."
    yield section("Cost", about, _table("", items, rows))
    if "speed" in items[0]:
        names = ("encode_mb_per_s", "decode_mb_per_s")
        rows = [(name[:6] + " MB/s", [number_text(item["speed"][name], 1) for item in items]) for name in names]
        about = "Measured on one machine, one thread, best of three rounds: it differs from machine to machine."
        yield section("Speed", about, _table("", items, rows))
    yield _segments(result["segments"], items)
    yield _failures(items)


def _legend(items: Sequence[Item]) -> str:
    def entry(number: int, item: Item) -> list[str]:
        name = charts.key_mark(number) + text(item["name"])
        return [name, text(item["kind"]), count_text(item["ids"]), f"<code>{text(item['sha256'], 12)}</code>"]

    rows = [entry(number, item) for number, item in enumerate(items)]
    return table(["tokenizer", "kind", "ids", "sha256"], rows)


def _names(items: Sequence[Item]) -> list[str]:
    return [charts.key_mark(number) + text(item["name"], NAME_CHARACTERS) for number, item in enumerate(items)]


def _table(heading: str, items: Sequence[Item], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Return a table with a column per tokenizer; headings are plain text, cells are HTML."""
    return table([text(heading), *_names(items)], [[text(name), *cells] for name, cells in rows])


def _cell(shown: Any) -> str:
    """Return what a table of the terminal shows as HTML: the interval below its value."""
    value, _, interval = str(shown).partition("\n")
    return text(value) + (f"<small>{text(interval)}</small>" if interval else "")


def _point(figure: Mapping[str, float | None] | None) -> Point | None:
    if figure is None or figure["value"] is None:
        return None
    return Point(figure["value"], figure["low"], figure["high"])


def _figure(figure: Mapping[str, float | None] | None) -> str:
    """Return a figure as a cell."""
    if figure is None:
        return "–"
    low, high = figure["low"], figure["high"]
    interval = "" if low is None else f"<small>{number_text(low)}–{number_text(high)}</small>"
    return number_text(figure["value"]) + interval


def _plot(title: str, items: Sequence[Item], rows: Sequence[tuple[str, Sequence[Point | None]]], **options: Any) -> str:
    return f"<figure>{charts.dot_plot(title, [item['name'] for item in items], rows, **options)}</figure>"


def _whole(items: Sequence[Item]) -> str:
    measures = (
        ("bytes/token", "bytes_per_token"),
        ("chars/token", "characters_per_token"),
        ("tokens/word", "fertility"),
        ("tokens/first", "relative_tokens"),
    )
    points = [(label, [_point(item["all"][name]) for item in items]) for label, name in measures]
    rows = [(name, [_cell(show(item)) for item in items]) for name, show in figure_rows(items[0]["name"])]
    plot = _plot("All documents", items, points)
    return section("All documents", "Whiskers and small print: 95% intervals.", beside(plot, _table("", items, rows)))


def _groups(items: Sequence[Item], kind: str, measure: str, what: str, about: str) -> str:
    groups = items[0][f"by_{kind}"]
    having = [name for name in groups if any(item[f"by_{kind}"][name][measure] for item in items)]
    shown = having[:TOP_GROUPS]
    points = [(name, [_point(item[f"by_{kind}"][name][measure]) for item in items]) for name in shown]
    rows = [
        (
            f"{name} ({count_text(groups[name]['documents'])})",
            [_figure(item[f"by_{kind}"][name][measure]) for item in items],
        )
        for name in shown
    ]
    more = len(having) - len(shown)
    told = about + (f" The {len(shown)} with most text; {more} more are left out." if more else "")
    title = f"{what} by {kind}"
    headed = _table(f"{kind} (documents)", items, rows)
    return section(title, told, beside(_plot(title, items, points), headed))


def _parity(items: Sequence[Item]) -> str:
    codes = sorted(items[0]["parity"], key=lambda code: (-items[0]["parity"][code]["sentences"]["value"], code))
    points = [(code, [_point(item["parity"][code]["sentences"]) for item in items]) for code in codes]

    def cell(found: Mapping[str, Any]) -> str:
        estimate = "" if found["estimated"] is None else f"<small>here ≈ {number_text(found['estimated'])}</small>"
        return number_text(found["sentences"]["value"]) + estimate

    rows = [(code, [cell(item["parity"][code]) for item in items]) for code in codes]
    about = (
        "Tokens of the sample sentences over those of the same sentences in English: 1 is parity, 2 is twice the "
        "price. Small print: the same, estimated for the documents compared on."
    )
    title = "Parity with English"
    plot = _plot(title, items, points, logarithmic=True, reference=1.0)
    return section(title, about, beside(plot, _table("language", items, rows)))


def _code(items: Sequence[Item]) -> str:
    names = list(items[0]["code"])
    points = [(name, [_point(item["code"][name]["bytes_per_token"]) for item in items]) for name in names]

    def cell(found: Mapping[str, Any]) -> str:
        indent = found["tokens_per_indent_level"]
        told = f"<small>{number_text(indent['value'])}/level</small>" if indent else ""
        return number_text(found["bytes_per_token"]["value"]) + told

    rows = [(name, [cell(item["code"][name]) for item in items]) for name in names]
    about = "Bytes per token of the sample programs. Small print: tokens that a level of indentation costs."
    plot = _plot("Bytes per token of programs", items, points)
    return section("Code", about, beside(plot, _table("language", items, rows)))


def _vocabulary(items: Sequence[Item]) -> str:
    bars = [(item["name"], [float(item["vocabulary"][kind]) for kind in KINDS]) for item in items]
    swatches = [f'<li><span class="swatch k{number}"></span>{name}</li>' for number, name in enumerate(KINDS.values())]
    plot = charts.stacked_bars("Use of the vocabulary", list(KINDS.values()), bars)
    rows = [(name, [_cell(show(item)) for item in items]) for name, show in vocabulary_rows()]
    about = (
        "What the documents use of each vocabulary. Glitch candidates are never given, although longer tokens spell "
        "them 100 times or more. Unreachable tokens: not even their own text gives them."
    )
    legend = f'<ul class="legend">{"".join(swatches)}</ul>'
    return section(
        "Vocabulary",
        about,
        beside(f"<figure>{plot}{legend}</figure>", _table("", items, rows)),
        *_token_lists(items),
    )


def _token_lists(items: Sequence[Item]) -> Iterator[str]:
    for item in items:
        for kind, name in (("Unreachable tokens", "unreachable"), ("Glitch candidates", "glitch")):
            found = item["vocabulary"][f"{name}_tokens"]
            if found:
                listed = " ".join(f"<code>{entry['id']} {escape(quoted(entry['text']))}</code>" for entry in found)
                total = item["vocabulary"]["unreachable" if name == "unreachable" else "glitch_candidates"]
                told = f"{kind} of {printable(item['name'])}: the first {len(found)} of {count_text(total)}"
                yield f"<details><summary>{escape(told)}</summary><p>{listed}</p></details>"


def _segments(segments: Sequence[Mapping[str, Any]], items: Sequence[Item]) -> str:
    parts = []
    for number, segment in enumerate(segments):
        fewest = min(len(found) for found in segment["pieces"])
        code = segment["language"] not in parallel_sentences()
        cuts = [
            f'<p class="how">{charts.key_mark(series)}{text(item["name"])}: {counted(len(found), "token")}'
            f"{' (fewest)' if len(found) == fewest and len(items) > 1 else ''}</p>{_pieces(found)}"
            for series, (item, found) in enumerate(zip(items, segment["pieces"], strict=True))
        ]
        opened = " open" if number < OPEN_SEGMENTS else ""
        kind = ' class="code"' if code else ""
        parts.append(f"<details{opened}{kind}><summary>{text(segment['language'])}</summary>{beside(*cuts)}</details>")
    about = (
        "Each colour is a token. A token that is no whole characters is shown as its bytes in hexadecimal, a line "
        "break as ↵, a tab as →."
    )
    return section("How the sample texts are cut", about, *parts)


def _pieces(found: Sequence[Any]) -> str:
    spans = []
    for number, piece in enumerate(found):
        colour = f"p{number % PIECE_COLOURS}"
        if isinstance(piece, str):
            spans.append(f'<span class="{colour}">{_visible(piece)}</span>')
        else:
            spans.append(f'<span class="{colour} b">{text(piece[0])}</span>')
    return f'<div class="pieces" dir="auto">{"".join(spans)}</div>'


def _visible(piece: str) -> str:
    """Return a token's text with its line breaks and tabs to be seen, and every other control character escaped."""
    lines = (printable(line) for line in piece.replace("\t", "→").split("\n"))
    return "↵\n".join(escape(line) for line in lines)


def _failures(items: Sequence[Item]) -> str:
    rows = [
        [
            text(item["name"]),
            f"{text(failure['source'])}, {text(failure['language'])}",
            count_text(failure["at_byte"]),
            f"<code>{text(failure['text'])}</code>",
            f"<code>{text(failure['decoded'])}</code>",
        ]
        for item in items
        for failure in item["round_trip"]["failures"]
    ]
    if not rows:
        return section("Round trip", "Every document came back byte for byte from every tokenizer.")
    totals = ", ".join(f"{printable(item['name'])} {item['round_trip']['failed_documents']}" for item in items)
    about = f"Documents that did not come back byte for byte: {totals}. The first of them, where they first differ:"
    return section("Round trip", about, table(["tokenizer", "document", "byte", "text", "came back"], rows))
