"""The life of a WebSocket, from the first message to the last."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing
import trio_websocket
import trustme
from trio.testing import MockClock
from wsproto.events import CloseConnection, Event, Ping, Pong, TextMessage

from farm.errors import ConnectionLost
from farm.net.websocket import WebSocket, WebSocketOptions, open_websocket
from tests.effort import moments, runs
from tests.net.peers import RawServer, close_frame, frame, text
from tests.net.test_frames import BROKEN_FRAMES, wsproto_verdict

URL = "ws://farm.test/stream"


class Inbox:
    """An `on_read` with which a test can wait for messages."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.times: list[int] = []
        self._arrived = trio.Event()

    def __call__(self, messages: list[bytes], receive_time: int) -> None:
        self.messages += messages
        self.times.append(receive_time)
        self._arrived.set()

    async def wait_for(self, count: int) -> None:
        while len(self.messages) < count:
            if self._arrived.is_set():
                self._arrived = trio.Event()
            await self._arrived.wait()


@asynccontextmanager
async def against_raw(
    inbox: Callable[[list[bytes], int], None],
    options: WebSocketOptions | None = None,
) -> AsyncIterator[tuple[WebSocket, RawServer]]:
    """An open WebSocket over memory streams, and the server under the test's control."""
    server = RawServer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.accept)
        async with open_websocket(
            URL,
            inbox,
            options=options or WebSocketOptions(),
            open_stream=server.open_stream,
        ) as websocket:
            await server.accepted.wait()
            yield websocket, server


# Against a real server -------------------------------------------------------------------------


async def echo(request: trio_websocket.WebSocketRequest) -> None:
    """Send back what comes; `!ping` pings with a payload; `!close` closes with 4001."""
    server = await request.accept()
    try:
        while True:
            message = await server.get_message()
            if message == "!ping":
                await server.ping(b"are you there")
                await server.send_message("!pong")
            elif message == "!close":
                await server.aclose(4001, "as you wish")
            else:
                await server.send_message(message)
    except trio_websocket.ConnectionClosed:
        return


@asynccontextmanager
async def against_echo(secure: bool, inbox: Inbox) -> AsyncIterator[WebSocket]:
    server_context = client_context = None
    if secure:
        authority = trustme.CA()
        server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(server_context)
        client_context = ssl.create_default_context()
        authority.configure_trust(client_context)
    async with trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, max_message_size=2**30)
        server = await nursery.start(serve, echo, "127.0.0.1", 0, server_context)
        url = f"{'wss' if secure else 'ws'}://127.0.0.1:{server.port}/"
        async with open_websocket(url, inbox, ssl_context=client_context) as websocket:
            yield websocket
        nursery.cancel_scope.cancel()


both = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])


@both
async def test_echo_of_small_and_large_messages(secure: bool) -> None:
    inbox = Inbox()
    messages = ["small", "ä€😀", "x" * 300_000, "", "y" * 70_000, "end"]
    async with against_echo(secure, inbox) as websocket:
        for message in messages:
            await websocket.send_text(message)
        with trio.fail_after(30):
            await inbox.wait_for(len(messages))
        assert websocket.messages_received == len(messages)
        assert websocket.bytes_received > 370_000
    assert inbox.messages == [message.encode() for message in messages]
    assert inbox.times == sorted(inbox.times)


@both
async def test_ping_is_answered_however_many_messages_came_before(secure: bool) -> None:
    inbox = Inbox()
    async with against_echo(secure, inbox) as websocket:
        for number in range(100):
            await websocket.send_text(str(number))
        await websocket.send_text("!ping")
        with trio.fail_after(30):
            await inbox.wait_for(101)
        assert inbox.messages[-1] == b"!pong"
        assert websocket.pings == 1


