"""Binance's candles, of symbols and of continuous contracts."""

from __future__ import annotations

from collections.abc import Iterator

from farm.testing.names import lower
from farm.testing.simulator.binance.speech import Voice
from farm.testing.simulator.candles import Candle, CandleSeries
from farm.testing.simulator.ledger import Ledger
from farm.testing.simulator.writer import MILLISECOND, Part, Timer
from farm.testing.source import Push

__all__ = ["Candles"]


class Candles(Part):
    """Closed candles at their end, running ones when they changed; on futures the same again
    under the name of the pair and the type of contract."""

    def __init__(self, voice: Voice, ledger: Ledger) -> None:
        self._voice = voice
        self._ledger = ledger
        self._symbol = voice.instrument.symbol
        contract = voice.instrument.contract
        self._pair, self._kind = contract.pair, contract.kind
        self._continuous = f"{lower(f'{self._pair}_{self._kind}')}@continuousKline_"
        shortest = min([voice.speech.candle_period, *ledger.intervals.values()])
        self._running = voice.speech.candle_period
        self.timers = (Timer(shortest, self._say),)

    def _say(self, now: int) -> Iterator[Push]:
        for name, candles in self._ledger.candles.items():
            if candles.end <= now:
                yield from self._tell(now, name, candles, candles.roll(), closed=True)
            elif candles.changed and now % min(self._running, candles.period) == 0:
                candles.changed = False
                yield from self._tell(now, name, candles, candles.current, closed=False)

    def _tell(
        self, now: int, interval: str, candles: CandleSeries, candle: Candle, *, closed: bool
    ) -> Iterator[Push]:
        start, end = candle.start // MILLISECOND, (candle.start + candles.period) // MILLISECOND - 1
        head, opens = f'"E":{now // MILLISECOND}', f'"t":{start},"T":{end}'
        body = self._body(interval, candle, closed=closed)
        yield Push(
            now,
            self._voice.stream(f"kline_{interval}"),
            f'{{"e":"kline",{head},"s":"{self._symbol}",'
            f'"k":{{{opens},"s":"{self._symbol}",{body}}}}}',
        )
        if self._pair:
            yield Push(
                now,
                f"{self._continuous}{interval}",
                f'{{"e":"continuous_kline",{head},"ps":"{self._pair}","ct":"{self._kind}",'
                f'"k":{{{opens},{body}}}}}',
            )

    def _body(self, interval: str, candle: Candle, *, closed: bool) -> str:
        price, size = self._voice.spelling.price, self._voice.spelling.size
        turnover = self._voice.spelling.turnover
        return (
            f'"i":"{interval}","f":{candle.first_id},"L":{candle.last_id},'
            f'"o":"{price(candle.open)}","c":"{price(candle.close)}",'
            f'"h":"{price(candle.high)}","l":"{price(candle.low)}",'
            f'"v":"{size(candle.volume)}","n":{candle.trades},'
            f'"x":{"true" if closed else "false"},"q":"{turnover(candle.turnover)}",'
            f'"V":"{size(candle.taker_volume)}","Q":"{turnover(candle.taker_turnover)}","B":"0"'
        )
