"""Bybit's trades and liquidations."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence

from farm.testing.simulator.bybit.speech import Voice
from farm.testing.simulator.ledger import Ledger
from farm.testing.simulator.matching import Fill, MatchResult
from farm.testing.simulator.writer import MILLISECOND, Part, Timer
from farm.testing.source import Push

__all__ = ["Liquidations", "Trades"]

_LIQUIDATIONS_PERIOD = 500 * MILLISECOND
# How often a taker order was a liquidation.
_LIQUIDATIONS = 0.08


class Trades(Part):
    """All trades of one taker order stand in one message, in match order.

    Spot numbers them, and not without gaps; the others have UUIDs. ``more``: what else the
    template of a trade names. ``direction``: whether the last trade moved the price, and where to.
    """

    timers: Sequence[Timer] = ()

    def __init__(
        self,
        voice: Voice,
        ledger: Ledger,
        rng: random.Random,
        more: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.direction = "PlusTick"
        self._voice = voice
        self._ledger = ledger
        self._more = more
        self._rng = rng
        self._count = 0
        self._number = 2_280_000_000_000_000_000 + rng.randrange(10**10)
        self._last_price = voice.instrument.start
        instrument = voice.instrument
        of = instrument.base if voice.speech.trades_by_coin else instrument.symbol
        self._topic = f"publicTrade.{of}"

    def opening(self, now: int) -> Iterator[Push]:
        self._ledger.open(now)
        self._voice.engine_ms = now // MILLISECOND
        yield from super().opening(now)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        self._voice.seq += self._rng.randint(1, 40)
        self._voice.engine_ms = now // MILLISECOND
        if result.fills:
            rows = [self._row(fill, result.taker_buys) for fill in result.fills]
            data = f"[{','.join(rows)}]"
            yield Push(now, self._topic, self._voice.message("snapshot", self._topic, now, data))

    def _row(self, fill: Fill, taker_buys: bool) -> str:
        self._count += 1
        self._number += self._rng.randint(1, 3)
        self._ledger.add(fill, self._count, taker_buys)
        self._turn(fill.price)
        return self._voice.speech.trade.format(
            ms=self._voice.engine_ms,
            symbol=self._voice.symbol,
            side="Buy" if taker_buys else "Sell",
            size=self._voice.size(fill.lots),
            price=self._voice.price(fill.price),
            direction=self.direction,
            number=self._number,
            uuid=uuid.UUID(int=self._rng.getrandbits(128), version=5),
            seq=self._voice.seq,
            **self._more(),
        )

    def _turn(self, price: int) -> None:
        """Both directions have a form for a trade at the same price."""
        if price == self._last_price:
            self.direction = "Zero" + self.direction.removeprefix("Zero")
        else:
            self.direction = "PlusTick" if price > self._last_price else "MinusTick"
        self._last_price = price


class Liquidations(Part):
    """``allLiquidation``: all of the last half second. ``S`` is the side of the position, so a
    taker's sale liquidates a ``Buy``; ``p`` is the price of bankruptcy."""

    def __init__(self, voice: Voice, rng: random.Random) -> None:
        self._voice = voice
        self._rng = rng
        self._topic = f"allLiquidation.{voice.symbol}"
        self._rows: list[str] = []
        self.timers = (Timer(_LIQUIDATIONS_PERIOD, self._say),)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        if result.fills and self._rng.random() < _LIQUIDATIONS:
            side, percent = ("Sell", 101) if result.taker_buys else ("Buy", 99)
            for fill in result.fills:
                self._rows.append(
                    f'{{"T":{now // MILLISECOND},"s":"{self._voice.symbol}","S":"{side}",'
                    f'"v":"{self._voice.size(fill.lots)}",'
                    f'"p":"{self._voice.price(fill.price * percent // 100)}"}}'
                )
        yield from super().on_order(now, result)

    def _say(self, now: int) -> Iterator[Push]:
        rows, self._rows = self._rows, []
        if rows:
            text = self._voice.message("snapshot", self._topic, now, f"[{','.join(rows)}]")
            yield Push(now, self._topic, text)
