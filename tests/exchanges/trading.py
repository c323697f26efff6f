"""Trades and bundles made by hand, for what stands behind the parsers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.entities import AggTrade, Event, Gap, SpentIds, Trade
from farm.exchanges.outages import stream_gap
from farm.exchanges.registry import rules_of
from farm.exchanges.streams import Stream
from farm.types import Exchange, GapCause, Market, Nanoseconds, Side

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
USDM = rules_of(BINANCE, Market.USDM)


def streams_of(
    exchange: Exchange, market: Market, *specs: str, symbols: Sequence[str] = ("BTCUSDT",)
) -> list[Stream]:
    table = rules_of(exchange, market).streams
    return [table.stream(symbol, spec) for symbol in symbols for spec in specs]


def trade(
    number: int | str, time: Nanoseconds = 0, symbol: str = "BTCUSDT", ordinal: int = 0
) -> Trade:
    return Trade(
        BINANCE, Market.SPOT, symbol, str(number), 1.0, 2.0, Side.BUY, time, time, time, ordinal
    )


def spent(first: int, last: int, time: Nanoseconds = 0, symbol: str = "BTCUSDT") -> SpentIds:
    return SpentIds(BINANCE, Market.USDM, symbol, first, last, time, time, time, 0)


def agg_trade(
    number: int,
    fills: tuple[int, int] = (0, 0),
    time: Nanoseconds = 0,
    symbol: str = "BTCUSDT",
) -> AggTrade:
    place = (time, time, time, 0)
    return AggTrade(BINANCE, Market.SPOT, symbol, str(number), 1.0, 2.0, Side.BUY, *fills, *place)


def outage(
    stream: Stream,
    start: Nanoseconds,
    end: Nanoseconds,
    cause: GapCause = GapCause.DISCONNECT,
    **more: Any,
) -> Gap:
    return stream_gap(stream, cause, start=start, end=end, receive_time=end, ordinal=0, **more)


class Line:
    """Makes the bundles of one connection, whose serials rise."""

    def __init__(self, connection: str = "c", market: Market = Market.SPOT) -> None:
        self.origin = Origin(BINANCE, market, connection, 1)
        self.serial = 0

    def bundle(self, *rows: Event, time: Nanoseconds = 0, **more: Any) -> Bundle:
        """The rows of one read, by kind."""
        self.serial += 1
        by_kind: dict[type[Any], list[Any]] = {}
        for row in rows:
            by_kind.setdefault(type(row), []).append(row)
        batches = [
            Batch(kind, rows=some, origins=[(self.origin, len(some))])
            for kind, some in by_kind.items()
        ]
        return Bundle(self.origin, self.serial, time, batches, **more)


def rows_of(bundles: Bundle | Iterable[Bundle], kind: type[Any]) -> list[Any]:
    """All rows of a kind in bundles, in order; each bundle has one batch a kind at most."""
    found = []
    for bundle in [bundles] if isinstance(bundles, Bundle) else bundles:
        batches = [batch for batch in bundle.batches if batch.kind is kind]
        assert len(batches) <= 1
        for batch in batches:
            assert len(batch) == len(batch.rows) > 0
            found += batch.rows
    return found


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The runs of consecutive numbers, first and last."""
    ordered = sorted(set(numbers))
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0])
    ]
    return [(run[0], run[-1]) for run in runs]
