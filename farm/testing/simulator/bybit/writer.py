"""The voice of Bybit for one symbol, put together from its parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping

from farm.testing.simulator.bybit.books import FullBook, TopOfBook, Windows
from farm.testing.simulator.bybit.candles import Candles
from farm.testing.simulator.bybit.quotes import FuturesQuotes, NoQuotes, OptionQuotes, Quotes
from farm.testing.simulator.bybit.speech import BYBIT_INTERVALS, SPEECHES, Voice
from farm.testing.simulator.bybit.tickers import (
    Tickers,
    TickerView,
    option_view,
    perpetual_view,
    spot_view,
)
from farm.testing.simulator.bybit.trades import Liquidations, Trades
from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.ledger import Ledger
from farm.testing.simulator.matching import MatchingBook
from farm.testing.simulator.writer import VenueWriter, Writers
from farm.types import Market

__all__ = ["bybit_writer"]

_QuotesOf = Callable[[Instrument, MatchingBook, random.Random], Quotes]
_ViewOf = Callable[[TickerView, int], dict[str, str]]

# What is quoted beside the book, and the ticker that tells it.
_QUOTED: Mapping[Market, tuple[_QuotesOf, _ViewOf]] = {
    Market.SPOT: (NoQuotes, spot_view),
    Market.LINEAR: (FuturesQuotes, perpetual_view),
    Market.INVERSE: (FuturesQuotes, perpetual_view),
    Market.OPTION: (OptionQuotes, option_view),
}


def bybit_writer(
    market: Market, instrument: Instrument, book: MatchingBook, seed: str, intervals: Iterable[str]
) -> VenueWriter:
    """Trades, books, candles and tickers, as far as the category has them."""
    speech = SPEECHES[market]
    rng = random.Random(f"{seed}:ids")
    voice = Voice(instrument, speech, rng.randrange(100_000_000_000, 900_000_000_000))
    periods = {name: BYBIT_INTERVALS[name] for name in intervals}
    ledger = Ledger(instrument, periods, opens_at_first_trade=False)
    quotes_of, ticker_of = _QUOTED[market]
    quotes = quotes_of(instrument, book, random.Random(f"{seed}:quotes"))
    trades = Trades(voice, ledger, rng, quotes.of_trade)
    view = TickerView(voice, ledger, book, quotes, lambda: trades.direction)

    def first_id() -> int:
        return rng.randrange(10**7, 10**8)

    parts: list[VenueWriter] = [trades]
    if speech.top:
        parts.append(TopOfBook(voice, book, first_id))
    parts.append(Windows(voice, book, first_id))
    if speech.full_period is not None:
        parts.append(FullBook(voice, book, first_id(), speech.full_period))
    parts.append(Tickers(view, ticker_of))
    if speech.kline:
        parts.append(Candles(voice, ledger))
    if speech.liquidations:
        parts.append(Liquidations(voice, random.Random(f"{seed}:liquidations")))
    return Writers(parts)
