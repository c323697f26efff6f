"""Recordings of USD-M and COIN-M, replayed by the fake exactly."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from farm.testing import (
    BINANCE_COINM,
    BINANCE_USDM,
    BinanceRules,
    FakeBinance,
    Flood,
    RecordingSource,
    open_fake,
)
from farm.types import Market
from tests.recordings import recording
from tests.testing.clients import PlainBook, get, open_ws, texts

SYMBOLS = {Market.USDM: "BTCUSDT", Market.COINM: "BTCUSD_PERP"}


@pytest.mark.parametrize(
    ("name", "rules", "compared"),
    [
        ("binance_usdm_btcusdt_20240808.log.gz", BINANCE_USDM, 503),
        ("binance_coinm_btcusd_perp_20240808.log.gz", BINANCE_COINM, 1_124),
    ],
)
async def test_a_recording_is_replayed_exactly_and_its_snapshot_is_the_answer(
    name: str, rules: BinanceRules, compared: int
) -> None:
    """Quotes that stand before their diff are compared (INDEX.md of the recordings)."""
    lines = gzip.decompress(recording(name).read_bytes()).decode().splitlines()
    frames = [line.partition(" ")[2] for line in lines]
    [inline] = [frame for frame in frames if frame.startswith('{"lastUpdateId"')]
    before, symbol = frames.index(inline), SYMBOLS[rules.market]
    streams = [f"{symbol.lower()}@{kind}" for kind in ("trade", "bookTicker", "depth@0ms")]
    fake = FakeBinance(RecordingSource(recording(name)), rules=rules, pace=Flood(3))
    prefix = rules.routes[0].prefix
    async with (
        open_fake(fake),
        open_ws(f"{fake.ws_url}{prefix}/stream?streams={'/'.join(streams)}") as ws,
    ):
        assert await texts(ws, before) == frames[:before]
        answer = await get(fake.rest_url + f"{rules.rest_prefix}/depth?symbol={symbol}&limit=1000")
        assert answer.body.decode() == inline
        assert await texts(ws, len(frames) - before - 1) == frames[before + 1 :]
    assert _compare(json.loads(inline), frames) == compared


def _compare(snapshot: Any, frames: list[str]) -> int:
    """Books compared with the quotes of the same id that came before, all equal."""
    book = PlainBook()
    book.change(snapshot["bids"], snapshot["asks"])
    quotes: dict[int, Any] = {}
    last, compared = snapshot["lastUpdateId"], 0
    for frame in frames:
        message = json.loads(frame)
        if "stream" not in message:
            continue
        data = message["data"]
        if data["e"] == "bookTicker":
            quotes[data["u"]] = data
        elif data["e"] == "depthUpdate" and data["u"] >= last:
            book.change(data["b"], data["a"])
            last = data["u"]
            if (quote := quotes.get(last)) is not None:
                assert book.top == (quote["b"], quote["B"], quote["a"], quote["A"])
                compared += 1
    return compared


@pytest.mark.parametrize(
    ("name", "rules", "count"),
    [
        ("session_binance_usdm_20210722.jsonl.gz", BINANCE_USDM, 4),
        ("session_binance_coinm_20210722.jsonl.gz", BINANCE_COINM, 10),
    ],
)
async def test_a_session_answers_with_what_was_recorded(
    name: str, rules: BinanceRules, count: int
) -> None:
    lines = gzip.decompress(recording(name).read_bytes()).splitlines()
    records = [json.loads(line) for line in lines]
    replies = [record for record in records[1:] if record["t"] == "http"]
    symbols = [reply["url"].partition("symbol=")[2].partition("&")[0] for reply in replies[1:]]
    assert len(symbols) == count
    streams = [f"{symbol.lower()}@depth@100ms" for symbol in symbols]
    fake = FakeBinance(RecordingSource(recording(name)), rules=rules, pace=Flood(count))
    async with (
        open_fake(fake),
        open_ws(f"{fake.ws_url}/stream?streams={'/'.join(streams)}") as ws,
    ):
        info = await get(fake.rest_url + f"{rules.rest_prefix}/exchangeInfo")
        assert info.body.decode() == replies[0]["data"]
        for symbol, reply in zip(symbols, replies[1:], strict=True):
            url = f"{rules.rest_prefix}/depth?symbol={symbol}&limit=1000"
            assert (await get(fake.rest_url + url)).body.decode() == reply["data"]
        heard = [json.loads(text)["stream"] for text in await texts(ws, 700)]
    assert set(heard) == set(streams)
