from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from farm.config import load_config
from farm.config.schema import config_schema
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
}


def _applies(kind: Any, rule: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A keyword of JSON Schema says nothing of values of other types than its own."""
    return lambda limit, value: not isinstance(value, kind) or rule(limit, value)


_KEYWORDS: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("$schema", "title", "description", "default"), lambda _, value: True),
    "type": lambda kind, v: isinstance(v, _TYPES[kind]) and not isinstance(v, bool),
    "enum": lambda known, v: v in known,
    "const": lambda known, v: bool(v == known),
    "pattern": _applies(str, lambda pattern, v: re.search(pattern, v) is not None),
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
}


GOOD: list[dict[str, Any]] = [
    document(),
    document(numbers="decimal", data="x", mailbox_bytes=1),
    document(supervision={"escalate": "park", "intensity": 0, "period": 1, "drain_seconds": 0.5}),
    document(collectors=[collector(streams=["agg_trade", "book:20", "kline:1s"])]),
    document(collectors=[collector(exchange="bybit", market="linear", streams=["book:50"])]),
    document(collectors=[collector(endpoints={"ws": "wss://h:1", "rest": "http://[::1]/x"})]),
    document(collectors=[collector(symbols=["币安人生USDT", "BTCUSDT_260925"])]),
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
    document(collectors=[collector(exchange="bybit", market="usdm")]),
    document(collectors=[collector(symbols=[])]),
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
]


@pytest.mark.parametrize("good", GOOD)
def test_the_schema_accepts_what_load_config_accepts(good: dict[str, Any]) -> None:
    load_config(good)
    assert accepts(config_schema(), good)


@pytest.mark.parametrize("bad", BAD)
def test_the_schema_refuses_what_load_config_refuses(bad: dict[str, Any]) -> None:
    assert faults(bad)
    assert not accepts(config_schema(), bad)


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
    assert properties["numbers"]["default"] == "float"
    tables = ("supervision", "storage")
    written = {
        name: {key: entry["default"] for key, entry in properties[name]["properties"].items()}
        for name in tables
    }
    assert load_config(document(**written)) == load_config(document())
