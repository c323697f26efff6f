"""What Bybit quotes beside the book: index and mark prices, funding, open interest and, of
options, volatilities and greeks. Nothing of it is computed from a model; it only moves."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol

from farm.testing.simulator.candles import MINUTE
from farm.testing.simulator.decimals import signed
from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.matching import MatchingBook, MatchResult
from farm.testing.simulator.writer import MILLISECOND

__all__ = ["FuturesQuotes", "NoQuotes", "OptionQuotes", "Quotes"]

_EIGHT_HOURS = 8 * 60 * MINUTE


class Quotes(Protocol):
    """What is quoted beside the book of one symbol."""

    def take(self, result: MatchResult) -> None:
        """An order was matched."""

    def of_trade(self) -> Mapping[str, str]:
        """What a trade says beside itself, by the names of its template."""

    def fields(self, now: int) -> Mapping[str, str]:
        """What a ticker says as of now, by its names."""


class NoQuotes:
    """Spot: nothing."""

    def __init__(self, instrument: Instrument, book: MatchingBook, rng: random.Random) -> None:
        del instrument, book, rng

    def take(self, result: MatchResult) -> None:
        del result

    def of_trade(self) -> Mapping[str, str]:
        return {}

    def fields(self, now: int) -> Mapping[str, str]:  # noqa: ARG002
        return {}


class FuturesQuotes:
    """Index near the middle of the book, mark price near the index."""

    def __init__(self, instrument: Instrument, book: MatchingBook, rng: random.Random) -> None:
        self._instrument = instrument
        self._book = book
        self._rng = rng
        self._funding = rng.randrange(-5_000, 15_000)  # in 1e-8
        self._interest = instrument.typical * rng.randrange(5_000, 20_000)  # in lots

    def take(self, result: MatchResult) -> None:
        """Each trade opens positions or closes some."""
        for fill in result.fills:
            self._interest += fill.lots if self._rng.random() < 0.5 else -fill.lots
            self._funding += self._rng.randint(-20, 20)

    def of_trade(self) -> Mapping[str, str]:
        return {}

    def fields(self, now: int) -> Mapping[str, str]:
        """Contracts with a delivery date have no funding."""
        instrument, contract = self._instrument, self._instrument.contract
        step, decimals = instrument.price_step, instrument.price_decimals
        index = (self._book.bids.best + self._book.asks.best) * step // 2
        mark = index + self._rng.randint(-step, step)
        lots = max(self._interest, 0)
        both, single = self._interest_of(lots, mark), self._interest_of(lots // 2, mark)
        due = str((now // _EIGHT_HOURS + 1) * _EIGHT_HOURS // MILLISECOND)
        funding = (_short(signed(self._funding, 8)), due) if not contract.delivery else ("", "")
        delivery = {"deliveryTime": str(contract.delivery)} if contract.delivery else {}
        return {
            "markPrice": signed(mark, decimals),
            "indexPrice": signed(index, decimals),
            "openInterest": both[0],
            "openInterestValue": both[1],
            "fundingIntervalHour": "8",
            "fundingCap": "0.005",
            "singleOpenInterest": single[0],
            "singleOpenInterestValue": single[1],
            "nextFundingTime": funding[1],
            "fundingRate": funding[0],
            **delivery,
        }

    def _interest_of(self, lots: int, mark: int) -> tuple[str, str]:
        """A number of lots and what they are worth at a mark price, as texts."""
        instrument = self._instrument
        worth = instrument.worth(mark // instrument.price_step, lots)
        return (
            signed(lots * instrument.size_step, instrument.size_decimals),
            signed(worth, instrument.worth_decimals),
        )


def _short(number: str) -> str:
    """Without the zeros at its end."""
    return number.rstrip("0").rstrip(".")


class OptionQuotes:
    """The coin's price in the background, volatilities and greeks, drifting."""

    def __init__(self, instrument: Instrument, book: MatchingBook, rng: random.Random) -> None:
        self._instrument = instrument
        self._book = book
        self._rng = rng
        self._coin = rng.randrange(2_000_00, 90_000_00)  # in hundredths
        self._volatility = rng.randrange(2_000, 8_000)  # in 1e-4
        self._delta = rng.randrange(1_000, 9_000)  # in 1e-4
        self._is_put = instrument.contract.kind == "Put"

    def take(self, result: MatchResult) -> None:
        """Everything moves a little with each order."""
        del result
        self._coin = max(1, self._coin + self._rng.randint(-500, 500))
        self._volatility = max(1, self._volatility + self._rng.randint(-5, 5))
        self._delta = min(10_000, max(0, self._delta + self._rng.randint(-3, 3)))

    def of_trade(self) -> Mapping[str, str]:
        return {
            "mark": self._mark(),
            "index": signed(self._coin, 2),
            "mark_iv": signed(self._volatility, 4),
            "iv": signed(self._volatility + self._rng.randint(0, 9), 4),
        }

    def fields(self, now: int) -> Mapping[str, str]:  # noqa: ARG002
        """A put's delta is below zero, and theta always is."""
        return {
            "bidIv": signed(max(0, self._volatility - 300), 4),
            "askIv": signed(self._volatility + 300, 4),
            "markPrice": self._mark(),
            "indexPrice": signed(self._coin, 2),
            "markPriceIv": signed(self._volatility, 4),
            "underlyingPrice": signed(self._coin + 1_000, 2),
            "openInterest": signed(self._instrument.typical * 1_000, 2),
            "delta": signed(-self._delta if self._is_put else self._delta, 4),
            "gamma": signed(self._rng.randint(1, 40), 8),
            "vega": signed(self._delta * 3, 4),
            "theta": signed(-self._delta, 4),
        }

    def _mark(self) -> str:
        middle = (self._book.bids.best + self._book.asks.best) * self._instrument.price_step
        return signed(middle * 5, self._instrument.price_decimals + 1)
