from __future__ import annotations

import pytest

from farm.config import known_values, stream_specs_help
from farm.config.words import got, near
from farm.types import Exchange, Market, NumberMode
from tests.config.documents import document, faults


def test_stream_specs_help() -> None:
    frames = "1m,3m,5m,15m,30m,1h,2h,4h,6h,12h,1d,1w,1M"
    assert stream_specs_help(Exchange.BYBIT, Market.LINEAR) == (
        f"trade, quote, book, book:{{50,200,1000,full}}, kline:{{{frames}}}, ticker, liquidation"
    )
    assert stream_specs_help(Exchange.BYBIT, Market.OPTION) == (
        "trade, book, book:{25,100}, ticker"
    )
    with pytest.raises(KeyError):
        stream_specs_help(Exchange.BINANCE, Market.OPTION)


def test_values_are_shown_shortly() -> None:
    found = faults(document(numbers="x" * 10_000, data=["y" * 10_000] * 50))
    assert all(len(message) < 400 for message in found.values())


def test_known_values_are_those_that_farm_speaks() -> None:
    assert known_values(Exchange) == ["binance", "bybit"]
    markets = ["spot", "usdm", "coinm", "linear", "inverse", "option"]
    assert known_values(Market) == markets
    assert known_values(NumberMode) == ["float", "decimal"]


def test_near_words() -> None:
    assert near("KLINE:1H", ["kline:1m", "kline:1h"]) == "kline:1h"
    assert near("1M", ["1m", "1M"]) == "1m"  # alike but for case: the first
    assert near("swap", ["spot", "linear"]) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "got the boolean true"),
        (10**5000, "got the integer <16610 bits>"),
        ({"a": 1}, "got the table {'a': 1}"),
        (("a", 2.5), "got the list ('a', 2.5)"),
        (None, "got None"),
    ],
    ids=lambda part: type(part).__name__,  # pytest cannot print the integer either
)
def test_values_are_shown_with_their_kind(value: object, words: str) -> None:
    assert got(value) == words
