"""A loopback in memory, for clients and fakes under a virtual clock: no socket, no waiting.

::

    network = MemoryNetwork()
    number = network.bind()
    nursery.start_soon(partial(trio.serve_listeners, serve, [network.listen(number)]))
    stream = await network.open_stream("127.0.0.1", number)

Streams behave as :class:`trio.SocketStream` does, and connecting as TCP does: what nobody listens
for is refused, and who is not accepted yet may send already. Names of hosts mean nothing here.

On two lines of a real network nothing comes at the same instant. Here it would, and which came
first would be for Trio's scheduler to say, in each run otherwise: unless the network has *delays*.
"""

from __future__ import annotations

import errno
import itertools
import operator
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from farm.testing.pipe import Pipe

__all__ = ["MemoryListener", "MemoryNetwork", "MemoryStream"]

BUFFER_BYTES = 64 * 1024
"""What may be under way in one direction; whoever sends more waits for the reader."""

DELAYS = 0.001, 0.02
"""Seconds that what is sent takes at least and at most, where a network has delays."""

_FIRST_PORT = 49_152


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection; :meth:`MemoryNetwork.open_stream` or :meth:`pair` makes it."""

    def __init__(self, inward: Pipe, outward: Pipe, on_close: Callable[[], None]) -> None:
        self._inward = inward
        self._outward = outward
        self._on_close = on_close
        self._closed = False
        self._reading = False
        self._sending = False

    @classmethod
    def pair(
        cls,
        *,
        limit: int = BUFFER_BYTES,
        on_close: Callable[[], None] = lambda: None,
        delay: float = 0.0,
    ) -> tuple[MemoryStream, MemoryStream]:
        """Both ends of a new connection, on which everything takes `delay` seconds, either way.
        `on_close` is called once for each end that is closed."""
        there, back = Pipe(limit, delay), Pipe(limit, delay)
        return cls(back, there, on_close), cls(there, back, on_close)

    def is_readable(self) -> bool:
        """Whether reading would not wait: for data, or to learn that the connection has ended."""
        pipe = self._inward
        pipe.arrive()
        return self._closed or pipe.broken or pipe.over or bool(pipe.data)

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
                await self._inward.wait_arrival()
            self._see_usable()
            return self._inward.take(most)
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
                with rest[sent : sent + self._outward.room] as piece:
                    self._outward.send(piece)
                    sent += len(piece)

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
        """Close as by a TCP reset: what the peer has not read when it learns of it is gone, and
        both its reading and its sending fail from then on. Does nothing to an end that is
        closed."""
        if not self._closed:
            self._outward.break_off()
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
        while pipe.room <= 0:
            await pipe.wait_change()
            self._see_sendable()

    def _see_usable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed here")
        self._inward.arrive()
        if self._inward.broken:
            raise trio.BrokenResourceError("the connection was reset by the peer")

    def _see_sendable(self) -> None:
        self._see_usable()
        if self._outward.ended:
            raise trio.ClosedResourceError("no data can be sent after the end of it")
        if self._outward.abandoned:
            raise trio.BrokenResourceError("the peer has closed the connection")


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

    `delays` is the seed of its delays; None has none. Each connection has a delay of its own, drawn
    by who connects (the name of the task) to which port for the how manieth time, and not by who
    comes first.
    """

    def __init__(self, delays: int | str | None = None) -> None:
        self.streams_open = 0
        self._delays = delays
        self._connects: Counter[str] = Counter()
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
        delay = self._delay(f"{trio.lowlevel.current_task().name} {port}")
        await trio.sleep(delay)
        listener = self._ports.get(port)
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {host}:{port}")
        near, far = MemoryStream.pair(on_close=self._note_closed, delay=delay)
        self.streams_open += 2
        listener.connect(far)
        return near

    def _delay(self, who: str) -> float:
        if self._delays is None:
            return 0.0
        self._connects[who] += 1
        return random.Random(f"{self._delays}:{who}:{self._connects[who]}").uniform(*DELAYS)

    def _end_listening(self, number: int, listener: MemoryListener) -> None:
        if self._ports.get(number) is listener:
            self._ports[number] = None

    def _note_closed(self) -> None:
        self.streams_open -= 1
