"""Frames to measure with: from the recordings where they are, else from the seeded simulator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from farm.storage.capture import CaptureEvent, capture_market, read_capture
from farm.testing import MarketSimulator
from farm.types import Exchange, Market

__all__ = ["capture", "frames_of", "recorded_frames"]

_CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"
_FILES = {
    (Exchange.BINANCE, Market.SPOT): "binance_spot_btcusdt_20240808.log.gz",
    (Exchange.BINANCE, Market.USDM): "binance_usdm_btcusdt_20240808.log.gz",
    (Exchange.BYBIT, Market.LINEAR): "session_bybit_20260809.jsonl.gz",
}


def capture(name: str) -> Path:
    """Where the recording of this name is looked for: in FARM_CAPTURES, or beside the project."""
    return Path(os.environ.get("FARM_CAPTURES") or _CAPTURES) / name


def frames_of(
    exchange: Exchange,
    market: Market,
    marker: bytes,
    count: int,
    *,
    file: str = "",
    keep: Callable[[bytes], bool] = lambda _text: True,
) -> tuple[list[bytes], str]:
    """`count` frames of the streams whose name holds `marker`, repeated where there are fewer;
    and where they come from. Of those that `keep` wants, from the recording `file` or the market's
    usual one. LookupError where there is none."""
    path = capture(file or _FILES[exchange, market])
    source = "recording" if path.is_file() else "simulator"
    texts = recorded_frames(path, market) if path.is_file() else _simulated(exchange, market)
    wanted = (text for text in texts if marker in text[:60] and keep(text))
    found = list(islice(wanted, count))
    if not found:
        raise LookupError(f"no frame of {marker!r} on {exchange.value}/{market.value}")
    return (found * (count // len(found) + 1))[:count], source


def recorded_frames(path: Path, market: Market) -> Iterator[bytes]:
    """All frames of a market in a recording."""
    for record in read_capture(path):
        named = capture_market(record.url)
        if record.event is CaptureEvent.RECEIVED and (named is None or named[1] is market):
            yield record.text


def _simulated(exchange: Exchange, market: Market) -> Iterator[bytes]:
    for push in MarketSimulator(exchange, market, ["BTCUSDT"], seed=1, seconds=120):
        if push.stream.startswith("/"):
            continue
        text = push.text
        if exchange is Exchange.BINANCE:
            text = f'{{"stream":"{push.stream}","data":{text}}}'
        yield text.encode()
