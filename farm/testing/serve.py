"""Fake exchanges in a process of their own: ``python -m farm.testing.serve SPEC… [options]``.

A SPEC is ``binance/spot:BTCUSDT,ETHUSDT`` or ``bybit/linear:BTCUSDT``; all seven markets are
served, and USD-M and COIN-M share their budget of REST weight. Prints one JSON line when
ready, ``{"endpoints": {"binance/spot": {"ws": "ws://…", "rest": "http://…"}}}``, and serves
simulated markets in real time until its stdin ends (a parent's lifeline) or a SIGINT or SIGTERM
comes. With ``--fault-every SECONDS`` something goes wrong again and again, by seed, and each fault
is a line on stderr.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import attrs
import trio

from farm.testing.binance import FakeBinance
from farm.testing.bybit import FakeBybit
from farm.testing.clock import Recorded
from farm.testing.faults.kinds import KINDS
from farm.testing.faults.script import FaultScript
from farm.testing.limits import WeightWindow
from farm.testing.markets import BINANCE_RULES, BYBIT_RULES
from farm.testing.names import upper
from farm.testing.server import FakeExchange, open_fake
from farm.testing.simulator import MarketSimulator
from farm.types import Exchange, Market

__all__ = ["main"]

_MARKETS = {
    f"{exchange.value}/{market.value}": (exchange, market)
    for exchange, rules in ((Exchange.BINANCE, BINANCE_RULES), (Exchange.BYBIT, BYBIT_RULES))
    for market in rules
}
PASSING = 20.0
"""Seconds that give a fault its length: the longest takes a seventh of it."""

PASSING_FAULTS = sorted(set(KINDS) - {"reject", "rest_status", "tls_failure", "clock_jump"})
"""What goes wrong here: nothing for which a venue would lock anybody out for minutes."""

# Beside letters and digits of any language, in names of futures and options.
_WITHOUT_SIGNS = str.maketrans("", "", "_-.")


@attrs.frozen
class _Spec:
    """One market to serve, such as ``binance/spot``, and its symbols."""

    name: str
    symbols: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> None:
    """Serves until told to stop. Exits with 2 on arguments that make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m farm.testing.serve", description="Serve simulated markets on loopback."
    )
    parser.add_argument(
        "specs", nargs="+", type=_spec, metavar="SPEC", help="such as binance/spot:BTCUSDT,ETHUSDT"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed tells the same story")
    parser.add_argument(
        "--rate", type=_rate, default=100.0, help="orders a second for each symbol (100)"
    )
    parser.add_argument(
        "--fault-every",
        type=_rate,
        metavar="SECONDS",
        help="on average, at each of the fakes (never)",
    )
    arguments = parser.parse_args(argv)
    names = [spec.name for spec in arguments.specs]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        parser.error(f"{repeated} stands twice: name all its symbols in one SPEC")
    trio.run(_serve, arguments.specs, arguments.seed, arguments.rate, arguments.fault_every)


def _spec(text: str) -> _Spec:
    name, colon, listed = text.partition(":")
    if name not in _MARKETS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_MARKETS)}")
    symbols = tuple(listed.split(","))
    if not colon or not all(symbols):
        raise argparse.ArgumentTypeError(f"{text!r} names no symbols, as in {name}:BTCUSDT,ETHUSDT")
    for symbol in symbols:
        if symbol != upper(symbol) or not symbol.translate(_WITHOUT_SIGNS).isalnum():
            raise argparse.ArgumentTypeError(f"{symbol!r} is no symbol in capitals")
        if symbols.count(symbol) > 1:
            raise argparse.ArgumentTypeError(f"{symbol} stands twice in {text!r}")
    return _Spec(name, symbols)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return rate


def _fake(spec: _Spec, seed: int, rate: float, futures: WeightWindow) -> FakeExchange:
    """`futures`: the weight that Binance's futures share."""
    exchange, market = _MARKETS[spec.name]
    source = MarketSimulator(
        exchange, market, spec.symbols, seed=seed, rate=rate, start=time.time_ns()
    )
    if exchange is Exchange.BINANCE:
        weights = None if market is Market.SPOT else futures
        return FakeBinance(source, rules=BINANCE_RULES[market], pace=Recorded(), weights=weights)
    return FakeBybit(source, market, pace=Recorded())


async def _serve(specs: Sequence[_Spec], seed: int, rate: float, fault_every: float | None) -> None:
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        nursery.start_soon(_until_signal, nursery.cancel_scope)
        endpoints: dict[str, dict[str, str]] = {}
        futures = WeightWindow(BINANCE_RULES[Market.USDM].weight_per_minute)
        for spec in specs:
            fake = await stack.enter_async_context(open_fake(_fake(spec, seed, rate, futures)))
            endpoints[spec.name] = {"ws": fake.ws_url, "rest": fake.rest_url}
            if fault_every is not None:
                nursery.start_soon(_go_wrong, fake, spec.name, seed, fault_every)
        try:
            sys.stdout.write(json.dumps({"endpoints": endpoints}) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            sys.stdout = None  # the parent has gone; at the exit nobody shall flush it again
        else:
            await _until_stdin_ends()
        nursery.cancel_scope.cancel()


async def _go_wrong(fake: FakeExchange, name: str, seed: int, every: float) -> None:
    """Have something go wrong again and again, at any of the streams that are asked for."""
    rng = random.Random(f"{seed}:{name}")
    for number in itertools.count():
        await trio.sleep(rng.expovariate(1 / every))
        (fault,) = FaultScript.random(
            f"{seed}:{name}:{number}",
            sorted(fake.subscribed()),
            seconds=PASSING,
            count=1,
            kinds=PASSING_FAULTS,
        )
        sys.stderr.write(f"{name}: {fault.word}\n")
        fake.strike(fault)


async def _until_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _until_stdin_ends() -> None:
    """Reads the descriptor itself: a thread left behind in ``sys.stdin`` would hold its lock and
    break the interpreter's shutdown."""
    descriptor = sys.stdin.fileno()
    while await trio.to_thread.run_sync(os.read, descriptor, 4096, abandon_on_cancel=True):
        pass


if __name__ == "__main__":
    main()
