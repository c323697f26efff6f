"""What Bybit's categories write differently: data that the writers of texts share.

They order the keys of a message differently, spell numbers differently (spot and options trim
zeros), name trades differently and keep books of different depths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from farm.testing.simulator.candles import MINUTE
from farm.testing.simulator.decimals import fixed, trimmed
from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.writer import MILLISECOND
from farm.types import Market

__all__ = ["BYBIT_INTERVALS", "SPEECHES", "Speech", "Voice"]

BYBIT_INTERVALS = {
    "1": MINUTE,
    "3": 3 * MINUTE,
    "5": 5 * MINUTE,
    "15": 15 * MINUTE,
    "30": 30 * MINUTE,
    "60": 60 * MINUTE,
    "120": 120 * MINUTE,
    "240": 240 * MINUTE,
    "360": 360 * MINUTE,
    "720": 720 * MINUTE,
    "D": 1440 * MINUTE,
}
"""Nanoseconds by interval; those whose start is a multiple of their length since the epoch."""

_SPOT_HEAD = '{{"topic":"{topic}","ts":{ts},"type":"{kind}"'
_PERPETUAL_HEAD = '{{"topic":"{topic}","type":"{kind}","ts":{ts}'
_OPTION_HEAD = _SPOT_HEAD + ',"id":"{topic}-{seq}-{ts}"'
_PERPETUAL_TRADE = (
    '{{"T":{ms},"s":"{symbol}","S":"{side}","v":"{size}","p":"{price}","L":"{direction}",'
    '"i":"{uuid}","BT":false,"RPI":false,"seq":{seq}}}'
)
_PERPETUAL_TICKER = '{{"topic":"{topic}","type":"{kind}","data":{data},"cs":{seq},"ts":{ts}}}'


@attrs.frozen
class Speech:
    """How one category speaks; periods in nanoseconds.

    ``message``, ``ticker`` and ``kline`` are the whole of a message as templates, ``trade`` one
    row. ``spell``: writes units with so many decimals. ``depths``: the books that are told by
    deltas and their periods; ``top``: whether there is the one of depth 1; ``full_period``: of the
    full book, None without it. ``ticker_deltas``: whether tickers tell what changed in them alone.
    ``trades_by_coin``: the topic of trades names the base coin.
    """

    message: str
    ticker: str
    trade: str
    spell: Callable[[int, int], str]
    depths: Mapping[int, int]
    ticker_period: int
    ticker_deltas: bool = False
    kline: str = ""
    top: bool = True
    full_period: int | None = None
    liquidations: bool = False
    trades_by_coin: bool = False


_DEPTHS = {50: 20 * MILLISECOND, 200: 100 * MILLISECOND, 1000: 200 * MILLISECOND}

_LINEAR = Speech(
    message=_PERPETUAL_HEAD + ',"data":{data}{more}}}',
    ticker=_PERPETUAL_TICKER,
    trade=_PERPETUAL_TRADE,
    kline='{{"topic":"{topic}","data":{data},"ts":{ts},"type":"snapshot"}}',
    spell=fixed,
    depths=_DEPTHS,
    ticker_period=100 * MILLISECOND,
    ticker_deltas=True,
    full_period=200 * MILLISECOND,
    liquidations=True,
)

SPEECHES: Mapping[Market, Speech] = {
    Market.SPOT: Speech(
        message=_SPOT_HEAD + ',"data":{data}{more}}}',
        ticker=_SPOT_HEAD + ',"cs":{seq},"data":{data}}}',
        trade=(
            '{{"i":"{number}","T":{ms},"p":"{price}","v":"{size}","S":"{side}","seq":{seq},'
            '"s":"{symbol}","BT":false,"RPI":false}}'
        ),
        kline='{{"type":"snapshot","topic":"{topic}","data":{data},"ts":{ts}}}',
        spell=trimmed,
        depths=_DEPTHS,
        ticker_period=50 * MILLISECOND,
        full_period=200 * MILLISECOND,
    ),
    Market.LINEAR: _LINEAR,
    Market.INVERSE: attrs.evolve(_LINEAR, full_period=None),
    Market.OPTION: Speech(
        message=_OPTION_HEAD + ',"data":{data}{more}}}',
        ticker=_OPTION_HEAD + ',"data":{data}}}',
        trade=(
            '{{"i":"{uuid}","T":{ms},"p":"{price}","v":"{size}","S":"{side}","seq":{seq},'
            '"s":"{symbol}","BT":false,"mP":"{mark}","iP":"{index}","mIv":"{mark_iv}","iv":"{iv}"}}'
        ),
        spell=trimmed,
        depths={25: 20 * MILLISECOND, 100: 100 * MILLISECOND},
        ticker_period=100 * MILLISECOND,
        top=False,
        trades_by_coin=True,
    ),
}


class Voice:
    """One symbol in the speech of its category, and the engine's cross sequence.

    ``seq`` rises with everything that happens; ``engine_ms``: when the book last changed.
    """

    def __init__(self, instrument: Instrument, speech: Speech, seq: int) -> None:
        self.instrument = instrument
        self.speech = speech
        self.symbol = instrument.symbol
        self.seq = seq
        self.engine_ms = 0

    def message(self, kind: str, topic: str, now: int, data: str, more: str = "") -> str:
        """A message round its data; `more` are keys after that."""
        ts = now // MILLISECOND
        return self.speech.message.format(
            kind=kind, topic=topic, ts=ts, seq=self.seq, data=data, more=more
        )

    def price(self, ticks: int) -> str:
        instrument = self.instrument
        return self.speech.spell(ticks * instrument.price_step, instrument.price_decimals)

    def size(self, lots: int) -> str:
        instrument = self.instrument
        return self.speech.spell(lots * instrument.size_step, instrument.size_decimals)

    def levels(self, levels: Mapping[int, int], *, is_bid: bool) -> str:
        """Lots by price as a list from the best; a level that is gone has size 0."""
        prices: Iterable[int] = sorted(levels, reverse=is_bid)
        size = self.size
        pairs = (f'["{self.price(p)}","{size(levels[p]) if levels[p] else "0"}"]' for p in prices)
        return f"[{','.join(pairs)}]"
