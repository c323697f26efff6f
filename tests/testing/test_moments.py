"""Cancelling at every await: the moments, and what is found out about each attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.lowlevel import checkpoint

from farm.testing.moments import DidNotEnd, Moment, at_every_moment


def three_awaits(met: list[str]) -> Callable[[Moment], Awaitable[None]]:
    async def trial(moment: Moment) -> None:
        reached = []
        with moment.cancels():
            for at in ("first", "second", "third"):
                reached.append(at)
                await checkpoint()
            reached.append("after")
        met.append(reached[-1])

    return trial


def test_every_await_is_cancelled_once_and_nothing_else_is() -> None:
    met: list[str] = []
    assert at_every_moment(three_awaits(met)) == 4
    # The first is the undisturbed one; before the first step nothing has happened, and what is
    # cancelled as it goes to its third await has no other.
    assert met == ["after", "first", "first", "second", "third"]


def test_what_other_tasks_do_makes_moments_of_its_own() -> None:
    seen: set[tuple[bool, int]] = set()

    async def trial(moment: Moment) -> None:
        send, receive = trio.open_memory_channel[int](5)

        async def peer() -> None:
            for number in range(3):
                await checkpoint()
                send.send_nowait(number)
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer)
            got = 0
            with moment.cancels() as scope:
                for _ in range(3):
                    await receive.receive()
                    got += 1
            seen.add((scope.cancelled_caught, got))
            assert receive.statistics().current_buffer_used + got <= 3
            nursery.cancel_scope.cancel()

    at_every_moment(trial, seeds=range(3))
    assert seen == {(True, 0), (True, 1), (True, 2), (False, 3)}


def test_something_else_than_a_cancellation_may_come() -> None:
    ends: list[tuple[int, bool]] = []

    async def trial(moment: Moment) -> None:
        stop = trio.Event()
        rounds = 0
        with moment.calls(stop.set):
            while not stop.is_set() and rounds < 3:
                await checkpoint()
                rounds += 1
        assert moment.came is stop.is_set()
        ends.append((rounds, moment.came))

    assert at_every_moment(trial) == 4
    assert ends == [(3, False), (0, True), (1, True), (2, True), (3, True)]


@pytest.mark.parametrize(
    ("last", "most", "steps"),
    [
        (6, None, [0, 1, 2, 3, 4, 5, 6]),
        (6, 3, [0, 3, 6]),
        (6, 1, [0, 6]),
        (6, 100, [0, 1, 2, 3, 4, 5, 6]),
        (0, None, [0]),
        (0, 5, [0]),
    ],
)
def test_moments_are_thinned_out_evenly(last: int, most: int | None, steps: list[int]) -> None:
    tried: list[int | None] = []

    async def trial(moment: Moment) -> None:
        tried.append(moment.step)
        with moment.cancels():
            for _ in range(last):
                await checkpoint()

    assert at_every_moment(trial, most=most) == len(steps)
    assert tried == [None, *steps]


def test_each_attempt_runs_its_tasks_in_the_order_of_its_seed() -> None:
    orders: list[str] = []

    async def trial(moment: Moment) -> None:
        order: list[str] = []

        async def note(name: str) -> None:
            await checkpoint()
            order.append(name)

        with moment.cancels():
            async with trio.open_nursery() as nursery:
                for name in "abcdefgh":
                    nursery.start_soon(note, name)
        if moment.step is None:
            orders.append("".join(order))

    at_every_moment(trial, most=2, seeds=[1, 2, 1])
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted("abcdefgh")


def test_virtual_hours_take_no_time() -> None:
    async def trial(moment: Moment) -> None:
        with moment.cancels():
            await trio.sleep(3600)
            await trio.sleep(3600)
        assert trio.current_time() in (0.0, 3600.0, 7200.0)

    assert at_every_moment(trial, within=7201.0) == 3


# What is found out --------------------------------------------------------------------------------


def test_a_failure_says_at_which_moment_and_where() -> None:
    async def trial(moment: Moment) -> None:
        with moment.cancels() as scope:
            await checkpoint()
            await trio.sleep(1)  # the one that goes wrong
        assert not (scope.cancelled_caught and moment.step == 2), "spoilt"

    with pytest.raises(AssertionError, match="spoilt") as caught:
        at_every_moment(trial, seeds=[7])
    (note,) = caught.value.__notes__
    assert note.startswith("at moment 2, seed 7; ")
    assert "test_moments.py:" in note
    assert "the one that goes wrong" in note


def test_a_failure_of_the_undisturbed_run_says_so() -> None:
    async def trial(moment: Moment) -> None:
        raise ValueError("broken from the start")

    with pytest.raises(ValueError, match="broken") as caught:
        at_every_moment(trial)
    assert caught.value.__notes__ == ["undisturbed, seed 0; it had not come"]


def test_a_task_that_is_left_is_found() -> None:
    async def straggler() -> None:
        await trio.sleep(1000)

    async def trial(moment: Moment) -> None:
        with moment.cancels() as scope:
            await checkpoint()
        if scope.cancelled_caught:
            trio.lowlevel.spawn_system_task(straggler)

    with pytest.raises(AssertionError, match=r"1 tasks are left: .*straggler") as caught:
        at_every_moment(trial)
    assert "at moment 0" in caught.value.__notes__[0]


@pytest.mark.parametrize("shield", [False, True])
def test_what_does_not_end_is_ended_and_named(shield: bool) -> None:
    async def trial(moment: Moment) -> None:
        with moment.cancels():
            try:
                await checkpoint()
            finally:
                with trio.CancelScope(shield=shield):
                    await trio.sleep_forever() if moment.came else None
        if moment.came and not shield:
            await trio.sleep_forever()

    with pytest.raises(DidNotEnd, match=r"within 5 s(.|\n)*sleep_forever\(\)"):
        at_every_moment(trial, within=5.0)


def test_it_has_its_time_again_from_the_moment_on() -> None:
    async def trial(moment: Moment) -> None:
        with moment.cancels():
            await trio.sleep(4)
            await checkpoint()
        with trio.CancelScope(shield=True):
            await trio.sleep(4 if moment.came else 0)

    at_every_moment(trial, within=5.0)


def test_a_trial_that_is_not_repeatable_is_none() -> None:
    runs = 0

    async def trial(moment: Moment) -> None:
        nonlocal runs
        runs += 1
        with moment.cancels():
            for _ in range(3 if runs == 1 else 1):
                await checkpoint()

    with pytest.raises(AssertionError, match="not repeatable: it had ended after 1 steps"):
        at_every_moment(trial)


async def test_it_wants_a_trio_of_its_own() -> None:
    with pytest.raises(RuntimeError, match="inside a run"):
        at_every_moment(three_awaits([]))


def test_an_error_of_what_comes_is_raised() -> None:
    def fail() -> None:
        raise LookupError("nothing there")

    async def trial(moment: Moment) -> None:
        with moment.calls(fail):
            await checkpoint()

    with pytest.raises(LookupError, match="nothing there"):
        at_every_moment(trial)


def test_a_moment_watches_one_block() -> None:
    async def trial(moment: Moment) -> None:
        with moment.cancels():
            await checkpoint()
        with moment.cancels():
            await checkpoint()

    with pytest.raises(RuntimeError, match="one block"):
        at_every_moment(trial)
