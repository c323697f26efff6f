"""What happens to actors, as a stream of events that any number of readers may follow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

import attrs
import trio

__all__ = ["Health", "Lifecycle", "LifecycleEvent", "LifecycleEvents", "LifecycleLog"]

ROOM = 1_000
"""Events that wait for a reader, at most."""


class Lifecycle(Enum):
    """What can happen to an actor. RETURNED is the end of a run that is followed by another;
    STOPPED is the end of the actor."""

    STARTED = "started"
    RESTARTED = "restarted"
    HEALTHY = "healthy"
    WEATHER = "weather"
    CRASHED = "crashed"
    RETURNED = "returned"
    PARKED = "parked"
    STOPPED = "stopped"


@attrs.frozen
class LifecycleEvent:
    """Something that happened to an actor.

    ``time`` is on Trio's clock, in seconds; ``run`` the number of the run, from 1 on; ``delay`` the
    pause in seconds before the next one. The error of a STOPPED came out of the actor's clean-up,
    or is the one that a TEMPORARY actor ended by.
    """

    actor: str
    what: Lifecycle
    time: float
    run: int
    error: Exception | None = None
    delay: float = 0.0


class Health:
    """Through which one run of an actor says that it does what it is for."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self.since: float | None = None

    def ready(self) -> None:
        """The actor is up and works, from now on."""
        if self.since is None:
            self.since = trio.current_time()
            self._on_ready()


class LifecycleEvents:
    """The events since this reader came, for one task: ``async for event in events``.

    Who is too slow loses the oldest; ``missed`` counts them.
    """

    def __init__(self, room: int) -> None:
        self.missed = 0
        self._room = room
        self._waiting: deque[LifecycleEvent] = deque()
        self._news = trio.Event()
        self._closed = False

    def __aiter__(self) -> LifecycleEvents:
        return self

    async def __anext__(self) -> LifecycleEvent:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        return self._waiting.popleft()

    def put(self, event: LifecycleEvent) -> None:
        """One event more, for which the oldest may have to go."""
        if len(self._waiting) >= self._room:
            self._waiting.popleft()
            self.missed += 1
        self._waiting.append(event)
        self._news.set()

    def close(self) -> None:
        """Nothing follows what waits."""
        self._closed = True
        self._news.set()


class LifecycleLog:
    """Tells the events of one or several supervisors to whoever reads them."""

    def __init__(self) -> None:
        self._readers: list[LifecycleEvents] = []
        self._closed = False

    def tell(self, event: LifecycleEvent) -> None:
        """Something happened."""
        for reader in self._readers:
            reader.put(event)

    @contextmanager
    def events(self, room: int = ROOM) -> Iterator[LifecycleEvents]:
        """The events from now on, of which at most `room` wait."""
        if room < 1:
            raise ValueError(f"room must be 1 or more, not {room!r}")
        reader = LifecycleEvents(room)
        if self._closed:
            reader.close()
        self._readers.append(reader)
        try:
            yield reader
        finally:
            self._readers.remove(reader)

    def close(self) -> None:
        """Nothing will happen any more: readers come to the end."""
        self._closed = True
        for reader in self._readers:
            reader.close()
