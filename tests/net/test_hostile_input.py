"""Servers that mean harm: whatever they send, memory stays bounded, and the end has a reason."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock

from farm.errors import ConnectFailed, ConnectionLost, HandshakeRefused, RestError
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.net.websocket import open_websocket
from farm.testing.network import MemoryNetwork
from tests.memory import MB, bounded
from tests.net.peers import frame, text

FLOOD = 300 * MB
KEY = re.compile(rb"Sec-WebSocket-Key: (\S+)", re.IGNORECASE)
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@attrs.define
class Flood:
    """What a server says: `head`, then `piece` again and again, every so many seconds, up to
    `most` bytes. ``sent``: how many it could; ``said``: that was all."""

    head: bytes = b""
    piece: bytes = b""
    every: float = 0.0
    most: int = FLOOD
    sent: int = 0
    said: trio.Event = attrs.field(factory=trio.Event)

    async def pour(self, stream: trio.abc.Stream) -> None:
        try:
            await stream.send_all(self.head)
            while self.piece and self.sent < self.most:
                await stream.send_all(self.piece)
                self.sent += len(self.piece)
                await trio.sleep(self.every)
            self.said.set()
            await trio.sleep_forever()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it was hung up on


@asynccontextmanager
async def served(flood: Flood, *, shakes_hands: bool) -> AsyncIterator[tuple[MemoryNetwork, int]]:
    """A server that answers each first word of a client with the flood."""
    network = MemoryNetwork()
    number = network.bind()

    async def serve(stream: trio.abc.Stream) -> None:
        try:
            request = bytes(await stream.receive_some())
            if shakes_hands:
                found = KEY.search(request)
                assert found is not None
                accept = base64.b64encode(hashlib.sha1(found[1] + MAGIC).digest())
                await stream.send_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
                )
            await flood.pour(stream)
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, serve, [network.listen(number)]))
        yield network, number
        nursery.cancel_scope.cancel()
    assert network.streams_open == 0


# Frames ------------------------------------------------------------------------------------------


async def end_of(flood: Flood) -> ConnectionLost:
    """Why a connection to such a server ends."""
    async with served(flood, shakes_hands=True) as (network, number):
        with trio.fail_after(3600):
            async with open_websocket(
                f"ws://127.0.0.1:{number}", lambda *_: None, open_stream=network.open_stream
            ) as socket:
                return await socket.wait_closed()


ENDLESS = {
    "fragments": Flood(frame(0x01, b"x"), frame(0x00, b"x" * 65_000)),
    "small fragments": Flood(frame(0x01, b"x"), frame(0x00, b"x") * 10_000),
    "empty fragments": Flood(frame(0x01), frame(0x00) * 10_000),
    "binary fragments": Flood(frame(0x02, b"x"), frame(0x00, b"x" * 65_000)),
    "fragments with pings between": Flood(
        frame(0x01, b"x"), frame(0x00, b"x" * 65_000) + frame(0x89, b"p")
    ),
    "a frame of 2 GB": Flood(b"\x81\x7f" + (2 << 30).to_bytes(8), b"x" * 65_536),
    "a frame of 2**63 bytes": Flood(b"\x81\x7f" + (1 << 63).to_bytes(8), b"x" * 65_536),
    "a ping that is no control frame": Flood(b"\x89\x7f" + (2 << 30).to_bytes(8), b"x" * 65_536),
    "zeros": Flood(b"", bytes(65_536)),
    "random bytes": Flood(b"", hashlib.sha512(b"x").digest() * 1000),
    "HTTP again": Flood(b"", b"HTTP/1.1 200 OK\r\n" * 4000),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_a_message_without_end_ends_the_connection(
    what: str, autojump_clock: MockClock
) -> None:
    flood = attrs.evolve(
        ENDLESS[what], every=0.001, said=trio.Event()
    )  # else all came before time went on
    with bounded(60 * MB):
        lost = await end_of(flood)
    assert lost.code in (1002, 1007, 1009)
    assert lost.reason.startswith("refused")
    assert len(lost.reason) < 300
    assert flood.sent < FLOOD


@pytest.mark.parametrize(
    ("piece", "most"),
    [
        (text("x" * 65_000), 100 * MB),
        (text("x") * 20_000, MB),
        (text("") * 20_000, MB),
        (frame(0x82, b"\xff" * 65_000), 100 * MB),
        (frame(0x8A, b"x" * 125) * 500, MB),
    ],
    ids=["texts", "small texts", "empty texts", "binary", "pongs"],
)
async def test_what_is_lawful_may_be_endless_and_fills_no_memory(
    piece: bytes, most: int, autojump_clock: MockClock
) -> None:
    flood = Flood(piece=piece, most=most)
    received = 0

    def on_read(messages: list[bytes], _time: int) -> None:
        nonlocal received
        received += sum(map(len, messages))

    with bounded(20 * MB):
        async with (
            served(flood, shakes_hands=True) as (network, number),
            open_websocket(
                f"ws://127.0.0.1:{number}", on_read, open_stream=network.open_stream
            ) as socket,
        ):
            await flood.said.wait()
            await trio.sleep(1.0)
            assert socket.bytes_received > flood.sent
    assert received <= flood.sent


async def test_pings_of_who_reads_no_pong_are_left_unread(autojump_clock: MockClock) -> None:
    flood = Flood(piece=frame(0x89, b"x" * 125) * 500)
    with bounded(20 * MB):
        async with (
            served(flood, shakes_hands=True) as (network, number),
            open_websocket(
                f"ws://127.0.0.1:{number}", lambda *_: None, open_stream=network.open_stream
            ),
        ):
            await trio.sleep(60.0)
    assert flood.sent < MB


# Handshakes --------------------------------------------------------------------------------------

REFUSED = b"HTTP/1.1 503 No\r\n"
HANDSHAKES = {
    "headers": (Flood(b"HTTP/1.1 101 Yes\r\n", b"X-More: and more\r\n" * 3000), ConnectFailed),
    "one header": (Flood(b"HTTP/1.1 101 Yes\r\nX: ", b"x" * 65_536), ConnectFailed),
    "a status line": (Flood(b"HTTP/1.1 101 ", b"x" * 65_536), ConnectFailed),
    "informational answers": (Flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500), ConnectFailed),
    "zeros": (Flood(b"", bytes(65_536)), ConnectFailed),
    "lines": (Flood(b"", b"\r\n" * 30_000), ConnectFailed),
    "a wrong key": (
        Flood(
            b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: bm90aGluZyBvZiB0aGUga2luZA==\r\n\r\n",
            text("x" * 65_000),
        ),
        ConnectFailed,
    ),
    "a refusal's body": (Flood(REFUSED + b"\r\n", b"x" * 65_536), HandshakeRefused),
    "a refusal of 2 GB": (
        Flood(REFUSED + b"Content-Length: 2147483648\r\n\r\n", b"x" * 65_536),
        HandshakeRefused,
    ),
    "a refusal in chunks": (
        Flood(
            REFUSED + b"Transfer-Encoding: chunked\r\n\r\n", b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        ),
        HandshakeRefused,
    ),
    "a refusal's headers": (Flood(REFUSED, b"X-More: and more\r\n" * 3000), ConnectFailed),
    "a slow answer": (Flood(b"HTTP/1.1 101 Yes\r\nX: ", b"x", every=0.5), ConnectFailed),
    "a slow refusal": (Flood(REFUSED + b"\r\n", b"x", every=0.5), HandshakeRefused),
}


@pytest.mark.parametrize("what", HANDSHAKES)
async def test_an_answer_without_end_is_no_websocket(what: str, autojump_clock: MockClock) -> None:
    flood, error = HANDSHAKES[what]
    flood = attrs.evolve(flood, said=trio.Event())
    started = trio.current_time()
    with bounded(20 * MB):
        async with served(flood, shakes_hands=False) as (network, number):
            with pytest.raises(error) as caught:
                async with open_websocket(
                    f"ws://127.0.0.1:{number}", lambda *_: None, open_stream=network.open_stream
                ):
                    pass
    assert len(str(caught.value)) < 500
    assert flood.sent < 2 * MB
    assert trio.current_time() - started <= 11.0


# REST --------------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "2 GB": (OK + b"Content-Length: 2147483648\r\n\r\n", b"x" * 65_536, 0.0, MB),
    "no length": (OK + b"\r\n", b"x" * 65_536, 0.0, 66 * MB),
    "chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        b"8000\r\n" + b"x" * 0x8000 + b"\r\n",
        0.0,
        66 * MB,
    ),
    "a chunk of 2 GB": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n80000000\r\n",
        b"x" * 65_536,
        0.0,
        66 * MB,
    ),
    "tiny chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        b"1\r\nx\r\n" * 8,
        0.5,
        MB,
    ),
    "headers": (OK, b"X-More: and more\r\n" * 3000, 0.0, MB),
    "one header": (OK + b"X: ", b"x" * 65_536, 0.0, MB),
    "trailers": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
        b"X-More: and more\r\n" * 3000,
        0.0,
        MB,
    ),
    "informational answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.1, MB),
    "zeros": (b"", bytes(65_536), 0.0, MB),
    "a slow body": (OK + b"Content-Length: 1000\r\n\r\n", b"x", 0.5, MB),
    "a slow head": (OK + b"X: ", b"x", 0.5, MB),
    "a redirect": (b"HTTP/1.1 302 Go\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", b"", 0.0, MB),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_without_end_is_an_error(what: str, autojump_clock: MockClock) -> None:
    head, piece, every, most = ANSWERS[what]
    flood = Flood(head, piece, every)
    budget = Budget(100, 60.0, "weight")
    started = trio.current_time()
    with bounded(most + 80 * MB):
        async with served(flood, shakes_hands=False) as (network, number):
            url = f"http://127.0.0.1:{number}"
            async with RestClient(url, budget=budget, open_stream=network.open_stream) as client:
                with pytest.raises(RestError) as caught:
                    await client.get("/x")
    assert len(str(caught.value)) < 1000
    assert flood.sent <= most
    assert trio.current_time() - started <= 11.0
