"""What can be conflated: kinds of which each message is the newest state, whatever came before."""

from __future__ import annotations

from collections.abc import Iterable

from farm.entities import (
    BookUpdate,
    Event,
    Gap,
    MarkPrice,
    MiniTicker,
    OpenInterest,
    Quote,
    Ticker,
)
from farm.exchanges.registry import MARKETS
from farm.exchanges.streams import BookProcedure, Stream
from farm.types import DataType

__all__ = ["CONFLATABLE", "WHOLE_BOOKS", "see_conflatable"]

CONFLATABLE: frozenset[type[Event]] = frozenset(
    {Quote, Ticker, MiniTicker, MarkPrice, OpenInterest}
)
"""Kinds that can be conflated whatever stream they come on."""

WHOLE_BOOKS = frozenset(
    (rules.exchange, rules.market, stream.depth)
    for rules in MARKETS.values()
    for stream in (rules.streams.stream("X", spec) for spec in rules.streams.specs)
    if stream.procedure is BookProcedure.WHOLE_EVERY_TIME
)
"""The books of which each message is the whole: exchange, market and depth."""


def see_conflatable(kinds: Iterable[type[Event]], streams: Iterable[Stream]) -> None:
    """ValueError where one of `kinds` can't be conflated, or its stream among `streams`."""
    for kind in kinds:
        if kind is BookUpdate:
            _see_whole(streams)
        elif kind is not Gap and kind not in CONFLATABLE:
            names = ", ".join(sorted(known.__name__ for known in CONFLATABLE))
            raise ValueError(
                f"{kind.__name__} can't be conflated: each one counts, not the newest alone; "
                f"these can: {names}, and BookUpdate of books that come whole"
            )


def _see_whole(streams: Iterable[Stream]) -> None:
    for stream in streams:
        whole = stream.procedure is BookProcedure.WHOLE_EVERY_TIME
        if stream.gives(DataType.BOOK) and not whole:
            raise ValueError(
                f"{stream.name} can't be conflated: it carries changes of a book, and each one "
                "counts; name symbols or a market of which only whole books are collected"
            )
