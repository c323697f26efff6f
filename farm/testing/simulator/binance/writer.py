"""The voice of Binance for one symbol, put together from its parts."""

from __future__ import annotations

import random
from collections.abc import Iterable

from farm.testing.simulator.binance.books import FuturesBooks, SpotBooks
from farm.testing.simulator.binance.candles import Candles
from farm.testing.simulator.binance.marks import Marks
from farm.testing.simulator.binance.speech import SPEECHES, Voice
from farm.testing.simulator.binance.tickers import Tickers
from farm.testing.simulator.binance.trades import FuturesTrades, SpotTrades
from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.ledger import Ledger
from farm.testing.simulator.matching import MatchingBook
from farm.testing.simulator.writer import VenueWriter, Writers
from farm.types import Market

__all__ = ["binance_writer"]


def binance_writer(
    market: Market, instrument: Instrument, book: MatchingBook, seed: str, intervals: Iterable[str]
) -> VenueWriter:
    """Trades, quotes, books, candles and tickers; on futures mark prices and liquidations too."""
    speech = SPEECHES[market]
    voice = Voice(instrument, speech)
    rng = random.Random(f"{seed}:ids")
    periods = {name: speech.intervals[name] for name in intervals}
    ledger = Ledger(instrument, periods, opens_at_first_trade=True)
    candles, tickers = Candles(voice, ledger), Tickers(voice, ledger, book)
    if speech.universe is None:
        trades = SpotTrades(voice, ledger, rng)
        return Writers([trades, SpotBooks(voice, book, rng), candles, tickers])
    marks = Marks(voice, book, random.Random(f"{seed}:marks"))
    books = FuturesBooks(voice, book, random.Random(f"{seed}:updates"))
    return Writers([FuturesTrades(voice, ledger, rng), books, candles, tickers, marks])