@both
async def test_close_by_the_server(secure: bool) -> None:
    async with against_echo(secure, Inbox()) as websocket:
        await websocket.send_text("!close")
        with trio.fail_after(30):
            lost = await websocket.wait_closed()
        assert lost.code == 4001
        assert lost.reason == "closed by the server: as you wish"
        with pytest.raises(ConnectionLost, match="as you wish"):
            await websocket.send_text("too late")


@both
async def test_close_by_us_is_quick_and_named(secure: bool) -> None:
    async with against_echo(secure, Inbox()) as websocket:
        start = trio.current_time()
        await websocket.close(4002, "enough")
        assert trio.current_time() - start < WebSocketOptions().close_timeout
        lost = await websocket.wait_closed()
        assert (lost.code, lost.reason) == (4002, "enough")
        with pytest.raises(ConnectionLost):
            await websocket.send_text("too late")
        await websocket.close()  # a second time does nothing
        await websocket.aclose()


async def test_hundreds_of_connections_opened_and_closed() -> None:
    inbox = Inbox()
    count = runs(50)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, echo, "127.0.0.1", 0, None)

        async def one(number: int) -> None:
            async with open_websocket(f"ws://127.0.0.1:{server.port}/", inbox) as websocket:
                await websocket.send_text(str(number))
                await inbox.wait_for(count)

        async with trio.open_nursery() as clients:
            for number in range(count):
                clients.start_soon(one, number)
        nursery.cancel_scope.cancel()
    assert sorted(int(message) for message in inbox.messages) == list(range(count))


# Ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last_bytes", "code", "reason"),
    [
        (close_frame(1001, "maintenance"), 1001, "closed by the server: maintenance"),
        (close_frame(1008, "Too many requests"), 1008, "closed by the server: Too many requests"),
        (frame(0x88), 1005, "closed by the server"),
        (b"", 1006, "the peer ended the stream without a close frame"),
        (b"\x81\x7e\x00", 1006, "the peer ended the stream without a close frame"),
    ],
)
async def test_end_by_the_peer_after_its_last_messages(
    last_bytes: bytes, code: int, reason: str
) -> None:
    inbox = Inbox()
    async with against_raw(inbox) as (websocket, server):
        await server.send(text("last") + last_bytes)
        await server.stream.send_eof()  # type: ignore[attr-defined]
        lost = await websocket.wait_closed()
        assert inbox.messages == [b"last"]
        assert (lost.code, lost.reason) == (code, reason)
        if last_bytes[:1] == b"\x88":
            answer = await server.event()
            assert isinstance(answer, CloseConnection)
            assert answer.code == code
    assert await server.event() is None


async def test_reset() -> None:
    async def reset(stream: trio.SocketStream) -> None:
        server = RawServer(stream)
        await server.accept(text("last"))
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await inbox.wait_for(1)
        await stream.aclose()

    inbox = Inbox()
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), reset, 0)
        port = listener.socket.getsockname()[1]
        async with open_websocket(f"ws://127.0.0.1:{port}/", inbox) as websocket:
            with trio.fail_after(10):
                lost = await websocket.wait_closed()
            assert lost.code == 1006
            assert "reset" in lost.reason
        nursery.cancel_scope.cancel()


BAD_CLOSES = {
    "close with 1 byte": frame(0x88, b"x"),
    "close with code 999": close_frame(999),
    "close with code 1006": close_frame(1006),
    "close with a reason that is not UTF-8": frame(0x88, b"\x03\xe8\xff"),
}


@pytest.mark.parametrize(
    "broken", [*BROKEN_FRAMES.values(), *BAD_CLOSES.values()], ids=[*BROKEN_FRAMES, *BAD_CLOSES]
)
async def test_breach_is_refused_with_its_code(broken: bytes, autojump_clock: MockClock) -> None:
    _, code = wsproto_verdict(broken)
    assert code is not None
    inbox = Inbox()
    async with against_raw(inbox) as (websocket, server):
        await server.send(text("before") + broken + text("after"))
        told = await server.event()
        assert isinstance(told, CloseConnection)
        assert told.code == code
        lost = await websocket.wait_closed()
        assert lost.code == code
        assert lost.reason.startswith("refused: ")
        with pytest.raises(ConnectionLost):
            await websocket.send_text("too late")
        await server.send(text("after"))
    assert inbox.messages == [b"before"]
    assert await server.event() is None


