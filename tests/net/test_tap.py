"""The tap between a transport and trio-websocket."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

from farm.net.tap import HandshakeBroken, Tap, close_now
from farm.net.tls import start_tls
from tests.net.peers import ANSWER, ScriptedStream, close_frame, frame, text

PING = frame(0x89, b"ping")


class Collector:
    """An `on_read` that keeps each call."""

    def __init__(self) -> None:
        self.reads: list[tuple[list[bytes], int]] = []

    def __call__(self, messages: list[bytes], receive_time: int) -> None:
        self.reads.append((messages, receive_time))

    @property
    def messages(self) -> list[bytes]:
        return [message for messages, _ in self.reads for message in messages]


def make_tap(transport: trio.abc.Stream, on_read: Collector, limit: int = 1 << 20) -> Tap:
    ticks = itertools.count(1_000)
    return Tap(transport, on_read, max_message_bytes=limit, wall_clock=lambda: next(ticks))


async def open_tap(transport: trio.abc.Stream, on_read: Collector) -> Tap:
    """A tap behind the handshake, which `transport` must give first."""
    tap = make_tap(transport, on_read)
    assert await tap.receive_some() == ANSWER
    return tap


async def test_bytes_of_the_handshake_pass_untouched() -> None:
    on_read = Collector()
    tap = make_tap(ScriptedStream([ANSWER[:10], ANSWER[10:]]), on_read)
    upgraded = []
    for part in (ANSWER[:10], ANSWER[10:], b""):
        assert await tap.receive_some() == part
        upgraded.append(tap.upgraded)
    assert upgraded == [False, False, True]  # True once the reader has come back for more
    assert on_read.reads == []


async def test_frames_in_the_segment_of_the_handshake_wait_until_it_is_accepted() -> None:
    on_read = Collector()
    tap = make_tap(ScriptedStream([ANSWER + text("one") + PING, text("two")]), on_read)
    assert await tap.receive_some() == ANSWER
    assert on_read.reads == []  # trio-websocket may yet refuse the answer
    assert await tap.receive_some() == PING
    assert await tap.receive_some() == b""
    assert on_read.reads == [([b"one"], 1_000), ([b"two"], 1_001)]


async def test_one_call_for_each_read_and_one_time() -> None:
    on_read = Collector()
    batch = text("a") + frame(0x82, b"\xff") + PING + text("b")
    stream = ScriptedStream([ANSWER, batch, PING, text("c")])
    tap = await open_tap(stream, on_read)
    assert await tap.receive_some() == PING
    assert on_read.reads == [([b"a", b"\xff", b"b"], 1_001)]
    assert await tap.receive_some() == PING
    assert await tap.receive_some() == b""
    assert on_read.reads[1:] == [([b"c"], 1_003)]  # 1_002 was the read with the ping alone
    assert tap.messages_received == 4
    assert tap.bytes_received == len(ANSWER + batch + PING + text("c"))
    assert tap.pings == 2
    assert tap.fault == "the peer ended the stream without a close frame"


async def test_data_alone_is_not_mistaken_for_the_end() -> None:
    on_read = Collector()
    tap = await open_tap(ScriptedStream([ANSWER, text("a"), text("b"), PING]), on_read)
    assert await tap.receive_some() == PING
    assert on_read.messages == [b"a", b"b"]


async def test_max_bytes_is_kept_and_each_part_is_a_checkpoint() -> None:
    tap = make_tap(ScriptedStream([ANSWER, PING]), Collector())
    assert await tap.receive_some(100) == ANSWER[:100]
    with trio.CancelScope() as scope:
        scope.cancel()
        await tap.receive_some(100)
    assert scope.cancelled_caught
    assert await tap.receive_some(1_000) == ANSWER[100:]
    assert [await tap.receive_some(4) for _ in range(3)] == [PING[:4], PING[4:], b""]


async def test_upgrade_is_when_the_whole_answer_has_been_taken() -> None:
    tap = make_tap(ScriptedStream([ANSWER, PING]), Collector())
    upgraded = []
    for size in (5, 5, 1_000, 1_000):
        await tap.receive_some(size)
        upgraded.append(tap.upgraded)
    assert upgraded == [False, False, False, True]


async def test_last_receive_is_the_time_of_the_last_read(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    on_read = Collector()
    async with trio.open_nursery() as nursery:
        tap = make_tap(near, on_read)
        await far.send_all(ANSWER)
        await tap.receive_some()
        nursery.start_soon(tap.receive_some)
        await trio.sleep(5)
        await far.send_all(text("a"))
        await trio.sleep(7)
        assert trio.current_time() - tap.last_receive == pytest.approx(7)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("reads", "status"),
    [([], None), ([ANSWER[:40]], None), ([b"HTTP/1.1 503 Busy\r\n\r\nhold on"], 503)],
)
async def test_end_before_the_upgrade_is_an_error(reads: list[bytes], status: int | None) -> None:
    for error in (None, trio.BrokenResourceError("reset")):
        tap = make_tap(ScriptedStream(reads, error), Collector())
        for data in reads:
            assert await tap.receive_some() == data
        with pytest.raises(HandshakeBroken) as caught:
            await tap.receive_some()
        assert caught.value.status == status
        assert str(caught.value) == (str(error) if error else tap.fault)


async def test_endless_answer_is_an_error() -> None:
    reads = [b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 60_000] * 10]
    tap = make_tap(ScriptedStream(reads), Collector())
    for data in reads[:5]:
        assert await tap.receive_some() == data
    with pytest.raises(HandshakeBroken) as caught:
        await tap.receive_some()
    assert caught.value.status == 200


async def test_messages_before_a_breach_or_a_close_come_first() -> None:
    for tail, onward in [
        (close_frame(1001), close_frame(1001)),
        (frame(0x83, b"x" * 40), frame(0x83, b"x" * 40)[:16]),
        (frame(0x81, b"\xff"), b""),
    ]:
        on_read = Collector()
        tap = await open_tap(ScriptedStream([ANSWER, text("a") + tail + text("no")]), on_read)
        assert await tap.receive_some() == onward
        assert on_read.messages == [b"a"]
        assert tap.over
        assert await tap.receive_some() == b""
        assert on_read.messages == [b"a"]


async def test_after_a_breach_the_stream_ends_though_the_peer_goes_on() -> None:
    stream = ScriptedStream([ANSWER, frame(0x81, b"\xff"), *[text("more")] * 100])
    tap = await open_tap(stream, Collector())
    assert await tap.receive_some() == b""
    assert len(stream.reads) == 100
    assert tap.refusal == (1007, "a text message is not valid UTF-8")
    await tap.drain()
    assert stream.reads == []
    assert tap.messages_received == 0


@pytest.mark.parametrize("kind", [ValueError, trio.BrokenResourceError, trio.ClosedResourceError])
async def test_error_of_on_read_is_kept_and_ends_the_stream(kind: type[Exception]) -> None:
    error = kind("downstream")

    def on_read(messages: list[bytes], receive_time: int) -> None:
        raise error

    tap = Tap(ScriptedStream([ANSWER, text("a")]), on_read, max_message_bytes=100)
    await tap.receive_some()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await tap.receive_some()
    assert tap.crash is error
    assert caught.value.__cause__ is error
    assert tap.fault is None


# Over real transports ------------------------------------------------------------------------

Pair = tuple[trio.abc.Stream, trio.abc.Stream]


async def memory_pair() -> Pair:
    return trio.testing.memory_stream_pair()


async def socket_pair() -> Pair:
    near, far = trio.socket.socketpair()
    return trio.SocketStream(near), trio.SocketStream(far)


async def tcp_pair() -> Pair:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return near, await listener.accept()


async def tls_pair() -> Pair:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("farm.test").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    near, far = await tcp_pair()
    server = trio.SSLStream(far, server_context, server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        client = await start_tls(near, client_context, "farm.test", timeout=5)
    return client, server


each_transport = pytest.mark.parametrize("make", [memory_pair, socket_pair, tcp_pair, tls_pair])
MakePair = Callable[[], Awaitable[Pair]]


@each_transport
async def test_large_and_small_messages(make: MakePair) -> None:
    near, far = await make()
    messages = [b"x" * size for size in (0, 1, 300_000, 5, 66_000)] * 3
    on_read = Collector()
    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(far.send_all, ANSWER + b"".join(frame(0x82, m) for m in messages) + PING)
        tap = make_tap(near, on_read)
        assert await tap.receive_some() == ANSWER
        assert await tap.receive_some() == PING
        assert on_read.messages == messages


@each_transport
async def test_aclose_wakes_a_blocked_reader(make: MakePair) -> None:
    near, far = await make()
    async with near, far:
        await far.send_all(ANSWER)
        tap = await open_tap(near, Collector())
        async with trio.open_nursery() as nursery:

            async def reader() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await tap.receive_some()

            nursery.start_soon(reader)
            await trio.testing.wait_all_tasks_blocked()
            await tap.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await tap.receive_some()


@each_transport
async def test_second_reader_is_refused_and_the_first_goes_on(make: MakePair) -> None:
    near, far = await make()
    async with near, far:
        await far.send_all(ANSWER)
        tap = await open_tap(near, Collector())
        async with trio.open_nursery() as nursery:

            async def reader() -> None:
                assert await tap.receive_some() == PING

            nursery.start_soon(reader)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await tap.receive_some()
            await far.send_all(PING)


@each_transport
async def test_every_read_lets_others_run_and_can_be_cancelled(make: MakePair) -> None:
    near, far = await make()
    on_read = Collector()
    turns = 0

    async def flood() -> None:
        while True:
            await far.send_all(text("flood") * 2_000)

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with near, far:
        await far.send_all(ANSWER)
        tap = await open_tap(near, on_read)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            nursery.start_soon(other)
            nursery.start_soon(tap.receive_some)
            while tap.messages_received < 20_000:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert turns >= len(on_read.reads) - 2 > 0
    assert set(on_read.messages) == {b"flood"}


@each_transport
async def test_cancelled_read_loses_nothing(make: MakePair) -> None:
    near, far = await make()
    on_read = Collector()
    async with near, far:
        await far.send_all(ANSWER)
        tap = await open_tap(near, on_read)
        for number in range(50):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(tap.receive_some)
                    await trio.testing.wait_all_tasks_blocked()
                    await far.send_all(text(str(number)))
                    scope.cancel()
        await far.send_all(PING)
        assert await tap.receive_some() == PING
    assert on_read.messages == [str(number).encode() for number in range(50)]


async def test_closed_socket_is_not_waited_for_though_its_number_lives_on() -> None:
    near, far = await socket_pair()
    assert isinstance(near, trio.SocketStream)
    assert isinstance(far, trio.SocketStream)
    await far.send_all(ANSWER)
    tap = await open_tap(near, Collector())
    near.socket.close()
    heir, other = await socket_pair()  # takes over the number of the file descriptor
    async with far, heir, other:
        await other.send_all(text("not for us"))
        with pytest.raises(trio.ClosedResourceError):
            await tap.receive_some()
        assert tap.messages_received == 0


async def test_reset_is_told_apart_from_the_end() -> None:
    near, far = await tcp_pair()
    assert isinstance(far, trio.SocketStream)
    async with near:
        await far.send_all(ANSWER)
        tap = await open_tap(near, Collector())
        far.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await far.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await tap.receive_some()
        assert tap.fault is not None
        assert "reset" in tap.fault


# Sending ---------------------------------------------------------------------------------------


async def test_senders_take_turns() -> None:
    near, far = trio.testing.lockstep_stream_pair()
    tap = make_tap(near, Collector())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tap.send_all, b"a" * 10)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(tap.send_all, b"b" * 10)
        received = b""
        while len(received) < 20:
            received += await far.receive_some(3)
    assert received == b"a" * 10 + b"b" * 10


async def test_send_cut_short_breaks_the_stream() -> None:
    near, far = trio.testing.lockstep_stream_pair()
    tap = make_tap(near, Collector())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.send_all, ANSWER)
        await tap.receive_some()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tap.receive_some)  # the reader comes back: the WebSocket is open
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tap.send_all, b"a whole frame")
        assert await far.receive_some(3) == b"a w"
        nursery.cancel_scope.cancel()
    assert tap.fault == "a send was cut short in mid-frame"
    with pytest.raises(trio.ClosedResourceError):
        await tap.send_all(b"next")
    rest = b"".join([bytes(chunk) async for chunk in far])
    assert b"a whole frame".endswith(rest)  # and nothing follows


async def test_send_cancelled_before_it_began_breaks_nothing() -> None:
    stream = ScriptedStream([ANSWER])
    tap = await open_tap(stream, Collector())
    with trio.CancelScope() as scope:
        scope.cancel()
        await tap.send_all(b"never")
    assert scope.cancelled_caught
    await tap.send_all(b"later")
    assert (stream.sent, stream.closed, tap.fault) == (b"later", False, None)


async def test_send_cancelled_as_its_turn_comes_breaks_nothing() -> None:
    stream = ScriptedStream([])
    tap = make_tap(stream, Collector())
    await tap._send_lock.acquire()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tap.send_all, b"never")
        await trio.testing.wait_all_tasks_blocked()
        tap._send_lock.release()  # the sender has the lock, but hasn't run yet
        nursery.cancel_scope.cancel()
    await tap.send_all(b"later")
    assert (stream.sent, stream.closed, tap.fault) == (b"later", False, None)


async def test_close_frame_that_goes_out_is_noticed() -> None:
    tap = await open_tap(ScriptedStream([ANSWER, PING]), Collector())
    await tap.receive_some()
    await tap.send_all(frame(0x8A))
    assert not tap.close_sent
    await tap.send_all(close_frame(1000))
    assert tap.close_sent


async def test_close_now_neither_waits_nor_hides_an_error() -> None:
    stream = ScriptedStream([])
    with trio.CancelScope() as scope:
        scope.cancel()

        async def fail_and_close() -> None:
            try:
                raise ValueError("in flight")
            finally:
                await close_now(stream)

        with pytest.raises(ValueError, match="in flight"):
            await fail_and_close()
    assert stream.closed
