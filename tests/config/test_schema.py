from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from farm.config import load_config
from farm.config.schema import config_schema
from farm.exchanges.registry import MARKETS, rules_of
from farm.types import Exchange, Market
from tests.config.documents import FIELD_NAMES, collector, document, faults


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Whether `value` satisfies `schema`; a keyword that config_schema does not use is an error."""
    if "additionalProperties" in schema:
        assert schema["additionalProperties"] is False
        if isinstance(value, dict) and not set(value) <= set(schema["properties"]):
            return False
    if "if" in schema and accepts(schema["if"], value) and not accepts(schema["then"], value):
        return False
    return all(
        _KEYWORDS[name](rule, value)
        for name, rule in schema.items()
        if name not in ("additionalProperties", "if", "then")
    )


_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
}


def _applies(kind: Any, rule: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A keyword of JSON Schema says nothing of values of other types than its own."""
    return lambda limit, value: not isinstance(value, kind) or rule(limit, value)


_KEYWORDS: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("$schema", "title", "description", "default"), lambda _, value: True),
    "type": lambda kind, v: (
        isinstance(v, _TYPES[kind]) and (kind == "boolean" or not isinstance(v, bool))
    ),
    "enum": lambda known, v: v in known,
    "const": lambda known, v: bool(v == known),
    "pattern": _applies(str, lambda pattern, v: re.search(pattern, v) is not None),
    "maximum": _applies(int | float, lambda most, v: v <= most),
    "minimum": _applies(int | float, lambda least, v: v >= least),
    "exclusiveMinimum": _applies(int | float, lambda bound, v: v > bound),
    "minItems": _applies(list, lambda least, v: len(v) >= least),
    "uniqueItems": _applies(list, lambda _, v: all(v.count(item) == 1 for item in v)),
    "items": _applies(list, lambda part, v: all(accepts(part, item) for item in v)),
    "required": _applies(dict, lambda names, v: all(name in v for name in names)),
    "properties": _applies(
        dict, lambda parts, v: all(accepts(parts[k], item) for k, item in v.items() if k in parts)
    ),
    "allOf": lambda parts, v: all(accepts(part, v) for part in parts),
    "anyOf": lambda parts, v: any(accepts(part, v) for part in parts),
}


GOOD: list[dict[str, Any]] = [
    document(),
    document(numbers="decimal", data="x", mailbox_bytes=1),
    document(supervision={"escalate": "park", "intensity": 0, "period": 1, "drain_seconds": 0.5}),
    document(collectors=[collector(streams=["agg_trade", "book:20", "kline:1s"])]),
    document(collectors=[collector(exchange="bybit", market="linear", streams=["book:50"])]),
    document(collectors=[collector(endpoints={"ws": "wss://h:1", "rest": "http://[::1]/x"})]),
    document(collectors=[collector(symbols=["币安人生USDT", "BTCUSDT_260925"])]),
    document(collectors=[collector(symbols=["*USDT", "BTCUSDT_??????"])]),
    document(instruments={"check": False, "refresh_seconds": 0.5, "start_seconds": 0}),
    *(document(processes=value) for value in (1, 256)),
    document(
        cluster={
            "heartbeat_seconds": 10,
            "hang_seconds": 40,
            "memory_limit": 1 << 26,
            "pin_cpus": True,
            "spare": False,
            "intensity": 0,
            "period": 0.5,
        }
    ),
    *(document(shard=share) for share in ("1/1", "2/8", "9999/9999")),
    document(collectors=[collector(lanes=4, time_unit="microsecond", rotate_seconds=1)]),
    document(collectors=[collector(streams=["book"], snapshot_levels=5000)]),
    *(document(collectors=[collector(latency_budget=value)]) for value in (0, 0.001, 1)),
    *(document(collectors=[collector(market=market)]) for market in ("usdm", "coinm")),
    *(
        document(collectors=[collector(exchange="bybit", market=market)])
        for market in ("spot", "linear", "inverse", "option")
    ),
    document(
        collectors=[
            collector(
                market="usdm",
                streams=["trade", "continuous_kline:perpetual:1m", "open_interest"],
                market_streams=["mark_price", "liquidation", "contract_info"],
                poll_seconds=1,
            )
        ]
    ),
    document(
        collectors=[{"exchange": "binance", "market": "coinm", "market_streams": ["quote"]}],
    ),
]


