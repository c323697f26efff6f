"""The simulated markets: who speaks for each, and who else is heard there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from farm.testing.simulator.binance.speech import SPEECHES
from farm.testing.simulator.binance.whole_market import WholeMarket
from farm.testing.simulator.binance.writer import binance_writer
from farm.testing.simulator.bybit.speech import BYBIT_INTERVALS
from farm.testing.simulator.bybit.writer import bybit_writer
from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.matching import MatchingBook
from farm.testing.simulator.writer import VenueWriter
from farm.testing.source import Push
from farm.types import Exchange, Market

__all__ = ["VENUES", "Venue"]

_WriterOf = Callable[[Market, Instrument, MatchingBook, str, Iterable[str]], VenueWriter]
_Id = tuple[Exchange, Market]


@attrs.frozen
class Venue:
    """One market. ``intervals``: candles it knows, ``usual_intervals`` those told by default.

    ``whole_streams``: streams of the whole market by the kind that they gather; ``strangers``:
    symbols of other markets that are heard in these alone.
    """

    exchange: Exchange
    market: Market
    writer: _WriterOf
    intervals: Mapping[str, int]
    usual_intervals: Sequence[str]
    whole_streams: Mapping[str, str] = attrs.Factory(dict)
    strangers: Mapping[str, _Id] = attrs.Factory(dict)

    def whole_market(self, pushes: Iterator[Push]) -> Iterator[Push]:
        """The pushes with those of the whole market among them."""
        if not self.whole_streams:
            return pushes
        return WholeMarket(self.whole_streams, frozenset(self.strangers)).told(pushes)


_USDM: _Id = (Exchange.BINANCE, Market.USDM)
_COINM: _Id = (Exchange.BINANCE, Market.COINM)
_STRANGERS: Mapping[Market, Mapping[str, _Id]] = {
    Market.SPOT: {},
    Market.USDM: {"XRPUSD_PERP": _COINM},
    Market.COINM: {"XRPUSDT": _USDM},
}


def _binance(market: Market, *usual: str) -> Venue:
    speech = SPEECHES[market]
    return Venue(
        Exchange.BINANCE,
        market,
        binance_writer,
        speech.intervals,
        usual,
        speech.whole_market,
        _STRANGERS[market],
    )


def _bybit(market: Market, *usual: str) -> Venue:
    return Venue(Exchange.BYBIT, market, bybit_writer, BYBIT_INTERVALS if usual else {}, usual)


VENUES: Mapping[_Id, Venue] = {
    (venue.exchange, venue.market): venue
    for venue in (
        _binance(Market.SPOT, "1s", "1m", "5m", "1h"),
        _binance(Market.USDM, "1m", "5m", "1h"),
        _binance(Market.COINM, "1m", "5m", "1h"),
        _bybit(Market.SPOT, "1", "5", "60"),
        _bybit(Market.LINEAR, "1", "5", "60"),
        _bybit(Market.INVERSE, "1", "5", "60"),
        _bybit(Market.OPTION),
    )
}
