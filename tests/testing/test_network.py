"""The loopback in memory: its streams against Trio's own checks, its ports, and leaks."""

from __future__ import annotations

import json
import random
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import (
    MockClock,
    check_half_closeable_stream,
    check_two_way_stream,
    wait_all_tasks_blocked,
)

from farm import Gap, Trade, open_farm
from farm.pipeline import Environment
from farm.storage.reader import read_batches
from farm.testing import FakeBinance, Push, Recorded, open_fake
from farm.testing.network import BUFFER_BYTES, MemoryNetwork, MemoryStream
from farm.testing.tls import make_contexts
from farm.testing.wall_clock import START, WallClock
from tests.effort import moments
from tests.farms import collector

Pair = tuple[MemoryStream, MemoryStream]
HOST = "127.0.0.1"


async def pair() -> Pair:
    return MemoryStream.pair()


async def clogged_pair() -> Pair:
    near, far = MemoryStream.pair()
    await near.send_all(b"x" * BUFFER_BYTES)
    await far.send_all(b"x" * BUFFER_BYTES)
    return near, far


# Streams -----------------------------------------------------------------------------------------


async def test_streams_are_as_trio_wants_them() -> None:
    await check_half_closeable_stream(pair, clogged_pair)


async def test_tls_over_them_is_as_trio_wants_it() -> None:
    server, client = make_contexts(HOST)
    # TLS 1.3 sends tickets after the handshake, which trio.testing takes for data.
    server.maximum_version = ssl.TLSVersion.TLSv1_2

    async def secure_pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        near, far = MemoryStream.pair()
        return (
            trio.SSLStream(near, client, server_hostname=HOST),
            trio.SSLStream(far, server, server_side=True),
        )

    await check_two_way_stream(secure_pair, None)


async def test_who_sends_more_than_fits_waits_for_the_reader() -> None:
    near, far = MemoryStream.pair(limit=1000)
    sent = trio.Event()

    async def send() -> None:
        await near.send_all(bytes(range(250)) * 10)
        sent.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        got = await far.receive_some()
        assert len(got) == 1000
        assert not sent.is_set()
        while len(got) < 2500:
            got += await far.receive_some(random.randrange(1, 400))
        await sent.wait()
    assert got == bytes(range(250)) * 10


async def test_the_other_direction_has_a_bound_of_its_own() -> None:
    near, far = MemoryStream.pair(limit=10)
    await near.send_all(b"x" * 10)
    await far.send_all(b"y" * 10)
    assert await near.receive_some() == b"y" * 10
    assert await far.receive_some() == b"x" * 10


async def test_a_send_that_is_cancelled_may_have_sent_a_part() -> None:
    near, far = MemoryStream.pair(limit=10)
    with trio.move_on_after(0) as scope:
        await near.send_all(b"x" * 25)
    assert scope.cancelled_caught
    assert not far.is_readable()  # cancelled before anything was done
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, b"0123456789abc")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await near.aclose()
    assert await far.receive_some() == b"0123456789"
    assert await far.receive_some() == b""


@pytest.mark.parametrize("near_first", [True, False])
async def test_after_a_reset_both_ends_fail_and_what_was_unread_is_gone(
    near_first: bool,
) -> None:
    near, far = MemoryStream.pair()
    await near.send_all(b"unread")
    await far.send_all(b"unread")
    (near if near_first else far).reset()
    ours, theirs = (near, far) if near_first else (far, near)
    for _ in range(2):
        assert ours.is_readable()
        assert theirs.is_readable()
        for call in (theirs.receive_some, partial(theirs.send_all, b"x"), theirs.send_eof):
            with pytest.raises(trio.BrokenResourceError):
                await call()
        for call in (ours.receive_some, partial(ours.send_all, b"x"), ours.send_eof):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        ours.reset()
        await ours.aclose()
    await theirs.aclose()
    theirs.reset()
    with pytest.raises(trio.ClosedResourceError):
        await theirs.receive_some()


@pytest.mark.parametrize("end", ["near", "far"])
async def test_a_reset_wakes_all_who_wait(end: str) -> None:
    near, far = await clogged_pair()
    empty, peer = MemoryStream.pair()
    ours = trio.ClosedResourceError if end == "near" else trio.BrokenResourceError

    async def expect(error: type[Exception], call: Callable[[], object]) -> None:
        with pytest.raises(error):
            await call()  # type: ignore[misc]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, ours, partial(near.send_all, b"x"))
        nursery.start_soon(expect, ours, empty.receive_some)
        await wait_all_tasks_blocked()
        (near if end == "near" else far).reset()
        (empty if end == "near" else peer).reset()


async def test_the_end_of_one_direction_comes_after_what_was_sent_and_leaves_the_other() -> None:
    near, far = MemoryStream.pair()
    await near.send_all(b"last")
    await near.send_eof()
    await near.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")
    await far.send_all(b"answer")
    assert [await far.receive_some() for _ in range(3)] == [b"last", b"", b""]
    await far.aclose()
    assert [await near.receive_some() for _ in range(2)] == [b"answer", b""]


async def test_one_reader_and_one_sender_at_a_time() -> None:
    near, _far = await clogged_pair()
    empty, _peer = MemoryStream.pair()
    for call in (empty.receive_some, partial(near.send_all, b"x")):
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                nursery.start_soon(call)
        (error,) = caught.value.exceptions
        assert isinstance(error, trio.BusyResourceError)