BAD: list[dict[str, Any]] = [
    {},
    document(collectors=[]),
    document(surplus=1),
    document(numbers="exact"),
    document(data=7),
    document(mailbox_bytes=0),
    document(mailbox_bytes="7"),
    document(mailbox_bytes=True),
    document(storage={"flush_seconds": 0}),
    document(storage={"flush_row": 1}),
    document(supervision={"escalate": "stop"}),
    document(collectors=[{}]),
    document(collectors=[collector(exchange="kraken")]),
    document(collectors=[collector(market="linear")]),
    document(collectors=[collector(market="swap")]),
    document(collectors=[collector(exchange="bybit", market="usdm")]),
    document(collectors=[collector(symbols=["A", "A"])]),
    document(collectors=[collector(symbols=["btcusdt"])]),
    document(collectors=[collector(symbols=["BTC/USDT"])]),
    document(collectors=[collector(symbols=["BTC\u200bUSDT"])]),
    document(collectors=[collector(symbols=[""])]),
    document(collectors=[collector(symbols="A")]),
    document(collectors=[collector(streams=["kline:7m"])]),
    document(collectors=[collector(exchange="bybit", streams=["agg_trade"])]),
    document(collectors=[collector(endpoints={"ws": "http://h"})]),
    document(collectors=[collector(endpoints={"rest": "http://"})]),
    document(collectors=[collector(endpoints={"host": "h"})]),
    document(collectors=[collector(lanes=0)]),
    document(collectors=[collector(lanes=5)]),
    document(collectors=[collector(lanes=True)]),
    *(document(collectors=[collector(latency_budget=value)]) for value in (-1, 0.0009, 2, "1")),
    document(collectors=[collector(time_unit="second")]),
    document(collectors=[collector(snapshot_levels=0)]),
    document(collectors=[collector(snapshot_levels=1.5)]),
    document(collectors=[collector(market="usdm", poll_seconds=0.5)]),
    document(collectors=[collector(rotate_seconds=0)]),
    document(collectors=[collector(market_streams=["mark_price"])]),
    document(collectors=[collector(market_streams=["mini_ticker", "mini_ticker"])]),
    document(collectors=[collector(market="usdm", market_streams=["trade"])]),
    document(collectors=[collector(exchange="bybit", market_streams=["ticker"])]),
    document(instruments={"check": 1}),
    document(instruments={"refresh_seconds": 0}),
    document(instruments={"start_seconds": -1}),
    document(instruments={"refresh": 1}),
    *(document(processes=value) for value in (0, 257, 1.5, "2", True)),
    document(cluster={"heartbeat_seconds": 0}),
    document(cluster={"heartbeat_seconds": 11, "hang_seconds": 60}),
    document(cluster={"hang_seconds": 0}),
    document(cluster={"memory_limit": (1 << 26) - 1}),
    document(cluster={"pin_cpus": 1}),
    document(cluster={"intensity": -1}),
    document(cluster={"period": 0}),
    document(cluster={"beat": 1}),
    *(document(shard=share) for share in ("", "2", "0/8", "1/0", "01/8", "-1/8", "1/10000", 2)),
]


SEEN_BY_LOAD_CONFIG_ALONE: list[dict[str, Any]] = [
    document(collectors=[collector(symbols=[])]),
    document(collectors=[collector(market="usdm", time_unit="microsecond")]),
    document(collectors=[collector(snapshot_levels=5001)]),
    document(collectors=[collector(streams=["book"], endpoints={"ws": "ws://h"})]),
    document(collectors=[collector(market="usdm", streams=["ticker"], market_streams=["ticker"])]),
    document(collectors=[collector(), collector()]),
    document(cluster={"hang_seconds": 0.9}),
    document(shard="9/8"),
]
"""The schema's module says so: what holds between several values only load_config checks."""


@pytest.mark.parametrize("good", GOOD)
def test_the_schema_accepts_what_load_config_accepts(good: dict[str, Any]) -> None:
    load_config(good)
    assert accepts(config_schema(), good)


@pytest.mark.parametrize("bad", BAD)
def test_the_schema_refuses_what_load_config_refuses(bad: dict[str, Any]) -> None:
    assert faults(bad)
    assert not accepts(config_schema(), bad)


@pytest.mark.parametrize("bad", SEEN_BY_LOAD_CONFIG_ALONE)
def test_what_holds_between_values_is_for_load_config_to_see(bad: dict[str, Any]) -> None:
    assert faults(bad)
    assert accepts(config_schema(), bad)


@pytest.mark.parametrize(("exchange", "market"), MARKETS)
def test_the_schema_names_the_streams_of_each_market(exchange: Exchange, market: Market) -> None:
    conditions = {"exchange": {"const": exchange.value}, "market": {"const": market.value}}
    parts = config_schema()["properties"]["collectors"]["items"]["allOf"]
    (named,) = [
        part["then"]["properties"] for part in parts if part["if"]["properties"] == conditions
    ]
    table = rules_of(exchange, market).streams
    assert named == {
        "streams": {"items": {"enum": table.specs}},
        "market_streams": {"items": {"enum": table.market_specs}},
    }
    assert bool(table.market_specs) is (exchange is Exchange.BINANCE)


def test_the_schema_is_json_and_describes_every_field() -> None:
    schema = config_schema()
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def described(table: dict[str, Any]) -> set[str]:
        names = set()
        for name, entry in table["properties"].items():
            assert entry["description"].endswith(".")
            names |= {name} | (described(entry) if "properties" in entry else set())
            if "properties" in entry.get("items", {}):
                names |= described(entry["items"])
        assert table["additionalProperties"] is False
        return names

    assert described(schema) == set(FIELD_NAMES)


def test_the_schemas_defaults_are_the_classes_own() -> None:
    properties = config_schema()["properties"]
    one = properties["collectors"]["items"]["properties"]
    assert "default" not in one["exchange"]
    assert one["streams"]["default"] == ["trade"]
    assert one["market_streams"]["default"] == one["symbols"]["default"] == []
    assert (one["lanes"]["default"], one["time_unit"]["default"]) == (1, "millisecond")
    assert one["time_unit"]["enum"] == ["millisecond", "microsecond"]
    for name in ("snapshot_levels", "poll_seconds", "rotate_seconds"):
        assert "default" not in one[name]  # absent is what None is in TOML
    assert properties["numbers"]["default"] == "float"
    tables = ("supervision", "storage", "instruments", "cluster")
    written = {
        name: {
            key: entry["default"]
            for key, entry in properties[name]["properties"].items()
            if key != "memory_limit"
        }
        for name in tables
    }
    assert "default" not in properties["cluster"]["properties"]["memory_limit"]
    assert "default" not in properties["processes"]
    assert "default" not in properties["shard"]
    assert load_config(document(**written)) == load_config(document())
