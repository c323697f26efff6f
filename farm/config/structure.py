"""How plain values become typed ones: strictly, by cattrs, with the path of every fault.

cattrs picks the hook for a type; the hooks are ours, because its own coerce (``int("7")``), and
because a table with one value of the wrong type is still to have its other values judged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import attrs
import cattrs

from farm.config.faults import Faults, refusal
from farm.config.rules import bound_faults
from farm.config.words import got, known_values, listed, shown, unknown
from farm.errors import ConfigError
from farm.types import Exchange, Market, NumberMode

__all__ = ["Table", "structure"]

T = TypeVar("T")

_CONVERTER = cattrs.Converter()


def structure(value: Any, kind: type[T]) -> T:
    """`value` as a `kind`. Raises :class:`~farm.config.ConfigErrors`, with paths within `value`."""
    return _CONVERTER.structure(value, kind)


@attrs.frozen
class Table:
    """A table of the configuration: checked and converted, however it was made."""

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        attrs.resolve_types(cls)  # while importing: later it would be a race between threads

    def __attrs_post_init__(self) -> None:
        for name, value in _checked(type(self), attrs.asdict(self, recurse=False)).items():
            object.__setattr__(self, name, value)

    @classmethod
    def _rules(cls, good: Mapping[str, Any]) -> Iterable[ConfigError]:  # noqa: ARG003 overridden
        """What is wrong with the `good` values, those of the right type; any may be absent."""
        return ()


def _checked(cls: type[Table], values: Mapping[Any, Any]) -> dict[str, Any]:
    """The table's `values`, converted, and the defaults of those that are absent."""
    faults, good = Faults(), dict[str, Any]()
    for field in attrs.fields(cls):
        with faults.at(field.name):
            value = values.get(field.name, field.default)
            if value is attrs.NOTHING:
                raise refusal(f"is missing. {field.metadata['description']}")
            good[field.name] = structure(value, cast("Any", field.type))
    faults.add(_unknown_keys(cls, values))
    for name, value in good.items():
        faults.add(bound_faults(name, value, attrs.fields_dict(cls)[name].metadata))
    faults.add(cls._rules(good))
    faults.raise_any()
    return good


def _unknown_keys(cls: type[Table], values: Mapping[Any, Any]) -> Iterator[ConfigError]:
    known = [field.name for field in attrs.fields(cls)]
    for key in sorted(values.keys() - known, key=shown):
        word = key if isinstance(key, str) else shown(key)
        place = word if re.fullmatch(r"[A-Za-z0-9_-]{1,80}", word) else shown(word)
        yield ConfigError(place, unknown("key", word, known))


def _structure_table(value: Any, cls: type[Table]) -> Table:
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise refusal(f"expected a table, {got(value)}")
    return cls(**_checked(cls, value))


def _structure_list(value: Any, kind: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        hint = f"; write [{shown(value)}]" if isinstance(value, str) else ""
        if isinstance(value, Mapping):
            hint = "; TOML writes each table of a list under double brackets, [[...]]"
        raise refusal(f"expected a list, {got(value)}{hint}")
    faults, items = Faults(), []
    for index, item in enumerate(value):
        with faults.at(f"[{index}]"):
            items.append(structure(item, get_args(kind)[0]))
    faults.raise_any()
    return tuple(items)


def _strict(kind: type, name: str) -> Callable[[Any, Any], Any]:
    def structure_exactly(value: Any, _: Any) -> Any:
        # A bool is an int to Python, but not to whoever wrote the file.
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        raise refusal(f"expected {name}, {got(value)}")

    return structure_exactly


def _structure_number(value: Any, _: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise refusal(f"expected a finite number, {got(value)}")


def _structure_path(value: Any, _: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise refusal(f"expected a path as a string, {got(value)}")
    if not value.strip() or "\0" in value:
        raise refusal(f"{shown(value)} is no path")
    return Path(value)


_ENUM_NAMES: dict[type[Enum], str] = {
    Exchange: "exchange",
    Market: "market",
    NumberMode: "number mode",
}


def _structure_enum(value: Any, enum: type[Enum]) -> Enum:
    if isinstance(value, enum):
        return value
    members = {member.value: member for member in enum}
    return cast("Enum", _chosen(value, members, known_values(enum), _ENUM_NAMES[enum]))


def _structure_literal(value: Any, literal: Any) -> Any:
    words = get_args(literal)
    return _chosen(value, dict(zip(words, words, strict=True)), words, "value")


def _chosen(value: Any, choices: Mapping[str, Any], offered: Iterable[str], what: str) -> Any:
    if not isinstance(value, str):
        raise refusal(f"expected one of {listed(offered)}, {got(value)}")
    if value not in choices:
        raise refusal(unknown(what, value, offered))
    return choices[value]


def _has_origin(origin: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


_CONVERTER.register_structure_hook_func(attrs.has, _structure_table)
_CONVERTER.register_structure_hook_func(_has_origin(tuple), _structure_list)
_CONVERTER.register_structure_hook_func(_has_origin(Literal), _structure_literal)
_CONVERTER.register_structure_hook(Enum, _structure_enum)
_CONVERTER.register_structure_hook(str, _strict(str, "a string"))
_CONVERTER.register_structure_hook(int, _strict(int, "an integer"))
_CONVERTER.register_structure_hook(bool, _strict(bool, "a boolean"))
_CONVERTER.register_structure_hook(float, _structure_number)
_CONVERTER.register_structure_hook(Path, _structure_path)
