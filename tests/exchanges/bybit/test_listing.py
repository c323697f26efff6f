"""Every recorded and documented ``instruments-info``, against an independent reading."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from farm.exchanges.instruments import parse_listing
from farm.exchanges.registry import rules_of
from farm.types import Exchange, Market, NumberMode
from tests.exchanges.listings import MS, NUMBER, T0, body, recorded_listings
from tests.recordings import payload_file

modes = pytest.mark.parametrize("mode", list(NumberMode))


# ---------------------------------------------------------------------------- the second reading
def reading(market: Market, entry: dict[str, Any], mode: NumberMode) -> dict[str, Any]:
    """The terms that an entry states, field by field."""
    number = NUMBER[mode]
    lots = entry["lotSizeFilter"]
    spot = market is Market.SPOT
    worth = lots.get("minOrderAmt" if spot else "minNotionalValue")
    terms = {
        "exchange": Exchange.BYBIT,
        "market": market,
        "symbol": entry["symbol"],
        "base": entry["baseCoin"],
        "quote": entry["quoteCoin"],
        "pair": None,
        "status": entry["status"],
        "trading": entry["status"] == "Trading",
        "tick_size": number(entry["priceFilter"]["tickSize"]),
        "lot_size": number(lots["basePrecision" if spot else "qtyStep"]),
        "min_quantity": number(lots["minOrderQty"]),
        "min_notional": None if worth is None else number(worth),
        "contract_size": None,
        "settle": None,
        "contract_type": None,
        "launch_time": None,
        "delivery_time": None,
    }
    if spot:
        return terms
    delivery = int(entry["deliveryTime"])
    return terms | {
        "settle": entry["settleCoin"],
        "contract_type": entry["optionsType" if market is Market.OPTION else "contractType"],
        "launch_time": int(entry["launchTime"]) * MS,
        "delivery_time": delivery * MS if delivery else None,
    }


def check(market: Market, text: bytes, mode: NumberMode) -> int:
    rules = rules_of(Exchange.BYBIT, market)
    page = parse_listing(rules, text, T0, mode, page=2)
    said = json.loads(text)
    seen = {
        "valid_from": T0,
        "receive_time": T0,
        "exchange_time": said["time"] * MS,
        "event_time": None,
        "ordinal": 2,
    }
    assert [attrs.asdict(item) for item in page.instruments] == [
        reading(market, entry, mode) | seen | {"row": row}
        for row, entry in enumerate(said["result"]["list"])
    ]
    assert (page.next_cursor, page.malformed, page.unread) == (None, [], [])
    kind = type(NUMBER[mode]("1"))
    assert all(type(item.tick_size) is kind for item in page.instruments)
    return len(page.instruments)


@modes
def test_every_instrument_of_the_recording_is_what_its_text_says(mode: NumberMode) -> None:
    counts = {
        rules.market: check(rules.market, record.text, mode)
        for rules, record in recorded_listings("session_bybit_20260809.jsonl.gz")
    }
    assert counts == {Market.LINEAR: 800, Market.SPOT: 557}


@modes
def test_every_documented_answer_is_what_its_text_says(mode: NumberMode) -> None:
    markets = []
    for line in payload_file("bybit_documented.ndjson").read_text().splitlines():
        sample = json.loads(line)
        if sample["source"].endswith("v5/market/instrument.mdx"):
            market = Market(json.loads(sample["raw"])["result"]["category"])
            assert check(market, sample["raw"].encode(), mode) == 1
            markets.append(market)
    assert markets == [Market.OPTION, Market.SPOT]


def test_the_recording_holds_perpetuals_and_dated_contracts() -> None:
    for rules, record in recorded_listings("session_bybit_20260809.jsonl.gz"):
        if rules.market is Market.LINEAR:
            found = parse_listing(rules, record.text, 0, NumberMode.FLOAT).instruments
    by_symbol = {item.symbol: item for item in found}
    assert by_symbol["0GUSDT"].delivery_time is None
    assert by_symbol["BTCUSDT-14AUG26"].delivery_time == 1_786_694_400_000 * MS
    assert by_symbol["BTCPERP"].settle == "USDC"


# ----------------------------------------------------------------------------------- entries alone
def entry(symbol: str = "BTCUSDT", **fields: Any) -> dict[str, Any]:
    whole = {
        "status": "Trading",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "priceFilter": {"tickSize": "0.10", "minPrice": "1"},
        "lotSizeFilter": {"qtyStep": "0.002", "minOrderQty": "0.001"},
    }
    return {"symbol": symbol} | whole | fields


def reply(*entries: Any, **result: Any) -> bytes:
    return body(
        {"retCode": 0, "retMsg": "OK", "result": {"list": list(entries)} | result, "time": 1}
    )


def read(text: bytes, market: Market = Market.LINEAR) -> Any:
    return parse_listing(rules_of(Exchange.BYBIT, market), text, T0, NumberMode.FLOAT)


@pytest.mark.parametrize(
    "symbol",
    ["1000PEPEUSDT", "0GUSDT", "T", "币安人生USDT", "BTCUSDZ26", "XRP-30OCT26-0.4-P-USDT"],
)
def test_any_symbol_is_one(symbol: str) -> None:
    assert [item.symbol for item in read(reply(entry(symbol))).instruments] == [symbol]


@pytest.mark.parametrize(
    ("fields", "trading"),
    [
        ({"status": "Trading"}, True),
        ({"status": "Delivering"}, False),
        ({"status": "Closed"}, False),
        ({"status": "PreLaunch"}, False),
        ({"status": "PreLaunch", "preListingInfo": None}, False),
        ({"status": "PreLaunch", "preListingInfo": {"curAuctionPhase": "NotStarted"}}, False),
        ({"status": "PreLaunch", "preListingInfo": {"curAuctionPhase": "CrossMatching"}}, False),
        # Book and trades are sent from this phase on; see curAuctionPhase in v5/enum.mdx.
        ({"status": "PreLaunch", "preListingInfo": {"curAuctionPhase": "ContinuousTrading"}}, True),
        ({"status": "Closed", "preListingInfo": {"curAuctionPhase": "ContinuousTrading"}}, False),
    ],
)
def test_what_trades(fields: dict[str, Any], trading: bool) -> None:
    (item,) = read(reply(entry(**fields))).instruments
    assert (item.status, item.trading) == (fields["status"], trading)


def test_empty_texts_are_none() -> None:
    blank = dict.fromkeys(("contractType", "settleCoin", "launchTime", "deliveryTime"), "")
    lots = {"qtyStep": "", "minOrderQty": "", "minNotionalValue": ""}
    (item,) = read(
        reply(entry(**blank, lotSizeFilter=lots, priceFilter={"tickSize": ""}))
    ).instruments
    assert (item.contract_type, item.settle, item.launch_time, item.delivery_time) == (None,) * 4
    assert (item.tick_size, item.lot_size, item.min_quantity, item.min_notional) == (None,) * 4


@pytest.mark.parametrize(
    ("result", "cursor"),
    [
        ({}, None),
        ({"nextPageCursor": ""}, None),
        ({"nextPageCursor": None}, None),
        (
            {"nextPageCursor": "first%3DBIOUSDT%26last%3DBIOUSDT"},
            "first%3DBIOUSDT%26last%3DBIOUSDT",
        ),
    ],
)
def test_the_next_page(result: dict[str, Any], cursor: str | None) -> None:
    assert read(reply(entry(), **result)).next_cursor == cursor


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry("BAD", status=""), "BAD: status is blank"),
        (entry("BAD", baseCoin=None), "BAD: Expected `str`, got `null`"),
        (entry("BAD", priceFilter=None), "BAD: Expected `object`, got `null`"),
        (entry("BAD", deliveryTime="soon"), "BAD: delivery_time is 'soon': "),
        (entry("BAD", lotSizeFilter={"qtyStep": "-1"}), "BAD: lot_size is '-1': "),
        ({"symbol": "BAD"}, "BAD: Object missing required field `baseCoin`"),
        (entry(""), "entry 1: symbol is blank"),
        (7, "entry 1: "),
    ],
)
def test_a_malformed_entry_costs_no_other(bad: Any, reason: str) -> None:
    page = read(reply(entry("ONE"), bad, entry("TWO"), nextPageCursor="on"))
    assert [(item.symbol, item.row) for item in page.instruments] == [("ONE", 0), ("TWO", 2)]
    (said,) = page.malformed
    assert said.startswith(reason)
    assert page.unread == (["BAD"] if reason.startswith("BAD") else [])
    assert page.next_cursor == "on"


def test_a_request_that_failed_says_why() -> None:
    refused = {"retCode": 10001, "retMsg": "params error: category", "result": {}, "time": 1}
    with pytest.raises(ValueError, match="retCode 10001: params error: category"):
        read(body(refused))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>403 Forbidden</html>",
        b'{"retMsg":"OK","result":{"list":[]}}',
        b'{"retCode":0,"retMsg":"OK","result":{}}',
        b'{"retCode":0,"retMsg":"OK","result":null}',
        b'{"retCode":0,"retMsg":"OK","result":{"list":{}}}',
        b'{"retCode":0,"retMsg":"OK","result":{"list":[]},"time":"now"}',
    ],
)
def test_what_is_no_listing_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError):
        read(answer)


@pytest.mark.parametrize("entries", [[], None])
def test_an_empty_listing_is_one(entries: Any) -> None:
    page = read(body({"retCode": 0, "result": {"list": entries}}), Market.OPTION)
    assert (page.instruments, page.malformed, page.next_cursor) == ([], [], None)
