"""Budgets of the address that all processes share: the parent has them, and its shards ask.

A venue counts connections and REST weight by IP address. A shard therefore has no budget of its
own: it asks its parent for each attempt, and what the venue tells it (a pause, its own count) it
passes on.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import attrs
import trio

from farm.cluster.messages import Ask, Cancel, FromShard, Grant, Observe, Pause, ToShard
from farm.net.budget import Budget

__all__ = ["Grants", "RemoteBudget", "RemoteBudgets"]


class RemoteBudgets:
    """The budgets of a shard; `send` tells the parent something."""

    def __init__(self, send: Callable[[FromShard], None]) -> None:
        self._send = send
        self._numbers = count(1)
        self._asked: dict[int, trio.Event] = {}

    def make(self, what: str, host: str, limit: int, period: float) -> RemoteBudget:
        """The budget of `what` at a host: `limit` in `period` seconds."""
        return RemoteBudget(self, what, host, limit, period)

    def granted(self, grant: Grant) -> None:
        """The parent says yes."""
        asked = self._asked.get(grant.number)
        if asked is not None:  # else it was cancelled meanwhile, and counts as spent
            asked.set()

    def tell(self, message: FromShard) -> None:
        """Tell the parent."""
        self._send(message)

    async def ask(self, budget: RemoteBudget, amount: int) -> None:
        """Wait until the parent grants it."""
        number, granted = next(self._numbers), trio.Event()
        self._asked[number] = granted
        self._send(
            Ask(number, budget.what, budget.host, budget.limit, budget.period, amount),
        )
        try:
            await granted.wait()
        except trio.Cancelled:
            self._send(Cancel(number))
            raise
        finally:
            del self._asked[number]


class RemoteBudget(Budget):
    """A budget that the parent keeps; see :class:`~farm.net.budget.Budget`."""

    def __init__(
        self, budgets: RemoteBudgets, what: str, host: str, limit: int, period: float
    ) -> None:
        super().__init__(limit, period, f"{what} {host}")
        self.what = what
        self.host = host
        self._budgets = budgets

    async def acquire(self, amount: int = 1) -> None:
        """Wait until `amount` may be spent. Cancelled, it may have been spent all the same.

        Raises BudgetExceeded for more than could ever be granted.
        """
        self._see_possible(amount)
        await self._budgets.ask(self, amount)

    def pause(self, seconds: float) -> None:
        """Have nothing granted to anybody for the next `seconds`."""
        self._budgets.tell(Pause(self.what, self.host, self.limit, self.period, seconds))

    def observe(self, used: int) -> None:
        """Tell what the venue counts."""
        self._budgets.tell(Observe(self.what, self.host, self.limit, self.period, used))


@attrs.define(eq=False)
class Grants:
    """The parent's side, for one shard: it waits for budgets in the shard's place.

    `budget_of` has the budgets (what, host, limit, period), `send` answers, and what has to wait
    does so in `nursery`, which ends with the shard.
    """

    budget_of: Callable[[str, str, int, float], Budget]
    send: Callable[[ToShard], None]
    nursery: trio.Nursery
    _waiting: dict[int, trio.CancelScope] = attrs.field(factory=dict)

    def take(self, message: Ask | Cancel | Pause | Observe) -> None:
        """Do what the shard asks for."""
        if isinstance(message, Cancel):
            scope = self._waiting.get(message.number)
            if scope is not None:
                scope.cancel()
            return
        key = message.what, message.host, message.limit, message.period
        if isinstance(message, Ask):
            self._waiting[message.number] = trio.CancelScope()
            self.nursery.start_soon(self._grant, message, self.budget_of(*key))
        elif isinstance(message, Pause):
            self.budget_of(*key).pause(message.seconds)
        else:
            self.budget_of(*key).observe(message.used)

    async def _grant(self, ask: Ask, budget: Budget) -> None:
        try:
            with self._waiting[ask.number] as scope:
                await budget.acquire(ask.amount)
            if not scope.cancelled_caught:
                self.send(Grant(ask.number))
        finally:
            del self._waiting[ask.number]
