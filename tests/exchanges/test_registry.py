"""Which markets farm speaks, and who speaks them."""

from __future__ import annotations

import pytest

from farm.exchanges.binance.session import BinanceSession
from farm.exchanges.bybit.session import BybitSession
from farm.exchanges.registry import MARKETS, make_session, rules_of
from farm.exchanges.session import Session
from farm.types import Exchange, Market


def test_seven_markets_are_spoken_by_their_venues_cores() -> None:
    cores = {}
    for (exchange, market), rules in MARKETS.items():
        assert rules_of(exchange, market) is rules
        assert (rules.exchange, rules.market) == (exchange, market)
        stream = rules.streams.stream("BTCUSDT", "trade")
        session: Session = make_session(rules, [stream], connection="c")
        assert session.statuses[stream.name].stream is stream
        cores[rules.key] = type(session)
    assert cores == {
        "binance/spot": BinanceSession,
        "binance/usdm": BinanceSession,
        "binance/coinm": BinanceSession,
        "bybit/spot": BybitSession,
        "bybit/linear": BybitSession,
        "bybit/inverse": BybitSession,
        "bybit/option": BybitSession,
    }


@pytest.mark.parametrize(
    ("exchange", "market"), [(Exchange.BINANCE, Market.LINEAR), (Exchange.BYBIT, Market.USDM)]
)
def test_what_is_not_spoken_is_a_key_error(exchange: Exchange, market: Market) -> None:
    with pytest.raises(KeyError):
        rules_of(exchange, market)
