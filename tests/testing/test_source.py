from __future__ import annotations

from farm.testing import MarketSimulator, Push, depth_reply, losing
from farm.testing.source import reply_symbol, symbols_of
from farm.types import Exchange, Market


def test_a_depth_reply_names_its_symbol() -> None:
    assert reply_symbol(depth_reply("BTCUSDT")) == "BTCUSDT"
    assert reply_symbol("btcusdt@depth") is None
    assert reply_symbol("/exchangeInfo") is None


def test_lost_pushes_turn_silent_and_the_rest_stays() -> None:
    pushes = [Push(1, "a", "1"), Push(2, "b", "2"), Push(3, "a", "3")]
    lossy = losing(pushes, lambda push: push.text == "3")
    expected = [Push(1, "a", "1"), Push(2, "b", "2"), Push(3, "a", "3", silent=True)]
    assert list(lossy) == expected
    assert list(lossy) == expected, "a source can be walked again"
    assert pushes[2].silent is False


def test_a_lossy_source_still_names_its_symbols() -> None:
    market = MarketSimulator(Exchange.BYBIT, Market.SPOT, ["BTCUSDT", "ETHUSDT"])
    assert list(symbols_of(losing(market, lambda _: False)) or ()) == ["BTCUSDT", "ETHUSDT"]
    assert symbols_of([]) is None
