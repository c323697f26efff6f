"""Actors: supervised tasks with bounded mailboxes between them. They need no exchange::

    class Printer:
        name = "printer"

        async def run(self, health: Health) -> None:
            health.ready()
            with numbers.reader(self.name) as inbox:  # a Mailbox, which outlives a crash
                async for number in inbox:
                    print(number)

    policy = Policy(intensity=3, period=60.0, escalation=Escalation.PARK)
    async with open_supervisor(policy, weather=(OSError,)) as supervisor:
        with supervisor.events() as events:  # started, crashed, restarted, parked, ...
            printer = await supervisor.start(Printer(), stop=numbers.close, grace=5.0)
            async for event in events:
                print(event.time, event.actor, event.what.value, event.error)
                if event.what is Lifecycle.PARKED:
                    break

An actor that raises is started again: at once and with backoff after a crash, with backoff alone
after what is expected of the world (`weather`). Leaving the context stops the actors, the last one
first: each is asked by its `stop`, and cancelled when its grace is over.
"""

from __future__ import annotations

from farm.actors.mailbox import Mailbox, Overflow, Quarantined, Reader
from farm.actors.supervisor import (
    Actor,
    Child,
    Escalation,
    Health,
    Lifecycle,
    LifecycleEvent,
    LifecycleEvents,
    LifecycleLog,
    Policy,
    Restart,
    Supervisor,
    open_supervisor,
)

__all__ = [
    "Actor",
    "Child",
    "Escalation",
    "Health",
    "Lifecycle",
    "LifecycleEvent",
    "LifecycleEvents",
    "LifecycleLog",
    "Mailbox",
    "Overflow",
    "Policy",
    "Quarantined",
    "Reader",
    "Restart",
    "Supervisor",
    "open_supervisor",
]
