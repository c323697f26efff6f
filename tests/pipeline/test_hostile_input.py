"""Whatever a venue sends, the feeds of another do not notice: they say what they say without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
import trio

from farm.testing import FarmWorld
from farm.testing.faults.frame_kinds import Corruption
from farm.testing.wire import text_frame
from tests.memory import MB, bounded
from tests.pipeline.hostile import FLOOD_FRAMES, BadRest, FloodingBinance
from tests.pipeline.repeated import Play, Told, Venue, perform

HEALTHY = Venue("bybit/linear", ["trade", "book:50", "ticker"])
VICTIM = "binance/spot"

# Frames ------------------------------------------------------------------------------------------

ENDING = ("gzip", "utf8", "length", "fragments", "masked", "reserved")
"""What ends a connection; anything else spoils no more than its frame."""


def with_frames(script: str) -> Play:
    return Play([Venue(VICTIM, ["trade", "quote", "book"], script), HEALTHY], seconds=11.0)


@pytest.fixture(scope="module")
def quiet() -> Told:
    """What is told where nothing is wrong."""
    return perform(with_frames(""), 0)


@pytest.mark.parametrize("how", get_args(Corruption))
def test_spoilt_frames(how: str, quiet: Told) -> None:
    script = f"2 corrupt btcusdt@trade how={how}\n4 corrupt btcusdt@depth@100ms how={how}"
    told = perform(with_frames(script), 1)
    assert len(told.hits) == 2
    assert told.market(HEALTHY.name) == quiet.market(HEALTHY.name)
    last = told.last
    assert last is not None
    (struck,) = [each for each in last.connections if each.name.startswith(VICTIM)]
    feeds = [feed for feed in last.feeds if feed.feed.startswith(VICTIM) and feed.state]
    assert len(feeds) == 6
    assert {feed.state for feed in feeds} == {"live"}
    assert {feed.book.verdict for feed in feeds if feed.book is not None} == {"verified"}
    assert struck.crashes == 0
    if how in ENDING:
        assert struck.connects > 1
        assert struck.last_error.startswith("refused: ")
    elif how == "binary":  # a text all the same
        assert last.totals.quarantined == 0
        assert told.market(VICTIM) == quiet.market(VICTIM)
    else:
        assert struck.connects == 1
        assert last.totals.quarantined == 2
        assert last.unparsed == {f"{VICTIM} malformed": 2}
    gaps = {line.feed for line in told.lines if line.place[5] == "gap"}
    assert (gaps >= {f"{VICTIM}/BTCUSDT/book"}) == (how != "binary")


# Floods ------------------------------------------------------------------------------------------

MS = 1_786_320_000_000
BESIDE = Play([HEALTHY], seconds=5.0, config={"instruments": {"check": False}})
"""A venue for comparison; what is beside it comes after it, for connections are numbered."""


def message(**fields: Any) -> bytes:
    return text_frame(json.dumps(fields, separators=(",", ":")).encode())


def stream(name: str, **data: Any) -> bytes:
    return message(stream=name, data={"E": MS, "T": MS, "s": "BTCUSDT", **data})


def trade(number: int, made_by: str = "MARKET") -> bytes:
    fill = {"e": "trade", "t": number, "p": "1.0", "q": "1", "X": made_by, "m": True}
    return stream("btcusdt@trade", **fill)


def diff(first: int, last: int, previous: int) -> bytes:
    change = {"e": "depthUpdate", "U": first, "u": last, "pu": previous, "b": [["1", "1"]], "a": []}
    return stream("btcusdt@depth@100ms", **change)


FLOODS: dict[str, Callable[[int], bytes]] = {
    "garbage": lambda number: text_frame(b"\x01garbage %d" % number),
    "nothing": lambda _: text_frame(b""),
    "null": lambda _: text_frame(b"null"),
    "notices that it shuts down": lambda _: message(e="serverShutdown", E=1),
    "kinds that nobody knows": lambda number: message(e=f"kind {number}" * 100),
    "streams that nobody asked for": lambda number: stream(f"stream {number}" * 100),
    "words that nobody knows": lambda number: trade(number, f"word {number}" * 100),
    "ids that go back": lambda number: trade(10**12 - 7 * number),
    "ids that leap": lambda number: trade(1_000_003 * number),
    "diffs with holes": lambda number: diff(100 * number, 100 * number + 1, 100 * number - 50),
    "diffs without": lambda number: diff(2 * number, 2 * number + 1, 2 * number - 1),
    "refusals": lambda number: message(code=2, msg="no", id=number % 20),
    "errors": lambda _: message(error={"code": 2, "msg": "no" * 100}),
    "acknowledgements": lambda number: message(result=None, id=number),
    "lists": lambda number: message(result=[f"stream {number}"] * 20, id=number % 20),
    "pings": lambda _: b"\x89\x04ping",
}


@pytest.fixture(scope="module")
def alone() -> Told:
    """What is told where there is nobody beside."""
    return perform(BESIDE, 0)


@pytest.mark.parametrize("what", FLOODS)
def test_floods(what: str, alone: Told) -> None:
    flooding: list[FloodingBinance] = []
    tasks: list[int] = []

    async def beside(world: FarmWorld, nursery: trio.Nursery) -> dict[str, Any]:
        flooding.append(FloodingBinance(world, FLOODS[what]))
        nursery.start_soon(count_tasks)
        return await flooding[0].open(nursery)

    async def count_tasks() -> None:
        while True:
            await trio.sleep(1.0)
            tasks.append(trio.lowlevel.current_statistics().tasks_living)

    with bounded(60 * MB):
        told = perform(BESIDE, 1, beside=beside)
    assert told.market(HEALTHY.name) == alone.market(HEALTHY.name)
    assert flooding[0].sent >= FLOOD_FRAMES
    assert flooding[0].connections < 10
    assert max(tasks) < 100
    last = told.last
    assert last is not None
    assert [each.crashes for each in last.connections] == [0] * len(last.connections)
    assert len(last.unparsed) < 1100
    assert len(last.unknown_values) < 1100
    named = [*last.unparsed, *last.unknown_values]
    assert max(map(len, named), default=0) < 300


# REST --------------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def body(said: bytes) -> tuple[bytes, bytes, float]:
    return OK + b"Content-Length: %d\r\n\r\n" % len(said) + said, b"", 0.0


REST = {
    "2 GB": (OK + b"Content-Length: 2147483648\r\n\r\n", b"x" * 60_000, 0.0),
    "an endless body": (CHUNKED, b"8000\r\n" + b"x" * 0x8000 + b"\r\n", 0.0),
    "endless headers": (OK, b"X-More: and more\r\n" * 3000, 0.0),
    "a slow body": (OK + b"Content-Length: 1000\r\n\r\n", b"x", 0.5),
    "silence": (b"", b"", 0.0),
    "no HTTP": (b"\x00\xff" * 100, b"\x00" * 1000, 0.1),
    "HTML": body(b"<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"),
    "gzip": body(b"\x1f\x8b\x08\x00" + b"x" * 100),
    "a truncated one": body(b'{"lastUpdateId":1027024,"bids":[["4.0'),
    "a deep one": body(b'{"lastUpdateId":1,"bids":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "huge numbers": body(b'{"lastUpdateId":' + b"9" * 5000 + b',"bids":[],"asks":[]}'),
    "NaN": body(b'{"lastUpdateId":99999999999,"bids":[["NaN","1"]],"asks":[["Infinity","1"]]}'),
    "null": body(b"null"),
    "nothing": body(b""),
    "an error object": body(b'{"code":-1000,"msg":"An unknown error occurred."}'),
    "invalid UTF-8": body(b'{"lastUpdateId":1,"bids":[["\xff\xfe","1"]],"asks":[]}'),
    "a redirect": (b"HTTP/1.1 302 Go\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", b"", 0.0),
}


@pytest.mark.parametrize("what", REST)
def test_rest(what: str, alone: Told) -> None:
    bad: list[BadRest] = []

    async def beside(world: FarmWorld, nursery: trio.Nursery) -> dict[str, Any]:
        bad.append(BadRest(world, *REST[what]))
        return await bad[0].open(nursery)

    with bounded(160 * MB):  # of two bodies 64 MB each are read
        told = perform(BESIDE, 1, beside=beside)
    assert told.market(HEALTHY.name) == alone.market(HEALTHY.name)
    assert bad[0].asked >= 2
    last = told.last
    assert last is not None
    assert [each.crashes for each in last.connections] == [0, 0]
    feeds = {feed.feed: feed for feed in last.feeds}
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert feeds[f"{VICTIM}/{symbol}/trade"].state == "live"
        book = feeds[f"{VICTIM}/{symbol}/book"].book
        assert book is not None
        assert book.verdict in ("syncing", "stale")
