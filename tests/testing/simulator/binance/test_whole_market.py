"""Streams of the whole market: put together from single streams, strangers among them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.testing import Push
from farm.testing.simulator.binance.whole_market import WholeMarket
from farm.types import Exchange, Market
from tests.testing.simulator.stories import Story, read, tell

STREAMS = {
    "miniTicker": "!miniTicker@arr",
    "forceOrder": "!forceOrder@arr",
    "bookTicker": "!bookTicker",
}
SECOND = 1_000_000_000


def told(*pushes: Push) -> list[tuple[int, str, str]]:
    market = WholeMarket(STREAMS, frozenset({"ODD"}))
    return [(push.time // SECOND, push.stream, push.text) for push in market.told(pushes)]


def push(second: int, stream: str, text: str, *, silent: bool = False) -> Push:
    return Push(second * SECOND, stream, text, silent)


def test_rows_of_an_instant_come_in_one_array_after_them() -> None:
    assert told(
        push(1, "a@miniTicker", "1"),
        push(1, "odd@miniTicker", "2"),
        push(1, "b@trade", "3"),
        push(2, "a@miniTicker", "4"),
    ) == [
        (1, "a@miniTicker", "1"),
        (1, "b@trade", "3"),
        (1, "!miniTicker@arr", "[1,2]"),
        (2, "a@miniTicker", "4"),
        (2, "!miniTicker@arr", "[4]"),
    ]


def test_each_liquidation_is_passed_on_as_it_is() -> None:
    text = '{"e":"forceOrder"}'
    assert told(push(1, "a@forceOrder", text), push(1, "odd@forceOrder", text)) == [
        (1, "a@forceOrder", text),
        (1, "!forceOrder@arr", text),
        (1, "!forceOrder@arr", text),
    ]


def test_the_latest_quotes_come_every_five_seconds() -> None:
    found = told(
        push(1, "a@bookTicker", "1"),
        push(2, "odd@bookTicker", "2"),
        push(3, "a@bookTicker", "3"),
        push(6, "a@trade", "4"),
        push(11, "a@trade", "5"),
    )
    assert [item for item in found if item[1] == "!bookTicker"] == [
        (5, "!bookTicker", "3"),
        (5, "!bookTicker", "2"),
    ]
    assert [time for time, _, _ in found] == sorted(time for time, _, _ in found)


def test_answers_about_a_stranger_and_silent_rows_go_nowhere() -> None:
    assert told(
        push(1, "/depth?symbol=ODD", "1", silent=True),
        push(1, "/depth?symbol=A", "2", silent=True),
        push(1, "a@miniTicker", "3", silent=True),
    ) == [(1, "/depth?symbol=A", "2"), (1, "a@miniTicker", "3")]


@pytest.fixture(scope="module", params=[Market.USDM, Market.COINM], ids=lambda m: m.value)
def story(request: pytest.FixtureRequest) -> Story:
    symbols = {Market.USDM: ["BTCUSDT", "币安人生USDT"], Market.COINM: ["BTCUSD_PERP"]}
    return read(tell(Exchange.BINANCE, request.param, symbols[request.param], 61))


def universes(rows: list[Any]) -> set[int]:
    return {row["st"] for row in rows}


@pytest.mark.parametrize(
    "stream",
    ["!markPrice@arr", "!markPrice@arr@1s", "!miniTicker@arr", "!ticker@arr", "!bookTicker",
     "!forceOrder@arr", "!contractInfo"],
)  # fmt: skip
def test_both_universes_are_in_every_stream_of_a_futures_host(story: Story, stream: str) -> None:
    rows = [row for item in story[stream] for row in (item if isinstance(item, list) else [item])]
    rows = [row["o"] if row["e"] == "forceOrder" else row for row in rows]
    assert universes(rows) == {1, 2}
    strangers = {row["s"] for row in rows} - {"BTCUSDT", "币安人生USDT", "BTCUSD_PERP"}
    [stranger] = strangers
    assert not [name for name in story if stranger in name.upper()]


def test_an_array_holds_what_the_single_streams_say(story: Story) -> None:
    own = [row for name in story if name.endswith("@ticker") for row in story[name]]
    gathered = [row for rows in story["!ticker@arr"] for row in rows]
    assert own
    assert [row for row in own if row not in gathered] == []
    times = [{row["E"] for row in rows} for rows in story["!ticker@arr"]]
    assert all(len(instants) == 1 for instants in times)


def test_terms_of_contracts(story: Story) -> None:
    for terms in story["!contractInfo"]:
        keys = ["e", "E", "s", "ps", "ct", "dt", "ot", "cs", "bks", "st"]
        if terms["st"] == 1:
            keys.remove("ps")
        assert list(terms) == keys
        assert (terms["ct"], terms["cs"], terms["dt"]) == ("PERPETUAL", "TRADING", 4133404800000)


def test_spot_gathers_mini_tickers_alone() -> None:
    pushes = tell(Exchange.BINANCE, Market.SPOT, ["BTCUSDT", "TUSDT"], 5)
    assert {push.stream for push in pushes if push.stream.startswith("!")} == {"!miniTicker@arr"}
    symbols = {
        row["s"] for push in pushes if push.stream[0] == "!" for row in json.loads(push.text)
    }
    assert symbols == {"BTCUSDT", "TUSDT"}
