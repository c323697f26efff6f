"""Instruments: reading listings, finding symbols in them by name, and what changed between two."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from operator import attrgetter

import attrs

from farm.entities import Instrument
from farm.exchanges.binance.listing import LISTING as BINANCE
from farm.exchanges.bybit.listing import LISTING as BYBIT
from farm.exchanges.listing import ListingFormat, ListingPage, read_page
from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import Scope
from farm.types import DataType, Exchange, Nanoseconds, NumberMode, Symbol

__all__ = [
    "DELISTED",
    "Changes",
    "ListingPage",
    "Resolution",
    "UnknownName",
    "compare_listings",
    "is_pattern",
    "other_names",
    "parse_listing",
    "resolve_symbols",
]

DELISTED = "delisted"
"""The status of a symbol that the venue lists no longer. No venue has a word for it."""

_NEAR = 3  # near matches that are named for one unknown name

_FORMATS: dict[Exchange, ListingFormat] = {Exchange.BINANCE: BINANCE, Exchange.BYBIT: BYBIT}


def parse_listing(
    rules: MarketRules, body: bytes, time: Nanoseconds, numbers: NumberMode, *, page: int = 0
) -> ListingPage:
    """The instruments in an answer to the request that ``rules.instruments`` describes.

    `time` is when it came, `page` its number in the listing. ValueError where it can't be read, or
    says that the request failed; single entries that can't be read are skipped and named.
    """
    return read_page(_FORMATS[rules.exchange], rules, body, time, numbers, page)


# ----------------------------------------------------------------------------------- resolution
@attrs.frozen
class UnknownName:
    """A name that means nothing on the market: ``patterns[index]``; ``near`` are names like it."""

    pattern: str
    index: int
    near: list[str]


@attrs.frozen
class Resolution:
    """What names mean: ``symbols`` in the order in which they were asked for, each once."""

    symbols: list[Symbol]
    unknown: list[UnknownName]


def is_pattern(name: str) -> bool:
    """Whether `name` stands for every symbol that looks like it: ``*USDT``, ``BTCUSD_??????``."""
    return "*" in name or "?" in name


def resolve_symbols(
    patterns: Sequence[str], listing: Mapping[Symbol, Instrument], also: Collection[str] = ()
) -> Resolution:
    """The symbols that `patterns` mean.

    A pattern with ``*`` or ``?`` means every symbol that trades and matches, in sorted order; ``[``
    is a letter like others. Any other must be a listed symbol, trading now or not, or one of `also`
    (see :func:`other_names`).
    """
    trading = sorted(symbol for symbol, item in listing.items() if item.trading)
    found: dict[Symbol, None] = {}
    unknown: list[UnknownName] = []
    names = _Names((*listing, *also))
    for index, pattern in enumerate(patterns):
        if is_pattern(pattern):
            matching = list(_matching(pattern, trading))
            near: list[str] = []
        else:
            matching = [pattern] if pattern in listing or pattern in also else []
            near = [] if matching else names.near(pattern)
        if not matching:
            unknown.append(UnknownName(pattern, index, near))
        found |= dict.fromkeys(matching)
    return Resolution(list(found), unknown)


def other_names(
    rules: MarketRules, specs: Iterable[str], listing: Mapping[Symbol, Instrument]
) -> frozenset[str]:
    """Names besides symbols that every one of the streams `specs` can be of: pairs for continuous
    klines, base coins for the trades of options.

    Only where all of them can: a pair that is no symbol has no trades.
    """
    names: list[frozenset[str]] = []
    for spec in specs:
        stream = rules.streams.stream("", spec)
        if stream.data_type is DataType.CONTINUOUS_KLINE:
            names.append(frozenset(item.pair for item in listing.values() if item.pair))
        elif stream.scope is Scope.BASE:
            names.append(frozenset(item.base for item in listing.values()))
        else:
            return frozenset()
    return frozenset.intersection(*names) if names else frozenset()


def _matching(pattern: str, symbols: Iterable[Symbol]) -> Iterator[Symbol]:
    literal = re.sub(r"\[", "[[]", pattern)
    return (symbol for symbol in symbols if fnmatchcase(symbol, literal))


class _Names:
    """Names to find near ones among, letter case apart."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = names
        self._by_folded: dict[str, list[str]] = {}

    def near(self, word: str) -> list[str]:
        """The names that `word` looks like, the likeliest first."""
        if not self._by_folded:
            for name in dict.fromkeys(self._names):
                self._by_folded.setdefault(name.casefold(), []).append(name)
        folded = get_close_matches(word.casefold(), self._by_folded, n=_NEAR)
        return [name for match in folded for name in self._by_folded[match]][:_NEAR]


# ----------------------------------------------------------------------------------- comparison
@attrs.frozen
class Changes:
    """What became of a listing. True where there is anything."""

    listed: list[Instrument] = attrs.field(factory=list)
    delisted: list[Instrument] = attrs.field(factory=list)
    changed: list[Instrument] = attrs.field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.listed or self.delisted or self.changed)

    @property
    def instruments(self) -> list[Instrument]:
        """All of them, in the order of events."""
        return sorted((*self.listed, *self.changed, *self.delisted), key=_place)


_place = attrgetter("receive_time", "ordinal", "row")

# When we saw the terms is none of them; when the venue launches or delivers a contract is.
_SEEN = {"valid_from", "exchange_time", "event_time", "receive_time", "ordinal", "row"}
_terms = attrgetter(*(f.name for f in attrs.fields(Instrument) if f.name not in _SEEN))


def compare_listings(
    old: Mapping[Symbol, Instrument], new: Mapping[Symbol, Instrument], time: Nanoseconds
) -> Changes:
    """What was listed, delisted and changed from `old` to `new`, which was complete at `time`.

    Those delisted have their last terms, as of `time`, and come after all pages of `new`.
    """
    changes = Changes()
    for symbol, item in new.items():
        before = old.get(symbol)
        if before is None:
            changes.listed.append(item)
        elif _terms(before) != _terms(item):
            changes.changed.append(item)
    page = 1 + max((item.ordinal for item in new.values()), default=-1)
    gone = (item for symbol, item in old.items() if symbol not in new)
    for row, item in enumerate(gone):
        changes.delisted.append(
            attrs.evolve(
                item,
                status=DELISTED,
                trading=False,
                valid_from=time,
                receive_time=time,
                exchange_time=None,
                event_time=None,
                ordinal=page,
                row=row,
            )
        )
    return changes
