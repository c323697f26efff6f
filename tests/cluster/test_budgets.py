"""Budgets of one address, kept by the parent and spent by its shards, on a mock clock.

What a shard and its parent tell one another takes its time here, as it does on a link.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from farm.cluster.budgets import Grants, RemoteBudget, RemoteBudgets
from farm.cluster.messages import Ask, Cancel, FromShard, Grant, Observe, Pause, ToShard
from farm.errors import BudgetExceeded
from farm.net.budget import Budget
from tests.effort import runs

M = TypeVar("M")

HOST = "stream.example"


class Parent:
    """The budgets of an address, and shards that spend from them; a message takes `delay`."""

    def __init__(self, nursery: trio.Nursery, delay: float = 0.001) -> None:
        self.budgets: dict[tuple[str, str], Budget] = {}
        self.said: list[FromShard] = []
        self.answered: list[ToShard] = []
        self._nursery = nursery
        self._delay = delay

    def budget(self, what: str, host: str, limit: int, period: float) -> Budget:
        return self.budgets.setdefault((what, host), Budget(limit, period, f"{what} {host}"))

    def shard(self, nursery: trio.Nursery | None = None) -> RemoteBudgets:
        """One more; what it waits for is waited for in `nursery`."""
        nursery = nursery or self._nursery
        remote = RemoteBudgets(self._way(nursery, self.said, lambda message: take(message)))
        answer = self._way(nursery, self.answered, lambda message: granted(message))
        grants = Grants(self.budget, answer, nursery)

        def take(message: FromShard) -> None:
            assert isinstance(message, Ask | Cancel | Pause | Observe)
            grants.take(message)

        def granted(message: ToShard) -> None:
            assert isinstance(message, Grant)
            remote.granted(message)

        return remote

    def _way(
        self, nursery: trio.Nursery, log: list[M], deliver: Callable[[M], None]
    ) -> Callable[[M], None]:
        """Messages come in the order in which they were sent."""
        sender, receiver = trio.open_memory_channel[tuple[float, M]](10_000)

        async def carry() -> None:
            async for due, message in receiver:
                await trio.sleep_until(due)
                log.append(message)
                deliver(message)

        nursery.start_soon(carry)
        return lambda message: sender.send_nowait((trio.current_time() + self._delay, message))


async def test_what_is_acquired_is_granted_by_the_parents_budget(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        parent = Parent(nursery, delay=0.0)
        budget = parent.shard().make("connect", HOST, 10, 60.0)
        start = trio.current_time()
        await budget.acquire(4)
        await budget.acquire(6)
        ours = parent.budgets["connect", HOST]
        assert (ours.limit, ours.period, ours.used) == (10, 60.0, 10)
        assert trio.current_time() == start
        await budget.acquire()
        assert trio.current_time() - start == pytest.approx(60.0)
        nursery.cancel_scope.cancel()


async def test_budgets_of_different_things_and_hosts_are_different(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        parent = Parent(nursery)
        shard = parent.shard()
        start = trio.current_time()
        for what, host in (("connect", "a"), ("connect", "b"), ("weight", "a")):
            await shard.make(what, host, 1, 60.0).acquire()
        assert trio.current_time() - start < 1
        assert sorted(parent.budgets) == [("connect", "a"), ("connect", "b"), ("weight", "a")]
        nursery.cancel_scope.cancel()


async def test_answers_reach_who_asked(autojump_clock: MockClock) -> None:
    """Several ask at once; a small one of another budget does not wait for a great one before."""
    order: list[str] = []

    async def spend(name: str, budget: RemoteBudget, amount: int) -> None:
        await budget.acquire(amount)
        order.append(name)

    async with trio.open_nursery() as nursery:
        parent = Parent(nursery)
        shard = parent.shard()
        weight, connect = shard.make("weight", HOST, 10, 60.0), shard.make("connect", HOST, 5, 60.0)
        await weight.acquire(8)
        async with trio.open_nursery() as spending:
            spending.start_soon(spend, "great", weight, 5)
            await trio.sleep(1)
            spending.start_soon(spend, "behind it", weight, 1)
            await trio.sleep(1)
            spending.start_soon(spend, "another", connect, 1)
        nursery.cancel_scope.cancel()
    assert order == ["another", "great", "behind it"]


async def test_more_than_could_be_granted_is_an_error_at_once(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        parent = Parent(nursery)
        budget = parent.shard().make("weight", HOST, 10, 60.0)
        with pytest.raises(BudgetExceeded, match="11 exceeds the limit 10"):
            await budget.acquire(11)
        for amount in (0, -1):
            with pytest.raises(ValueError, match=f"acquire {amount}"):
                await budget.acquire(amount)
        await wait_all_tasks_blocked()
        assert parent.said == []
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------ cancellation
async def test_who_gives_up_before_the_grant_spends_nothing(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        parent = Parent(nursery)
        budget = parent.shard().make("weight", HOST, 10, 60.0)
        await budget.acquire(10)
        with trio.move_on_after(5) as scope:
            await budget.acquire(3)
        assert scope.cancelled_caught
        await trio.sleep(1)
        ours = parent.budgets["weight", HOST]
        assert (ours.used, ours.waiting) == (10, 0)
        await trio.sleep(60)
        assert ours.used == 0
        assert [message for message in parent.answered if isinstance(message, Grant)] == [Grant(1)]
        nursery.cancel_scope.cancel()


async def test_who_gives_up_while_the_grant_is_under_way_has_spent_it(
    autojump_clock: MockClock,
) -> None:
    """And a grant that nobody waits for any more disturbs nobody."""
    async with trio.open_nursery() as nursery:
        parent = Parent(nursery, delay=1.0)
        budget = parent.shard().make("weight", HOST, 10, 60.0)
        with trio.move_on_after(1.5) as scope:
            await budget.acquire(3)
        assert scope.cancelled_caught
        await trio.sleep(5)
        assert parent.budgets["weight", HOST].used == 3
        assert parent.answered == [Grant(1)]
        assert parent.said[-1] == Cancel(1)
        await budget.acquire(7)
        assert parent.budgets["weight", HOST].used == 10
        nursery.cancel_scope.cancel()


async def test_who_gives_up_at_once_spends_nothing(autojump_clock: MockClock) -> None:
    """The question and its withdrawal come in one read."""
    said: list[FromShard] = []
    answered: list[ToShard] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await RemoteBudgets(said.append).make("weight", HOST, 10, 60.0).acquire(3)
    assert said == [Ask(1, "weight", HOST, 10, 60.0, 3), Cancel(1)]
    ours = Budget(10, 60.0, "weight")
    async with trio.open_nursery() as nursery:
        grants = Grants(lambda *_: ours, answered.append, nursery)
        for message in said:
            grants.take(cast("Ask | Cancel", message))
    assert (ours.used, ours.waiting, answered) == (0, 0, [])


async def test_a_shard_that_is_gone_waits_no_more(autojump_clock: MockClock) -> None:
    """It leaves the queue, and those behind it have their turn."""
    async with trio.open_nursery() as nursery:
        parent = Parent(nursery)
        stays = parent.shard().make("connect", HOST, 1, 60.0)
        await stays.acquire()
        start = trio.current_time()
        async with trio.open_nursery() as gone:
            budget = parent.shard(gone).make("connect", HOST, 1, 60.0)
            for _ in range(3):
                gone.start_soon(budget.acquire)
            await trio.sleep(1)
            assert parent.budgets["connect", HOST].waiting == 3
            gone.cancel_scope.cancel()
        assert parent.budgets["connect", HOST].waiting == 0
        await stays.acquire()
        assert trio.current_time() - start == pytest.approx(60, abs=0.1)
        nursery.cancel_scope.cancel()


# ----------------------------------------------------------------------------- what the venue says
async def test_a_pause_holds_every_shard_up(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        parent = Parent(nursery)
        one, other = (parent.shard().make("weight", HOST, 10, 60.0) for _ in range(2))
        start = trio.current_time()
        one.pause(30.0)
        await trio.sleep(1)
        await other.acquire()
        assert trio.current_time() - start == pytest.approx(30, abs=0.1)
        nursery.cancel_scope.cancel()


async def test_the_venues_count_holds_every_shard_up(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        parent = Parent(nursery)
        one, other = (parent.shard().make("weight", HOST, 10, 60.0) for _ in range(2))
        start = trio.current_time()
        one.observe(8)
        await trio.sleep(1)
        assert parent.budgets["weight", HOST].used == 8
        await other.acquire(2)
        assert trio.current_time() - start < 2
        await other.acquire()
        assert trio.current_time() - start == pytest.approx(60, abs=0.1)
        nursery.cancel_scope.cancel()


async def test_what_the_venue_says_comes_before_what_is_asked_after_it(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        parent = Parent(nursery)
        budget = parent.shard().make("weight", HOST, 10, 60.0)
        start = trio.current_time()
        budget.pause(20.0)
        await budget.acquire()
        assert trio.current_time() - start == pytest.approx(20, abs=0.1)
        nursery.cancel_scope.cancel()


# ----------------------------------------------------------------------------------------- storms
LIMIT, PERIOD = 30, 10.0


@pytest.mark.parametrize("seed", range(runs(5)))
async def test_eight_shards_together_stay_within_the_limit(
    seed: int, autojump_clock: MockClock
) -> None:
    """Some give up, the venue asks for pauses, a shard is killed: in no window is more granted, and
    in the end everybody has what is left to have."""
    rng = random.Random(seed)
    grants: list[tuple[float, int]] = []
    left = 8 * 20

    async def spend(budget: RemoteBudget, amount: int, patience: float) -> None:
        nonlocal left
        await trio.sleep(rng.uniform(0, 5))
        with trio.move_on_after(patience):
            await budget.acquire(amount)
        left -= 1

    async with trio.open_nursery() as nursery:
        parent = Parent(nursery)
        watch(parent.budget("connect", HOST, LIMIT, PERIOD), grants)
        async with trio.open_nursery() as spending:
            for _ in range(8):
                shard = parent.shard()
                for _ in range(20):
                    patience = rng.choice([float("inf"), rng.uniform(0, 100)])
                    budget = shard.make("connect", HOST, LIMIT, PERIOD)
                    spending.start_soon(spend, budget, rng.randint(1, 4), patience)
                if rng.random() < 0.3:
                    budget.pause(rng.uniform(0, 20))
            async with trio.open_nursery() as killed:
                budget = parent.shard(killed).make("connect", HOST, LIMIT, PERIOD)
                for _ in range(20):
                    killed.start_soon(budget.acquire)
                await trio.sleep(rng.uniform(0, 30))
                killed.cancel_scope.cancel()
        assert left == 0
        assert parent.budgets["connect", HOST].waiting == 0
        nursery.cancel_scope.cancel()
    assert len(grants) > 40
    for start, _ in grants:
        window = [amount for time, amount in grants if start <= time < start + PERIOD]
        assert sum(window) <= LIMIT


def watch(budget: Budget, grants: list[tuple[float, int]]) -> None:
    """Note when the budget grants how much."""
    acquire = budget.acquire

    async def noted(amount: int = 1) -> None:
        await acquire(amount)
        grants.append((trio.current_time(), amount))

    budget.acquire = noted  # type: ignore[method-assign]
