"""The public surface: a change of it must be meant."""

from __future__ import annotations

import ast
import importlib
import pickle
import subprocess
import sys
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
    "ClusterConfig",
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
    "EdgeStats",
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
    "ProcessStats",
    "Quote",
    "RecordingError",
    "RestartsExceeded",
    "ShardError",
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
    "FarmWorld",
    "FaultEvent",
    "FaultScript",
    "Flood",
    "Instrument",
    "MarketSimulator",
    "MemoryNetwork",
    "Moment",
    "Push",
    "PushFilter",
    "Recorded",
    "RecordingSource",
    "RequestWindow",
    "RestCall",
    "Source",
    "WallClock",
    "WeightWindow",
    "at_every_moment",
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


def run_python(code: str) -> str:
    """What it prints, on stdout and on stderr."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


LIGHT = {"farm", "__future__", "importlib", "warnings"}


@pytest.mark.parametrize("package", ["farm", "farm.cli"])
def test_the_import_alone_imports_nothing_to_speak_of(package: str) -> None:
    code = f"import sys; before = set(sys.modules); import {package}; "
    code += "print(*sorted(set(sys.modules) - before))"
    loaded = set(run_python(code).split())
    assert {name.partition(".")[0] for name in loaded} <= LIGHT
    assert loaded & {"farm", "farm.api", "farm.cli.app"} == {"farm"}


def test_checkers_are_told_where_names_come_from() -> None:
    tree = ast.parse(Path(farm.__file__).read_text())
    told = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in told.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == farm._HOMES
    assert sorted(farm._HOMES) == PUBLIC


def test_a_name_that_is_not_public_is_refused() -> None:
    with pytest.raises(AttributeError, match="'farm' has no attribute 'Nonsense'"):
        farm.Nonsense  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="Nonsense"):
        exec("from farm import Nonsense")


def test_a_star_import_and_dir_have_all_names() -> None:
    names: dict[str, object] = {}
    exec("from farm import *", names)
    assert set(PUBLIC) <= set(names)
    assert set(PUBLIC) <= set(dir(farm))


def test_pydoc_lists_all_names_with_their_docs() -> None:
    text = run_python("import pydoc; print(pydoc.render_doc('farm', renderer=pydoc.plaintext))")
    for name in PUBLIC:
        assert f"    class {name}(" in text or f"    {name}(" in text
    assert "Run a farm for as long as the context lasts." in text


def test_what_is_pickled_by_one_process_is_read_by_another() -> None:
    level = pickle.dumps(farm.OrderBookLevel(1.5, 2.0))
    code = f"import farm, pickle; x = pickle.loads({level!r}); "
    code += "print(type(x) is farm.OrderBookLevel, x.price)"
    assert run_python(code).split() == ["True", "1.5"]


def test_the_library_is_silent_unless_its_host_configures_logging() -> None:
    code = "import farm, logging; farm.open_farm; logging.getLogger('farm.pipeline').error('no')"
    assert run_python(code) == ""
    code = "import farm, logging; logging.basicConfig(); farm.open_farm; "
    assert "yes" in run_python(code + "logging.getLogger('farm.pipeline').error('yes')")


def modules() -> list[str]:
    root = Path(farm.__file__).parent
    files = [path.relative_to(root.parent) for path in root.rglob("*.py")]
    return sorted(".".join(f.with_suffix("").parts).removesuffix(".__init__") for f in files)


@pytest.mark.parametrize("name", [name for name in modules() if "__main__" not in name])
def test_what_a_module_exports_exists(name: str) -> None:
    module = importlib.import_module(name)
    for export in getattr(module, "__all__", ()):
        assert hasattr(module, export), f"{name}.{export}"
