"""A loopback in memory, for clients and fakes under a virtual clock: no socket, no waiting.

::

    network = MemoryNetwork()
    number = network.bind()
    nursery.start_soon(partial(trio.serve_listeners, serve, [network.listen(number)]))
    stream = await network.open_stream("127.0.0.1", number)

Streams behave as :class:`trio.SocketStream` does, and connecting as TCP does: what nobody listens
for is refused, and who is not accepted yet may send already. Names of hosts mean nothing here.
"""

from __future__ import annotations

import errno
import itertools
import operator
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

__all__ = ["MemoryListener", "MemoryNetwork", "MemoryStream"]

BUFFER_BYTES = 64 * 1024
"""What may be under way in one direction; whoever sends more waits for the reader."""

_FIRST_PORT = 49_152


class _Pipe:
    """One direction of a connection."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.limit = limit
        self.ended = False  # the sender sends no more
        self.abandoned = False  # the reader reads no more
        self.broken = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def wait_change(self) -> None:
        await self._waiting.park()

    def changed(self) -> None:
        self._waiting.unpark_all()

    def end(self) -> None:
        self.ended = True
        self.changed()

    def abandon(self) -> None:
        self.abandoned = True
        self.data.clear()
        self.changed()

    def break_off(self) -> None:
        self.broken = True
        self.data.clear()
        self.changed()


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection; :meth:`MemoryNetwork.open_stream` or :meth:`pair` makes it."""

    def __init__(self, inward: _Pipe, outward: _Pipe, on_close: Callable[[], None]) -> None:
        self._inward = inward
        self._outward = outward
        self._on_close = on_close
        self._closed = False
        self._reading = False
        self._sending = False

    @classmethod
    def pair(
        cls, *, limit: int = BUFFER_BYTES, on_close: Callable[[], None] = lambda: None
    ) -> tuple[MemoryStream, MemoryStream]:
        """Both ends of a new connection. `on_close` is called once for each that is closed."""
        there, back = _Pipe(limit), _Pipe(limit)
        return cls(back, there, on_close), cls(there, back, on_close)

    def is_readable(self) -> bool:
        """Whether reading would not wait: for data, or to learn that the connection has ended."""
        pipe = self._inward
        return self._closed or pipe.broken or pipe.ended or bool(pipe.data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Up to `max_bytes` of what the peer sent; ``b""`` after its end.

        Raises ClosedResourceError when this end is closed, also meanwhile; BrokenResourceError
        when the peer has reset the connection; BusyResourceError for a second reader.
        """
        most = BUFFER_BYTES if max_bytes is None else operator.index(max_bytes)
        if most < 1:
            raise ValueError("max_bytes must be 1 or more")
        if self._reading:
            raise trio.BusyResourceError("another task is reading from this stream")
        self._reading = True
        try:
            await trio.lowlevel.checkpoint()
            while not self.is_readable():
                await self._inward.wait_change()
            self._see_usable()
            return self._take(most)
        finally:
            self._reading = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, waiting for room where the peer does not read; cancelled, a part may have gone.

        Raises ClosedResourceError when this end is closed, also meanwhile, or has sent its end;
        BrokenResourceError when the peer has closed or reset; BusyResourceError for a second
        sender.
        """
        with self._as_only_sender(), memoryview(data) as rest:
            await trio.lowlevel.checkpoint()
            self._see_sendable()
            sent = 0
            while sent < len(rest):
                await self._wait_room()
                room = self._outward.limit - len(self._outward.data)
                with rest[sent : sent + room] as piece:
                    self._outward.data += piece
                    sent += len(piece)
                self._outward.changed()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room, or sending would fail; raises as :meth:`send_all` does."""
        with self._as_only_sender():
            await trio.lowlevel.checkpoint()
            await self._wait_room()

    async def send_eof(self) -> None:
        """Send no more; reading goes on. Again does nothing."""
        with self._as_only_sender():
            await trio.lowlevel.checkpoint()
            self._see_usable()
            self._outward.end()

    async def aclose(self) -> None:
        """Close: the peer reads what was sent, then the end. Again does nothing."""
        self._close()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Close as by a TCP reset: what the peer has not read yet is gone, and both its reading
        and its sending fail from now on. Does nothing to an end that is closed."""
        if self._closed:
            return
        for pipe in (self._inward, self._outward):
            pipe.break_off()
        self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._outward.end()
        self._inward.abandon()
        self._on_close()

    @contextmanager
    def _as_only_sender(self) -> Iterator[None]:
        if self._sending:
            raise trio.BusyResourceError("another task is sending to this stream")
        self._sending = True
        try:
            yield
        finally:
            self._sending = False

    async def _wait_room(self) -> None:
        pipe = self._outward
        self._see_sendable()
        while len(pipe.data) >= pipe.limit:
            await pipe.wait_change()
            self._see_sendable()

    def _see_usable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed here")
        if self._inward.broken:
            raise trio.BrokenResourceError("the connection was reset by the peer")

    def _see_sendable(self) -> None:
        self._see_usable()
        if self._outward.ended:
            raise trio.ClosedResourceError("no data can be sent after the end of it")
        if self._outward.abandoned:
            raise trio.BrokenResourceError("the peer has closed the connection")

    def _take(self, most: int) -> bytes:
        pipe = self._inward
        chunk = bytes(pipe.data[:most])
        del pipe.data[:most]
        pipe.changed()
        return chunk


class MemoryListener(trio.abc.Listener[MemoryStream]):
    """Who listens on a port of a :class:`MemoryNetwork`; :meth:`MemoryNetwork.listen` makes it."""

    def __init__(self, on_close: Callable[[], None]) -> None:
        self._on_close = on_close
        self._backlog: deque[MemoryStream] = deque()
        self._changed = trio.Event()
        self._closed = False

    def connect(self, stream: MemoryStream) -> None:
        """A client has connected: `stream` is the other end."""
        self._backlog.append(stream)
        self._changed.set()

    async def accept(self) -> MemoryStream:
        """The next connection. ClosedResourceError once this is closed, also meanwhile."""
        await trio.lowlevel.checkpoint()
        while not self._closed and not self._backlog:
            self._changed = trio.Event()
            await self._changed.wait()
        if self._closed:
            raise trio.ClosedResourceError("this listener was closed")
        return self._backlog.popleft()

    async def aclose(self) -> None:
        """Close; connections that were not accepted are reset."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """:meth:`aclose`, at once."""
        if self._closed:
            return
        self._closed = True
        while self._backlog:
            self._backlog.popleft().reset()
        self._changed.set()
        self._on_close()


class MemoryNetwork:
    """Ports of one loopback, each free, bound, or listened on. A test has one for all its fakes.

    ``open_stream`` is what a client connects by (:attr:`farm.pipeline.Environment.open_stream`).
    ``streams_open`` counts the ends of connections that are not closed: 0 where nobody leaks.
    """

    def __init__(self) -> None:
        self.streams_open = 0
        self._ports: dict[int, MemoryListener | None] = {}
        self._numbers = itertools.count(_FIRST_PORT)

    def bind(self, number: int = 0) -> int:
        """Take a port, a free one for 0, which does not listen yet; OSError where it is taken."""
        number = number or next(self._numbers)
        if number in self._ports:
            raise OSError(errno.EADDRINUSE, f"port {number} is in use")
        self._ports[number] = None
        return number

    def listen(self, number: int) -> MemoryListener:
        """Listen on a port that is bound and not listened on: others are an OSError."""
        if self._ports.get(number, number) is not None:
            raise OSError(errno.EINVAL, f"port {number} is not bound, or listens already")
        listener = MemoryListener(lambda: self._end_listening(number, listener))
        self._ports[number] = listener
        return listener

    def release(self, number: int) -> None:
        """Give a port back, with its listener; connections stay. A free one stays free."""
        listener = self._ports.pop(number, None)
        if listener is not None:
            listener.close()

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        """Connect; ConnectionRefusedError where nobody listens."""
        await trio.lowlevel.checkpoint()
        listener = self._ports.get(port)
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {host}:{port}")
        near, far = MemoryStream.pair(on_close=self._note_closed)
        self.streams_open += 2
        listener.connect(far)
        return near

    def _end_listening(self, number: int, listener: MemoryListener) -> None:
        if self._ports.get(number) is listener:
            self._ports[number] = None

    def _note_closed(self) -> None:
        self.streams_open -= 1
