"""What Binance's futures say of a contract beside its trading: mark price, funding, open interest
and its terms."""

from __future__ import annotations

import random
from collections.abc import Iterator

from farm.testing.simulator.binance.contract_info import contract_info_text
from farm.testing.simulator.binance.speech import Voice
from farm.testing.simulator.candles import MINUTE, SECOND
from farm.testing.simulator.decimals import signed
from farm.testing.simulator.matching import MatchingBook, MatchResult
from farm.testing.simulator.writer import MILLISECOND, Part, Timer
from farm.testing.source import Push

__all__ = ["Marks"]

_EIGHT_HOURS = 8 * 60 * MINUTE
_PRICE_DECIMALS = 8


class Marks(Part):
    """``markPrice`` every second and every three, and silent answers to ``/openInterest``.

    The index stays near the middle of the book and the mark price near the index. Contracts with
    a delivery date have no funding: ``r`` is empty and ``T`` 0.
    """

    def __init__(self, voice: Voice, book: MatchingBook, rng: random.Random) -> None:
        self._voice = voice
        self._book = book
        self._rng = rng
        self._funding = rng.randrange(-5_000, 15_000)  # in 1e-8
        self._interest = voice.instrument.typical * rng.randrange(5_000, 20_000)  # in lots
        self.timers = (
            Timer(SECOND, self._say_second),
            Timer(3 * SECOND, self._say_third),
            Timer(MINUTE, self._say_terms),
        )
        self._latest = ""

    def opening(self, now: int) -> Iterator[Push]:
        self._latest = self._text(now)
        yield self._open_interest(now)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        """Each trade opens positions or closes some."""
        for fill in result.fills:
            self._interest += fill.lots if self._rng.random() < 0.5 else -fill.lots
        yield from super().on_order(now, result)

    def _say_second(self, now: int) -> Iterator[Push]:
        self._funding += self._rng.randint(-20, 20)
        self._latest = self._text(now)
        yield Push(now, self._voice.stream("markPrice@1s"), self._latest)
        yield self._open_interest(now)

    def _say_third(self, now: int) -> Iterator[Push]:
        yield Push(now, self._voice.stream("markPrice"), self._latest)

    def _say_terms(self, now: int) -> Iterator[Push]:
        """The venue tells of changed leverage brackets in the terms of a contract."""
        text = contract_info_text(self._voice.instrument, now, "TRADING", brackets=True)
        yield Push(now, "!contractInfo", text)

    def _text(self, now: int) -> str:
        instrument = self._voice.instrument
        middle = (self._book.bids.best + self._book.asks.best) * instrument.price_step
        unit = 10 ** (_PRICE_DECIMALS - instrument.price_decimals)
        index = middle * unit // 2 + self._rng.randint(-unit, unit)
        mark = index + self._rng.randint(-unit, unit)
        settle = index + self._rng.randint(-5 * unit, 5 * unit)
        rate, due = signed(self._funding, 8), (now // _EIGHT_HOURS + 1) * _EIGHT_HOURS
        if instrument.contract.delivery:
            rate, due = "", 0
        mark_text = signed(mark, _PRICE_DECIMALS)
        return (
            f'{{"e":"markPriceUpdate","E":{now // MILLISECOND},"s":"{instrument.symbol}",'
            f'"p":"{mark_text}","ap":"{mark_text}","P":"{signed(settle, _PRICE_DECIMALS)}",'
            f'"i":"{signed(index, _PRICE_DECIMALS)}","r":"{rate}","T":{due // MILLISECOND}'
            f"{self._voice.universe}}}"
        )

    def _open_interest(self, now: int) -> Push:
        instrument = self._voice.instrument
        amount = self._voice.spelling.size(max(self._interest, 0))
        names, kind = f'"symbol":"{instrument.symbol}",', ""
        if self._voice.speech.pair_follows_symbol:
            names += f'"pair":"{instrument.contract.pair}",'
            kind = f'"contractType":"{instrument.contract.kind}",'
        text = f'{{{names}"openInterest":"{amount}",{kind}"time":{now // MILLISECOND}}}'
        return Push(now, f"/openInterest?symbol={instrument.symbol}", text, silent=True)
