"""Fetching book snapshots by REST, within the weight budget and the neediest first."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable

import attrs
import trio

from farm.errors import RestError
from farm.exchanges.session import FetchSnapshot
from farm.net.rest import RestClient

__all__ = ["SnapshotFetcher"]

log = logging.getLogger("farm.snapshots")

BACKOFF_CAP = 60.0  # seconds between two tries for one book, at most
LEAST_PAUSE = 1.0  # seconds between two answered requests for one book


class SnapshotFetcher:
    """Fetches snapshots of a market's books. ``fetched`` and ``failed`` count.

    A failed request is repeated with backoff for as long as the connection lives that wants it:
    without its snapshot a book can't be verified, and says so all the while. At most `parallel`
    requests are under way; the weight budget paces them besides, and of those that wait for it the
    one with the greatest ``need`` is next. `rng` gives the generator of a feed, by its name, from
    which its pauses are drawn.
    """

    def __init__(
        self,
        client: RestClient,
        *,
        parallel: int = 4,
        rng: Callable[[str], random.Random] = lambda _feed: random.Random(),  # noqa: S311 (jitter)
    ) -> None:
        self._client = client
        self._limit = trio.CapacityLimiter(parallel)
        self._turns = _Turns()
        self._last: dict[str, float] = {}
        self._unusable: Counter[str] = Counter()  # answers in a row that no core could use
        self._needs: dict[str, int] = {}  # of what is under way, by feed
        self._new_rng = rng
        self._rngs: dict[str, random.Random] = {}
        self.fetched = self.failed = 0

    def update(self, request: FetchSnapshot) -> None:
        """The same request again, with a need that may have grown."""
        feed = request.stream.feed
        if feed in self._needs:
            self._needs[feed] = request.need  # it may be between two tries
        self._turns.update(feed, request.need)

    async def fetch(self, request: FetchSnapshot, on_sent: Callable[[], None]) -> bytes:
        """The snapshot's text, however long that takes. `on_sent` is called each time that the
        request is about to be sent."""
        feed = request.stream.feed
        self._needs[feed] = request.need
        if request.failed:
            self._unusable[feed] += 1
        else:
            del self._unusable[feed]
        try:
            return await self._fetch(feed, request, on_sent)
        finally:
            self._needs.pop(feed, None)

    async def _fetch(self, feed: str, request: FetchSnapshot, on_sent: Callable[[], None]) -> bytes:
        await trio.sleep_until(self._last.get(feed, -LEAST_PAUSE) + LEAST_PAUSE)
        if unusable := self._unusable[feed]:
            await trio.sleep(self._pause(feed, unusable - 1))
        tries = 0
        while True:
            try:
                body = await self._try(feed, request, on_sent)
            except RestError as error:
                self.failed += 1
                pause = self._pause(feed, tries)
                log.warning("%s: no snapshot (%s); again in %.1f s", feed, error, pause)
                tries += 1
                await trio.sleep(pause)
            else:
                self.fetched += 1
                self._last[feed] = trio.current_time()
                return body

    def _pause(self, feed: str, failures: int) -> float:
        if feed not in self._rngs:
            self._rngs[feed] = self._new_rng(f"{feed} snapshots")
        return self._rngs[feed].uniform(0.5, 1.0) * min(BACKOFF_CAP, 2.0 ** min(failures, 10))

    async def _try(self, feed: str, request: FetchSnapshot, on_sent: Callable[[], None]) -> bytes:
        turn = await self._turns.take(feed, self._needs.get(feed, request.need))

        def granted() -> None:
            turn.give_back()
            on_sent()

        try:
            async with self._limit:
                reply = await self._client.get(
                    request.path, dict(request.params), weight=request.weight, on_granted=granted
                )
        finally:
            turn.give_back()
        return reply.body


@attrs.define(eq=False)
class _Waiter:
    name: str
    need: int
    granted: trio.Event = attrs.field(factory=trio.Event)


class _Turns:
    """Who may wait for the budget: one at a time, the neediest first, else who came first."""

    def __init__(self) -> None:
        self._waiting: dict[_Waiter, None] = {}
        self._free = True

    def update(self, name: str, need: int) -> None:
        """Whoever waits under this name needs it so much now."""
        for waiter in self._waiting:
            if waiter.name == name:
                waiter.need = need

    async def take(self, name: str, need: int) -> _Turn:
        """Wait for the turn. Cancelled, it has none."""
        await trio.lowlevel.checkpoint()
        if self._free:
            self._free = False
            return _Turn(self)
        waiter = _Waiter(name, need)
        self._waiting[waiter] = None
        try:
            await waiter.granted.wait()
        except trio.Cancelled:
            if waiter.granted.is_set():
                self.next()
            else:
                del self._waiting[waiter]
            raise
        return _Turn(self)

    def next(self) -> None:
        """Whoever had the turn is done with it."""
        if not self._waiting:
            self._free = True
            return
        waiter = max(self._waiting, key=lambda waiter: waiter.need)  # of equals the first
        del self._waiting[waiter]
        waiter.granted.set()


class _Turn:
    """The turn, until it is given back."""

    def __init__(self, turns: _Turns) -> None:
        self._turns: _Turns | None = turns

    def give_back(self) -> None:
        """Let the next one have it; again does nothing."""
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.next()
