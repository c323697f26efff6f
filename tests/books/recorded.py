"""The recordings of books, as messages and as drives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from farm.exchanges.rules import MarketRules
from farm.storage.capture import CaptureEvent, CaptureRecord, capture_market, read_capture
from farm.types import Market, NumberMode
from tests.exchanges.feeding import (
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_LINEAR,
    BYBIT_SPOT,
    Drive,
)
from tests.recordings import recording

BYBIT_SESSION = "session_bybit_20260809.jsonl.gz"

modes = pytest.mark.parametrize("mode", list(NumberMode))


@attrs.frozen
class Log:
    """A recording of one symbol, and what was counted in it by other means.

    ``diffs`` hold ``old`` ones, which the snapshot contains. ``blind``: diffs after which the top
    lies beyond what the snapshot showed.
    """

    file: str
    rules: MarketRules
    symbol: str
    spec: str
    topic: str
    trades: int
    quotes: int
    diffs: int
    old: int
    compared: int
    blind: int


SPOT_LOG = Log(
    "binance_spot_btcusdt_20240808.log.gz",
    BINANCE_SPOT,
    "BTCUSDT",
    "book",
    "depth@100ms",
    trades=9_757,
    quotes=28_040,
    diffs=3_451,
    old=2,
    compared=564,
    blind=22,
)
USDM_LOG = Log(
    "binance_usdm_btcusdt_20240808.log.gz",
    BINANCE_USDM,
    "BTCUSDT",
    "book@0ms",
    "depth@0ms",
    trades=21_313,
    quotes=66_089,
    diffs=6_551,
    old=4,
    compared=629,
    blind=722,
)
COINM_LOG = Log(
    "binance_coinm_btcusd_perp_20240808.log.gz",
    BINANCE_COINM,
    "BTCUSD_PERP",
    "book@0ms",
    "depth@0ms",
    trades=2_286,
    quotes=19_136,
    diffs=26_847,
    old=23,
    compared=1_124,
    blind=0,
)
LOGS = [SPOT_LOG, USDM_LOG, COINM_LOG]

logs = pytest.mark.parametrize("log", LOGS, ids=lambda log: log.rules.market.value)

kept = pytest.mark.parametrize(
    ("log", "mode"),
    # Exact numbers are slow; on futures the sessions have them.
    [(log, NumberMode.FLOAT) for log in LOGS] + [(SPOT_LOG, NumberMode.DECIMAL)],
    ids=lambda value: value.rules.market.value if isinstance(value, Log) else value.value,
)

SNAPSHOT = "snapshot"
"""The topic of the REST answer."""


def messages(log: Log) -> Iterator[tuple[str, Any, bytes]]:
    """Topic, payload and text of each message."""
    for record in read_capture(recording(log.file)):
        message = json.loads(record.text)
        if "stream" in message:
            yield message["stream"].partition("@")[2], message["data"], record.text
        else:
            yield SNAPSHOT, message, record.text


def session_drives(name: str, mode: NumberMode) -> Iterator[tuple[Drive, CaptureRecord, Any]]:
    """A drive for each connection, and what each record gave."""
    drives: dict[str, Drive] = {}
    rules = {Market.LINEAR: BYBIT_LINEAR, Market.SPOT: BYBIT_SPOT}
    if "binance" in name:
        rules = {
            Market.SPOT: BINANCE_SPOT,
            Market.USDM: BINANCE_USDM,
            Market.COINM: BINANCE_COINM,
        }
    for record in read_capture(recording(name)):
        if record.event is CaptureEvent.RECEIVED:
            if record.connection not in drives:
                market = capture_market(record.url)
                assert market is not None
                drives[record.connection] = Drive(rules[market[1]], numbers=mode, discover=True)
                drives[record.connection].open()
            drive = drives[record.connection]
            yield drive, record, drive.read(record.text)
        elif record.event is CaptureEvent.REPLY and b'"lastUpdateId"' in record.text:
            (drive,) = drives.values()
            symbol = record.url.partition("symbol=")[2].partition("&")[0]
            yield drive, record, drive.snapshot(record.text, symbol=symbol)
