"""Every recorded ``exchangeInfo``, against an independent reading, and entries with faults."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import pytest

from farm.exchanges.instruments import parse_listing
from farm.exchanges.registry import rules_of
from farm.types import Exchange, Market, NumberMode
from tests.exchanges.listings import MS, NUMBER, T0, body, recorded_listings

modes = pytest.mark.parametrize("mode", list(NumberMode))
PERPETUAL = 4_133_404_800_000

RECORDINGS = {
    "session_binance_spot_20211012.jsonl.gz": (Market.SPOT, 1695, 1262),
    "session_binance_usdm_20210722.jsonl.gz": (Market.USDM, 122, 121),
    "session_binance_coinm_20210722.jsonl.gz": (Market.COINM, 36, 36),
}


# ---------------------------------------------------------------------------- the second reading
def reading(market: Market, entry: dict[str, Any], mode: NumberMode) -> dict[str, Any]:
    """The terms that an entry states, field by field."""
    number = NUMBER[mode]
    filters = {item["filterType"]: item for item in entry["filters"]}
    status = entry["contractStatus"] if market is Market.COINM else entry["status"]
    terms = {
        "exchange": Exchange.BINANCE,
        "market": market,
        "symbol": entry["symbol"],
        "base": entry["baseAsset"],
        "quote": entry["quoteAsset"],
        "status": status,
        "trading": status == "TRADING",
        "tick_size": number(filters["PRICE_FILTER"]["tickSize"]),
        "lot_size": number(filters["LOT_SIZE"]["stepSize"]),
        "min_quantity": number(filters["LOT_SIZE"]["minQty"]),
        "settle": None,
        "pair": None,
        "contract_type": None,
        "min_notional": None,
        "contract_size": None,
        "launch_time": None,
        "delivery_time": None,
    }
    if market is Market.SPOT:
        return terms | {"min_notional": number(filters["MIN_NOTIONAL"]["minNotional"])}
    dated = entry["deliveryDate"] != PERPETUAL
    terms |= {
        "settle": entry["marginAsset"],
        "pair": entry["pair"],
        "contract_type": entry["contractType"] or None,
        "launch_time": entry["onboardDate"] * MS,
        "delivery_time": entry["deliveryDate"] * MS if dated else None,
    }
    if market is Market.COINM:
        return terms | {"contract_size": number(str(entry["contractSize"]))}
    return terms | {"min_notional": number(filters["MIN_NOTIONAL"]["notional"])}


@modes
@pytest.mark.parametrize("name", RECORDINGS)
def test_every_instrument_of_the_recordings_is_what_its_text_says(
    name: str, mode: NumberMode
) -> None:
    market, count, trading = RECORDINGS[name]
    ((rules, record),) = recorded_listings(name)
    page = parse_listing(rules, record.text, record.time, mode, page=3)
    said = msgspec.json.decode(record.text)
    seen = {
        "valid_from": record.time,
        "receive_time": record.time,
        "exchange_time": said["serverTime"] * MS,
        "event_time": None,
        "ordinal": 3,
    }
    assert rules.market is market
    assert [attrs.asdict(item) for item in page.instruments] == [
        reading(market, entry, mode) | seen | {"row": row}
        for row, entry in enumerate(said["symbols"])
    ]
    assert (len(page.instruments), sum(item.trading for item in page.instruments)) == (
        count,
        trading,
    )
    assert (page.next_cursor, page.malformed, page.unread) == (None, [], [])
    kind = type(NUMBER[mode]("1"))
    assert all(type(item.tick_size) is kind for item in page.instruments)


def test_the_recordings_hold_dated_contracts_and_one_without_a_type() -> None:
    # Else the tests above would say nothing of them.
    ((rules, record),) = recorded_listings("session_binance_usdm_20210722.jsonl.gz")
    found = parse_listing(rules, record.text, 0, NumberMode.FLOAT).instruments
    by_symbol = {item.symbol: item for item in found}
    assert by_symbol["BTCUSDT"].delivery_time is None
    assert by_symbol["BTCUSDT_210924"].delivery_time == 1_632_470_400_000 * MS
    pending = by_symbol["BTCSTUSDT"]
    assert (pending.contract_type, pending.status, pending.trading) == (
        None,
        "PENDING_TRADING",
        False,
    )
    assert pending.tick_size == 0.001  # its pricePrecision is 3 too; that of BTCUSDT_210924 is 1
    assert by_symbol["BTCUSDT"].tick_size == 0.01


# ----------------------------------------------------------------------------------- entries alone
def entry(symbol: str = "BTCUSDT", **fields: Any) -> dict[str, Any]:
    filters = [
        {"filterType": "MARKET_LOT_SIZE", "minQty": "7", "stepSize": "7"},
        {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "1"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "stepSize": "0.002"},
        {"filterType": "SOMETHING_NEW", "tickSize": "another kind"},
    ]
    whole = {"status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters}
    return {"symbol": symbol} | whole | fields


def read(*entries: Any, market: Market = Market.SPOT, mode: NumberMode = NumberMode.FLOAT) -> Any:
    rules = rules_of(Exchange.BINANCE, market)
    return parse_listing(rules, body({"serverTime": 1, "symbols": list(entries)}), T0, mode)


def only(fields: dict[str, Any], market: Market = Market.SPOT) -> Any:
    (item,) = read(entry(**fields), market=market).instruments
    return item


@pytest.mark.parametrize("symbol", ["1000SATSUSDT", "0GUSDT", "T", "币安人生USDT", "BTCUSD_PERP"])
def test_any_symbol_is_one(symbol: str) -> None:
    assert [item.symbol for item in read(entry(symbol)).instruments] == [symbol]


def test_steps_are_of_the_filters_for_all_orders_and_precision_is_none() -> None:
    item = only({"pricePrecision": 8, "quotePrecision": 8, "quantityPrecision": 8})
    assert (item.tick_size, item.lot_size, item.min_quantity) == (0.1, 0.002, 0.001)
    assert item.min_notional is None


@pytest.mark.parametrize(
    ("filters", "worth"),
    [
        ([{"filterType": "NOTIONAL", "minNotional": "5.5", "maxNotional": "9"}], 5.5),
        ([{"filterType": "MIN_NOTIONAL", "minNotional": "10"}], 10.0),
        ([{"filterType": "MIN_NOTIONAL", "notional": "50"}], 50.0),
        ([{"filterType": "MIN_NOTIONAL", "notional": ""}], None),
        ([], None),
    ],
)
def test_the_least_worth_of_an_order(filters: list[Any], worth: float | None) -> None:
    assert only({"filters": filters}).min_notional == worth


def test_a_step_of_zero_is_a_rule_switched_off() -> None:
    item = only(
        {
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.00000000"},
                {"filterType": "LOT_SIZE", "minQty": "0.00000000", "stepSize": "0"},
            ]
        }
    )
    assert (item.tick_size, item.lot_size, item.min_quantity) == (None, None, 0.0)


@pytest.mark.parametrize(
    ("status", "trading"),
    [("TRADING", True), *((word, False) for word in ("BREAK", "HALT", "CANCEL_ONLY", "trading"))],
)
def test_what_trades(status: str, trading: bool) -> None:
    spot = only({"status": status})
    coinm = only({"status": None, "contractStatus": status}, market=Market.COINM)
    assert (spot.status, spot.trading) == (coinm.status, coinm.trading) == (status, trading)


def test_a_perpetual_that_is_to_be_delisted_has_its_date() -> None:
    fields = {"contractType": "PERPETUAL", "pair": "BTCUSDT", "marginAsset": "USDT"}
    for date, time in [
        (PERPETUAL, None),
        (str(PERPETUAL), None),
        (0, None),
        ("", None),
        (1_790_000_000_000, T0),
        ("1790000000000", T0),
    ]:
        item = only(fields | {"deliveryDate": date}, market=Market.USDM)
        assert item.delivery_time == time
    assert (item.contract_type, item.pair, item.settle) == ("PERPETUAL", "BTCUSDT", "USDT")


def test_empty_texts_are_none() -> None:
    blank = dict.fromkeys(
        ("contractType", "pair", "marginAsset", "contractSize", "onboardDate", "deliveryDate"), ""
    )
    item = only(blank, market=Market.COINM)
    assert (item.contract_type, item.pair, item.settle, item.contract_size) == (None,) * 4
    assert (item.launch_time, item.delivery_time) == (None, None)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry("BAD", status=None), "BAD: status is blank"),
        (entry("BAD", baseAsset=""), "BAD: base is blank"),
        (entry("BAD", quoteAsset=5), "BAD: Expected `str`, got `int`"),
        (entry("BAD", filters={}), "BAD: Expected `array`, got `object`"),
        (entry("BAD", onboardDate=-1), "BAD: launch_time is -1: "),
        (
            entry("BAD", filters=[{"filterType": "PRICE_FILTER", "tickSize": "dear"}]),
            "BAD: tick_size is 'dear': ",
        ),
        (entry(""), "entry 1: symbol is blank"),
        ({"symbol": "BAD"}, "BAD: Object missing required field `baseAsset`"),
        ({"status": "TRADING"}, "entry 1: Object missing required field `symbol`"),
        ({"symbol": {}}, "entry 1: Expected `str`, got `object`"),
        (None, "entry 1: "),
        ([], "entry 1: "),
    ],
)
def test_a_malformed_entry_costs_no_other(bad: Any, reason: str) -> None:
    page = read(entry("ONE"), bad, entry("TWO"))
    assert [(item.symbol, item.row) for item in page.instruments] == [("ONE", 0), ("TWO", 2)]
    (said,) = page.malformed
    assert said.startswith(reason)
    assert page.unread == (["BAD"] if reason.startswith("BAD") else [])


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"[]",
        b"null",
        b'{"code":-1003,"msg":"Too many requests."}',
        b'{"serverTime":1,"symbols":null}',
        b'{"serverTime":-1,"symbols":[]}',
        b'{"serverTime":1,"symbols":[{"symbol":"BTC',
        b'{"serverTime":1,"symbols":[\xff]}',
        b'{"symbols":' + b"[" * 100_000,
    ],
)
def test_what_is_no_listing_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError):
        parse_listing(rules_of(Exchange.BINANCE, Market.SPOT), answer, T0, NumberMode.FLOAT)


def test_an_empty_listing_is_one() -> None:
    page = read()
    assert (page.instruments, page.malformed, page.next_cursor) == ([], [], None)
