"""The recordings of books, as messages and as drives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from farm.storage.capture import CaptureEvent, CaptureRecord, capture_market, read_capture
from farm.types import Market, NumberMode
from tests.exchanges.feeding import (
    BINANCE_SPOT,
    BYBIT_LINEAR,
    BYBIT_SPOT,
    Drive,
)
from tests.recordings import recording

SPOT_LOG = "binance_spot_btcusdt_20240808.log.gz"
BYBIT_SESSION = "session_bybit_20260809.jsonl.gz"

modes = pytest.mark.parametrize("mode", list(NumberMode))


def spot_messages() -> Iterator[tuple[str, Any, bytes]]:
    """Topic, payload and text; the REST answer has the topic ``snapshot``."""
    for record in read_capture(recording(SPOT_LOG)):
        message = json.loads(record.text)
        if "stream" in message:
            yield message["stream"].partition("@")[2], message["data"], record.text
        else:
            yield "snapshot", message, record.text


def session_drives(name: str, mode: NumberMode) -> Iterator[tuple[Drive, CaptureRecord, Any]]:
    """A drive for each connection, and what each record gave."""
    drives: dict[str, Drive] = {}
    rules = {Market.LINEAR: BYBIT_LINEAR, Market.SPOT: BYBIT_SPOT}
    if "binance" in name:
        rules = {Market.SPOT: BINANCE_SPOT}
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
