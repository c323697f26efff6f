"""A world for farms under test: no socket, no thread, and a wall clock that may be made to jump."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import trio

from farm.api.farm import Farm, open_farm
from farm.pipeline import Environment
from farm.testing.network import MemoryNetwork
from farm.testing.server import FakeExchange, open_fake
from farm.testing.wall_clock import WallClock

__all__ = ["FarmWorld", "run_in_place"]


async def run_in_place(work: Callable[[], Any]) -> Any:
    """Do blocking work here and now. Under a virtual clock a thread would be overtaken by time."""
    await trio.lowlevel.checkpoint()
    return work()


@attrs.define(eq=False)
class FarmWorld:
    """Where fake exchanges and the farms on them live together in memory::

        world = FarmWorld(seed=7)
        market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"])
        fake = FakeBinance(market, network=world.network, pace=Recorded())
        async with world.open_farm(fake, streams=["trade", "book"]) as farm:
            ...

    Under Trio's ``MockClock`` with autojump hours pass in it in milliseconds. What farm does by
    chance follows from ``seed``, as do the network's delays; all its times are those of
    ``wall_clock``, which goes with Trio's clock. So the same seed, exchanges and faults give the
    same events, to the byte, in whatever order Trio runs the tasks.
    """

    seed: int | str = 0
    network: MemoryNetwork = attrs.field(
        default=attrs.Factory(lambda self: MemoryNetwork(self.seed), takes_self=True)
    )
    wall_clock: WallClock = attrs.field(factory=WallClock)

    @property
    def environment(self) -> Environment:
        """What :func:`farm.open_farm` is given to live here."""
        return Environment(
            wall_clock=self.wall_clock,
            run_sync=run_in_place,
            open_stream=self.network.open_stream,
            seed=self.seed,
        )

    @asynccontextmanager
    async def open_farm(
        self,
        *exchanges: FakeExchange,
        streams: Sequence[str] | str,
        symbols: Iterable[str] | str | None = None,
        **config: Any,
    ) -> AsyncIterator[Farm]:
        """Open these exchanges, and a farm that collects from them; at the end close both.

        `streams` of `symbols`, a text for one, None for all that the exchange trades. The same
        exchanges may be opened again, as for a program that restarts. Other words are keys of the
        configuration (``data=...``, ``supervision={...}``). ValueError without an exchange, and for
        one that says neither what it trades nor is told; ConfigErrors as ``farm.open_farm``.
        """
        if not exchanges:
            raise ValueError("open_farm(exchange, ...): there is no exchange to collect from")
        async with AsyncExitStack() as stack:
            for exchange in exchanges:
                await stack.enter_async_context(open_fake(exchange))
            collectors = [_collector(fake, streams, symbols) for fake in exchanges]
            whole = {"collectors": collectors, **config}
            yield await stack.enter_async_context(open_farm(whole, environment=self.environment))


def _collector(
    exchange: FakeExchange, streams: Sequence[str] | str, symbols: Iterable[str] | str | None
) -> dict[str, Any]:
    names = exchange.symbols if symbols is None else symbols
    if names is None:
        raise ValueError(f"{exchange.exchange.value} trades anything here: name symbols=[...]")
    return {
        "exchange": exchange.exchange.value,
        "market": exchange.market.value,
        "symbols": [names] if isinstance(names, str) else list(names),
        "streams": [streams] if isinstance(streams, str) else list(streams),
        "endpoints": {"ws": exchange.ws_url, "rest": exchange.rest_url},
    }
