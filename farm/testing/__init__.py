"""Fake exchanges on loopback, a seeded market and recordings to feed them: tools for tests.

A client under test connects to a fake as it would to the venue::

    from farm.testing import FakeBinance, Flood, MarketSimulator, open_fake
    from farm.types import Exchange, Market

    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=7, seconds=60)
    async with open_fake(FakeBinance(market, pace=Flood(start_after=2))) as exchange:
        await collect(exchange.ws_url, exchange.rest_url)   # your code
        exchange.kill()                                     # the server dies in mid-stream …
        await exchange.revive()                             # … and comes back on the same ports
        await exchange.finished.wait()
    assert exchange.sent["btcusdt@trade"] == what_was_collected

The source may as well be a :class:`RecordingSource`, or any iterable of :class:`Push`. There is
a fake for each of seven markets::

    FakeBinance(source)                              FakeBybit(source, Market.SPOT)
    FakeBinance(source, rules=BINANCE_USDM)          FakeBybit(source, Market.LINEAR)
    FakeBinance(source, rules=BINANCE_COINM)         FakeBybit(source, Market.INVERSE)
                                                     FakeBybit(source, Market.OPTION)

Futures of Binance that stand for one address share ``weights=WeightWindow(2400)``. A thousand
symbols cost nothing where nothing happens: ``FakeBinance([], symbols=names, empty_books=True)``.
While a fake runs, ``filter`` decides who gets which push, ``list_symbol`` and ``delist_symbol``
change what it trades, ``announce_shutdown`` is Binance's notice.
``python -m farm.testing.serve`` runs fakes in a process of their own.
"""

from __future__ import annotations

from farm.testing.binance import FakeBinance
from farm.testing.bybit import FakeBybit
from farm.testing.clock import Flood, Recorded
from farm.testing.connection import Connection
from farm.testing.floor import PushFilter
from farm.testing.limits import RequestWindow, WeightWindow
from farm.testing.markets import (
    BINANCE_COINM,
    BINANCE_RULES,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_RULES,
    BinanceRules,
    BybitRules,
)
from farm.testing.recording import RecordingSource
from farm.testing.server import ControlMessage, FakeExchange, RestCall, open_fake
from farm.testing.simulator import Instrument, MarketSimulator
from farm.testing.source import Push, Source, depth_reply, full_book_reply, losing

__all__ = [
    "BINANCE_COINM",
    "BINANCE_RULES",
    "BINANCE_SPOT",
    "BINANCE_USDM",
    "BYBIT_RULES",
    "BinanceRules",
    "BybitRules",
    "Connection",
    "ControlMessage",
    "FakeBinance",
    "FakeBybit",
    "FakeExchange",
    "Flood",
    "Instrument",
    "MarketSimulator",
    "Push",
    "PushFilter",
    "Recorded",
    "RecordingSource",
    "RequestWindow",
    "RestCall",
    "Source",
    "WeightWindow",
    "depth_reply",
    "full_book_reply",
    "losing",
    "open_fake",
]
