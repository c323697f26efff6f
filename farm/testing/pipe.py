"""One direction of a connection in memory, along which things take their time."""

from __future__ import annotations

import math
from collections import deque

import trio

__all__ = ["Pipe"]

_END, _RESET = "end", "reset"


class Pipe:
    """Holds at most `limit` bytes; what is sent arrives `delay` seconds later, by Trio's clock.

    ``data`` is what has arrived, as of the last :meth:`arrive`, and was not read; ``over``: the end
    has arrived; ``broken``: a reset has. The sender knows at once that it has ``ended``, and that
    the reader reads no more (``abandoned``).
    """

    def __init__(self, limit: int, delay: float = 0.0) -> None:
        self.data = bytearray()
        self.limit = limit
        self.over = False
        self.broken = False
        self.ended = False
        self.abandoned = False
        self._delay = delay
        self._coming: deque[tuple[float, bytes | str]] = deque()  # with the time of arrival
        self._coming_bytes = 0
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def room(self) -> int:
        """Bytes that may be sent now."""
        return self.limit - len(self.data) - self._coming_bytes

    def send(self, piece: bytes | memoryview) -> None:
        """Put bytes on their way."""
        self._coming_bytes += len(piece)
        self._send(bytes(piece))

    def end(self) -> None:
        """The sender sends no more."""
        if not self.ended:
            self.ended = True
            self._send(_END)

    def break_off(self) -> None:
        """The sender resets the connection: what is unread when that arrives is gone."""
        self.ended = True
        self._send(_RESET)

    def abandon(self) -> None:
        """The reader reads no more."""
        self.abandoned = True
        self._coming.clear()
        self.data.clear()
        self._coming_bytes = 0
        self._changed()

    def take(self, most: int) -> bytes:
        """Read what has arrived, up to `most` bytes."""
        chunk = bytes(self.data[:most])
        del self.data[:most]
        self._changed()
        return chunk

    def arrive(self) -> None:
        """Let arrive what is due by now."""
        while self._coming and self._coming[0][0] <= trio.current_time():
            what = self._coming.popleft()[1]
            if isinstance(what, bytes):
                self._coming_bytes -= len(what)
                self.data += what
            elif what == _END:
                self.over = True
            else:
                self.broken = True
                self.data.clear()

    async def wait_arrival(self) -> None:
        """Wait until something more arrives, or changes."""
        due = self._coming[0][0] if self._coming else math.inf
        with trio.move_on_at(due):
            await self._waiting.park()

    async def wait_change(self) -> None:
        """Wait until something was read, sent, ended or abandoned."""
        await self._waiting.park()

    def _send(self, what: bytes | str) -> None:
        if not self.abandoned:
            self._coming.append((trio.current_time() + self._delay, what))
        self._changed()

    def _changed(self) -> None:
        self._waiting.unpark_all()
