"""Subscribing: requests in chunks that the venue accepts, matched to their answers by id.

Intent is not confirmation: a stream is *requested* when its name was sent, *acknowledged* when the
venue said yes, and *live* only when it delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from farm.exchanges.session import StreamState, StreamStatus

__all__ = ["Request", "Subscriptions"]

ACK_DEADLINE = 15.0
"""Seconds until an unanswered request is taken as lost. No venue promises a time; live ones take
well under one second, and a request may wait its turn behind others."""


@attrs.define
class Request:
    """A request under way: the streams it names, and when it was made (monotonic seconds).

    ``open`` are those that no answer came to yet, where answers name streams.
    """

    id: str
    names: list[str]
    made: float
    subscribes: bool = True
    open: set[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.open = set(self.names)


class Subscriptions:
    """The subscription states of one connection.

    ``send`` is called with each request that is to go out. Chunks hold at most ``chunk`` names.
    """

    def __init__(
        self,
        statuses: dict[str, StreamStatus],
        *,
        chunk: int,
        send: Callable[[Request], None],
        first_id: int = 1,
    ) -> None:
        self._statuses = statuses
        self._chunk = chunk
        self._send = send
        self._next_id = first_id
        self._pending: dict[str, Request] = {}
        self._last_answer = -float("inf")

    def opened(self) -> None:
        """Forget what was under way: it died with the connection before."""
        self._pending.clear()
        for status in self._statuses.values():
            status.state = StreamState.IDLE
            status.reason = ""

    def subscribe(self, names: Iterable[str], now: float) -> None:
        """Ask for streams, in chunks."""
        wanted = list(names)
        for start in range(0, len(wanted), self._chunk):
            part = wanted[start : start + self._chunk]
            for name in part:
                self._statuses[name].state = StreamState.REQUESTED
            self._request(part, now, subscribes=True)

    def unsubscribe(self, names: Iterable[str], now: float) -> None:
        """Take streams back, in chunks."""
        wanted = list(names)
        for start in range(0, len(wanted), self._chunk):
            self._request(wanted[start : start + self._chunk], now, subscribes=False)

    def is_asked_for(self, name: str) -> bool:
        """Whether a request that names this stream is still to be answered."""
        return any(name in request.names for request in self._pending.values())

    def names(self, request_id: str) -> list[str]:
        """The streams that a request under way names; none for an unknown id."""
        request = self._pending.get(request_id)
        return list(request.names) if request is not None else []

    def acknowledged(self, request_id: str, now: float) -> list[StreamStatus]:
        """The venue said yes; the streams that this confirms (none for an unknown id)."""
        self._last_answer = now
        request = self._pending.pop(request_id, None)
        if request is None or not request.subscribes:
            return []
        return self._confirm(request.names)

    def answered(
        self, granted: Iterable[str], refused: Iterable[str], now: float
    ) -> tuple[list[StreamStatus], list[StreamStatus]]:
        """An answer that names streams and no request: those confirmed, and those that failed.

        A request is answered when all its streams are; of several requests for one stream the
        oldest is answered first.
        """
        self._last_answer = now
        confirmed = self._confirm(self._answer(granted))
        return confirmed, self._fail(self._answer(refused), "refused by the venue")

    def refused(self, request_id: str, reason: str, now: float) -> list[StreamStatus]:
        """The venue said no; the streams that failed for good.

        One bad name refuses a whole request, so a request for several is halved and asked again
        until the bad ones stand alone.
        """
        self._last_answer = now
        request = self._pending.pop(request_id, None)
        if request is None or not request.subscribes:
            return []
        names = [name for name in request.names if name in self._statuses]
        if len(names) > 1:
            half = len(names) // 2
            self._request(names[:half], now, subscribes=True)
            self._request(names[half:], now, subscribes=True)
            return []
        return self._fail(names, reason)

    def overdue(self, now: float) -> list[Request]:
        """Requests that no answer came to in time.

        They wait their turn to be sent, so as long as others are answered none is late.
        """
        pending = self._pending.values()
        return [r for r in pending if now - max(r.made, self._last_answer) > ACK_DEADLINE]

    def _answer(self, names: Iterable[str]) -> list[str]:
        """Tick these streams off the oldest requests that name them; those asked to be sent."""
        asked = []
        for name in names:
            request = next((r for r in self._pending.values() if name in r.open), None)
            if request is None:
                continue
            request.open.discard(name)
            if not request.open:
                del self._pending[request.id]
            if request.subscribes:
                asked.append(name)
        return asked

    def _confirm(self, names: Iterable[str]) -> list[StreamStatus]:
        confirmed = [self._statuses[name] for name in names if name in self._statuses]
        for status in confirmed:
            if status.state is StreamState.REQUESTED:  # data may have come before the answer
                status.state = StreamState.ACKNOWLEDGED
        return confirmed

    def _fail(self, names: Iterable[str], reason: str) -> list[StreamStatus]:
        failed = [self._statuses[name] for name in names if name in self._statuses]
        for status in failed:
            status.state = StreamState.FAILED
            status.reason = reason
        return failed

    def _request(self, names: list[str], now: float, *, subscribes: bool) -> None:
        request = Request(str(self._next_id), names, now, subscribes)
        self._next_id += 1
        self._pending[request.id] = request
        self._send(request)
