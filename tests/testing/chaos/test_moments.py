"""When a wall clock that jumped showed a time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from farm.testing import WallClock
from farm.testing.chaos.moments import Moments

S = 1_000_000_000


def test_a_clock_that_did_not_jump_showed_each_time_once() -> None:
    assert Moments(10.0, 100 * S, []).of(103 * S) == [13.0]


@pytest.mark.parametrize(
    ("by", "seconds", "moments"),
    [
        (5.0, 101, [11.0]),
        (5.0, 104, [12.0]),  # jumped over: the nearest there was
        (5.0, 108, [13.0]),
        (-2.0, 101, [11.0, 13.0]),  # shown twice
        (-2.0, 103, [15.0]),
        (-2.0, 90, [10.0]),  # before its start
    ],
)
async def test_a_jump_hides_times_or_shows_them_twice(
    by: float, seconds: int, moments: list[float], autojump_clock: MockClock
) -> None:
    await trio.sleep(10.0)
    clock = WallClock(100 * S)
    started, showed = trio.current_time(), clock()
    await trio.sleep(2.0)
    clock.jump(by)
    assert Moments(started, showed, clock.jumps).of(seconds * S) == moments
