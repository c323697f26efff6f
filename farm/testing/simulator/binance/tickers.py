"""Binance's 24 hour tickers, which here sum up the market since its opening."""

from __future__ import annotations

from collections.abc import Iterator

from farm.testing.simulator.binance.speech import Voice
from farm.testing.simulator.candles import Candle
from farm.testing.simulator.decimals import fixed, signed
from farm.testing.simulator.ledger import DAY, Ledger
from farm.testing.simulator.matching import MatchingBook
from farm.testing.simulator.writer import MILLISECOND, Part, Timer
from farm.testing.source import Push

__all__ = ["Tickers"]


class Tickers(Part):
    """``miniTicker`` and ``ticker``, where something traded since the last."""

    def __init__(self, voice: Voice, ledger: Ledger, book: MatchingBook) -> None:
        self._voice = voice
        self._ledger = ledger
        self._book = book
        self._told = 0
        self.timers = (Timer(voice.speech.ticker_period, self._say),)

    def _say(self, now: int) -> Iterator[Push]:
        day = self._ledger.day
        if day.trades == self._told:
            return
        self._told = day.trades
        yield Push(now, self._voice.stream("miniTicker"), self._mini(now, day))
        yield Push(now, self._voice.stream("ticker"), self._full(now, day))

    def _mini(self, now: int, day: Candle) -> str:
        return (
            f'{{"e":"24hrMiniTicker","E":{now // MILLISECOND},{self._voice.named},'
            f'"c":"{self._voice.spelling.price(day.close)}",{self._sums(day)}{self._voice.ends}'
        )

    def _full(self, now: int, day: Candle) -> str:
        """Spot has the best prices in it; futures have not, and ``ps`` always near the end."""
        voice, spelling, ledger = self._voice, self._voice.spelling, self._ledger
        change = day.close - day.open
        percent = signed(round(change / day.open * 100_000), 3)
        before = best = ""
        ends = f',"ps":"{voice.instrument.contract.pair}"{voice.universe}}}'
        if not voice.speech.universe:
            ends = "}"
            before = f'"x":"{spelling.price(day.open)}",'
            bid, ask = self._book.bids.best, self._book.asks.best
            sizes = self._book.bids.totals[bid], self._book.asks.totals[ask]
            best = (
                f'"b":"{spelling.price(bid)}","B":"{spelling.size(sizes[0])}",'
                f'"a":"{spelling.price(ask)}","A":"{spelling.size(sizes[1])}",'
            )
        ms = now // MILLISECOND
        return (
            f'{{"e":"24hrTicker","E":{ms},"s":"{voice.instrument.symbol}","p":"{spelling.price(change)}",'
            f'"P":"{percent}","w":"{self._average(day)}",{before}"c":"{spelling.price(day.close)}",'
            f'"Q":"{spelling.size(ledger.last_lots)}",{best}{self._sums(day)},'
            f'"O":{max(ledger.opened, now - DAY) // MILLISECOND},"C":{ms},"F":{day.first_id},'
            f'"L":{day.last_id},"n":{day.trades}{ends}'
        )

    def _sums(self, day: Candle) -> str:
        price = self._voice.spelling.price
        return (
            f'"o":"{price(day.open)}","h":"{price(day.high)}","l":"{price(day.low)}",'
            f'"v":"{self._voice.spelling.size(day.volume)}",'
            f'"q":"{self._voice.spelling.turnover(day.turnover)}"'
        )

    def _average(self, day: Candle) -> str:
        """The volume-weighted price; where lots count the quote coin, base coins a lot."""
        instrument = self._voice.instrument
        lots = day.volume * instrument.size_step
        decimals = instrument.worth_decimals - instrument.size_decimals
        return fixed(day.turnover * 10 ** (8 - decimals) // lots, 8)
