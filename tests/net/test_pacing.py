"""The latency budget: who waits, for how long, and who never does."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from farm.net.pacing import MEMORY, Pacing
from farm.net.reading import READ_BYTES
from farm.net.tap import Tap
from farm.net.websocket import WebSocketOptions, open_websocket
from tests.net.peers import ANSWER, RawServer, close_frame, frame, text

BUDGET = 0.02
PING = frame(0x89, b"ping")


class Reads:
    """What `on_read` was called with: when, and how many messages."""

    def __init__(self) -> None:
        self.reads: list[tuple[float, int]] = []

    def __call__(self, messages: list[bytes], receive_time: int) -> None:
        self.reads.append((trio.current_time(), len(messages)))

    @property
    def count(self) -> int:
        return sum(count for _, count in self.reads)


async def open_tap(stream: trio.abc.Stream, on_read: Reads, budget: float = BUDGET) -> Tap:
    tap = Tap(stream, on_read, max_message_bytes=1 << 20, latency_budget=budget)
    assert await tap.receive_some() == ANSWER
    return tap


async def send_paced(stream: trio.abc.Stream, count: int, interval: float) -> None:
    for _ in range(count):
        await stream.send_all(text("x"))
        await trio.sleep(interval)


async def received(count: int, interval: float, budget: float = BUDGET) -> tuple[Reads, float]:
    """What came of so many messages, and how late the latest was."""
    near, far = trio.testing.memory_stream_pair()
    on_read = Reads()
    await far.send_all(ANSWER)
    tap = await open_tap(near, on_read, budget)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tap.receive_some)
        await send_paced(far, count, interval)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    late, number = 0.0, 0
    for time, read in on_read.reads:
        late = max(late, time - start - number * interval)  # the first of a read waited longest
        number += read
    return on_read, late


async def test_busy_line_is_read_in_batches_within_the_budget(autojump_clock: MockClock) -> None:
    on_read, late = await received(2_000, 0.001)
    assert on_read.count == 2_000
    assert max(count for _, count in on_read.reads) >= 15  # 20 messages come in 20 ms
    assert len(on_read.reads) < 400
    assert late <= BUDGET + 1e-6


@pytest.mark.parametrize("interval", [0.011, 0.1, 3.0])
async def test_line_with_fewer_than_two_in_a_budget_is_immediate(
    autojump_clock: MockClock, interval: float
) -> None:
    on_read, late = await received(100, interval)
    assert [count for _, count in on_read.reads] == [1] * 100
    assert late == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("budget", [0.0, 0.0009])
async def test_no_budget_is_no_wait(autojump_clock: MockClock, budget: float) -> None:
    on_read, late = await received(500, 0.0001, budget)
    assert [count for _, count in on_read.reads] == [1] * 500
    assert late == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("budget", [0.001, 0.02, 1.0])
async def test_a_burst_is_forgotten(autojump_clock: MockClock, budget: float) -> None:
    pacing = Pacing(budget)
    for _ in range(1_000):
        pacing.note(100, 1_000, trio.current_time())
        await trio.sleep(budget / 10)
    busy = trio.current_time()
    pacing.note(100, 1_000, busy)
    await pacing.wait()
    assert trio.current_time() - busy == pytest.approx(budget)
    await trio.sleep(20 * max(MEMORY, 5 * budget))
    quiet = trio.current_time()
    pacing.note(1, 10, quiet)
    await pacing.wait()
    assert trio.current_time() == quiet


@pytest.mark.parametrize("budget", [0.001, 0.1, 1.0])
async def test_one_message_is_no_rate(autojump_clock: MockClock, budget: float) -> None:
    pacing = Pacing(budget)
    start = trio.current_time()
    pacing.note(1, 100, start)
    await pacing.wait()
    assert trio.current_time() == start


async def test_work_counts_as_waiting(autojump_clock: MockClock) -> None:
    pacing = Pacing(BUDGET)
    start = trio.current_time()
    pacing.note(10_000, 1_000, start)
    await trio.sleep(0.75 * BUDGET)
    await pacing.wait()
    assert trio.current_time() - start == pytest.approx(BUDGET)
    await trio.sleep(1)
    await pacing.wait()
    assert trio.current_time() - start == pytest.approx(BUDGET + 1)


async def test_a_line_with_a_backlog_does_not_wait(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    on_read = Reads()
    await far.send_all(ANSWER)
    tap = await open_tap(near, on_read)
    await far.send_all(text("x" * 200) * (10 * READ_BYTES // 200) + PING)
    start = trio.current_time()
    assert await tap.receive_some() == PING
    assert len(on_read.reads) > 10
    assert trio.current_time() == start


async def test_nothing_waits_once_we_are_closing(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    on_read = Reads()
    await far.send_all(ANSWER)
    tap = await open_tap(near, on_read)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tap.receive_some)
        await send_paced(far, 1_000, 0.001)
        tap.start_closing()
        await trio.sleep(BUDGET)
        before = len(on_read.reads)
        await send_paced(far, 50, 0.001)
        assert [count for _, count in on_read.reads[before:]] == [1] * 50
        nursery.cancel_scope.cancel()


async def test_pings_are_answered_within_the_budget(autojump_clock: MockClock) -> None:
    server = RawServer()
    pongs: list[float] = []
    on_read = Reads()
    all_sent = trio.Event()
    sent = 0.0

    async def serve() -> None:
        nonlocal sent
        await server.accept()
        await send_paced(server.stream, 1_000, 0.001)
        await server.send(PING)
        sent = trio.current_time()
        await server.event()
        pongs.append(trio.current_time())
        await send_paced(server.stream, 100, 0.001)
        all_sent.set()
        await server.event()
        await server.send(close_frame(1000))
        await server.stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        options = WebSocketOptions(latency_budget=BUDGET)
        async with open_websocket(
            "ws://farm.test/", on_read, options=options, open_stream=server.open_stream
        ) as socket:
            await all_sent.wait()
            assert socket.pings == 1
            await socket.close()
    assert on_read.count == 1_100
    assert 0 <= pongs[0] - sent <= BUDGET + 1e-6
    assert len(on_read.reads) < 300