@pytest.mark.parametrize(
    "endless",
    [frame(0x81, b"x" * 2_000), frame(0x01, b"x" * 900) + frame(0x00, b"x" * 900), b"\x00\x00"],
    ids=["message", "fragments", "empty fragments"],
)
async def test_message_without_measure_is_refused(endless: bytes) -> None:
    options = WebSocketOptions(max_message_bytes=1_000)
    inbox = Inbox()
    async with against_raw(inbox, options) as (websocket, server):
        await server.send(text("before"))
        if endless == b"\x00\x00":
            await server.send(frame(0x01) + endless * 70_000)
        await server.send(endless)
        told = await server.event()
        assert isinstance(told, CloseConnection)
        assert told.code == 1009
        await server.stream.aclose()
        assert (await websocket.wait_closed()).code == 1009
    assert inbox.messages == [b"before"]


async def test_peer_that_is_refused_is_not_reset() -> None:
    """Closing TCP with unread input sends a reset, which may overtake our close frame."""
    ends: list[object] = []

    async def serve(stream: trio.SocketStream) -> None:
        server = RawServer(stream)
        await server.accept()
        await server.send(frame(0x81, b"\xff") + text("never looked at") * 20_000)
        ends.append(await server.event())
        await stream.send_eof()
        ends.append(await server.event())

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), serve, 0)
        port = listener.socket.getsockname()[1]
        async with open_websocket(f"ws://127.0.0.1:{port}/", Inbox()) as websocket:
            assert (await websocket.wait_closed()).code == 1007
        with trio.fail_after(5):
            while len(ends) < 2:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    told, end = ends
    assert isinstance(told, CloseConnection)
    assert told.code == 1007
    assert end is None


async def test_ping_between_the_fragments_of_a_message() -> None:
    inbox = Inbox()
    async with against_raw(inbox) as (_, server):
        await server.send(frame(0x01, b"to") + frame(0x89, b"now?"))
        answer = await server.event()
        assert isinstance(answer, Pong)  # at once, though the message isn't whole
        assert answer.payload == b"now?"
        await server.send(frame(0x80, b"gether"))
        await inbox.wait_for(1)
        assert inbox.messages == [b"together"]
        await server.stream.aclose()


# Our goodbye -----------------------------------------------------------------------------------


async def test_leaving_says_goodbye_and_still_delivers(autojump_clock: MockClock) -> None:
    inbox = Inbox()
    server = RawServer()
    told: list[Event] = []

    async def behave() -> None:
        await server.accept()
        event = await server.event()
        assert isinstance(event, CloseConnection)
        told.append(event)
        # A ping here crashes the reader of trio-websocket 0.12.2, if it gets there.
        await server.send(text("late") + frame(0x89, b"p") + frame(0x89, b"q"))
        await trio.sleep(1)
        await server.send(close_frame(1000))
        assert await server.event() is None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(behave)
        start = trio.current_time()
        async with open_websocket(URL, inbox, open_stream=server.open_stream) as websocket:
            pass
        assert trio.current_time() - start == pytest.approx(1)
    assert [event.code for event in told if isinstance(event, CloseConnection)] == [1000]
    assert inbox.messages == [b"late"]
    assert (await websocket.wait_closed()).code == 1000


async def test_ping_that_overtakes_our_close_is_no_error(autojump_clock: MockClock) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    server = RawServer(far)

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return near

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.accept)
        async with open_websocket(URL, Inbox(), open_stream=open_stream) as websocket:
            await server.accepted.wait()
            await server.send(frame(0x89, b"1") + frame(0x89, b"2"))
            await trio.testing.wait_all_tasks_blocked()  # the first pong is on its way out
            nursery.start_soon(websocket.close)
            await trio.testing.wait_all_tasks_blocked()  # the close frame waits behind it
            assert isinstance(await server.event(), Pong)
            assert isinstance(await server.event(), CloseConnection)
            assert (await websocket.wait_closed()).reason == "closed by us"


