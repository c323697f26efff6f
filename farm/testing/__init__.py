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

The source may as well be a :class:`RecordingSource`, or any iterable of :class:`Push`.
``python -m farm.testing.serve`` runs fakes in a process of their own.
"""

from __future__ import annotations

from farm.testing.binance import FakeBinance
from farm.testing.bybit import FakeBybit
from farm.testing.clock import Flood, Recorded
from farm.testing.markets import BINANCE_SPOT, BYBIT_RULES, BinanceRules, BybitRules
from farm.testing.recording import RecordingSource
from farm.testing.server import ControlMessage, FakeExchange, RestCall, open_fake
from farm.testing.simulator import Instrument, MarketSimulator
from farm.testing.source import Push, Source, depth_reply, losing

__all__ = [
    "BINANCE_SPOT",
    "BYBIT_RULES",
    "BinanceRules",
    "BybitRules",
    "ControlMessage",
    "FakeBinance",
    "FakeBybit",
    "FakeExchange",
    "Flood",
    "Instrument",
    "MarketSimulator",
    "Push",
    "Recorded",
    "RecordingSource",
    "RestCall",
    "Source",
    "depth_reply",
    "losing",
    "open_fake",
]
