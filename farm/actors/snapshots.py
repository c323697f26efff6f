"""Fetching book snapshots by REST, within the weight budget, until they come."""

from __future__ import annotations

import logging
import random

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
    requests are under way; the weight budget paces them besides.
    """

    def __init__(self, client: RestClient, *, parallel: int = 4) -> None:
        self._client = client
        self._limit = trio.CapacityLimiter(parallel)
        self._last: dict[str, float] = {}
        self._rng = random.Random()  # noqa: S311 (jitter)
        self.fetched = self.failed = 0

    async def fetch(self, request: FetchSnapshot) -> bytes:
        """The snapshot's text, however long that takes."""
        feed = request.stream.feed
        await trio.sleep_until(self._last.get(feed, -LEAST_PAUSE) + LEAST_PAUSE)
        tries = 0
        while True:
            try:
                async with self._limit:
                    reply = await self._client.get(
                        request.path, dict(request.params), weight=request.weight
                    )
            except RestError as error:
                self.failed += 1
                pause = self._rng.uniform(0.5, 1.0) * min(BACKOFF_CAP, 2.0 ** min(tries, 10))
                log.warning("%s: no snapshot (%s); again in %.1f s", feed, error, pause)
                tries += 1
                await trio.sleep(pause)
            else:
                self.fetched += 1
                self._last[feed] = trio.current_time()
                return reply.body
