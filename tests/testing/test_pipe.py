"""What takes its time on the way: bytes, ends and resets, each connection in a time of its own."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from farm.testing.network import DELAYS, MemoryNetwork, MemoryStream
from farm.testing.pipe import Pipe

HOST = "127.0.0.1"


async def test_everything_arrives_in_order_after_the_delay(autojump_clock: MockClock) -> None:
    near, far = MemoryStream.pair(delay=2.0)
    await near.send_all(b"one")
    await trio.sleep(1.0)
    await near.send_all(b"two")
    await near.aclose()
    assert not far.is_readable()
    for data, time in ((b"one", 2.0), (b"two", 3.0), (b"", 3.0), (b"", 3.0)):
        assert await far.receive_some() == data
        assert trio.current_time() == pytest.approx(time)


async def test_what_was_sent_at_one_instant_is_one_read(autojump_clock: MockClock) -> None:
    near, far = MemoryStream.pair(delay=0.5)
    async with trio.open_nursery() as nursery:
        for piece in (b"a", b"b", b"c"):
            await near.send_all(piece)
        nursery.start_soon(near.send_all, b"d")
        assert await far.receive_some() == b"abcd"


async def test_a_reset_takes_as_long(autojump_clock: MockClock) -> None:
    near, far = MemoryStream.pair(delay=2.0)
    await near.send_all(b"read")
    await trio.sleep(1.0)
    await near.send_all(b"unread")
    near.reset()
    assert await far.receive_some() == b"read"
    with pytest.raises(trio.BrokenResourceError):
        await far.receive_some()
    assert trio.current_time() == pytest.approx(3.0)


async def test_what_is_on_its_way_takes_up_room(autojump_clock: MockClock) -> None:
    near, far = MemoryStream.pair(limit=4, delay=1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, b"abcdef")
        assert await far.receive_some() == b"abcd"
        assert await far.receive_some() == b"ef"
    assert trio.current_time() == pytest.approx(2.0)


async def test_a_reader_who_is_gone_makes_room(autojump_clock: MockClock) -> None:
    pipe = Pipe(limit=10, delay=1.0)
    pipe.send(b"0123456789")
    assert pipe.room == 0
    pipe.abandon()
    assert pipe.room == 10


async def delay_of(network: MemoryNetwork, port: int) -> float:
    """How long it takes to connect and to close again, one way."""
    started = trio.current_time()
    stream = await network.open_stream(HOST, port)
    await stream.aclose()
    return trio.current_time() - started


async def connected(seed: int | None, names: list[str]) -> dict[str, float]:
    """Who takes how long to connect, all at the same time."""
    network = MemoryNetwork(seed)
    port = network.bind()
    listener = network.listen(port)
    took: dict[str, float] = {}

    async def connect(name: str) -> None:
        took[name] = await delay_of(network, port)

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(connect, name, name=name)
    await listener.aclose()
    return took


async def test_each_connection_has_a_delay_of_its_own_by_who_made_it(
    autojump_clock: MockClock,
) -> None:
    took = await connected(1, ["a", "b", "c"])
    least, most = DELAYS
    assert len(set(took.values())) == 3
    assert all(least <= delay <= most for delay in took.values())
    again = await connected(1, ["c", "b", "a"])
    assert again == pytest.approx(took, abs=1e-9)
    assert await connected(2, ["a"]) != pytest.approx({"a": took["a"]}, abs=1e-9)
    assert set((await connected(None, ["a", "b"])).values()) == {0.0}


async def test_the_same_one_has_another_delay_the_next_time(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(1)
    port = network.bind()
    listener = network.listen(port)
    assert await delay_of(network, port) != pytest.approx(await delay_of(network, port))
    await listener.aclose()


async def test_nobody_listens_is_known_after_the_delay(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(1)
    with pytest.raises(ConnectionRefusedError):
        await network.open_stream(HOST, network.bind())
    assert trio.current_time() >= DELAYS[0]
