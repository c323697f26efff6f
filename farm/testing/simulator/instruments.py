"""What the simulated venues trade: tick and lot sizes, where prices start, how thick books are."""

from __future__ import annotations

import random

import attrs

from farm.types import Exchange, Market

__all__ = ["Instrument", "instrument"]

_QUOTES = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "EUR")


@attrs.frozen
class Instrument:
    """One symbol of one market. Prices count ticks and quantities lots, as integers.

    ``tick`` and ``lot`` are the venue's texts (``"0.10"``); their decimals are the venue's
    precision. ``start``: the first mid price in ticks. ``spacing``: how far apart orders tend to
    stand, in ticks. ``typical``: the usual order size in lots.
    """

    symbol: str
    base: str
    quote: str
    tick: str
    lot: str
    start: int
    spacing: int
    typical: int

    @property
    def price_decimals(self) -> int:
        return _decimals(self.tick)

    @property
    def size_decimals(self) -> int:
        return _decimals(self.lot)

    @property
    def price_step(self) -> int:
        """Units of the last decimal in a tick: 10 for ``0.10``."""
        return int(self.tick.replace(".", ""))

    @property
    def size_step(self) -> int:
        """Units of the last decimal in a lot."""
        return int(self.lot.replace(".", ""))


def _decimals(step: str) -> int:
    return len(step.partition(".")[2])


def _usdt(base: str, tick: str, lot: str, start: int, spacing: int, typical: int) -> Instrument:
    return Instrument(f"{base}USDT", base, "USDT", tick, lot, start, spacing, typical)


_KNOWN = {
    (Exchange.BINANCE, Market.SPOT): (
        _usdt("BTC", "0.01", "0.00001", 6_500_000, 40, 12_000),
        _usdt("ETH", "0.01", "0.0001", 192_000, 3, 9_000),
        _usdt("SOL", "0.01", "0.001", 7_900, 1, 40_000),
    ),
    (Exchange.BYBIT, Market.SPOT): (
        _usdt("BTC", "0.1", "0.000001", 650_000, 4, 60_000),
        _usdt("ETH", "0.01", "0.00001", 192_000, 3, 40_000),
        _usdt("SOL", "0.01", "0.0001", 7_900, 1, 120_000),
    ),
    (Exchange.BYBIT, Market.LINEAR): (
        _usdt("BTC", "0.10", "0.001", 650_000, 4, 300),
        _usdt("ETH", "0.01", "0.01", 192_000, 3, 200),
        _usdt("SOL", "0.010", "0.1", 7_900, 1, 400),
    ),
}


def instrument(exchange: Exchange, market: Market, symbol: str, seed: int = 0) -> Instrument:
    """The instrument behind a symbol; one that is not in the table follows from its name and seed.

    Decimals of tick and lot together stay within eight, so that turnovers are exact in the texts.
    """
    for known in _KNOWN.get((exchange, market), ()):
        if known.symbol == symbol:
            return known
    rng = random.Random(f"{seed}:{symbol}")
    tick = rng.choice(("0.01", "0.001", "0.0001"))
    lot = rng.choice(("0.1", "0.01", "0.001"))
    quote = next((q for q in _QUOTES if symbol.endswith(q) and symbol != q), "USDT")
    start = rng.randrange(20_000, 200_000)
    return Instrument(
        symbol, symbol.removesuffix(quote), quote, tick, lot, start, 2, rng.randrange(100, 5_000)
    )
