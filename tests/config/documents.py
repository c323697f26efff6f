"""Documents to configure a farm by, and what is wrong with them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import farm.config
from farm.config import (
    ClusterConfig,
    CollectorConfig,
    ConfigErrors,
    Endpoints,
    FarmConfig,
    InstrumentsConfig,
    StorageConfig,
    SupervisionConfig,
    load_config,
)

TABLES = (
    FarmConfig,
    CollectorConfig,
    Endpoints,
    InstrumentsConfig,
    SupervisionConfig,
    StorageConfig,
    ClusterConfig,
)
FIELD_NAMES = sorted({field.name for table in TABLES for field in attrs.fields(table)})


def collector(**changes: Any) -> dict[str, Any]:
    return {"exchange": "binance", "market": "spot", "symbols": ["BTCUSDT"]} | changes


def document(**changes: Any) -> dict[str, Any]:
    return {"collectors": [collector()]} | changes


def faults(make: Callable[[], Any] | dict[Any, Any]) -> dict[str, str]:
    """The messages of everything wrong, by path; several of one path are joined."""
    with pytest.raises(ConfigErrors) as caught:
        load_config(make) if isinstance(make, dict) else make()
    errors = caught.value.errors
    assert (caught.value.path, caught.value.message) == (errors[0].path, errors[0].message)
    assert str(caught.value).splitlines() == [str(error) for error in errors]
    found: dict[str, str] = {}
    for error in errors:
        found[error.path] = found.get(error.path, "") + error.message
    return found


def of_collector(**changes: Any) -> dict[str, str]:
    """What is wrong with one collector, by paths within it: the same in a file and in Python."""
    values = collector(**changes)
    if "endpoints" in values:
        values["endpoints"] = dict(values["endpoints"])
    in_file = faults({"collectors": [values]})
    assert faults(lambda: CollectorConfig(**values)) == {
        path.removeprefix("collectors[0]."): message for path, message in in_file.items()
    }
    return in_file


def example_toml() -> str:
    text = inspect.cleandoc(farm.config.__doc__ or "").partition("::\n")[2]
    return textwrap.dedent(text.partition("\nTypes are strict")[0])
