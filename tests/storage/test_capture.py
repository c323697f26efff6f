from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from farm.errors import RecordingError
from farm.storage.capture import CaptureEvent, CaptureRecord, capture_market, read_capture
from farm.types import Exchange, Market
from tests.recordings import recording

SPOT_LOG = "binance_spot_btcusdt_20240808.log.gz"
BYBIT_SESSION = "session_bybit_20260809.jsonl.gz"
HEADER = '{"t":"header","format":2}'


def session(path: Path, *lines: object) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join((HEADER, *texts)) + "\n")
    return path


def received(conn: str, ts: object, data: str) -> dict[str, object]:
    return {"t": "recv", "conn": conn, "ts": ts, "data": data}


def test_a_log_comes_out_line_by_line() -> None:
    path = recording(SPOT_LOG)
    lines = gzip.decompress(path.read_bytes()).splitlines()
    records = list(read_capture(path))
    assert [b"%d %s" % (record.time, record.text) for record in records] == lines
    assert len(records) == 41_249
    assert {(record.connection, record.url) for record in records} == {("log", "")}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (SPOT_LOG, 8),
        ("binance_usdm_btcusdt_20240808.log.gz", 55),
        ("binance_coinm_btcusd_perp_20240808.log.gz", 37),
    ],
)
def test_the_snapshot_of_a_log_is_a_reply(name: str, place: int) -> None:
    replies = [
        number
        for number, record in enumerate(read_capture(recording(name)), start=1)
        if record.event is CaptureEvent.REPLY
    ]
    assert replies == [place]


@pytest.mark.parametrize(
    ("name", "frames", "replies"),
    [
        (BYBIT_SESSION, 3_227, 2),
        ("session_binance_spot_20211012.jsonl.gz", 265, 5),
        ("session_binance_usdm_20210722.jsonl.gz", 1_535, 5),
        ("session_binance_coinm_20210722.jsonl.gz", 4_371, 11),
    ],
)
def test_a_session_comes_out_whole_and_in_time_order(name: str, frames: int, replies: int) -> None:
    path = recording(name)
    records = list(read_capture(path))
    counts = Counter(record.event for record in records)
    assert counts[CaptureEvent.RECEIVED] == frames
    assert counts[CaptureEvent.REPLY] == replies
    assert [record.time for record in records] == sorted(record.time for record in records)
    expected: dict[str, list[bytes]] = {}
    for line in gzip.decompress(path.read_bytes()).splitlines()[1:]:
        fields = json.loads(line)
        expected.setdefault(fields["conn"], []).append(fields.get("data", "").encode())
    for connection, texts in expected.items():
        assert [r.text for r in records if r.connection == connection] == texts


def test_a_session_names_addresses_and_markets() -> None:
    records = list(read_capture(recording(BYBIT_SESSION)))
    markets = {(r.connection, capture_market(r.url)) for r in records}
    assert markets == {
        ("BYBIT.http.1", (Exchange.BYBIT, Market.LINEAR)),
        ("BYBIT.http.1", (Exchange.BYBIT, Market.SPOT)),
        ("BYBIT.ws.2", (Exchange.BYBIT, Market.LINEAR)),
        ("BYBIT.ws.3", (Exchange.BYBIT, Market.SPOT)),
    }


def test_times_are_read_from_the_text_without_rounding(tmp_path: Path) -> None:
    path = session(
        tmp_path / "s.jsonl",
        '{"t":"recv","conn":"a","ts":1786310819.2290618,"data":"1"}',
        '{"t":"recv","conn":"a","ts":1786310819.229061801,"data":"2"}',
        '{"t":"recv","conn":"a","ts":1786310820,"data":"3"}',
    )
    assert [record.time for record in read_capture(path)] == [
        1786310819_229061800,
        1786310819_229061801,
        1786310820_000000000,
    ]


def test_connections_are_merged_by_time_and_keep_their_own_order(tmp_path: Path) -> None:
    path = session(
        tmp_path / "s.jsonl",
        received("a", 1.0, "a1"),
        received("a", 5.0, "a2"),
        received("a", 3.0, "a3"),  # the clock stepped back
        received("b", 2.0, "b1"),
        received("b", 5.0, "b2"),
        received("b", 6.0, "b3"),
    )
    texts = [record.text for record in read_capture(path)]
    assert texts == [b"a1", b"b1", b"a2", b"a3", b"b2", b"b3"]


def test_plain_text_reads_like_gzip(tmp_path: Path) -> None:
    packed = recording("session_binance_spot_20211012.jsonl.gz")
    plain = tmp_path / "plain.jsonl"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    assert list(read_capture(plain)) == list(read_capture(packed))


def test_a_malformed_frame_is_still_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b'5 {"lastUpdateId": oops}\n')
    [record] = read_capture(path)
    assert (record.event, record.text) == (CaptureEvent.RECEIVED, b'{"lastUpdateId": oops}')