@pytest.mark.parametrize("most", [0, -1])
async def test_nothing_is_no_amount_to_read(most: int) -> None:
    near, _far = MemoryStream.pair()
    with pytest.raises(ValueError, match="max_bytes"):
        await near.receive_some(most)


async def test_a_read_that_is_cancelled_takes_nothing() -> None:
    near, far = MemoryStream.pair()
    text = b"0123456789" * 20
    got = b""
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for byte in text:
                await near.send_all(bytes([byte]))
            await near.aclose()

        nursery.start_soon(send)
        for steps in moments(2000):
            with trio.CancelScope() as scope:
                if steps % 3 == 0:
                    scope.cancel()
                got += await far.receive_some()
    while chunk := await far.receive_some():
        got += chunk
    assert got == text


# Ports -------------------------------------------------------------------------------------------


async def test_connecting_needs_somebody_who_listens() -> None:
    network = MemoryNetwork()
    port = network.bind()
    with pytest.raises(ConnectionRefusedError, match=f"nobody listens on a.test:{port}"):
        await network.open_stream("a.test", port)
    listener = network.listen(port)
    near = await network.open_stream("a.test", port)
    await near.send_all(b"early")  # as with TCP: before it is accepted
    async with await listener.accept() as far, near:
        assert await far.receive_some() == b"early"
        assert network.streams_open == 2
    assert network.streams_open == 0


async def test_a_port_has_one_owner_and_one_listener() -> None:
    network = MemoryNetwork()
    first, second = network.bind(), network.bind()
    assert first != second
    for taken in (first, second):
        with pytest.raises(OSError, match="in use"):
            network.bind(taken)
    listener = network.listen(first)
    for wrong in (first, 1):
        with pytest.raises(OSError, match="not bound, or listens already"):
            network.listen(wrong)
    await listener.aclose()
    await network.listen(first).aclose()
    network.release(first)
    network.release(first)
    assert network.bind(first) == first


async def test_a_listener_that_ends_resets_those_it_has_not_accepted() -> None:
    network = MemoryNetwork()
    port = network.bind()
    listener = network.listen(port)
    accepted, waiting = [await network.open_stream(HOST, port) for _ in range(2)]
    far = await listener.accept()
    network.release(port)
    with pytest.raises(trio.BrokenResourceError):
        await waiting.receive_some()
    await accepted.send_all(b"still")
    assert await far.receive_some() == b"still"
    with pytest.raises(ConnectionRefusedError):
        await network.open_stream(HOST, port)
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_who_accepts_is_woken_by_the_end_of_the_listener() -> None:
    network = MemoryNetwork()
    port = network.bind()
    listener = network.listen(port)
    async with trio.open_nursery() as nursery:

        async def accept() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await listener.accept()

        nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        network.release(port)


async def test_an_old_listener_does_not_end_the_new_one() -> None:
    network = MemoryNetwork()
    port = network.bind()
    old = network.listen(port)
    network.release(port)
    network.bind(port)
    new = network.listen(port)
    await old.aclose()
    await network.open_stream(HOST, port)
    assert await new.accept()


async def test_it_lives_on_a_virtual_clock(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    port = network.bind()

    async def answer_tomorrow(stream: MemoryStream) -> None:
        await trio.sleep(86_400)
        await stream.send_all(await stream.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer_tomorrow, [network.listen(port)])
        async with await network.open_stream(HOST, port) as stream:
            await stream.send_all(b"question")
            assert await stream.receive_some() == b"question"
            assert trio.current_time() == 86_400
        nursery.cancel_scope.cancel()


# A whole farm ------------------------------------------------------------------------------------

HOURS = 25
NOON = START + 12 * 3600 * 1_000_000_000


def trades() -> Iterator[Push]:
    """Six an hour."""
    for number in range(HOURS * 6):
        time = NOON + number * 600_000_000_000
        text = {
            "e": "trade", "E": time // 1_000_000, "s": "BTCUSDT", "t": number, "p": "1.5",
            "q": "2", "T": time // 1_000_000, "m": True, "M": True,
        }  # fmt: skip
        yield Push(time, "btcusdt@trade", json.dumps(text))


async def inline(work: Callable[[], object]) -> object:
    await trio.lowlevel.checkpoint()
    return work()


async def test_a_whole_farm_lives_for_a_day_and_more_in_no_time(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    network, clock = MemoryNetwork(), WallClock(NOON)
    fake = FakeBinance(trades(), symbols=["BTCUSDT"], pace=Recorded(start_after=1), network=network)
    environment = Environment(
        wall_clock=clock, run_sync=inline, open_stream=network.open_stream, seed=1
    )
    async with open_fake(fake):
        config = {
            "collectors": [collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)],
            "data": str(tmp_path),
            "storage": {"flush_seconds": 3600.0},
        }
        async with open_farm(config, environment=environment):
            await fake.finished.wait()
            await trio.sleep(60)
            assert fake.connections_accepted > 1  # one was replaced before the venue ended it
            assert [connection.name for connection in fake.connections] == ["c2"]
    assert trio.current_time() >= (HOURS - 1) * 3600
    assert network.streams_open == 0
    rows = [trade for batch in read_batches(tmp_path, Trade) for trade in batch]
    assert [int(trade.id) for trade in rows] == list(range(HOURS * 6))
    assert list(read_batches(tmp_path, Gap)) == []
    assert all(abs(trade.receive_time - trade.event_time) < 10**9 for trade in rows)
