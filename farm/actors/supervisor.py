"""One restart loop per actor: weather backs off, crashes are counted, too many escalate.

*Weather* (the network, the venue's 24 h disconnect, a refused handshake) is expected. It backs off
with full jitter and never counts as a crash. The backoff is reset only by sustained health, not by
a connection that came about: a server that accepts and then closes must not be hammered.

*Crashes* are everything else that an actor raises. More than ``intensity`` of them in ``period``
seconds escalate: `raise` (a library's user must hear of it) or `park` (a daemon's other actors go
on, with an alarm).

Errors are judged by the leaves of their groups; a group that holds a cancellation is none.

A supervisor is one-for-one: an actor that ends concerns no other. Where the end of one is to end
others, open supervisors within one another: the inner one has ended before the outer one begins to.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from types import MappingProxyType

import trio

from farm.actors.child import GRACE, Actor, Child
from farm.actors.lifecycle import (
    ROOM,
    Health,
    Lifecycle,
    LifecycleEvent,
    LifecycleEvents,
    LifecycleLog,
)
from farm.actors.policy import Escalation, Policy, Record, Restart
from farm.errors import LocalProtocolError
from farm.groups import raise_sole

__all__ = [
    "Actor",
    "Child",
    "Escalation",
    "Health",
    "Lifecycle",
    "LifecycleEvent",
    "LifecycleEvents",
    "LifecycleLog",
    "Policy",
    "Restart",
    "Supervisor",
    "open_supervisor",
]

START_LIMIT = 30.0
"""Seconds for which the start of an actor holds up what is started after it."""


def _unseeded(_name: str) -> random.Random:
    return random.Random()  # noqa: S311 (jitter, not a secret)


class Supervisor:
    """Runs actors again and again; :func:`open_supervisor` makes one that has children.

    `policy` holds for all that have none of their own; `weather` are the errors that are expected.
    `on_event` hears of every change, and `log` tells it to readers. Pauses are drawn from what
    `rng` gives for an actor's name, so that they do not depend on who else draws.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        weather: tuple[type[Exception], ...] = (),
        on_event: Callable[[LifecycleEvent], None] = lambda _event: None,
        rng: Callable[[str], random.Random] = _unseeded,
        log: LifecycleLog | None = None,
        together: bool = False,
    ) -> None:
        self._policy = policy or Policy()
        self._weather = weather
        self._on_event = on_event
        self._rng = rng
        self._log = log or LifecycleLog()
        self._together = together
        self._children: dict[str, Child] = {}
        self._nursery: trio.Nursery | None = None
        self._body = trio.CancelScope()
        self._failures: list[Exception] = []

    @property
    def children(self) -> Mapping[str, Child]:
        """The actors that run, wait for their next run, or are parked, by name."""
        return MappingProxyType(self._children)

    async def run(self, actor: Actor) -> None:
        """Run one actor, within this task, until it has ended: it is no child.

        RestartsExceeded where crashes escalate by raising.
        """
        failure = await self._child(actor).run()
        if failure is not None:
            raise failure

    def add(
        self,
        actor: Actor,
        *,
        policy: Policy | None = None,
        stop: Callable[[], object] | None = None,
        grace: float | Callable[[], float] = GRACE,
    ) -> Child:
        """Run an actor from now on, with a policy of its own if need be.

        `stop` asks it to end (closes its mailbox, sets an event); `grace` seconds later it is
        cancelled, and at once where there is no `stop`.

        LocalProtocolError where a child has the same name, or the supervisor is not open.
        """
        if self._nursery is None:
            raise LocalProtocolError(f"{actor.name} cannot be added: the supervisor is not open")
        if actor.name in self._children:
            raise LocalProtocolError(f"there is an actor named {actor.name!r} already")
        child = self._child(actor, policy, stop, grace)
        self._children[child.name] = child
        self._nursery.start_soon(self._run_child, child, name=child.name)
        return child

    async def start(
        self,
        actor: Actor,
        *,
        within: float = START_LIMIT,
        policy: Policy | None = None,
        stop: Callable[[], object] | None = None,
        grace: float | Callable[[], float] = GRACE,
    ) -> Child:
        """As :meth:`add`, and wait until the actor is ready, or has ended, or `within` seconds have
        passed: for what must be started in order."""
        child = self.add(actor, policy=policy, stop=stop, grace=grace)
        await child.ready(within)
        return child

    async def stop(self) -> None:
        """Stop the children, the last one first, each when the one before has ended; or all at the
        same time (``together``). Nothing can be added from now on."""
        self._nursery = None
        last_first = list(reversed(self._children.values()))
        if self._together:
            for child in last_first:
                child.ask_to_stop()
        for child in last_first:
            await child.stop()

    def events(self, room: int = ROOM) -> AbstractContextManager[LifecycleEvents]:
        """What happens from now on: ``with supervisor.events() as events``, then ``async for``.

        At most `room` events wait; of who is too slow the oldest are lost, and counted in
        ``events.missed``.
        """
        return self._log.events(room)

    # ------------------------------------------------------------------------------------ helpers
    def _child(
        self,
        actor: Actor,
        policy: Policy | None = None,
        stop: Callable[[], object] | None = None,
        grace: float | Callable[[], float] = GRACE,
    ) -> Child:
        record = Record(policy or self._policy, self._rng(actor.name))
        return Child(actor, record, self._weather, self._tell, stop, grace)

    def _tell(self, event: LifecycleEvent) -> None:
        self._on_event(event)
        self._log.tell(event)

    async def _run_child(self, child: Child) -> None:
        try:
            failure = await child.run()
        except BaseException:
            child.cut_off()
            raise
        finally:
            del self._children[child.name]
        if failure is not None and not self._failures:  # else it is in the log
            self._failures.append(failure)
            self._body.cancel()

    @asynccontextmanager
    async def opened_in(self, nursery: trio.Nursery) -> AsyncIterator[None]:
        """Have children in `nursery` for the time of the body; then stop them, and raise what is to
        be raised."""
        self._nursery = nursery
        try:
            with self._body:
                yield
        except Exception as error:  # noqa: BLE001 (raised again below, once all have ended)
            self._failures.insert(0, error)
        finally:
            await self.stop()
        if len(self._failures) == 1:
            raise self._failures[0]
        if self._failures:
            raise ExceptionGroup("the body failed, and an actor before it", self._failures)