def error_of(path: Path) -> str:
    with pytest.raises(RecordingError) as caught:
        list(read_capture(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", ": the recording is empty"),
        (b"\n\n", ": the recording is empty"),
        (b"hello\n", ":1: unknown format"),
        (b'{"stream":"x"}\n', ":1: unknown format"),
        (b'1 {"a":1}\n\n2 {"a":', ":3: not"),
        (b'1 {"a":1}\nx {"a":1}\n', ":2: not"),
        (b'1 {"a":1}\n2\n', ":2: not"),
        (HEADER.encode() + b'\n{"t":"recv","conn":"a"', ":2: broken line"),
        (HEADER.encode() + b'\n{"t":"recv","conn":"a","ts":1,"data":"\xff"}', ":2: broken line"),
        (HEADER.encode() + b"\n[]", ":2: broken line: not an object"),
        (HEADER.encode() + b'\n{"t":"other","conn":"a","ts":1}', ":2: broken line: ValueError"),
        (HEADER.encode() + b'\n{"t":"recv","conn":"a","ts":1.5}', ":2: broken line: KeyError"),
        (HEADER.encode() + b'\n{"t":"recv","conn":"a","ts":"x","data":""}', ":2: broken line"),
        (HEADER.encode() + b'\n{"t":"recv","conn":"a","ts":NaN,"data":""}', ":2: broken line"),
        (HEADER.encode() + b'\n{"t":"recv","conn":"a","ts":1,"data":{}}', ":2: broken line"),
        (HEADER.encode() + b'\n{"t":"recv","conn":[],"ts":1,"data":""}', ":2: broken line"),
        (HEADER.encode() + b'\n{"t":"http","conn":"a","ts":1,"data":""}', ":2: broken line"),
    ],
)
def test_a_broken_recording_names_file_and_line(tmp_path: Path, content: bytes, place: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    assert f"{path}{place}" in error_of(path)


def test_truncated_gzip_gives_what_it_holds_and_then_fails(tmp_path: Path) -> None:
    whole = recording(SPOT_LOG).read_bytes()
    path = tmp_path / "cut.log.gz"
    path.write_bytes(whole[: len(whole) // 2])
    records: list[CaptureRecord] = []
    with pytest.raises(RecordingError) as caught:
        records.extend(read_capture(path))
    assert len(records) > 10_000
    assert f"{path}:{len(records) + 1}: damaged gzip" in str(caught.value)


def test_garbage_in_gzip_and_missing_files_are_recording_errors(tmp_path: Path) -> None:
    path = tmp_path / "bad.gz"
    path.write_bytes(gzip.compress(b"1 {}\n" * 100)[:10] + b"garbage" * 20)
    assert f"{path}:" in error_of(path)
    assert "damaged gzip" in error_of(path)
    assert "No such file" in error_of(tmp_path / "missing.log")
    assert "directory" in error_of(tmp_path).lower()


@pytest.mark.parametrize(
    ("url", "market"),
    [
        ("wss://stream.binance.com:9443/stream?streams=a", (Exchange.BINANCE, Market.SPOT)),
        ("https://api.binance.com/api/v3/depth", (Exchange.BINANCE, Market.SPOT)),
        ("https://api3.binance.com/api/v3/depth", (Exchange.BINANCE, Market.SPOT)),
        ("wss://data-stream.binance.vision/ws", (Exchange.BINANCE, Market.SPOT)),
        ("wss://fstream.binance.com/public/stream", (Exchange.BINANCE, Market.USDM)),
        ("https://fapi.binance.com/fapi/v1/depth", (Exchange.BINANCE, Market.USDM)),
        ("wss://dstream.binance.com/ws", (Exchange.BINANCE, Market.COINM)),
        ("https://dapi.binance.com/dapi/v1/depth", (Exchange.BINANCE, Market.COINM)),
        ("wss://stream.bybit.com/v5/public/linear", (Exchange.BYBIT, Market.LINEAR)),
        ("wss://stream.bybit.com/v5/public/spot", (Exchange.BYBIT, Market.SPOT)),
        ("wss://stream.bybit.com/v5/public/inverse", (Exchange.BYBIT, Market.INVERSE)),
        ("wss://stream.bybit.com/v5/public/option", (Exchange.BYBIT, Market.OPTION)),
        (
            "https://api.bybit.com/v5/market/instruments-info?&category=spot&limit=1",
            (Exchange.BYBIT, Market.SPOT),
        ),
        ("https://api.bybit.com/v5/market/time", None),
        ("wss://stream.bybit.com/v5/private", None),
        ("wss://stream.bybit.com/v5/public/usdm", None),
        ("wss://stream.binance.com.example.org/ws", None),
        ("https://[broken", None),
        ("", None),
    ],
)
def test_the_market_follows_from_the_address(
    url: str, market: tuple[Exchange, Market] | None
) -> None:
    assert capture_market(url) == market
