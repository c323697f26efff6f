from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from farm.errors import RecordingError
from farm.exchanges.registry import rules_of
from farm.exchanges.session import (
    Closed,
    Frames,
    Input,
    Opened,
    SnapshotReply,
    StreamStatus,
)
from farm.storage.replay import Replay, ReplayedLine
from farm.types import Exchange, Market

SPOT = (Exchange.BINANCE, Market.SPOT)
DIFF = '{"stream":"btcusdt@depth@100ms","data":{}}'
SNAPSHOT = '{"lastUpdateId":1,"bids":[],"asks":[]}'
ADDRESS = "wss://stream.binance.com:9443/stream"
DEPTH = "https://api.binance.com/api/v3/depth?symbol={}&limit=1000"


def session(path: Path, records: list[dict[str, Any]]) -> Path:
    lines = [{"t": "header", "format": 2}, *records]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def record(kind: str, ts: float, connection: str, **more: str) -> dict[str, Any]:
    return {"t": kind, "conn": connection, "ts": ts, **more}


def play(
    path: Path, market: tuple[Exchange, Market] | None, *streams: tuple[str, str]
) -> tuple[Replay, list[tuple[ReplayedLine, Input]]]:
    def open_line(line: ReplayedLine) -> None:
        table = rules_of(line.exchange, line.market).streams
        for symbol, spec in streams:
            stream = table.stream(symbol, spec)
            line.statuses[stream.name] = StreamStatus(stream)

    replay = Replay(path, market, open_line)
    return replay, list(replay.inputs())


def test_a_log_is_one_epoch_of_one_connection(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text(f"10 {DIFF}\n20 {SNAPSHOT}\n30 {DIFF}\n")
    replay, played = play(path, SPOT, ("BTCUSDT", "book"))
    items = [item for _, item in played]
    assert [type(item) for item in items] == [Opened, Frames, SnapshotReply, Frames]
    assert [item.serial for item in items] == [1, 2, 3, 4]
    assert [item.time for item in items] == [10, 10, 20, 30]  # type: ignore[union-attr]
    first, reply, second = items[1:]
    assert isinstance(first, Frames)
    assert isinstance(reply, SnapshotReply)
    assert isinstance(second, Frames)
    assert (first.first_ordinal, reply.ordinal, second.first_ordinal) == (0, 1, 2)
    assert reply.body == SNAPSHOT.encode()
    assert reply.stream.name == "btcusdt@depth@100ms"
    assert (replay.frames, replay.ignored, replay.time) == (2, 0, 30)


def test_a_snapshot_that_may_be_of_any_book_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text(f"10 {DIFF}\n20 {SNAPSHOT}\n")
    replay, played = play(path, SPOT, ("BTCUSDT", "book"), ("ETHUSDT", "book"))
    assert not any(isinstance(item, SnapshotReply) for _, item in played)
    assert replay.ignored == 1


def test_a_session_names_its_markets_and_books(tmp_path: Path) -> None:
    path = session(
        tmp_path / "x.jsonl",
        [
            record("http", 1.5, "h", url=DEPTH.format("ETHUSDT"), data=SNAPSHOT),
            record("http", 1.6, "h", url="https://api.binance.com/api/v3/time", data="{}"),
            record("connect", 1.0, "a", addr=ADDRESS),
            record("send", 1.1, "a", addr=ADDRESS, data="{}"),
            record("recv", 1.2, "a", data=DIFF),
            record("connect", 2.0, "a", addr=ADDRESS),
            record("recv", 2.1, "a", data=DIFF),
        ],
    )
    replay, played = play(path, None)
    assert [type(item) for _, item in played] == [
        Opened, Frames, SnapshotReply, Closed, Opened, Frames,
    ]  # fmt: skip
    assert [item.epoch for _, item in played] == [1, 1, 1, 1, 2, 2]
    assert {line.name for line, _ in played} == {"a"}
    reply = played[2][1]
    assert isinstance(reply, SnapshotReply)
    assert reply.stream.symbol == "ETHUSDT"  # known by its address alone
    last = played[-1][1]
    assert isinstance(last, Frames)
    assert last.first_ordinal == 0
    assert replay.ignored == 1


def test_a_market_must_be_known_and_spoken(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text(f"10 {DIFF}\n")
    with pytest.raises(RecordingError, match="name its exchange and market"):
        play(log, None)
    coin = session(
        tmp_path / "x.jsonl",
        [record("connect", 1.0, "a", addr="wss://stream.example.com/v5/public/option")],
    )
    with pytest.raises(RecordingError, match="name its exchange and market: binance"):
        play(coin, None)
