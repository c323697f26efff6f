"""Bybit's candles, which open at the last one's close."""

from __future__ import annotations

from collections.abc import Iterator

from farm.testing.simulator.bybit.speech import Voice
from farm.testing.simulator.candles import SECOND, Candle
from farm.testing.simulator.decimals import trimmed
from farm.testing.simulator.ledger import Ledger
from farm.testing.simulator.writer import MILLISECOND, Part, Timer
from farm.testing.source import Push

__all__ = ["Candles"]


class Candles(Part):
    """The running candle when it changed; at its end one message with two rows, the closed candle
    and the one that opens at its close."""

    def __init__(self, voice: Voice, ledger: Ledger) -> None:
        self._voice = voice
        self._ledger = ledger
        self.timers = (Timer(SECOND, self._say),)

    def _say(self, now: int) -> Iterator[Push]:
        for name, candles in self._ledger.candles.items():
            rows = []
            if candles.end <= now:
                rows.append(self._row(now, name, candles.period, candles.roll(), "true"))
            elif not candles.changed:
                continue
            candles.changed = False
            rows.append(self._row(now, name, candles.period, candles.current, "false"))
            topic = f"kline.{name}.{self._voice.symbol}"
            text = self._voice.speech.kline.format(
                topic=topic, data=f"[{','.join(rows)}]", ts=now // MILLISECOND
            )
            yield Push(now, topic, text)

    def _row(self, now: int, interval: str, period: int, candle: Candle, confirm: str) -> str:
        instrument = self._voice.instrument
        first, last, high, low = (
            trimmed(price * instrument.price_step, instrument.price_decimals)
            for price in (candle.open, candle.close, candle.high, candle.low)
        )
        volume = trimmed(candle.volume * instrument.size_step, instrument.size_decimals)
        turnover = trimmed(candle.turnover, instrument.worth_decimals)
        start = candle.start // MILLISECOND
        return (
            f'{{"start":{start},"end":{start + period // MILLISECOND - 1},'
            f'"interval":"{interval}","open":"{first}","close":"{last}","high":"{high}",'
            f'"low":"{low}","volume":"{volume}","turnover":"{turnover}","confirm":{confirm},'
            f'"timestamp":{now // MILLISECOND}}}'
        )
