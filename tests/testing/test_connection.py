"""The server's end of a WebSocket on its own, over memory streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from farm.testing.connection import Connection
from farm.testing.venue import Refusal
from tests.testing.clients import masked_frame

HANDSHAKE = (
    b"GET /path?x=1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class EchoVenue:
    """Echoes texts; refuses the path ``/no``."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        self.frames = 0

    def refuse(self, connection: Connection, target: str) -> Refusal | None:
        return Refusal(418, b"short and stout") if target == "/no" else None

    def opened(self, connection: Connection, target: str) -> None:
        self.targets.append(target)

    def on_frame(self, connection: Connection) -> None:
        self.frames += 1

    def on_text(self, connection: Connection, text: str) -> None:
        connection.send_text(text)

    def leaves_ping(self, connection: Connection) -> bool:
        return False

    async def heartbeat(self, connection: Connection) -> None:
        await trio.sleep_forever()


class Client:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream

    async def exchange(self, data: bytes) -> bytes:
        """Sends, and takes what comes back until the server has nothing more to say."""
        if data:
            await self.stream.send_all(data)
        received = b""
        with trio.move_on_after(0.1):  # the mock clock jumps there once all tasks wait
            while chunk := await self.stream.receive_some():
                received += chunk
        return received


@asynccontextmanager
async def serving(venue: EchoVenue) -> AsyncIterator[tuple[Client, Connection]]:
    near, far = memory_stream_pair()
    connection = Connection(venue, far, "c1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        yield Client(near), connection
        nursery.cancel_scope.cancel()


async def test_the_handshake_and_an_echo(autojump_clock: trio.testing.MockClock) -> None:
    venue = EchoVenue()
    async with serving(venue) as (client, connection):
        answer = await client.exchange(HANDSHAKE)
        assert answer.startswith(b"HTTP/1.1 101")
        assert answer.endswith(b"\r\n\r\n")
        assert await client.exchange(masked_frame(TEXT, b"one")) == b"\x81\x03one"
        assert connection.is_open
        split = [masked_frame(TEXT, b"t", final=False), masked_frame(0, b"wo")]
        assert await client.exchange(b"".join(split)) == b"\x81\x03two"
    assert venue.targets == ["/path?x=1"]
    assert venue.frames == 3


async def test_pings_are_answered_and_pongs_are_noted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(EchoVenue()) as (client, connection):
        await client.exchange(HANDSHAKE)
        assert await client.exchange(masked_frame(PING, b"hi")) == b"\x8a\x02hi"
        connection.ping(b"you?")
        before = connection.last_pong
        await trio.sleep(5)
        assert await client.exchange(masked_frame(PONG, b"you?")) == b"\x89\x04you?"
        assert connection.last_pong >= before + 5


async def test_a_clients_close_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(EchoVenue()) as (client, connection):
        await client.exchange(HANDSHAKE)
        assert await client.exchange(masked_frame(CLOSE, b"\x03\xe8bye")) == b"\x88\x05\x03\xe8bye"
        assert not connection.is_open
        assert await client.stream.receive_some() == b""


async def test_a_servers_close_sends_the_rest_first_and_waits_for_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(EchoVenue()) as (client, connection):
        await client.exchange(HANDSHAKE)
        connection.send_text("last")
        connection.close(1008, "enough")
        connection.send_text("dropped")
        connection.ping()
        # What the client still says is heard and ignored.
        answer = await client.exchange(masked_frame(TEXT, b"late"))
        assert answer == b"\x81\x04last\x88\x08\x03\xf0enough"
        await client.stream.send_all(masked_frame(CLOSE, b"\x03\xf0"))
        assert await client.stream.receive_some() == b""


async def test_a_client_that_never_answers_a_close_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(EchoVenue()) as (client, connection):
        await client.exchange(HANDSHAKE)
        connection.close(1001, "")
        assert await client.exchange(b"") == b"\x88\x02\x03\xe9"
        started = trio.current_time()
        assert await client.stream.receive_some() == b""
        assert trio.current_time() - started <= 10


async def test_a_refusal_is_an_http_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(EchoVenue()) as (client, _):
        answer = await client.exchange(HANDSHAKE.replace(b"/path?x=1", b"/no"))
        assert answer.startswith(b"HTTP/1.1 418")
        assert answer.endswith(b"\r\n\r\nshort and stout")
        assert await client.stream.receive_some() == b""


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"rubbish\r\n\r\n", b"\x00" * 50]
)
async def test_a_client_that_speaks_no_websocket_is_told_off(
    autojump_clock: trio.testing.MockClock, data: bytes
) -> None:
    async with serving(EchoVenue()) as (client, connection):
        answer = await client.exchange(data)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
        assert not connection.is_open
        with trio.fail_after(60):
            assert await client.stream.receive_some() == b""


@pytest.mark.parametrize(
    ("frame", "code"), [(masked_frame(TEXT, b"\xff"), 1007), (b"\x81\x01x", 1002)]
)
async def test_a_broken_frame_closes(
    autojump_clock: trio.testing.MockClock, frame: bytes, code: int
) -> None:
    async with serving(EchoVenue()) as (client, _):
        await client.exchange(HANDSHAKE)
        answer = await client.exchange(frame)
        assert (answer[:1], answer[2:4]) == (b"\x88", code.to_bytes(2))
        with trio.fail_after(60):
            assert await client.stream.receive_some() == b""


async def test_binary_messages_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(EchoVenue()) as (client, _):
        await client.exchange(HANDSHAKE)
        answer = await client.exchange(masked_frame(BINARY, b"x"))
        assert answer[2:4] == (1003).to_bytes(2)


async def test_a_client_that_never_shakes_hands_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with serving(EchoVenue()) as (client, _):
        await client.stream.send_all(b"GET /")
        with trio.fail_after(60):
            assert await client.stream.receive_some() == b""


async def test_a_client_that_vanishes_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = memory_stream_pair()
    connection = Connection(EchoVenue(), far, "c1")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            await near.send_all(HANDSHAKE)
            await wait_all_tasks_blocked()
            assert connection.is_open
            await near.aclose()
    assert not connection.is_open
