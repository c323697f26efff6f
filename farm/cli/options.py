"""Options that several commands have, and what can be wrong with their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from farm.errors import ConfigError
from farm.exchanges.registry import MARKETS
from farm.types import Exchange, Market

__all__ = ["AsJson", "DataOption", "directory_of", "known_markets", "market_of", "see_positive"]

AsJson = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print one JSON object on stdout.")
]
DataOption = Annotated[str | None, Parameter(help="Directory for Parquet files.")]


def see_positive(option: str, value: float) -> None:
    """ConfigError unless `value` is above 0, and finite."""
    if not 0 < value < float("inf"):
        raise ConfigError(option, f"{value} must be above 0, and finite")


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
