"""The tables of a comparison of tokenizers, each of at most 80 columns: one column per tokenizer, four at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Any, Final

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from curate.report.tables import INDENT, make_table, name_text
from curate.report.terminal import bytes_text, count_text, counted, excerpt, printable, share_text

AT_A_TIME: Final = 4
TOP_GROUPS: Final = 20
LISTED_TOKENS: Final = 8
FAILURE_CHARACTERS: Final = 60

Figure = Mapping[str, Any] | None
Cell = Callable[[Mapping[str, Any]], str | Text]
Row = tuple[str, Cell]


def comparison_blocks(result: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what is printed of a comparison, in order."""
    tokenizers: Sequence[Mapping[str, Any]] = result["tokenizers"]
    yield Padding(Text(source_line(result)), (0, 0, 1, 0))
    for first in range(0, len(tokenizers), AT_A_TIME):
        shown = tokenizers[first : first + AT_A_TIME]
        for title, rows in _sections(result, shown):
            table = make_table((title, "left"), *((printable(item["name"]), "right") for item in shown))
            for name, cell in rows:
                table.add_row(name_text(name), *(cell(item) for item in shown))
            yield Padding(table, (0, 0, 1, 0))
    yield from _token_lists(tokenizers)
    yield _failures(tokenizers)


def source_line(result: Mapping[str, Any]) -> str:
    """Return what was compared on, in one sentence."""
    on = result["on"]
    drawn = f"{counted(on['documents'], 'document')}, {bytes_text(on['bytes'])}"
    if on["documents"] != on["seen_documents"]:
        drawn += f", drawn from {count_text(on['seen_documents'])} of {bytes_text(on['seen_bytes'])}"
    cut = f"; of {on['cut_documents']} only the first MiB" if on["cut_documents"] else ""
    errors = "".join(f"; {counted(number, 'record')} {name}" for name, number in on["errors"].items())
    return f"on {printable(on['name'])}: {drawn}{cut}{errors}; 95% bootstrap intervals"


def number_text(value: float | None, digits: int = 2) -> str:
    """Return a number with some digits behind the point; a dash for None (it does not exist)."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent_text(value: float | None) -> str:
    """Return a share, 0 to 1, in per cent with one decimal; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}%"


def _number(figure: Figure) -> str:
    return number_text(figure["value"] if figure else None)


def _percent(figure: Figure) -> str:
    return percent_text(figure["value"] if figure else None)


def _with_interval(figure: Figure) -> Text:
    if not figure or figure["low"] is None:
        return Text(_number(figure))
    return Text(_number(figure)).append(f"\n{number_text(figure['low'])}–{number_text(figure['high'])}", style="dim")


def _sections(result: Mapping[str, Any], shown: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Row]]]:
    first = result["tokenizers"][0]
    yield "all documents", figure_rows(first["name"])
    for kind in ("language", "source", "script"):
        groups = first[f"by_{kind}"]
        if len(groups) > 1:
            yield f"bytes per token, by {kind}", _group_rows(kind, groups)
    parity = [(code, _at("parity", code, "sentences", show=_number)) for code in first["parity"]]
    yield "tokens over English, same sentences", parity
    code = [(name, _at("code", name, "bytes_per_token", show=_number)) for name in first["code"]]
    yield "bytes per token, sample programs", code
    yield "vocabulary on these documents", vocabulary_rows()
    parameters = f"{result['settings']['parameters']:.3g}".replace("e+0", "e")
    yield f"cost, {parameters} parameters", cost_rows(result["settings"])
    if "speed" in first:
        one_digit = partial(number_text, digits=1)
        speeds = [(f"{kind} MB/s", _at("speed", f"{kind}_mb_per_s", show=one_digit)) for kind in ("encode", "decode")]
        yield "speed on this machine, one thread", speeds


def _at(*keys: str, show: Callable[[Any], str | Text]) -> Cell:
    """Return the function that shows what lies at `keys` of a tokenizer's part of a comparison."""
    return lambda item: show(reduce(lambda found, key: found[key], keys, item))


def figure_rows(first: str) -> list[Row]:
    """Return the rows on all documents; `first` is the tokenizer that others are relative to."""

    def figure(name: str, show: Callable[[Figure], str | Text]) -> Cell:
        return _at("all", name, show=show)

    return [
        ("ids", _at("ids", show=count_text)),
        ("tokens", _at("all", "tokens", show=count_text)),
        (f"tokens over {printable(first)}", figure("relative_tokens", _with_interval)),
        ("bytes per token", figure("bytes_per_token", _with_interval)),
        ("characters per token", figure("characters_per_token", _with_interval)),
        ("words per token", figure("words_per_token", _with_interval)),
        ("tokens per word (fertility)", figure("fertility", _with_interval)),
        ("continued words", figure("continued_words_share", _percent)),
        ("byte fallback", figure("byte_fallback_share", _percent)),
        ("parts of characters", figure("partial_characters_share", _percent)),
        ("only white space", figure("white_space_share", _percent)),
        ("tokens per number", figure("tokens_per_number", _number)),
        ("tokens per digit", figure("tokens_per_digit", _number)),
        ("tokens per indentation level", figure("tokens_per_indent_level", _number)),
        ("round-trip failures", _at("round_trip", "failed_documents", show=count_text)),
    ]


