"""The market clock: one task walks through the source, and all clients live on its time."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator
from typing import Protocol, TypeAlias

import attrs
import trio

from farm.testing.connection import Connection
from farm.testing.source import Push, Source, reply_symbol

__all__ = ["Flood", "Floor", "MarketClock", "Pace", "Recorded"]

# Pushes between two checkpoints: other tasks run however fast the market is.
_BREATH = 64


@attrs.define
class Recorded:
    """The source's own time, ``speed`` times as fast.

    The market starts when ``start_after`` is fulfilled (at once by default) and never stands
    still again. A client that lets ``outbox_limit`` bytes pile up is cut, as real ones are.
    """

    speed: float = attrs.field(default=1.0, validator=attrs.validators.gt(0))
    start_after: int | Iterable[str] = 0
    outbox_limit: int = 1 << 24


@attrs.define
class Flood:
    """As fast as the clients take it.

    The market stands while nobody is subscribed and moves when ``start_after`` is fulfilled: so
    many streams are subscribed, or all of those named. It waits for a client with
    ``outbox_limit`` bytes queued, and cuts one that has made no room in ``patience`` seconds.
    """

    start_after: int | Iterable[str] = 1
    outbox_limit: int = 1 << 18
    patience: float = 30.0


Pace: TypeAlias = Recorded | Flood


class Floor(Protocol):
    """Where a market's pushes go."""

    def take(self, push: Push) -> None:
        """Books and replies take note of a push."""

    def deliver(self, push: Push, limit: int) -> list[Connection]:
        """Sends a push to its subscribers; returns those with `limit` bytes queued or more."""

    def subscribed(self) -> Collection[str]:
        """Streams with a subscriber."""

    def awaits_snapshot(self, symbol: str) -> bool:
        """Whether a client follows the diffs of a symbol but never asked for its snapshot."""


class MarketClock:
    """Advances one source over one exchange floor.

    ``now``: market time in nanoseconds, 0 before the first push. ``finished``: the source ended.
    ``hold``: stand at a recorded REST snapshot while somebody will yet ask for it.
    """

    def __init__(self, source: Source, floor: Floor, pace: Pace, *, hold: bool) -> None:
        self.now = 0
        self.finished = trio.Event()
        self._source = source
        self._floor = floor
        self._pace = pace
        self._hold = hold
        after = pace.start_after
        self._start_count = after if isinstance(after, int) else 0
        self._start_streams = frozenset(() if isinstance(after, int) else after)
        self._running = False
        self._changed = trio.Event()
        self._origin: tuple[float, int] | None = None

    def notify(self) -> None:
        """Subscriptions or requests changed: whoever waits looks again."""
        subscribed = self._floor.subscribed()
        if isinstance(self._pace, Flood) and not subscribed:
            self._running = False
        elif not self._running:
            self._running = len(subscribed) >= self._start_count and self._start_streams <= set(
                subscribed
            )
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_change(self) -> None:
        """Until the next :meth:`notify`, recorded snapshot or end of the source."""
        await self._changed.wait()

    async def run(self) -> None:
        """Walks through the source. Returns at its end; connections stay as they are."""
        pushes = iter(self._source)
        try:
            await self._walk(pushes)
        finally:
            if isinstance(pushes, Generator):
                pushes.close()
        self.finished.set()
        self._wake()

    async def _walk(self, pushes: Iterator[Push]) -> None:
        opening = True
        for count, push in enumerate(pushes):
            # What the market opens with is known before anyone is there to hear of it.
            opening = opening and push.silent
            if not opening:
                await self._wait_until_running()
                await self._keep_pace(push.time, count)
            self.now = push.time
            self._floor.take(push)
            symbol = reply_symbol(push.stream)
            if symbol is not None:
                await self._stand_at_snapshot(symbol, push)
            elif not push.silent:
                await self._deliver(push)
        await trio.lowlevel.checkpoint()

    async def _wait_until_running(self) -> None:
        self._running = self._running or (isinstance(self._pace, Recorded) and self._is_free())
        while not self._running:
            await self._changed.wait()

    def _is_free(self) -> bool:
        return not self._start_count and not self._start_streams

    async def _keep_pace(self, time: int, count: int) -> None:
        if isinstance(self._pace, Recorded):
            if self._origin is None:
                self._origin = trio.current_time(), self.now or time  # it opened at `now`
            started, first = self._origin
            due = started + (time - first) / 1e9 / self._pace.speed
            if due - trio.current_time() > 0.001:  # the finest that Trio's clock can wait for
                await trio.sleep_until(due)
                return
        if count % _BREATH == 0:
            await trio.lowlevel.checkpoint()

    async def _stand_at_snapshot(self, symbol: str, push: Push) -> None:
        """The snapshot is known now: those who waited get it, those who will ask are awaited."""
        self._wake()
        if push.silent or not self._hold:
            return
        while self._floor.awaits_snapshot(symbol):
            await self._changed.wait()
            await self._wait_until_running()
            self._origin = None  # time stood still

    async def _deliver(self, push: Push) -> None:
        for connection in self._floor.deliver(push, self._pace.outbox_limit):
            if isinstance(self._pace, Recorded):
                connection.reset()
                continue
            with trio.move_on_after(self._pace.patience) as waiting:
                await connection.wait_room(self._pace.outbox_limit)
            if waiting.cancelled_caught:
                connection.reset()
