"""The sliding-window budget, on a mock clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from farm.errors import BudgetExceeded
from farm.net.budget import Budget


async def test_grants_at_once_up_to_the_limit_then_when_the_window_has_passed(
    autojump_clock: MockClock,
) -> None:
    budget = Budget(10, 60.0, "weight")
    start = trio.current_time()
    await budget.acquire(4)
    await trio.sleep(20)
    await budget.acquire(6)
    assert (budget.used, budget.available) == (10, 0)
    assert trio.current_time() - start == pytest.approx(20)
    await budget.acquire(3)  # when the first four leave the window
    assert trio.current_time() - start == pytest.approx(60)
    assert (budget.used, budget.available) == (9, 1)
    await budget.acquire(2)
    assert trio.current_time() - start == pytest.approx(80)
    await trio.sleep(60)
    assert (budget.used, budget.available) == (0, 10)


async def test_first_come_first_served_even_if_a_smaller_one_would_fit(
    autojump_clock: MockClock,
) -> None:
    budget = Budget(10, 60.0, "weight")
    order: list[int] = []

    async def spend(amount: int) -> None:
        await budget.acquire(amount)
        order.append(amount)

    await budget.acquire(5)
    async with trio.open_nursery() as nursery:
        for amount in (8, 1, 2):
            nursery.start_soon(spend, amount)
            await trio.testing.wait_all_tasks_blocked()
        assert budget.waiting == 3
    assert order == [8, 1, 2]
    assert budget.waiting == 0


async def test_cancelled_acquire_spends_nothing_and_leaves_the_queue(
    autojump_clock: MockClock,
) -> None:
    budget = Budget(10, 60.0, "weight")
    await budget.acquire(8)
    start = trio.current_time()
    order: list[str] = []

    async def spend(name: str, amount: int, patience: float) -> None:
        with trio.move_on_after(patience):
            await budget.acquire(amount)
            order.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(spend, "head", 5, 10.0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(spend, "second", 5, 5.0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(spend, "third", 2, 100.0)
    assert order == ["third"]
    assert trio.current_time() - start == pytest.approx(10)  # when the head gave up
    assert (budget.used, budget.waiting) == (10, 0)


async def test_more_than_the_limit_is_an_error_at_once(autojump_clock: MockClock) -> None:
    budget = Budget(10, 60.0, "REST weight")
    with pytest.raises(BudgetExceeded, match=r"REST weight.*11 exceeds the limit 10"):
        await budget.acquire(11)
    for amount in (0, -1):
        with pytest.raises(ValueError, match="REST weight"):
            await budget.acquire(amount)
    assert budget.used == 0


@pytest.mark.parametrize(("limit", "period"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0)])
def test_impossible_budget(limit: int, period: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Budget(limit, period, "x")


async def test_pause_holds_everyone_and_the_longest_counts(autojump_clock: MockClock) -> None:
    budget = Budget(10, 60.0, "weight")
    start = trio.current_time()
    budget.pause(30)
    budget.pause(5)
    assert budget.available == 0
    await budget.acquire()
    assert trio.current_time() - start == pytest.approx(30)
    assert budget.available == 9


async def test_pause_while_the_head_waits(autojump_clock: MockClock) -> None:
    budget = Budget(1, 10.0, "weight")
    await budget.acquire()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(budget.acquire)
        await trio.sleep(3)
        budget.pause(30)
    assert trio.current_time() - start == pytest.approx(33)


async def test_observation_counts_only_where_it_is_larger(autojump_clock: MockClock) -> None:
    budget = Budget(10, 60.0, "weight")
    await budget.acquire(4)
    budget.observe(3)
    assert budget.used == 4
    budget.observe(7)
    assert (budget.used, budget.available) == (7, 3)
    budget.observe(25)
    assert (budget.used, budget.available) == (25, 0)
    start = trio.current_time()
    await budget.acquire()
    assert trio.current_time() - start == pytest.approx(60)
    assert budget.used == 1


async def test_observation_while_the_head_waits(autojump_clock: MockClock) -> None:
    budget = Budget(10, 60.0, "weight")
    await budget.acquire(10)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(budget.acquire, 10)
        await trio.sleep(20)
        budget.observe(11)
    assert trio.current_time() - start == pytest.approx(80)


Step = tuple[str, int, float]
steps = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "cancel", "pause", "observe"]),
        st.integers(1, 12),
        st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.9, 2.0, 7.0]),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(steps)
def test_never_more_than_the_limit_in_any_window(script: list[Step]) -> None:
    limit, period = 12, 2.0
    grants: list[tuple[float, int]] = []
    asked = granted = 0

    async def spend(budget: Budget, amount: int) -> None:
        await budget.acquire(amount)
        grants.append((trio.current_time(), amount))

    async def impatient(budget: Budget, amount: int, patience: float) -> None:
        with trio.move_on_after(patience):
            await spend(budget, amount)

    async def main() -> None:
        nonlocal asked
        budget = Budget(limit, period, "weight")
        async with trio.open_nursery() as nursery:
            for action, amount, seconds in script:
                if action == "acquire":
                    asked += 1
                    nursery.start_soon(spend, budget, amount)
                    await trio.sleep(seconds)
                elif action == "cancel":
                    nursery.start_soon(impatient, budget, amount, seconds)
                elif action == "pause":
                    budget.pause(seconds)
                else:
                    budget.observe(amount + 4)
        assert budget.waiting == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))
    granted = len(grants)
    assert granted >= asked  # whoever was patient got it
    for begin, _ in grants:
        window = [amount for time, amount in grants if begin <= time < begin + period]
        assert sum(window) <= limit
