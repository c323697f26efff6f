"""What Binance's markets write differently: data that the writers of texts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from farm.testing.names import lower
from farm.testing.simulator.binance.spelling import Spelling
from farm.testing.simulator.candles import MINUTE, SECOND
from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.writer import MILLISECOND
from farm.types import Market

__all__ = ["BINANCE_INTERVALS", "SPEECHES", "Speech", "Voice"]

BINANCE_INTERVALS = {
    "1s": SECOND,
    "1m": MINUTE,
    "3m": 3 * MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": 60 * MINUTE,
    "2h": 120 * MINUTE,
    "4h": 240 * MINUTE,
    "6h": 360 * MINUTE,
    "8h": 480 * MINUTE,
    "12h": 720 * MINUTE,
    "1d": 1440 * MINUTE,
}
"""Nanoseconds by interval; those whose start is a multiple of their length since the epoch."""


@attrs.frozen
class Speech:
    """How one market speaks.

    ``depth_speeds``: the suffix of a depth stream and its period. ``universe``: ``st`` in
    payloads, None on spot, which has none; ``pair_follows_symbol``: ``ps`` stands right after
    ``s``, not at the end. ``trade_universe`` and ``net_quantity``: whether trades carry ``st``
    and aggregate trades ``nq``. ``decimals``: of every number, None for those of tick and lot.
    ``candle_period``: of a running candle. ``whole_market``: kinds of streams whose rows also come
    together, by the name of the stream that carries them.
    """

    intervals: Mapping[str, int]
    depth_speeds: Sequence[tuple[str, int]]
    ticker_period: int
    candle_period: int
    decimals: int | None = None
    universe: int | None = None
    pair_follows_symbol: bool = False
    trade_universe: bool = False
    net_quantity: bool = False
    whole_market: Mapping[str, str] = attrs.Factory(dict)


_FUTURES_SPEEDS = (
    ("@100ms", 100 * MILLISECOND),
    ("", 250 * MILLISECOND),
    ("@500ms", 500 * MILLISECOND),
)
_FUTURES_INTERVALS = {name: period for name, period in BINANCE_INTERVALS.items() if name != "1s"}
_FUTURES_WHOLE = {
    "markPrice": "!markPrice@arr",
    "markPrice@1s": "!markPrice@arr@1s",
    "miniTicker": "!miniTicker@arr",
    "ticker": "!ticker@arr",
    "forceOrder": "!forceOrder@arr",
    "bookTicker": "!bookTicker",
}

SPEECHES: Mapping[Market, Speech] = {
    Market.SPOT: Speech(
        BINANCE_INTERVALS,
        depth_speeds=(("@100ms", 100 * MILLISECOND), ("", SECOND)),
        ticker_period=SECOND,
        candle_period=2 * SECOND,
        decimals=8,
        whole_market={"miniTicker": "!miniTicker@arr"},
    ),
    Market.USDM: Speech(
        _FUTURES_INTERVALS,
        depth_speeds=_FUTURES_SPEEDS,
        ticker_period=2 * SECOND,
        candle_period=250 * MILLISECOND,
        universe=1,
        trade_universe=True,
        net_quantity=True,
        whole_market=_FUTURES_WHOLE,
    ),
    Market.COINM: Speech(
        _FUTURES_INTERVALS,
        depth_speeds=_FUTURES_SPEEDS,
        ticker_period=500 * MILLISECOND,
        candle_period=250 * MILLISECOND,
        universe=2,
        pair_follows_symbol=True,
        whole_market=_FUTURES_WHOLE,
    ),
}


class Voice:
    """One symbol in the speech of its market: what each of its texts needs.

    ``name``: the symbol in the names of streams. ``named``: ``"s"`` with its value and, where the
    market has it there, ``"ps"``. ``ends``: what closes a payload after its last own field.
    """

    def __init__(self, instrument: Instrument, speech: Speech) -> None:
        self.instrument = instrument
        self.speech = speech
        self.spelling = Spelling(instrument, speech.decimals)
        self.name = lower(instrument.symbol)
        symbol, pair = f'"s":"{instrument.symbol}"', f'"ps":"{instrument.contract.pair}"'
        self.paired = f"{symbol},{pair}" if speech.universe else symbol
        self.named = self.paired if speech.pair_follows_symbol else symbol
        self.universe = f',"st":{speech.universe}' if speech.universe else ""
        self.ends = self.universe + "}"
        if speech.universe and not speech.pair_follows_symbol:
            self.ends = f",{pair}{self.ends}"

    def stream(self, kind: str) -> str:
        return f"{self.name}@{kind}"
