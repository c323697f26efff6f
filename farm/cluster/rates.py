"""What streams are expected to cost, until it is measured: by it lines are placed at first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from farm.exchanges.streams import Scope, Stream
from farm.types import DataType

__all__ = ["expected_events", "expected_load"]


class _Expected(NamedTuple):
    """Events a second, and CPU seconds an event."""

    rate: float
    cost: float


_ALONE = 110e-6
"""CPU seconds of a message that is read by itself (README: 3,000 single trades a second)."""

_OF_BOOK = 130e-6
"""The same with a book kept: the README's diffs take 20 us where its trades take 1."""

# Rates, where nothing else is said: about the medians of the recorded sessions (31 to 44 s each,
# one to ten symbols a market, 2021 and 2026). BTCUSDT has up to twenty times as much.
_EXPECTED = {
    DataType.BOOK: _Expected(8.0, _OF_BOOK),  # 6 to 12, but for spot
    DataType.QUOTE: _Expected(5.0, _ALONE),  # 4 to 6, but for spot
    DataType.TICKER: _Expected(3.0, _ALONE),  # Bybit 5; Binance promises 1
    DataType.MINI_TICKER: _Expected(1.0, _ALONE),  # promised
    DataType.MARK_PRICE: _Expected(1.0, _ALONE),  # promised
    DataType.TRADE: _Expected(1.0, _ALONE),  # Bybit 0.5, of three trades each
    DataType.AGG_TRADE: _Expected(0.5, _ALONE),  # 0.2 to 0.8
    DataType.KLINE: _Expected(0.4, _ALONE),  # 0.1 to 0.6
    DataType.CONTINUOUS_KLINE: _Expected(0.4, _ALONE),  # as candles
    DataType.LIQUIDATION: _Expected(0.01, _ALONE),  # a guess
    DataType.CONTRACT_INFO: _Expected(0.001, _ALONE),  # a guess
    DataType.OPEN_INTEREST: _Expected(1 / 60, 1e-3),  # polled once a minute; its cost is a guess
}

_SYMBOLS = 500
"""Symbols of a whole market, roughly."""

_ROW = 3e-6
"""CPU seconds an event where many come at once (README: 326,000 a second of 1,000 symbols)."""


def expected_load(streams: Iterable[Stream]) -> float:
    """CPU seconds a second that `streams` may take, of symbols of middling liquidity: a guess, by
    which lines are compared until they are heard."""
    return sum(rate * cost for rate, cost in map(_expected, streams))


def expected_events(streams: Iterable[Stream]) -> float:
    """Events a second that `streams` may bring."""
    return sum(rate for rate, _ in map(_expected, streams))


def _expected(stream: Stream) -> _Expected:
    expected = _EXPECTED[stream.data_type]
    if stream.scope is not Scope.MARKET:
        return expected
    if stream.every is not None:  # all symbols at once
        return _Expected(_SYMBOLS / stream.every, _ROW)
    return _Expected(_SYMBOLS * expected.rate, expected.cost)
