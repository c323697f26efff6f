"""The public surface: a change of it must be meant."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import farm
import farm.testing
from farm.entities import EVENT_KINDS

PUBLIC = [
    "AggTrade",
    "AmbiguousSymbol",
    "Batch",
    "BookStats",
    "BookUpdate",
    "BookVerdict",
    "CollectorConfig",
    "CollectorStatus",
    "Completeness",
    "ConfigError",
    "ConfigErrors",
    "ConnectionStats",
    "ContinuityStats",
    "ContinuousKline",
    "ContractInfo",
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
    "Instrument",
    "InstrumentsConfig",
    "Kline",
    "Liquidation",
    "LocalProtocolError",
    "MarkPrice",
    "Market",
    "MiniTicker",
    "NumberMode",
    "NumberRangeError",
    "OpenInterest",
    "OrderBook",
    "OrderBookLevel",
    "OrderType",
    "Quote",
    "RecordingError",
    "RestartsExceeded",
    "Side",
    "SpentIds",
    "Subscription",
    "Ticker",
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
    "BINANCE_COINM",
    "BINANCE_RULES",
    "BINANCE_SPOT",
    "BINANCE_USDM",
    "BYBIT_RULES",
    "BinanceRules",
    "BybitRules",
    "Connection",
    "ControlMessage",
    "FakeBinance",
    "FakeBybit",
    "FakeExchange",
    "Flood",
    "Instrument",
    "MarketSimulator",
    "Push",
    "PushFilter",
    "Recorded",
    "RecordingSource",
    "RequestWindow",
    "RestCall",
    "Source",
    "WeightWindow",
    "depth_reply",
    "full_book_reply",
    "losing",
    "open_fake",
]


def test_the_public_names_are_these() -> None:
    assert farm.__all__ == sorted(farm.__all__)
    assert farm.__all__ == PUBLIC


def test_every_kind_of_event_is_public() -> None:
    assert {kind.__name__ for kind in EVENT_KINDS.values()} <= set(PUBLIC)
    assert all(getattr(farm, kind.__name__) is kind for kind in EVENT_KINDS.values())


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
