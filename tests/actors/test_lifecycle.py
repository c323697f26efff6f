"""The stream of events: its readers, their bounds, its end."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from farm.actors.lifecycle import Health, Lifecycle, LifecycleEvent, LifecycleLog


def event(number: int) -> LifecycleEvent:
    return LifecycleEvent("actor", Lifecycle.STARTED, float(number), number)


async def test_every_reader_gets_what_happens_from_when_it_came() -> None:
    log = LifecycleLog()
    log.tell(event(0))
    with log.events() as first:
        log.tell(event(1))
        with log.events() as second:
            log.tell(event(2))
        log.tell(event(3))
        log.close()
        assert [told.run async for told in first] == [1, 2, 3]
        assert first.missed == 0
    assert await anext(aiter(second)) == event(2)  # it left with one event unread


async def test_who_is_too_slow_loses_the_oldest_and_is_told_how_many() -> None:
    log = LifecycleLog()
    with log.events(room=3) as slow, log.events() as quick:
        for number in range(10):
            log.tell(event(number))
        assert (await anext(slow)).run == 7
        assert slow.missed == 7
        log.tell(event(10))
        log.close()
        assert [told.run async for told in slow] == [8, 9, 10]
        assert [told.run async for told in quick] == list(range(11))
    assert (slow.missed, quick.missed) == (7, 0)


async def test_a_reader_waits_for_what_happens_and_for_the_end() -> None:
    log = LifecycleLog()
    got: list[int] = []

    async def read() -> None:
        with log.events() as events:
            async for told in events:
                got.append(told.run)  # noqa: PERF401 (each as it comes)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for number in range(3):
            await wait_all_tasks_blocked()
            assert got == list(range(number))
            log.tell(event(number))
        await wait_all_tasks_blocked()
        log.close()
    assert got == [0, 1, 2]


async def test_after_the_end_there_is_nothing_to_read() -> None:
    log = LifecycleLog()
    log.close()
    with log.events() as events:
        assert [told async for told in events] == []


async def test_a_cancelled_reader_loses_nothing() -> None:
    log = LifecycleLog()
    with log.events() as events:
        log.tell(event(1))
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(events)
        assert scope.cancelled_caught
        assert await anext(events) == event(1)


async def test_reading_lets_other_tasks_run() -> None:
    log = LifecycleLog()
    with log.events() as events:
        for number in range(10):
            log.tell(event(number))
        log.close()
        with trio.CancelScope() as scope:
            async for told in events:
                if told.run == 5:
                    scope.cancel()
        assert told.run == 5


@pytest.mark.parametrize("room", [0, -1])
def test_room_for_nothing_is_refused(room: int) -> None:
    with pytest.raises(ValueError, match="room must be 1 or more"), LifecycleLog().events(room):
        pass


async def test_an_actor_is_ready_once_a_run(autojump_clock: MockClock) -> None:
    told: list[float] = []
    health = Health(lambda: told.append(trio.current_time()))
    assert health.since is None
    for _ in range(3):
        await trio.sleep(2.0)
        health.ready()
    assert (health.since, told) == (2.0, [2.0])
