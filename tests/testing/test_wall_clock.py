from __future__ import annotations

from datetime import UTC, datetime

import trio
from trio.testing import MockClock

from farm.testing.wall_clock import START, ClockJump, WallClock

SECOND = 1_000_000_000


async def test_it_follows_the_virtual_clock(autojump_clock: MockClock) -> None:
    await trio.sleep(100)  # what was before its first use is nothing to it
    clock = WallClock()
    assert datetime.fromtimestamp(clock() / SECOND, UTC) == datetime(2026, 8, 10, tzinfo=UTC)
    for _ in range(3):
        await trio.sleep(0.25)
    assert clock() == START + 750_000_000
    await trio.sleep(25 * 3600)
    assert clock() == START + 750_000_000 + 25 * 3600 * SECOND


async def test_it_begins_where_it_is_told_to_and_shows_whole_nanoseconds(
    autojump_clock: MockClock,
) -> None:
    clock = WallClock(start=7)
    assert clock() == 7
    await trio.sleep(0.1)
    assert clock() == 100_000_007
    assert isinstance(clock(), int)


async def test_it_jumps_both_ways_and_remembers(autojump_clock: MockClock) -> None:
    clock = WallClock(start=0)
    clock.jump(60.0)  # before it was ever read
    assert clock() == 60 * SECOND
    await trio.sleep(10)
    clock.jump(-3600.5)
    assert clock() == 70 * SECOND - 3_600_500_000_000
    await trio.sleep(1)
    assert clock() == 71 * SECOND - 3_600_500_000_000
    assert clock.jumps == [ClockJump(0.0, 0, 60.0), ClockJump(10.0, 70 * SECOND, -3600.5)]
