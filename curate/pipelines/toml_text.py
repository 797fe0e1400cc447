"""TOML as text: on which line each key stands, writing a table, and ``--set a.b.c=value``.

The standard library reads TOML but neither tells places nor writes. `key_lines` is a scanner for documents that
`tomllib` has accepted already, so it checks nothing itself.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

Place = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


def key_lines(text: str) -> dict[Place, int]:
    """Return the line (from 1) of every table, key and list item of a valid TOML document, by its path."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Place, int] = {}
        self.counts: dict[Place, int] = {}
        self._known = (0, 1)

    def scan(self) -> dict[Place, int]:
        table: Place = ()
        while self._skip(_SPACE) < len(self.text):
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._assignment(table)
        return self.lines

    def _header(self) -> Place:
        double = self.text.startswith("[[", self.at)
        line = self._line()
        self.at += 2 if double else 1
        names = self._key()
        self._skip(_BLANK)
        self.at += 2 if double else 1
        place: Place = ()
        for depth, name in enumerate(names):
            place = (*place, name)
            self.lines.setdefault(place, line)
            if double and depth == len(names) - 1:
                self.counts[place] = self.counts.get(place, -1) + 1
            if place in self.counts:
                place = (*place, self.counts[place])
        # a table's own header counts, not that of a table inside it which came before
        self.lines[place] = line
        return place

    def _assignment(self, table: Place) -> None:
        line = self._line()
        place = table
        for name in self._key():
            place = (*place, name)
            self.lines.setdefault(place, line)
        self._skip(_BLANK)
        self.at += 1  # the equals sign
        self._value(place)

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip(_BLANK)
            found = _STRING.match(self.text, self.at) or _BARE_KEY.match(self.text, self.at)
            if found is None:
                raise ValueError(f"line {self._line()}: no key")
            names.append(next(iter(tomllib.loads(f"{found[0]} = 0"))))
            self.at = found.end()
            self._skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return names
            self.at += 1

    def _value(self, place: Place) -> None:
        self._skip(_BLANK)
        opened = self.text[self.at : self.at + 1]
        if opened in ("[", "{"):
            self.at += 1
            item = 0
            while self._skip(_SPACE) < len(self.text) and self.text[self.at] not in "]}":
                if self.text[self.at] == ",":
                    self.at += 1
                elif opened == "{":
                    self._assignment(place)
                else:
                    self.lines[(*place, item)] = self._line()
                    self._value((*place, item))
                    item += 1
            self.at += 1
            return
        found = _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at)
        self.at = found.end() if found else self.at + 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at

    def _line(self) -> int:
        before, line = self._known
        line += self.text.count("\n", before, self.at)
        self._known = (self.at, line)
        return line


def write_toml(table: Mapping[str, Any]) -> str:
    """Return a table as TOML: plain values first, then tables, then arrays of tables. None values are left out."""
    lines: list[str] = []
    _write_table(lines, table, ())
    return "\n".join(lines).strip("\n") + "\n"


def _write_table(lines: list[str], table: Mapping[str, Any], path: tuple[str, ...]) -> None:
    nested = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    arrays = {key: value for key, value in table.items() if _is_table_array(value)}
    for key, value in table.items():
        if key not in nested and key not in arrays and value is not None:
            lines.append(f"{_key_text(key)} = {_value_text(value)}")
    for key, value in nested.items():
        where = (*path, key)
        if not value or any(not isinstance(inner, Mapping) for inner in value.values()):
            lines += ["", f"[{'.'.join(map(_key_text, where))}]"]
        _write_table(lines, value, where)
    for key, items in arrays.items():
        where = (*path, key)
        for item in items:
            lines += ["", f"[[{'.'.join(map(_key_text, where))}]]"]
            _write_table(lines, item, where)


def _is_table_array(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key_text(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string_text(key)


def _string_text(text: str) -> str:
    # JSON escapes are TOML escapes, but for DEL, which JSON leaves plain
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string_text(value)
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(f"{_key_text(key)} = {_value_text(item)}" for key, item in value.items() if item is not None)
            + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value_text(item) for item in value) + "]"
    raise TypeError(f"TOML has no {type(value).__name__}")


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """Return (key path, value) of ``a.b.c=value``. The value is TOML; what is not TOML is a string.

    Raises ValueError with what is wrong.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError("has no =; write key=value, for example filters.gopher_quality.mean_word_length.max=12")
    try:
        path = _single_path(tomllib.loads(f"{key.strip()} = 0"))
    except tomllib.TOMLDecodeError:
        path = ()
    if not path:
        raise ValueError(f"{key.strip()!r} is no key; write names joined by dots, for example mix.tokens=1000000")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")
    except tomllib.TOMLDecodeError:
        return path, value.strip()
    return path, parsed["value"] if list(parsed) == ["value"] else value.strip()


def _single_path(table: Any) -> tuple[str, ...]:
    path: list[str] = []
    while isinstance(table, dict):
        if len(table) != 1:
            return ()
        ((name, table),) = table.items()
        path.append(name)
    return tuple(path)


def apply_override(table: dict[str, Any], path: tuple[str, ...], value: Any) -> Place:
    """Set the value at `path` in a TOML table and return the place that was set. In a list, a name is the number of an
    item or the ``name`` of one (``sources.web.priority``). Raises ValueError with what is wrong."""
    place: list[str | int] = []
    node: Any = table
    for name in path[:-1]:
        key = _step_into(node, name, place)
        if isinstance(node, dict):
            node.setdefault(key, {})
        place.append(key)
        node = node[key]
    key = _step_into(node, path[-1], place)
    node[key] = value
    return (*place, key)


def _step_into(node: Any, name: str, place: list[str | int]) -> str | int:
    if isinstance(node, dict):
        return name
    where = ".".join(map(str, place))
    if not isinstance(node, list):
        raise ValueError(f"{where} is a value and has no key {name}")
    names = [item.get("name") for item in node if isinstance(item, dict)]
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(node):
        return int(name)
    raise ValueError(f"{where} has no item {name}; it has {', '.join(map(str, names)) or f'{len(node)} items'}")
