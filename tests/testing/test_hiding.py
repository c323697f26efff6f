from __future__ import annotations

import json

import pytest

from farm.testing import Push
from farm.testing.hiding import shown_on_binance, shown_on_bybit

HIDDEN = {"AUSDT", "BTC-1JAN27-1-C-USDT"}


@pytest.mark.parametrize("stream", ["ausdt@trade", "ausdt@depth5@100ms"])
def test_streams_of_a_hidden_symbol_are_silent(stream: str) -> None:
    assert shown_on_binance(Push(1, stream, "not json"), HIDDEN) is None
    other = Push(1, stream.replace("ausdt", "busdt"), "not json")
    assert shown_on_binance(other, HIDDEN) is other


@pytest.mark.parametrize(
    ("stream", "text", "left"),
    [
        (
            "!ticker@arr",
            '[{"s":"AUSDT","o":"1"},{"s":"币","o":"1"}]',
            '[{"s":"币","o":"1"}]',
        ),
        ("!ticker@arr", '[{"s":"AUSDT"}]', None),
        ("!ticker@arr", '[{"s":"BUSDT" }]', '[{"s":"BUSDT" }]'),
        ("!bookTicker", '{"e":"bookTicker","s":"AUSDT"}', None),
        ("!bookTicker", '{"e":"bookTicker","s":"BUSDT"}', '{"e":"bookTicker","s":"BUSDT"}'),
        ("!forceOrder@arr", '{"e":"forceOrder","o":{"s":"AUSDT"}}', None),
        ("!contractInfo", '{"e":"contractInfo","s":"AUSDT"}', None),
    ],
)
def test_streams_of_the_market_keep_the_other_rows(
    stream: str, text: str, left: str | None
) -> None:
    shown = shown_on_binance(Push(1, stream, text), HIDDEN)
    assert (None if shown is None else shown.text) == left


def test_topics_of_a_hidden_symbol_are_silent() -> None:
    assert shown_on_bybit(Push(1, "orderbook.50.AUSDT", ""), HIDDEN) is None
    assert shown_on_bybit(Push(1, "tickers.AUSDT", ""), HIDDEN) is None
    push = Push(1, "tickers.BUSDT", "not json")
    assert shown_on_bybit(push, HIDDEN) is push


def test_trades_of_options_share_a_topic() -> None:
    rows = [{"s": symbol} for symbol in ("BTC-1JAN27-1-C-USDT", "BTC-1JAN27-2-C-USDT")]
    text = json.dumps({"topic": "publicTrade.BTC", "data": rows})
    shown = shown_on_bybit(Push(1, "publicTrade.BTC", text), HIDDEN)
    assert shown is not None
    assert json.loads(shown.text) == {"topic": "publicTrade.BTC", "data": rows[1:]}
    alone = json.dumps({"topic": "publicTrade.BTC", "data": rows[:1]})
    assert shown_on_bybit(Push(1, "publicTrade.BTC", alone), HIDDEN) is None
