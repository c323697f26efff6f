"""What one chaos run does: a market, a farm, and what goes wrong. All of it follows from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs

from farm.exchanges.registry import MARKETS, rules_of
from farm.testing.chaos.crashes import Crash, Stage
from farm.testing.faults.script import FaultScript
from farm.testing.simulator.instruments import usual_symbols
from farm.types import Exchange, Market, Symbol

__all__ = ["ChaosPlan"]

_NO_QUOTES = (Market.OPTION,)

# Real time is dear: what takes a venue's minutes is left to the virtual clock.
_QUICK = (
    "drop",
    "duplicate",
    "reorder",
    "delay",
    "corrupt",
    "sequence_break",
    "reset",
    "stall",
    "slow_reader",
    "close",
    "refuse",
    "restart",
    "accept_then_close",
    "rest_garbage",
    "rest_reset",
    "snapshot_too_old",
    "no_pong",
    "tls_failure",
)


@attrs.frozen
class ChaosPlan:
    """One run.

    ``seconds``: how long things go wrong. ``rate``: orders a second of each symbol. ``lanes``:
    connections that carry the same streams. ``pause``: how long the user's code takes over each
    batch, and ``room`` the bytes that its queue holds. ``stored``: whether the events are stored.
    ``tls``: whether the venue speaks TLS.
    ``real``: over sockets and by the machine's clock, else over memory streams and by a virtual
    one.
    """

    seed: int
    exchange: Exchange
    market: Market
    symbols: tuple[Symbol, ...]
    specs: tuple[str, ...]
    script: FaultScript
    crashes: tuple[Crash, ...] = ()
    seconds: float = 40.0
    rate: float = 10.0
    lanes: int = 1
    pause: float = 0.0
    room: int = 1 << 20
    stored: bool = False
    tls: bool = False
    real: bool = False

    @classmethod
    def of(
        cls, seed: int, *, market: tuple[Exchange, Market] | None = None, real: bool = False
    ) -> ChaosPlan:
        """The plan of a seed, of any market or of the one that is named."""
        rng = random.Random(f"chaos:{seed}")
        exchange, kind = market or rng.choice(sorted(MARKETS, key=str))
        symbols = tuple(usual_symbols(exchange, kind)[: rng.choice((1, 1, 2))])
        specs = ("trade", "book") if kind in _NO_QUOTES else ("trade", "book", "quote")
        tls = rng.random() < 0.2
        seconds = 2.0 if real else rng.choice((10.0, 40.0))
        script = FaultScript.random(
            seed,
            streams=_stream_names(exchange, kind, symbols, specs),
            seconds=seconds,
            count=rng.choice((1, 2, 3, 5, 8)),
            kinds=_QUICK if real else None,
            wall_clock=not real,
            tls=tls,
        )
        return cls(
            seed,
            exchange,
            kind,
            symbols,
            specs,
            script,
            crashes=_crashes(rng, seconds),
            seconds=seconds,
            rate=50.0 if real else 10.0,
            lanes=rng.choice((1, 1, 1, 2)),
            pause=0.0 if real else rng.choice((0.0, 0.0, 0.0, 3.0)),
            room=rng.choice((1 << 20, 2_000)),
            stored=rng.random() < 0.25,
            tls=tls,
            real=real,
        )

    @property
    def market_name(self) -> str:
        """``binance/spot``."""
        return f"{self.exchange.value}/{self.market.value}"

    def book_streams(self) -> dict[str, Symbol]:
        """The venue's names of the streams that carry the books, and whose these are."""
        table = rules_of(self.exchange, self.market).streams
        return {table.stream(symbol, "book").name: symbol for symbol in self.symbols}

    def trade_feeds(self, symbol: Symbol) -> set[str]:
        """By what names gaps speak of a symbol's trades: those of options are one stream a coin."""
        stream = rules_of(self.exchange, self.market).streams.stream(symbol, "trade")
        return {stream.feed, f"{self.market_name}/{symbol}/trade"}

    def quote_feed(self, symbol: Symbol) -> str:
        """The name of a symbol's quotes."""
        return f"{self.market_name}/{symbol}/quote"

    def describe(self) -> list[str]:
        """The plan in lines, for whoever must repeat it."""
        where = "sockets" if self.real else "memory"
        head = (
            f"seed {self.seed}: {self.market_name} {' '.join(self.symbols)}"
            f" ({' '.join(self.specs)}), {where}, lanes {self.lanes}, pause {self.pause:g} s,"
            f" room {self.room}, stored {self.stored}, TLS {self.tls}"
        )
        return [
            head,
            *str(self.script).splitlines(),
            *map(str, self.crashes),
        ]


def _stream_names(
    exchange: Exchange, market: Market, symbols: Sequence[Symbol], specs: Sequence[str]
) -> list[str]:
    table = rules_of(exchange, market).streams
    names = (table.stream(symbol, spec).name for symbol in symbols for spec in specs)
    return list(dict.fromkeys(names))


def _crashes(rng: random.Random, seconds: float) -> tuple[Crash, ...]:
    count = rng.choice((0, 0, 1, 2))
    return tuple(
        Crash(
            round(rng.uniform(0.0, seconds), 2),
            rng.choice(list(Stage)),
            after=rng.random() < 0.5,
            times=rng.choice((1, 1, 2)),
        )
        for _ in range(count)
    )