def _group_rows(kind: str, groups: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = [
        (
            f"{printable(name)} ({count_text(groups[name]['documents'])})",
            _at(f"by_{kind}", name, "bytes_per_token", show=_number),
        )
        for name in list(groups)[:TOP_GROUPS]
    ]
    return [*rows, (f"and {len(groups) - TOP_GROUPS} more", lambda _: "")] if len(groups) > TOP_GROUPS else rows


def vocabulary_rows() -> list[Row]:
    """Return the rows on the use of the vocabulary."""

    def share(name: str) -> Cell:
        return lambda item: share_text(item["vocabulary"][name], item["ids"])

    rows: list[Row] = [("given 10 times or more", share("frequent")), ("given 1 to 9 times", share("rare"))]
    rows += [("never given", share("dead")), ("never given, part of a character", share("partial"))]
    rows += [("that no text can give", share("unreachable")), ("special", share("special"))]
    rows.append(("glitch candidates", _at("vocabulary", "glitch_candidates", show=count_text)))
    return [*rows, ("Rényi efficiency", _at("vocabulary", "renyi_efficiency", show=partial(number_text, digits=3)))]


def cost_rows(settings: Mapping[str, Any]) -> list[Row]:
    """Return the rows on what storage and training cost."""

    def cost(name: str, show: Callable[[float | None], str]) -> Cell:
        return _at("cost", name, show=show)

    context = count_text(settings["context_length"])
    return [
        ("bytes of an id", _at("bytes_per_id", show=count_text)),
        ("shard bytes per document", cost("shard_bytes_per_document", _bytes)),
        ("shard bytes per byte of text", cost("shard_bytes_per_text_byte", number_text)),
        ("training FLOPs per document", cost("training_flops_per_document", flops_text)),
        ("training FLOPs per GB of text", cost("training_flops_per_text_gigabyte", flops_text)),
        (f"documents in {context} tokens", cost("documents_per_context", number_text)),
        (f"fit into {context} tokens", _at("all", "documents_that_fit_share", show=_percent)),
    ]


def _bytes(value: float | None) -> str:
    return bytes_text(None if value is None else round(value))


def flops_text(value: float | None) -> str:
    """Return a number of FLOPs with two digits behind the point and its power of ten."""
    return "–" if value is None else f"{value:.2e}".replace("e+", "e")


def _token_lists(tokenizers: Sequence[Mapping[str, Any]]) -> Iterator[Group]:
    """Yield the first unreachable tokens and glitch candidates of each tokenizer that has some."""
    for item in tokenizers:
        lines = []
        for kind, name in (("unreachable", "unreachable_tokens"), ("glitch candidates", "glitch_tokens")):
            found = item["vocabulary"][name][:LISTED_TOKENS]
            if found:
                lines.append(f"{kind}: " + "  ".join(f"{entry['id']} {quoted(entry['text'])}" for entry in found))
        if lines:
            body = [Padding(Text(line, overflow="fold"), (0, 0, 0, INDENT)) for line in lines]
            yield Group(Text(printable(item["name"]), style="bold"), *body, Text(""))


def quoted(text: str) -> str:
    """Return a token between marks, with white space shown as what it is and nothing that a terminal could obey."""
    shown = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f"‹{printable(shown, FAILURE_CHARACTERS)}›"


def _failures(tokenizers: Sequence[Mapping[str, Any]]) -> Group:
    failed = [item for item in tokenizers if item["round_trip"]["failures"]]
    if not failed:
        return Group(Text("every document came back byte for byte from every tokenizer"))
    lines: list[Any] = []
    for item in failed:
        number = item["round_trip"]["failed_documents"]
        lines.append(Text(f"{printable(item['name'])}: {counted(number, 'document')} did not come back", style="bold"))
        for failure in item["round_trip"]["failures"]:
            where = f"{printable(failure['source'])}, {printable(failure['language'])}"
            about = f"{where}, byte {count_text(failure['at_byte'])}"
            for text in (
                about,
                excerpt(failure["text"], FAILURE_CHARACTERS),
                excerpt(failure["decoded"], FAILURE_CHARACTERS),
            ):
                lines.append(Padding(Text(text, overflow="fold"), (0, 0, 0, INDENT)))
    return Group(*lines)
