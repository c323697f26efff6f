"""How one field of an event is read off the wire: once, for rows and for columns.

A field says by a Python expression what its value is, over these names:

* ``wire``, the struct of one event; ``top``, the message that it came in;
* ``stream``, the stream that carried it; ``unit``, nanoseconds in a unit of the venue's times.

:mod:`farm.exchanges.recipe` writes the loops over them, as attrs writes ``__init__``: a call for
every field would cost more than all the decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from farm.types import Side

__all__ = [
    "OF_STREAM",
    "Field",
    "computed",
    "lookup",
    "of_stream",
    "optional_time",
    "same",
    "side",
    "taker_side",
    "text",
    "time",
]

Finish: TypeAlias = Callable[[list[Any], int], npt.NDArray[Any]]
"""Make a column of what ``raw`` gave: (values, unit)."""


@attrs.frozen
class Field:
    """One field: ``row`` is the expression of its value, which uses ``names`` besides.

    A column is made of the values of ``raw``, by ``finish``, where that is quicker than making it
    of the values of ``row``.
    """

    row: str
    names: Mapping[str, Any] = attrs.field(factory=dict)
    raw: str = ""
    finish: Finish | None = None

    @property
    def of_stream(self) -> bool:
        """Whether it is an attribute of the stream alone."""
        return self.row.startswith("stream.")

    @property
    def of_session(self) -> bool:
        """Whether it is the same for all streams of a session."""
        return self.row in ("stream.exchange", "stream.market")


def same(path: str) -> Field:
    """What stands on the wire: ``same("wire.p")``."""
    return Field(path)


def computed(expression: str, **names: Any) -> Field:
    """Whatever an expression says."""
    return Field(expression, names)


def of_stream(name: str) -> Field:
    """An attribute of the stream."""
    return Field(f"stream.{name}")


OF_STREAM = {name: of_stream(name) for name in ("exchange", "market", "symbol")}
"""What the stream says of every event on it."""


def text(path: str) -> Field:
    """A number as text."""
    return Field(f'f"{{{path}}}"')


def time(path: str) -> Field:
    """A venue's time, in nanoseconds."""
    return Field(f"{path} * unit", raw=path, finish=_times)


def optional_time(path: str, otherwise: str = "None") -> Field:
    """The same where it may be absent; then it is `otherwise`."""
    return Field(f"{otherwise} if {path} is None else {path} * unit")


def taker_side(path: str) -> Field:
    """Binance's ``m``: whether the buyer was the maker, so that the taker sold."""
    names = {"sell": Side.SELL, "buy": Side.BUY}
    return Field(f"sell if {path} else buy", names, path, _taker_sides)


def side(path: str, sides: Mapping[str, Side]) -> Field:
    """A side by the venue's word for it; UNKNOWN for any other."""
    codes = {word: _CODES[meant] % 256 for word, meant in sides.items()}
    names = {"side_of": sides.get, "no_side": Side.UNKNOWN, "code_of": codes.get}
    return Field(f"side_of({path}, no_side)", names, f"code_of({path}, 0)", _codes)


def lookup(path: str, table: Mapping[Any, Any], otherwise: Any) -> Field:
    """What a table says of what stands on the wire; once in a recipe."""
    return Field(f"found({path}, otherwise)", {"found": table.get, "otherwise": otherwise})


_CODES = {Side.BUY: 1, Side.SELL: -1, Side.UNKNOWN: 0}


def _times(values: list[Any], unit: int) -> npt.NDArray[Any]:
    return np.fromiter(values, np.int64, len(values)) * unit


def _taker_sides(values: list[Any], _unit: int) -> npt.NDArray[Any]:
    return 1 - 2 * np.frombuffer(bytearray(values), np.int8)


def _codes(values: list[Any], _unit: int) -> npt.NDArray[Any]:
    return np.frombuffer(bytearray(values), np.int8)
