"""Options that several commands have, and what can be wrong with their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs
from cyclopts import Parameter
from cyclopts.validators import Number

from farm.config import FarmConfig
from farm.errors import ConfigError
from farm.exchanges.registry import MARKETS
from farm.exchanges.share import Share
from farm.types import Exchange, Market

__all__ = [
    "AsJson",
    "DataOption",
    "ProcessesOption",
    "ShardOption",
    "directory_of",
    "known_markets",
    "market_of",
    "see_positive",
    "see_share",
]

AsJson = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print one JSON object on stdout.")
]
DataOption = Annotated[str | None, Parameter(help="Directory for Parquet files.")]

_BOUNDS = attrs.fields(FarmConfig).processes.metadata
ProcessesOption = Annotated[
    int,
    Parameter(
        help="Processes that share the connections; 1 runs all in one.",
        validator=Number(gte=_BOUNDS["minimum"], lte=_BOUNDS["maximum"]),
    ),
]
ShardOption = Annotated[
    str | None, Parameter(help="Collect this share of the feeds alone: 2/8 is the second of eight.")
]


def see_positive(option: str, value: float) -> None:
    """ConfigError unless `value` is above 0, and finite."""
    if not 0 < value < float("inf"):
        raise ConfigError(option, f"{value} must be above 0, and finite")


def see_share(option: str, text: str) -> None:
    """ConfigError unless `text` names a share of the feeds, as 2/8 does."""
    try:
        Share.parse(text)
    except ValueError as error:
        raise ConfigError(option, str(error)) from error


def directory_of(data: str | None) -> Path | None:
    """The directory that --data names, if it is given; ConfigError where it names none."""
    if data is not None and not data.strip():
        raise ConfigError("--data", f"{data!r} names no directory")
    return None if data is None else Path(data)


def market_of(exchange: str | None, market: str | None) -> tuple[Exchange, Market] | None:
    """The market that --exchange and --market name, if they do; ConfigError for one alone, and for
    one that is not spoken."""
    if exchange is None and market is None:
        return None
    if exchange is None or market is None:
        raise ConfigError("--exchange", "goes together with --market")
    for rules in MARKETS.values():
        if rules.key == f"{exchange}/{market}":
            return rules.exchange, rules.market
    raise ConfigError("--market", known_markets(exchange, market))


def known_markets(exchange: str, market: str) -> str:
    """That a market is not spoken, and which are."""
    known = ", ".join(rules.key for rules in MARKETS.values())
    return f"{exchange}/{market} is not spoken here; these are: {known}"
