"""How messages show values, and the choices that stood open instead."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Any

from farm.exchanges.registry import MARKETS, rules_of
from farm.types import Exchange, Market

__all__ = [
    "did_you_mean",
    "got",
    "known_values",
    "listed",
    "near",
    "shown",
    "stream_specs_help",
    "unknown",
]


class _Shown(reprlib.Repr):
    """Short, safe reprs: a value may be huge, and Python refuses to print integers that are."""

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if abs(x) < 10**40 else f"<{x.bit_length()} bits>"


_SHOWN = _Shown()
_SHOWN.maxstring = _SHOWN.maxother = 80
_SHOWN.maxlist = _SHOWN.maxtuple = _SHOWN.maxdict = 3

_KIND_NAMES: tuple[tuple[Any, str], ...] = (
    (bool, "boolean"),  # before int, which it is to Python
    (int, "integer"),
    (float, "float"),
    (str, "string"),
    (Mapping, "table"),
    (list | tuple, "list"),
)


def shown(value: Any) -> str:
    """A value, shortly; booleans as TOML writes them."""
    return str(value).lower() if isinstance(value, bool) else _SHOWN.repr(value)


def got(value: Any) -> str:
    """``got the string '7'``: what stands where another type was expected."""
    kind = next((f"the {name} " for type_, name in _KIND_NAMES if isinstance(value, type_)), "")
    return f"got {kind}{shown(value)}"


def listed(words: Iterable[str]) -> str:
    """``'spot', 'linear'``."""
    return ", ".join(repr(word) for word in words)


def near(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` looks like, letter case apart; of equals the first."""
    by_folded = {candidate.casefold(): candidate for candidate in reversed([*known])}
    matches = get_close_matches(word.casefold(), by_folded, n=1)
    return by_folded[matches[0]] if matches else None


def did_you_mean(likely: str | None) -> str:
    """The joint between a fault and the list of what is possible."""
    return f"; did you mean {likely!r}?" if likely else ";"


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """``unknown exchange 'binanse'; did you mean 'binance'? possible: 'binance', 'bybit'``."""
    known = list(known)
    hint = did_you_mean(near(word, known))
    return f"unknown {what} {shown(word)}{hint} possible: {listed(known)}"


def known_values(enum: type[Enum]) -> list[str]:
    """The values that a configuration may name: of venues and markets, those that farm speaks."""
    spoken = {member for key in MARKETS for member in key}
    return [m.value for m in enum if m in spoken or enum not in (Exchange, Market)]


def stream_specs_help(exchange: Exchange, market: Market) -> str:
    """The streams of a market on one line: ``trade, quote, book, book:{50,200}, kline:{1m,3m}``.

    Raises KeyError for a market that farm does not speak.
    """
    details: dict[str, list[str]] = {}
    for spec in rules_of(exchange, market).streams.specs:
        head, colon, detail = spec.partition(":")
        details.setdefault(head + colon, []).append(detail)
    return ", ".join(
        f"{head}{{{','.join(found)}}}" if head.endswith(":") else head
        for head, found in details.items()
    )
