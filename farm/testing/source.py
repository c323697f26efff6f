"""Sources: where the texts of a fake exchange come from.

A source is a plain iterable of :class:`Push` in time order, so ``filter``, ``itertools`` and
generator functions drop, insert and alter what a venue says. What the venue *knows* and what the
wire *carries* are two things, though: leave a diff out of a source and the fake's own book never
had it; mark it silent (:func:`losing`) and the book has it while no client hears of it, which is
what a lost message is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeAlias

import attrs

__all__ = ["Push", "Source", "depth_reply", "full_book_reply", "losing", "reply_symbol"]


@attrs.define
class Push:
    """One text of a venue at one instant of its market.

    ``time``: nanoseconds since the epoch, UTC. ``stream``: the venue's name of the stream
    (``btcusdt@trade``, ``orderbook.200.BTCUSDT``); a name that starts with ``/`` is the answer to
    a REST request instead (``/depth?symbol=BTCUSDT``). ``text``: the venue's payload; on Binance
    the ``data`` object alone, on Bybit the whole message. ``silent``: the venue takes note of it
    and sends it to no one.
    """

    time: int
    stream: str
    text: str
    silent: bool = False


Source: TypeAlias = Iterable[Push]
"""Pushes in time order. A ``symbols`` attribute, where there is one, names what is traded."""


def depth_reply(symbol: str) -> str:
    """The name under which a source carries the REST depth snapshot of a symbol."""
    return f"/depth?symbol={symbol}"


def full_book_reply(symbol: str) -> str:
    """The name under which a source carries Bybit's answer about the full book of a symbol."""
    return f"/full_orderbook?symbol={symbol}"


def reply_symbol(stream: str) -> str | None:
    """The symbol of a REST depth snapshot, None for any other stream."""
    name, found, symbol = stream.partition("/depth?symbol=")
    return symbol if found and not name else None


@attrs.define
class _Losing:
    source: Source
    lost: Callable[[Push], bool]

    @property
    def symbols(self) -> Collection[str] | None:
        return symbols_of(self.source)

    @property
    def exchange(self) -> object:
        """That of the source, where it says whose it is."""
        return getattr(self.source, "exchange", None)

    @property
    def market(self) -> object:
        return getattr(self.source, "market", None)

    @property
    def instruments(self) -> Collection[object]:
        """Those of the source, where it says what it trades."""
        told: Collection[object] = getattr(self.source, "instruments", ())
        return told

    def __iter__(self) -> Iterator[Push]:
        for push in self.source:
            yield attrs.evolve(push, silent=True) if self.lost(push) else push


def losing(source: Source, lost: Callable[[Push], bool]) -> Source:
    """The source with the pushes that `lost` picks gone astray between the venue and everyone."""
    return _Losing(source, lost)


def symbols_of(source: Source) -> Collection[str] | None:
    """The symbols that a source says it trades, None where it doesn't say."""
    symbols: Collection[str] | None = getattr(source, "symbols", None)
    return symbols
