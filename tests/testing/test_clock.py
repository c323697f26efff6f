"""The clock on its own: a floor that notes what comes, and Trio's mock clock for time."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from farm.testing.clock import Flood, MarketClock, Pace, Recorded
from farm.testing.connection import Connection
from farm.testing.source import Push, Source, depth_reply

SECOND = 10**9


class NotingFloor:
    def __init__(self) -> None:
        self.taken: list[str] = []
        self.delivered: list[tuple[float, str]] = []
        self.streams: set[str] = set()
        self.awaited: set[str] = set()

    def take(self, push: Push) -> None:
        self.taken.append(push.text)

    def deliver(self, push: Push, limit: int) -> list[Connection]:
        self.delivered.append((trio.current_time(), push.text))
        return []

    def subscribed(self) -> Collection[str]:
        return self.streams

    def awaits_snapshot(self, symbol: str) -> bool:
        return symbol in self.awaited

    @property
    def heard(self) -> list[str]:
        return [text for _, text in self.delivered]


def clock_on(source: Source, pace: Pace, *, hold: bool = True) -> tuple[MarketClock, NotingFloor]:
    floor = NotingFloor()
    return MarketClock(source, floor, pace, hold=hold), floor


def pushes(*seconds: float) -> list[Push]:
    return [Push(round(at * SECOND), "s", f"{at:g}") for at in seconds]


async def test_recorded_pace_keeps_the_time_of_the_source(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock, floor = clock_on(pushes(100, 101.5, 101.5, 107), Recorded(speed=2))
    started = trio.current_time()
    await clock.run()
    assert [(at - started, text) for at, text in floor.delivered] == [
        (0, "100"), (0.75, "101.5"), (0.75, "101.5"), (3.5, "107")
    ]  # fmt: skip
    assert clock.finished.is_set()
    assert clock.now == 107 * SECOND


async def test_nothing_is_heard_before_its_time(autojump_clock: trio.testing.MockClock) -> None:
    """A market that opens now, and whose first message is of a moment later."""
    source = [Push(100 * SECOND, "s", "state", silent=True), *pushes(100.25, 101)]
    clock, floor = clock_on(source, Recorded())
    started = trio.current_time()
    await clock.run()
    assert [at - started for at, _ in floor.delivered] == [0.25, 1]


async def test_recorded_pace_can_wait_for_its_audience_but_not_twice(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    clock, floor = clock_on(pushes(1, 2, 3), Recorded(start_after={"a", "b"}))
    nursery.start_soon(clock.run)
    floor.streams = {"a"}
    clock.notify()
    await trio.sleep(50)
    assert floor.heard == []
    floor.streams = {"a", "b", "c"}
    clock.notify()
    await wait_all_tasks_blocked()
    assert floor.heard == ["1"]
    floor.streams = set()
    clock.notify()
    await clock.finished.wait()
    assert floor.heard == ["1", "2", "3"]


@pytest.mark.parametrize("start_after", [2, ("a", "b")])
async def test_flood_stands_until_its_audience_is_there(
    nursery: trio.Nursery, start_after: int | tuple[str, ...]
) -> None:
    clock, floor = clock_on(pushes(1, 2000), Flood(start_after=start_after))
    nursery.start_soon(clock.run)
    floor.streams = {"a"}
    clock.notify()
    await wait_all_tasks_blocked()
    assert floor.taken == []
    floor.streams = {"a", "b"}
    clock.notify()
    await clock.finished.wait()
    assert floor.heard == ["1", "2000"]


async def test_flood_stands_again_when_the_audience_leaves(nursery: trio.Nursery) -> None:
    floor_left = trio.Event()

    def source() -> Iterator[Push]:
        yield Push(1, "s", "1")
        floor.streams = set()
        clock.notify()
        floor_left.set()
        yield Push(2, "s", "2")

    clock, floor = clock_on(source(), Flood())
    floor.streams = {"s"}
    clock.notify()
    nursery.start_soon(clock.run)
    await floor_left.wait()
    await wait_all_tasks_blocked()
    assert floor.heard == ["1"]
    floor.streams = {"s"}
    clock.notify()
    await clock.finished.wait()
    assert floor.heard == ["1", "2"]


async def test_the_opening_is_known_before_anyone_comes(nursery: trio.Nursery) -> None:
    opening = [Push(1, depth_reply("X"), "book", silent=True), Push(1, "/info", "i", silent=True)]
    clock, floor = clock_on([*opening, *pushes(2)], Flood())
    nursery.start_soon(clock.run)
    await wait_all_tasks_blocked()
    assert floor.taken == ["book", "i"]
    assert floor.delivered == []
    nursery.cancel_scope.cancel()


async def test_silent_pushes_are_taken_and_not_delivered() -> None:
    clock, floor = clock_on([*pushes(1), Push(2, "s", "lost", silent=True)], Recorded(speed=1e9))
    await clock.run()
    assert floor.taken == ["1", "lost"]
    assert floor.heard == ["1"]


async def test_the_clock_stands_at_a_snapshot_until_it_is_asked_for(nursery: trio.Nursery) -> None:
    clock, floor = clock_on([*pushes(1), Push(2, depth_reply("X"), "book"), *pushes(3)], Flood())
    floor.streams = {"s"}
    floor.awaited = {"X"}
    clock.notify()
    nursery.start_soon(clock.run)
    await wait_all_tasks_blocked()
    assert floor.taken == ["1", "book"]
    assert floor.heard == ["1"]
    floor.awaited = set()
    clock.notify()
    await clock.finished.wait()
    assert floor.heard == ["1", "3"]


async def test_standing_at_a_snapshot_does_not_make_the_market_hurry_afterwards(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    source = [*pushes(1), Push(2 * SECOND, depth_reply("X"), "book"), *pushes(3, 5)]
    clock, floor = clock_on(source, Recorded())
    floor.awaited = {"X"}
    nursery.start_soon(clock.run)
    await trio.sleep(100)
    floor.awaited = set()
    clock.notify()
    await clock.finished.wait()
    times = {text: at for at, text in floor.delivered}
    assert times["5"] - times["3"] == 2


@pytest.mark.parametrize("hold", [True, False])
async def test_no_hold_where_nobody_could_ask(hold: bool) -> None:
    clock, floor = clock_on([Push(1, depth_reply("X"), "book"), *pushes(2)], Flood(), hold=hold)
    floor.streams = {"s"}
    floor.awaited = set() if hold else {"X"}
    clock.notify()
    await clock.run()
    assert floor.heard == ["2"]


async def test_others_run_while_the_market_floods(nursery: trio.Nursery) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    clock, floor = clock_on(pushes(*range(10_000)), Flood())
    floor.streams = {"s"}
    clock.notify()
    nursery.start_soon(other)
    await clock.run()
    nursery.cancel_scope.cancel()
    assert turns > 100


async def test_cancelling_the_clock_closes_its_source() -> None:
    closed = False

    def source() -> Iterator[Push]:
        nonlocal closed
        try:
            while True:
                yield Push(1, "s", "x")
        finally:
            closed = True

    clock, floor = clock_on(source(), Flood())
    floor.streams = {"s"}
    clock.notify()
    with trio.move_on_after(0.01) as scope:
        await clock.run()
    assert scope.cancelled_caught
    assert closed
    assert not clock.finished.is_set()


def test_a_speed_is_positive() -> None:
    with pytest.raises(ValueError, match="speed"):
        Recorded(speed=0)
