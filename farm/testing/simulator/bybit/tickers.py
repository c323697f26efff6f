"""Bybit's tickers: a snapshot, then on linear and inverse what changed in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import attrs

from farm.testing.simulator.bybit.quotes import Quotes
from farm.testing.simulator.bybit.speech import Voice
from farm.testing.simulator.decimals import signed, trimmed
from farm.testing.simulator.ledger import Ledger
from farm.testing.simulator.matching import MatchingBook, MatchResult
from farm.testing.simulator.writer import MILLISECOND, Part, Timer
from farm.testing.source import Push

__all__ = ["TickerView", "Tickers", "option_view", "perpetual_view", "spot_view"]

_PAIRS = (("bid1Price", "bid1Size"), ("ask1Price", "ask1Size"))


@attrs.frozen(eq=False)
class TickerView:
    """All that a ticker may tell of. ``direction``: of the last trade."""

    voice: Voice
    ledger: Ledger
    book: MatchingBook
    quotes: Quotes
    direction: Callable[[], str]

    def best(self, names: tuple[str, str, str, str]) -> dict[str, str]:
        """Best bid with its size and best ask with its size, under these names."""
        bids, asks = self.book.bids, self.book.asks
        texts = (
            self.voice.price(bids.best),
            self.voice.size(bids.totals[bids.best]),
            self.voice.price(asks.best),
            self.voice.size(asks.totals[asks.best]),
        )
        return dict(zip(names, texts, strict=True))

    def sums(self) -> dict[str, str]:
        """Turnover and volume of the day."""
        instrument, day = self.voice.instrument, self.ledger.day
        volume = trimmed(day.volume * instrument.size_step, instrument.size_decimals)
        turnover = trimmed(day.turnover, instrument.worth_decimals)
        return {"turnover24h": turnover, "volume24h": volume}

    def change(self, decimals: int) -> str:
        """Of the price within the day, as a part of one."""
        day = self.ledger.day
        return signed(round((day.close - day.open) / day.open * 10**decimals), decimals)


def spot_view(view: TickerView, now: int) -> dict[str, str]:  # noqa: ARG001
    """Spot's fields: no bid, no ask."""
    day, price = view.ledger.day, view.voice.price
    sums = view.sums()
    return {
        "symbol": view.voice.symbol,
        "lastPrice": price(day.close),
        "highPrice24h": price(day.high),
        "lowPrice24h": price(day.low),
        "prevPrice24h": price(day.open),
        "volume24h": sums["volume24h"],
        "turnover24h": sums["turnover24h"],
        "price24hPcnt": view.change(4),
        "usdIndexPrice": price(day.close),
    }


def perpetual_view(view: TickerView, now: int) -> dict[str, str]:
    """The fields of linear and inverse contracts, dated ones included."""
    day, price, sums = view.ledger.day, view.voice.price, view.sums()
    quoted = dict(view.quotes.fields(now))
    return {
        "symbol": view.voice.symbol,
        "tickDirection": view.direction(),
        "price24hPcnt": view.change(6),
        "lastPrice": price(day.close),
        "prevPrice24h": price(day.open),
        "highPrice24h": price(day.high),
        "lowPrice24h": price(day.low),
        "prevPrice1h": price(day.open),
        "markPrice": quoted.pop("markPrice"),
        "indexPrice": quoted.pop("indexPrice"),
        "openInterest": quoted.pop("openInterest"),
        "openInterestValue": quoted.pop("openInterestValue"),
        **sums,
        **quoted,
        **view.best(("bid1Price", "bid1Size", "ask1Price", "ask1Size")),
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def option_view(view: TickerView, now: int) -> dict[str, str]:
    """An option's fields; it may not have traded yet, and its last price is 0 then."""
    day, price, sums, quoted = (
        view.ledger.day,
        view.voice.price,
        view.sums(),
        view.quotes.fields(now),
    )
    best = view.best(("bidPrice", "bidSize", "askPrice", "askSize"))
    last, high, low = (price(p) if day.trades else "0" for p in (day.close, day.high, day.low))
    return {
        "symbol": view.voice.symbol,
        "bidPrice": best["bidPrice"],
        "bidSize": best["bidSize"],
        "bidIv": quoted["bidIv"],
        "askPrice": best["askPrice"],
        "askSize": best["askSize"],
        "askIv": quoted["askIv"],
        "lastPrice": last,
        "highPrice24h": high,
        "lowPrice24h": low,
        "markPrice": quoted["markPrice"],
        "indexPrice": quoted["indexPrice"],
        "markPriceIv": quoted["markPriceIv"],
        "underlyingPrice": quoted["underlyingPrice"],
        "openInterest": quoted["openInterest"],
        **sums,
        "totalVolume": sums["volume24h"],
        "totalTurnover": sums["turnover24h"],
        "delta": quoted["delta"],
        "gamma": quoted["gamma"],
        "vega": quoted["vega"],
        "theta": quoted["theta"],
        "predictedDeliveryPrice": "0",
        "change24h": view.change(8),
    }


class Tickers(Part):
    """Silent where nothing changed."""

    def __init__(
        self, view: TickerView, fields: Callable[[TickerView, int], dict[str, str]]
    ) -> None:
        self._view = view
        self._voice = view.voice
        self._fields = fields
        self._told: dict[str, str] = {}
        self._dirty = False
        self._topic = f"tickers.{view.voice.symbol}"
        self.timers = (Timer(view.voice.speech.ticker_period, self._say),)

    def opening(self, now: int) -> Iterator[Push]:
        self._told = self._fields(self._view, now)
        yield Push(now, self._topic, self._text(now, "snapshot", self._told), silent=True)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        self._dirty = True
        self._view.quotes.take(result)
        yield from super().on_order(now, result)

    def _say(self, now: int) -> Iterator[Push]:
        if not self._dirty:
            return
        self._dirty = False
        fields = self._fields(self._view, now)
        changed = {key: value for key, value in fields.items() if self._told.get(key) != value}
        if not changed:
            return
        self._told = fields
        if not self._voice.speech.ticker_deltas:
            yield Push(now, self._topic, self._text(now, "snapshot", fields))
            return
        for pair in _PAIRS:  # price and size come together
            if any(key in changed for key in pair):
                changed.update({key: fields[key] for key in pair})
        data = {"symbol": self._voice.symbol, **changed}
        yield Push(now, self._topic, self._text(now, "delta", data))

    def _text(self, now: int, kind: str, fields: Mapping[str, str]) -> str:
        data = ",".join(f'"{key}":"{value}"' for key, value in fields.items())
        return self._voice.speech.ticker.format(
            topic=self._topic,
            kind=kind,
            ts=now // MILLISECOND,
            seq=self._voice.seq,
            data=f"{{{data}}}",
        )