@asynccontextmanager
async def open_supervisor(
    policy: Policy | None = None,
    *,
    weather: tuple[type[Exception], ...] = (),
    on_event: Callable[[LifecycleEvent], None] = lambda _event: None,
    rng: Callable[[str], random.Random] = _unseeded,
    log: LifecycleLog | None = None,
    together: bool = False,
) -> AsyncIterator[Supervisor]:
    """Supervise actors for as long as the context lasts; see :class:`Supervisor`.

    However its body ends, by an error or by an interrupt too, the children are then stopped, each
    with its grace; a cancellation (a second interrupt) ends them at once. With a `log`, which may
    be shared by several supervisors, its readers come to their end when who made it closes it;
    without, when the context ends.

    RestartsExceeded where an actor crashed too often and that is to be raised: it ends the body,
    and an error of the body comes out with it, in an ExceptionGroup. By itself such an error comes
    out as it is. Who crashes too often when all is ending is told in the log and by event.
    """
    own = log or LifecycleLog()
    supervisor = Supervisor(
        policy, weather=weather, on_event=on_event, rng=rng, log=own, together=together
    )
    try:
        async with trio.open_nursery() as nursery, supervisor.opened_in(nursery):
            yield supervisor
    except BaseExceptionGroup as group:
        raise_sole(group)
    finally:
        if log is None:
            own.close()
