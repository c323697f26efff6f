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
change what it trades, ``announce_shutdown`` is Binance's notice. What goes wrong, and when, is a
script::

    faults = FaultScript().corrupt("btcusdt@trade", at=3, how="truncate").half_open(at=5)
    async with open_fake(FakeBinance(market, faults=faults)) as exchange: ...

of some twenty-five kinds, in :mod:`farm.testing.faults`. On ``network=MemoryNetwork()``, which
clients reach by its ``open_stream``, all of it runs under a virtual clock; :class:`FarmWorld` puts
a farm there. Tests get all of that as pytest fixtures: see :mod:`farm.testing.plugin`.
:func:`at_every_moment` cancels what it is given at each of its awaits.
``python -m farm.testing.serve`` runs fakes in a process of their own, and
``python -m farm.testing.chaos`` lets everything go wrong, by seed, and judges the farm.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm.testing.binance import FakeBinance
    from farm.testing.bybit import FakeBybit
    from farm.testing.clock import Flood, Recorded
    from farm.testing.connection import Connection
    from farm.testing.faults import FaultEvent, FaultScript
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
    from farm.testing.moments import Moment, at_every_moment
    from farm.testing.network import MemoryNetwork
    from farm.testing.recording import RecordingSource
    from farm.testing.server import ControlMessage, FakeExchange, RestCall, open_fake
    from farm.testing.simulator import Instrument, MarketSimulator
    from farm.testing.source import Push, Source, depth_reply, full_book_reply, losing
    from farm.testing.wall_clock import WallClock
    from farm.testing.world import FarmWorld

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
    "FarmWorld",
    "FaultEvent",
    "FaultScript",
    "Flood",
    "Instrument",
    "MarketSimulator",
    "MemoryNetwork",
    "Moment",
    "Push",
    "PushFilter",
    "Recorded",
    "RecordingSource",
    "RequestWindow",
    "RestCall",
    "Source",
    "WallClock",
    "WeightWindow",
    "at_every_moment",
    "depth_reply",
    "full_book_reply",
    "losing",
    "open_fake",
]

_HOMES = {
    name: module
    for module, names in {
        "farm.testing.binance": "FakeBinance",
        "farm.testing.bybit": "FakeBybit",
        "farm.testing.clock": "Flood Recorded",
        "farm.testing.connection": "Connection",
        "farm.testing.faults": "FaultEvent FaultScript",
        "farm.testing.floor": "PushFilter",
        "farm.testing.limits": "RequestWindow WeightWindow",
        "farm.testing.markets": (
            "BINANCE_COINM BINANCE_RULES BINANCE_SPOT BINANCE_USDM BYBIT_RULES BinanceRules "
            "BybitRules"
        ),
        "farm.testing.moments": "Moment at_every_moment",
        "farm.testing.network": "MemoryNetwork",
        "farm.testing.recording": "RecordingSource",
        "farm.testing.server": "ControlMessage FakeExchange RestCall open_fake",
        "farm.testing.simulator": "Instrument MarketSimulator",
        "farm.testing.source": "Push Source depth_reply full_book_reply losing",
        "farm.testing.wall_clock": "WallClock",
        "farm.testing.world": "FarmWorld",
    }.items()
    for name in names.split()
}
"""Where each name is defined: it is imported when it is first asked for, since pytest imports this
package wherever farm is installed."""

if not TYPE_CHECKING:  # a checker would let every name pass

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