async def test_peer_that_never_answers_cannot_hold_us(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    async with against_raw(Inbox()) as (_, server):
        pass
    assert trio.current_time() - start == pytest.approx(2)
    assert isinstance(await server.event(), CloseConnection)
    assert await server.event() is None


async def test_peer_that_never_reads_cannot_hold_us(autojump_clock: MockClock) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    server = RawServer(far)

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return near

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.accept)
        async with open_websocket(URL, Inbox(), open_stream=open_stream) as websocket:
            nursery.start_soon(suppress_lost, websocket)
            await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() - start == pytest.approx(2)


async def suppress_lost(websocket: WebSocket) -> None:
    """Block in a send until the connection is gone."""
    with pytest.raises(ConnectionLost):
        await websocket.send_text("nobody reads this")


async def test_peer_that_floods_cannot_hold_us() -> None:
    async def flood(stream: trio.SocketStream) -> None:
        server = RawServer(stream)
        await server.accept()
        with suppress(trio.BrokenResourceError):
            while True:
                await server.send(text("flood") * 1_000)

    inbox = Inbox()
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), flood, 0)
        port = listener.socket.getsockname()[1]
        options = WebSocketOptions(close_timeout=0.05)
        with trio.fail_after(10):
            async with open_websocket(f"ws://127.0.0.1:{port}/", inbox, options=options):
                await inbox.wait_for(5_000)
        nursery.cancel_scope.cancel()
    assert set(inbox.messages) == {b"flood"}


async def test_close_closes_though_the_context_goes_on(autojump_clock: MockClock) -> None:
    async with against_raw(Inbox()) as (websocket, server):
        await server.send(close_frame(1001))
        await websocket.wait_closed()
        start = trio.current_time()
        await websocket.close()  # the peer doesn't end its stream
        assert trio.current_time() - start == pytest.approx(2)
        assert isinstance(await server.event(), CloseConnection)
        assert await server.event() is None


async def test_leaving_after_the_peer_has_closed_waits_for_its_end_of_stream(
    autojump_clock: MockClock,
) -> None:
    async with against_raw(Inbox()) as (websocket, server):
        await server.send(close_frame(1001))
        await websocket.wait_closed()
        start = trio.current_time()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.close)
            await trio.sleep(0.5)
            await server.stream.send_eof()  # type: ignore[attr-defined]
        assert trio.current_time() - start == pytest.approx(0.5)


# Errors and cancellation -----------------------------------------------------------------------


async def test_error_of_the_body_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    for error in (ValueError("body"), ExceptionGroup("own", [ValueError("body")])):
        with pytest.raises(type(error)) as caught:
            async with against_server() as _:
                raise error
        if isinstance(error, ExceptionGroup):  # Trio copies groups when it strips Cancelled
            assert isinstance(caught.value, ExceptionGroup)
            assert caught.value.message == "own"
            assert caught.value.exceptions == error.exceptions
        else:
            assert caught.value is error
            assert error.__context__ is None


async def test_errors_of_body_and_on_read_come_out_together(autojump_clock: MockClock) -> None:
    def on_read(messages: list[bytes], receive_time: int) -> None:
        raise KeyError("downstream")

    async def body() -> None:
        async with open_websocket(URL, on_read, open_stream=server.open_stream):
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("body")

    server = RawServer()
    trio.lowlevel.spawn_system_task(server.accept, text("boom"))
    with pytest.raises(ExceptionGroup) as caught:
        await body()
    assert {type(error) for error in caught.value.exceptions} == {KeyError, ValueError}


