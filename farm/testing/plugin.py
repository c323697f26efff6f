"""The pytest plugin: fake exchanges, a farm on them, and a script of what goes wrong.

It is there wherever farm is installed. The fixtures:

``fault_script``
    An empty :class:`~farm.testing.faults.script.FaultScript`, to be filled before the farm is
    opened. Where the test fails it is printed, with its seed, as text that
    ``FaultScript.parse`` reads. For a fault whose moment came and that hit nothing there is a
    :class:`~farm.testing.faults.FaultNeverStruck`, which is a warning.
``fake_binance``, ``fake_bybit``
    Fake exchanges of Binance spot and Bybit linear with a simulated market of BTCUSDT and ETHUSDT,
    in memory. ``@pytest.mark.farm`` changes them: ``market="usdm"``, ``symbols=[...]``,
    ``seed=7``, ``rate=100.0`` (orders a second for each symbol). ``fault_log`` says what faults
    did, ``strike(fault)`` brings one about at once.
``farm_under_test``
    ``async with farm_under_test(fake_binance, streams=["trade", "book"]) as farm:`` opens the
    exchanges that it is given and a farm that collects from them, and closes both; they may be
    opened again. ``symbols=[...]`` picks some; other words are tables and values of the
    configuration, such as ``data=str(tmp_path)``.

Give a test pytest-trio's ``autojump_clock`` as well, and hours pass in milliseconds: nothing here
uses sockets, threads or the machine's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from farm import Farm
    from farm.testing import (
        FakeBinance,
        FakeBybit,
        FakeExchange,
        FarmWorld,
        FaultScript,
        MarketSimulator,
    )
    from farm.types import Exchange, Market

__all__ = ["FarmOpener", "fake_binance", "fake_bybit", "farm_under_test", "fault_script"]

FarmOpener: TypeAlias = "Callable[..., AbstractAsyncContextManager[Farm]]"
"""What ``farm_under_test`` is: :meth:`farm.testing.FarmWorld.open_farm`."""

_OPTIONS = ("market", "symbols", "seed", "rate")
_USUAL = {"binance": "spot", "bybit": "linear"}
_script_key = pytest.StashKey["FaultScript"]()
_fakes_key = pytest.StashKey["list[FakeExchange]"]()


def pytest_configure(config: pytest.Config) -> None:
    """The marker is one that pytest knows."""
    config.addinivalue_line(
        "markers",
        "farm(market, symbols, seed, rate): what the fake exchanges of a test trade, and how fast",
    )


@pytest.fixture
def fault_script(request: pytest.FixtureRequest) -> Iterator[FaultScript]:
    """What goes wrong at the fake exchanges of this test: fill it before the farm is opened."""
    from farm.testing import FaultScript
    from farm.testing.faults.never_struck import FaultNeverStruck, never_struck, warning_text

    script = FaultScript(seed=_marked(request).get("seed", 0))
    fakes: list[FakeExchange] = []
    request.node.stash[_script_key] = script
    request.node.stash[_fakes_key] = fakes
    yield script
    followed = {stream for fake in fakes for stream in fake.streams_followed}
    for fault in never_struck(fakes):
        request.node.warn(FaultNeverStruck(warning_text(fault, followed)))


@pytest.fixture
def _farm_world(request: pytest.FixtureRequest) -> FarmWorld:
    from farm.testing import FarmWorld

    return FarmWorld(seed=_marked(request).get("seed", 0))


@pytest.fixture
def fake_binance(
    request: pytest.FixtureRequest, fault_script: FaultScript, _farm_world: FarmWorld
) -> FakeBinance:
    """A Binance in memory, spot unless the marker says otherwise; ``farm_under_test`` opens it."""
    from farm.testing import BINANCE_RULES, FakeBinance
    from farm.types import Exchange

    market, options = _market(request, Exchange.BINANCE)
    source = _simulated(Exchange.BINANCE, market, options)
    home = _lives_in(_farm_world, fault_script)
    fake = FakeBinance(source, rules=BINANCE_RULES[market], **home)
    request.node.stash[_fakes_key].append(fake)
    return fake


@pytest.fixture
def fake_bybit(
    request: pytest.FixtureRequest, fault_script: FaultScript, _farm_world: FarmWorld
) -> FakeBybit:
    """A Bybit in memory, linear unless the marker says otherwise; ``farm_under_test`` opens it."""
    from farm.testing import FakeBybit
    from farm.types import Exchange

    market, options = _market(request, Exchange.BYBIT)
    source = _simulated(Exchange.BYBIT, market, options)
    fake = FakeBybit(source, market, **_lives_in(_farm_world, fault_script))
    request.node.stash[_fakes_key].append(fake)
    return fake


@pytest.fixture
def farm_under_test(_farm_world: FarmWorld) -> FarmOpener:
    """Opens fake exchanges and a farm on them: see the module."""
    opener: FarmOpener = _farm_world.open_farm
    return opener


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that fails says what went wrong at its exchanges."""
    outcome: Any = yield
    report = outcome.get_result()
    script = item.stash.get(_script_key, None)
    if report.failed and script is not None:
        from farm.testing.faults.never_struck import annotated, never_struck

        fakes = item.stash[_fakes_key]
        report.sections.append(("fault script", annotated(script, never_struck(fakes))))


# ------------------------------------------------------------------------------------------ helpers
def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the test's marker says."""
    marker = request.node.get_closest_marker("farm")
    options: dict[str, Any] = {} if marker is None else dict(marker.kwargs)
    unknown = [
        *(marker.args if marker else ()),
        *(name for name in options if name not in _OPTIONS),
    ]
    if unknown:
        known = ", ".join(_OPTIONS)
        raise pytest.UsageError(f"@pytest.mark.farm takes {known} by name, not {unknown[0]!r}")
    return options


def _market(request: pytest.FixtureRequest, exchange: Exchange) -> tuple[Market, dict[str, Any]]:
    """The market of a fake, and the other options. A marker of a test with both exchanges may name
    a market of one of them; the other has its usual one."""
    from farm.exchanges.registry import MARKETS
    from farm.types import Market

    options = _marked(request)
    usual = Market(_USUAL[exchange.value])
    name = options.pop("market", usual.value)
    said = f"@pytest.mark.farm(market={name!r})"
    if name not in {market.value for market in Market}:
        raise pytest.UsageError(f"{said}: there is no such market")
    market = Market(name)
    if (exchange, market) in MARKETS:
        return market, options
    fixtures = [f"fake_{venue.value}" for venue, its in MARKETS if its is market]
    if not set(fixtures) & set(request.fixturenames):
        raise pytest.UsageError(f"{said} is of {' and '.join(fixtures)}, which the test lacks")
    return usual, options


def _simulated(exchange: Exchange, market: Market, options: dict[str, Any]) -> MarketSimulator:
    from farm.testing import MarketSimulator
    from farm.testing.simulator.instruments import usual_symbols

    symbols = options.pop("symbols", usual_symbols(exchange, market)[:2])
    return MarketSimulator(exchange, market, symbols, **({"rate": 20.0} | options))


def _lives_in(world: FarmWorld, script: FaultScript) -> dict[str, Any]:
    from farm.testing import Recorded

    return {
        "pace": Recorded(),
        "network": world.network,
        "wall_clock": world.wall_clock,
        "faults": script,
    }
