"""The public surface: a change of it must be meant."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import farm
import farm.testing

PUBLIC = [
    "AggTrade",
    "AmbiguousSymbol",
    "Batch",
    "BookStats",
    "BookUpdate",
    "BookVerdict",
    "CollectorConfig",
    "CollectorStatus",
    "ConfigError",
    "ConfigErrors",
    "ConnectionStats",
    "DataDirectoryError",
    "DataType",
    "Endpoints",
    "Exchange",
    "Farm",
    "FarmConfig",
    "FarmError",
    "FarmStats",
    "FeedStats",
    "Gap",
    "GapCause",
    "GapUnit",
    "Kline",
    "LocalProtocolError",
    "Market",
    "NumberMode",
    "NumberRangeError",
    "OrderBook",
    "OrderBookLevel",
    "OrderType",
    "Quote",
    "RecordingError",
    "RestartsExceeded",
    "Side",
    "Subscription",
    "TimeFrame",
    "Totals",
    "Trade",
    "UnknownFeed",
    "UnknownSymbol",
    "concat",
    "load_config",
    "open_farm",
]

TESTING = [
    "BINANCE_SPOT",
    "BYBIT_RULES",
    "BinanceRules",
    "BybitRules",
    "ControlMessage",
    "FakeBinance",
    "FakeBybit",
    "FakeExchange",
    "Flood",
    "Instrument",
    "MarketSimulator",
    "Push",
    "Recorded",
    "RecordingSource",
    "RestCall",
    "Source",
    "depth_reply",
    "losing",
    "open_fake",
]


def test_the_public_names_are_these() -> None:
    assert farm.__all__ == sorted(farm.__all__)
    assert farm.__all__ == PUBLIC


def test_the_names_of_the_test_tools_are_these() -> None:
    assert sorted(farm.testing.__all__) == sorted(TESTING)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_exist_and_say_what_they_are(name: str) -> None:
    value = getattr(farm, name)
    assert value.__doc__
    assert not value.__doc__.startswith(f"{name}(")  # no docstring made by machine


def modules() -> list[str]:
    root = Path(farm.__file__).parent
    files = [path.relative_to(root.parent) for path in root.rglob("*.py")]
    return sorted(".".join(f.with_suffix("").parts).removesuffix(".__init__") for f in files)


@pytest.mark.parametrize("name", [name for name in modules() if "__main__" not in name])
def test_what_a_module_exports_exists(name: str) -> None:
    module = importlib.import_module(name)
    for export in getattr(module, "__all__", ()):
        assert hasattr(module, export), f"{name}.{export}"
