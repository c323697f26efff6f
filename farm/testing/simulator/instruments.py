"""What the simulated venues trade: tick and lot sizes, where prices start, how thick books are."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import attrs

from farm.testing.simulator.contracts import Contract, read_symbol
from farm.types import Exchange, Market

__all__ = ["Instrument", "instrument", "usual_symbols"]

_COIN_DECIMALS = 8


@attrs.frozen
class Instrument:
    """One symbol of one market. Prices count ticks and quantities lots, as integers.

    ``tick`` and ``lot`` are the venue's texts (``"0.10"``); their decimals are the venue's
    precision. ``start``: the first mid price in ticks. ``spacing``: how far apart orders tend to
    stand, in ticks. ``typical``: the usual order size in lots. ``contract``: empty on spot.
    """

    symbol: str
    base: str
    quote: str
    tick: str
    lot: str
    start: int
    spacing: int
    typical: int
    contract: Contract = attrs.Factory(Contract)

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

    @property
    def worth_decimals(self) -> int:
        """Decimals of what :meth:`worth` counts."""
        return _COIN_DECIMALS if self.contract.size else self.price_decimals + self.size_decimals

    def worth(self, price: int, lots: int) -> int:
        """The turnover of a trade in units of the last of ``worth_decimals``: of the quote coin,
        exactly, or of the base coin, rounded down, where lots count the quote coin."""
        if not self.contract.size:
            return price * self.price_step * lots * self.size_step
        quote = lots * self.size_step * self.contract.size
        scale: int = 10 ** (_COIN_DECIMALS + self.price_decimals)
        return quote * scale // (price * self.price_step)


def _decimals(step: str) -> int:
    return len(step.partition(".")[2])


@attrs.frozen
class _Terms:
    """How instruments of a market look: those known, and what others are drawn from."""

    known: Mapping[str, tuple[str, str, int, int, int]]
    ticks: Sequence[str] = ("0.01", "0.001", "0.0001")
    lots: Sequence[str] = ("0.1", "0.01", "0.001")
    starts: tuple[int, int] = (20_000, 200_000)


_TERMS = {
    (Exchange.BINANCE, Market.SPOT): _Terms(
        {
            "BTCUSDT": ("0.01", "0.00001", 6_500_000, 40, 12_000),
            "ETHUSDT": ("0.01", "0.0001", 192_000, 3, 9_000),
            "SOLUSDT": ("0.01", "0.001", 7_900, 1, 40_000),
        }
    ),
    (Exchange.BINANCE, Market.USDM): _Terms(
        {
            "BTCUSDT": ("0.10", "0.001", 650_000, 4, 300),
            "ETHUSDT": ("0.01", "0.001", 192_000, 3, 3_000),
            "SOLUSDT": ("0.0100", "0.01", 7_900, 1, 4_000),
        }
    ),
    (Exchange.BINANCE, Market.COINM): _Terms(
        {
            "BTCUSD_PERP": ("0.1", "1", 650_000, 4, 80),
            "ETHUSD_PERP": ("0.01", "1", 192_000, 3, 200),
            "SOLUSD_PERP": ("0.001", "1", 79_000, 10, 100),
        },
        ticks=("0.1", "0.01", "0.001"),
        lots=("1",),
    ),
    (Exchange.BYBIT, Market.SPOT): _Terms(
        {
            "BTCUSDT": ("0.1", "0.000001", 650_000, 4, 60_000),
            "ETHUSDT": ("0.01", "0.00001", 192_000, 3, 40_000),
            "SOLUSDT": ("0.01", "0.0001", 7_900, 1, 120_000),
        }
    ),
    (Exchange.BYBIT, Market.LINEAR): _Terms(
        {
            "BTCUSDT": ("0.10", "0.001", 650_000, 4, 300),
            "ETHUSDT": ("0.01", "0.01", 192_000, 3, 200),
            "SOLUSDT": ("0.010", "0.1", 7_900, 1, 400),
        }
    ),
    (Exchange.BYBIT, Market.INVERSE): _Terms(
        {
            "BTCUSD": ("0.10", "1", 650_000, 4, 5_000),
            "ETHUSD": ("0.01", "1", 192_000, 3, 3_000),
            "SOLUSD": ("0.010", "1", 7_900, 1, 1_000),
        },
        lots=("1",),
    ),
    (Exchange.BYBIT, Market.OPTION): _Terms(
        {
            "BTC-25JUN27-106000-C-USDT": ("5", "0.01", 3_000, 2, 200),
            "BTC-25JUN27-106000-P-USDT": ("5", "0.01", 4_900, 2, 200),
            "ETH-25JUN27-3000-C-USDT": ("0.1", "0.1", 2_500, 2, 100),
        },
        ticks=("5", "0.1"),
        lots=("0.1", "0.01"),
        starts=(1_500, 6_000),
    ),
}


def usual_symbols(exchange: Exchange, market: Market) -> Sequence[str]:
    """What a fake lists when nobody says what it trades."""
    return list(_TERMS[exchange, market].known)


def instrument(exchange: Exchange, market: Market, symbol: str, seed: int = 0) -> Instrument:
    """The instrument behind a symbol; one that is not in the table follows from its name and seed,
    and a future from the perpetual contract of the same coins.

    Decimals of tick and lot together stay within eight, so that turnovers are exact in the texts.
    """
    terms = _TERMS[exchange, market]
    named = read_symbol(exchange, market, symbol)
    dated = f"{named.base}{named.quote}" if named.contract.delivery else ""
    for name, known in terms.known.items():
        if name == symbol or (dated and name.partition("_")[0] == dated):
            return Instrument(symbol, named.base, named.quote, *known, named.contract)
    rng = random.Random(f"{seed}:{symbol}")
    tick = rng.choice(terms.ticks)
    lot = rng.choice(terms.lots)
    start = rng.randrange(*terms.starts)
    typical = rng.randrange(100, 5_000)
    return Instrument(symbol, named.base, named.quote, tick, lot, start, 2, typical, named.contract)
