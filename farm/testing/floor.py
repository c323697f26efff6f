"""The trading floor of a fake exchange: who is subscribed to what, and who gets which push."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from farm.testing.connection import Connection
from farm.testing.faults.frames import FrameFaults
from farm.testing.listing import Listing
from farm.testing.source import Push
from farm.testing.wire import text_frame

__all__ = ["PushFilter", "TradingFloor"]

PushFilter: TypeAlias = Callable[[Connection, Push], bool]
"""Whether a push is sent to a connection that is subscribed to its stream."""


class TradingFloor(ABC):
    """Subscriptions and deliveries.

    ``filter``: which pushes are sent to which connection, None for all; it may be set at any
    time. ``sent``: frames by stream, over all connections, whatever
    faults make of them.
    """

    def __init__(
        self, listing: Listing, push_filter: PushFilter | None, faults: FrameFaults
    ) -> None:
        self.filter = push_filter
        self._faults = faults
        self.sent: Counter[str] = Counter()
        self._listing = listing
        self._subscribers: dict[str, dict[Connection, None]] = {}

    @property
    def symbols(self) -> Collection[str] | None:
        """What is listed now, None for everything."""
        return self._listing.symbols

    def trades(self, symbol: str) -> bool:
        """Whether a symbol is listed here."""
        return self._listing.trades(symbol)

    # --- subscriptions ---------------------------------------------------------------------------

    def subscribe(self, connection: Connection, stream: str) -> None:
        connection.streams[stream] = None
        self._subscribers.setdefault(stream, {})[connection] = None

    def unsubscribe(self, connection: Connection, stream: str) -> None:
        """Also where there was no subscription."""
        connection.streams.pop(stream, None)
        connection.mute.discard(stream)
        subscribers = self._subscribers.get(stream, {})
        subscribers.pop(connection, None)
        if not subscribers:
            self._subscribers.pop(stream, None)

    def subscribed(self) -> Collection[str]:
        """Streams with a subscriber."""
        return self._subscribers.keys()

    def subscribers(self, stream: str) -> Iterable[Connection]:
        return self._subscribers.get(stream, ())

    # --- deliveries ------------------------------------------------------------------------------

    def deliver(self, push: Push, limit: int) -> list[Connection]:
        """Sends a push to its subscribers; returns those with `limit` bytes queued or more."""
        subscribers = self._subscribers.get(push.stream)
        if not subscribers:
            return []
        if self._listing.hidden:
            shown = self.shown(push, self._listing.hidden)
            if shown is None:
                return []
            push = shown
        faulty = self._faults.active
        if faulty and self._faults.begin(push):
            return []
        frames: dict[tuple[bool, bool], bytes] = {}
        congested: list[Connection] = []
        for connection in subscribers:
            if not connection.is_open or not self.is_sent(connection, push):
                continue
            form = connection.combined, connection.microseconds
            if form not in frames:
                combined, microseconds = form
                text = self.envelope(push, combined=combined, microseconds=microseconds)
                frames[form] = text_frame(text.encode())
            if faulty:
                self._faults.send(connection, push, frames[form])
            else:
                connection.send_frame(frames[form])
            self.sent[push.stream] += 1
            if connection.queued >= limit:
                congested.append(connection)
        return congested

    def deliver_first(self, connection: Connection, push: Push) -> None:
        """Sends a subscriber what its stream begins with."""
        if not self.is_sent(connection, push):
            return
        frame = text_frame(push.text.encode())
        if self._faults.active and not self._faults.begin(push):
            self._faults.send(connection, push, frame)
        else:
            connection.send_frame(frame)
        self.sent[push.stream] += 1

    def is_sent(self, connection: Connection, push: Push) -> bool:
        """Whether a subscriber gets a push."""
        if push.stream in connection.mute:
            return False
        return self.filter is None or self.filter(connection, push)

    @abstractmethod
    def shown(self, push: Push, hidden: Collection[str]) -> Push | None:
        """A push without what it tells of hidden symbols, None where nothing is left."""

    def envelope(self, push: Push, *, combined: bool, microseconds: bool) -> str:  # noqa: ARG002
        """A push as a frame's text."""
        return push.text