@asynccontextmanager
async def against_server() -> AsyncIterator[WebSocket]:
    """Like `against_raw`, but without a nursery round it, which would wrap the errors."""
    server = RawServer()
    server_task = trio.lowlevel.spawn_system_task(server.accept)
    async with open_websocket(URL, Inbox(), open_stream=server.open_stream) as websocket:
        assert server_task is not None
        yield websocket


@pytest.mark.parametrize(
    "error",
    [
        ValueError("downstream"),
        trio.BrokenResourceError("downstream"),
        trio.ClosedResourceError("downstream"),
        trio_websocket.ConnectionClosed(None),
        ConnectionLost("downstream"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_error_of_on_read_is_not_weather(error: Exception) -> None:
    def on_read(messages: list[bytes], receive_time: int) -> None:
        raise error

    server = RawServer()
    trio.lowlevel.spawn_system_task(server.accept, text("boom"))
    weather: list[ConnectionLost] = []

    async def body() -> None:
        async with open_websocket(URL, on_read, open_stream=server.open_stream) as websocket:
            weather.append(await websocket.wait_closed())

    with pytest.raises(type(error)) as caught:
        await body()
    assert caught.value is error
    assert weather == []


async def test_cancelled_body_closes_at_once(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    with trio.move_on_after(5) as scope:
        async with against_raw(Inbox()) as (websocket, server):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(5)
    assert await server.event() is None
    assert (await websocket.wait_closed()).code == 1006


async def test_error_of_the_body_survives_a_cancellation(autojump_clock: MockClock) -> None:
    async def body() -> None:
        async with against_server():
            scope.cancel()
            raise ValueError("body")

    with trio.CancelScope() as scope, pytest.raises(ValueError, match="body"):
        await body()


async def test_waiters_outside_the_context_learn_of_its_end(autojump_clock: MockClock) -> None:
    reasons: list[ConnectionLost] = []

    async def watch(websocket: WebSocket) -> None:
        reasons.append(await websocket.wait_closed())

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with against_server() as websocket:
                nursery.start_soon(watch, websocket)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await trio.sleep_forever()
    assert len(reasons) == 1


async def test_cancelled_send_ends_the_connection() -> None:
    near, far = trio.testing.lockstep_stream_pair()
    server = RawServer(far)

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return near

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.accept)
        async with open_websocket(URL, Inbox(), open_stream=open_stream) as websocket:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as sending:
                    sending.start_soon(websocket.send_text, "a message cut in two")
                    assert len(await far.receive_some(5)) == 5
                    scope.cancel()
            lost = await websocket.wait_closed()
            assert lost.code == 1006
            assert lost.reason == "a send was cut short in mid-frame"
            with pytest.raises(ConnectionLost, match="mid-frame"):
                await websocket.send_text("next")


async def test_messages_of_several_senders_arrive_whole() -> None:
    async with against_raw(Inbox()) as (websocket, server):
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(websocket.send_text, str(number) * 1_000)
        await server.send(frame(0x89, b"ping"))
        events = [await server.event() for _ in range(21)]
        assert {event.data for event in events[:20] if isinstance(event, TextMessage)} == {
            str(number) * 1_000 for number in range(20)
        }
        assert events[20] == Ping(b"ping").response()
        await server.stream.aclose()


async def test_random_cancellation_never_hangs_or_leaks() -> None:
    inbox = Inbox()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, echo, "127.0.0.1", 0, None)
        url = f"ws://127.0.0.1:{server.port}/"
        for steps in moments(60):
            with trio.CancelScope() as scope, trio.fail_after(10):
                async with trio.open_nursery() as attempt:
                    attempt.start_soon(cancel_after_steps, scope, steps)
                    async with open_websocket(url, inbox) as websocket:
                        await websocket.send_text("!ping")
                        await websocket.wait_closed()
            assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def cancel_after_steps(scope: trio.CancelScope, steps: int) -> None:
    """Cancel at another place of the opening each time."""
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()
