"""Configuration: what to collect, from where, and with what limits.

A TOML file (or a mapping of the same shape, or these classes built in Python)::

    numbers = "float"           # or "decimal": exact, and each costs six times the time
    data = "market-data"        # Parquet goes here; relative to this file

    [[collectors]]
    exchange = "binance"
    market = "spot"
    symbols = ["BTCUSDT", "ETHUSDT"]
    streams = ["trade", "quote", "book", "kline:1m"]

    [[collectors]]
    exchange = "bybit"
    market = "linear"
    symbols = ["BTCUSDT"]
    streams = ["trade", "book:50"]
    endpoints = { ws = "wss://proxy.example:9443" }

    [supervision]
    escalate = "park"

    [storage]
    flush_seconds = 300

Types are strict: ``"7"`` and ``7.0`` are not 7, and ``true`` is not 1. Everything that is wrong is
reported at once, by :class:`ConfigErrors`, each fault with its path.

Where things are: the classes in ``tables``, what their values must keep to in ``rules``, how plain
values become typed ones in ``structure``, how messages are worded in ``words``, how they are
gathered in ``faults``, files and paths in ``load``, the JSON Schema for editors in ``schema``.
"""

from __future__ import annotations

from farm.config.faults import ConfigErrors
from farm.config.load import load_config, parse_toml
from farm.config.tables import (
    ClusterConfig,
    CollectorConfig,
    Endpoints,
    FarmConfig,
    InstrumentsConfig,
    StorageConfig,
    SupervisionConfig,
)
from farm.config.words import known_values, stream_specs_help

__all__ = [
    "ClusterConfig",
    "CollectorConfig",
    "ConfigErrors",
    "Endpoints",
    "FarmConfig",
    "InstrumentsConfig",
    "StorageConfig",
    "SupervisionConfig",
    "known_values",
    "load_config",
    "parse_toml",
    "stream_specs_help",
]
