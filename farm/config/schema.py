"""JSON Schema of the configuration file, for editors that complete and check TOML.

It is made from the classes of :mod:`farm.config.tables` and the markets' stream tables, and so
can't disagree with them on names, types, defaults and bounds. What a schema can't say (the same
feed in two collectors, a backoff cap below its start) only :func:`farm.config.load_config` checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import attrs

from farm.config.tables import FarmConfig
from farm.config.words import known_values
from farm.exchanges.registry import MARKETS

__all__ = ["config_schema"]

_SIMPLE = {str: "string", Path: "string", int: "integer", float: "number", bool: "boolean"}


def config_schema() -> dict[str, Any]:
    """The schema of a whole configuration file, in draft 2020-12, as plain JSON types."""
    schema = _table(FarmConfig)
    schema["properties"]["collectors"]["items"] |= {"allOf": _markets()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "farm configuration",
        "description": "What farm collects, from where, and with what limits.",
        **schema,
    }


def _table(cls: type[Any]) -> dict[str, Any]:
    fields = attrs.fields(cls)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {field.name: _property(field) for field in fields},
        "additionalProperties": False,
    }
    required = [field.name for field in fields if field.default is attrs.NOTHING]
    return schema | ({"required": required} if required else {})


def _property(field: attrs.Attribute[Any]) -> dict[str, Any]:
    metadata = dict(field.metadata)
    schema = _of_type(field.type)
    if "items" in metadata:
        schema["items"] |= metadata.pop("items")
    default = _plain(field.default)
    return schema | metadata | ({} if default is None else {"default": default})


def _plain(default: Any) -> Any:
    """A default in JSON's types; None for a table's (its fields tell) and for no default."""
    if default is attrs.NOTHING:  # which is an Enum, too
        return None
    if isinstance(default, Enum):
        return default.value
    if isinstance(default, tuple):
        return list(default)
    return default if isinstance(default, str | int | float) else None


def _of_type(kind: Any) -> dict[str, Any]:
    if attrs.has(kind):
        return _table(kind)
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _of_type(get_args(kind)[0])}
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if NoneType in get_args(kind):  # TOML knows no null: absent is how it is written
        return _of_type(next(arg for arg in get_args(kind) if arg is not NoneType))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": known_values(kind)}
    return {"type": _SIMPLE[kind]}


def _markets() -> list[dict[str, Any]]:
    """Which markets each exchange has, and which streams each market has."""
    rules: list[dict[str, Any]] = []
    for exchange in dict.fromkeys(exchange for exchange, _ in MARKETS):
        markets = [m.value for e, m in MARKETS if e is exchange]
        rules.append(_when({"exchange": exchange}, {"market": {"enum": markets}}))
    for (exchange, market), known in MARKETS.items():
        streams = {
            "streams": {"items": {"enum": known.streams.specs}},
            "market_streams": {"items": {"enum": known.streams.market_specs}},
        }
        rules.append(_when({"exchange": exchange, "market": market}, streams))
    return rules


def _when(condition: Mapping[str, Enum], then: dict[str, Any]) -> dict[str, Any]:
    constants = {name: {"const": member.value} for name, member in condition.items()}
    return {
        "if": {"properties": constants, "required": list(constants)},
        "then": {"properties": then},
    }
