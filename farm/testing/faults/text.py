"""Faults as text: a line for each, ``AT KIND [STREAM] [NAME=VALUE]…``."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, get_type_hints

import attrs

from farm.testing.faults.kinds import KINDS, Fault

__all__ = ["ScriptError", "fault_text", "parse_script", "seed_text"]

_SEED = re.compile(r"#\s*seed\s+(.+)")
_STREAM = "stream"


class ScriptError(ValueError):
    """A line that is no fault. ``line``: its number, from 1. ``word``: what is wrong in it."""

    def __init__(self, line: int, word: str, why: str) -> None:
        super().__init__(f"line {line}: {word!r}: {why}")
        self.line = line
        self.word = word


def seed_text(seed: int | str) -> str:
    """The comment that keeps a script's seed; a text stands in quotes."""
    return f"# seed {json.dumps(seed)}"


def fault_text(fault: Fault) -> str:
    """The line of a fault. What has its usual value is left out."""
    words = [repr(fault.at), fault.word]
    for field in attrs.fields(type(fault)):
        value = getattr(fault, field.name)
        if field.name == _STREAM:
            words.append(value)
        elif field.name != "at" and value != field.default:
            words.append(f"{field.name}={_value_text(value)}")
    return " ".join(words)


def _value_text(value: float | str) -> str:
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return f"{value:.0f}" if whole else str(value)


def parse_script(text: str) -> tuple[int | str | None, list[Fault]]:
    """The seed, where a comment tells it, and the faults. Other comments and empty lines pass.

    Raises:
        ScriptError: a line is no fault.
    """
    seed: int | str | None = None
    faults: list[Fault] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            if found := _SEED.fullmatch(stripped):
                seed = _parse_seed(number, found[1])
        elif stripped:
            faults.append(_Line(number, stripped.split()).fault())
    return seed, faults


def _parse_seed(line: int, text: str) -> int | str:
    try:
        seed = json.loads(text)
    except ValueError:
        raise ScriptError(line, text, "a seed is a whole number, or text in quotes") from None
    if isinstance(seed, bool) or not isinstance(seed, int | str):
        raise ScriptError(line, text, "a seed is a whole number, or text in quotes")
    return seed


@attrs.define
class _Line:
    number: int
    words: list[str]

    def fault(self) -> Fault:
        moment, *rest = self.words
        at = self._read(moment, moment, float)
        if not rest:
            raise ScriptError(self.number, moment, "a moment without a fault")
        word, *rest = rest
        kind = KINDS.get(word)
        if kind is None:
            raise ScriptError(self.number, word, _unknown("fault", word, KINDS))
        values: dict[str, Any] = {"at": at}
        if _STREAM in attrs.fields_dict(kind):
            if not rest or _is_option(kind, rest[0]):
                raise ScriptError(self.number, word, "needs the name of a stream, or a pattern")
            values[_STREAM], *rest = rest
        for option in rest:
            self._take(kind, option, values)
        return self._build(kind, values)

    def _take(self, kind: type[Fault], option: str, values: dict[str, Any]) -> None:
        readers = _readers(kind)
        name, equals, value = option.partition("=")
        if not equals:
            raise ScriptError(self.number, option, "expected NAME=VALUE")
        if name not in readers:
            raise ScriptError(self.number, name, _unknown("attribute", name, readers))
        if name in values:
            raise ScriptError(self.number, name, "stands twice")
        values[name] = self._read(option, value, readers[name])

    def _read(self, word: str, text: str, reader: Callable[[str], Any]) -> Any:
        try:
            return reader(text)
        except ValueError:
            kind = "a number" if reader is float else "a whole number"
            raise ScriptError(self.number, word, f"{text!r} is not {kind}") from None

    def _build(self, kind: type[Fault], values: dict[str, Any]) -> Fault:
        missing = [
            field.name
            for field in attrs.fields(kind)
            if field.default is attrs.NOTHING and field.name not in values
        ]
        if missing:
            raise ScriptError(self.number, kind.word, f"needs {missing[0]}=…")
        try:
            return kind(**values)
        except ValueError as error:
            raise ScriptError(self.number, self._word_of(error), str(error.args[0])) from error

    def _word_of(self, error: ValueError) -> str:
        """The word whose value a validator refused, which its text names first."""
        name = str(error.args[0]).partition("'")[2].partition("'")[0]
        options = [word for word in self.words if word.startswith(f"{name}=")]
        return options[0] if options else self.words[0]


def _readers(kind: type[Fault]) -> dict[str, Callable[[str], Any]]:
    """How the options of a kind are read from text, by their names."""
    hints = get_type_hints(kind)
    plain: dict[Any, Callable[[str], Any]] = {float: float, int: int, int | None: int}
    return {
        field.name: plain.get(hints[field.name], str)
        for field in attrs.fields(kind)
        if field.name not in ("at", _STREAM)
    }


def _is_option(kind: type[Fault], word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name in _readers(kind)


def _unknown(what: str, word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"no such {what}" + (f"; {close[0]!r} is meant?" if close else "")
