"""The tap: a stream between the transport and trio-websocket that takes the messages out.

trio-websocket costs 34 µs a message, the walk over the bytes about half a microsecond; so data
goes round it, and handshake, pongs and close stay its own (see :mod:`farm.net.frames`). All
messages of one socket read leave in one synchronous call. None is left in trio-websocket, whose
message queue would stop its reader, and with it the pongs, as soon as it is full.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import trio

from farm.config.rules import LEAST_LATENCY_BUDGET
from farm.net.frames import FrameWalker, ResponseHead
from farm.net.pacing import Pacing
from farm.net.reading import reads_of

__all__ = ["HandshakeBroken", "OnRead", "Tap", "WallClock", "close_now"]

OnRead: TypeAlias = Callable[[list[bytes], int], None]
"""Called with the messages of one socket read, in order, and its receive time (ns, UTC)."""

WallClock: TypeAlias = Callable[[], int]
"""Nanoseconds since the epoch, UTC."""

_MAX_ANSWER_BYTES = 256 * 1024
"""Of the answer to the opening handshake, the body of a refusal included."""

_CLOSE_FRAME = 0x88


class HandshakeBroken(Exception):
    """The stream ended before the WebSocket was open; ``status`` is the HTTP status if known."""

    def __init__(self, text: str, status: int | None) -> None:
        super().__init__(text)
        self.status = status


async def close_now(stream: trio.abc.AsyncResource) -> None:
    """Close without a goodbye and without waiting, even where the caller is cancelled."""
    with trio.CancelScope(deadline=-math.inf, shield=True):
        await stream.aclose()


class Tap(trio.abc.Stream):
    """A stream whose reader receives everything but data messages; those go to `on_read`.

    An error of `on_read` is kept in :attr:`crash` and ends the stream; whoever owns the tap must
    raise it, since trio-websocket takes some classes of errors for the end of a connection.

    A send that fails or is cancelled once bytes may have gone out closes the transport: part of
    a frame may be on the wire, and nothing could lawfully follow it.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        on_read: OnRead,
        *,
        max_message_bytes: int,
        latency_budget: float = 0.0,
        wall_clock: WallClock = time.time_ns,
    ) -> None:
        self.bytes_received = 0
        """Bytes off the transport (behind TLS), the handshake included."""
        self.messages_received = 0
        self.last_receive = trio.current_time()
        """When anything was last read, on Trio's clock."""
        self.crash: Exception | None = None
        """What `on_read` raised."""
        self.fault: str | None = None
        """Why the stream ended, once it has."""
        self.close_sent = False
        """A close frame has been sent, by whomever."""
        self._transport = transport
        self._on_read = on_read
        self._wall_clock = wall_clock
        self._walker = FrameWalker(max_message_bytes)
        self._pacing = Pacing(latency_budget) if latency_budget >= LEAST_LATENCY_BUDGET else None
        self._head: ResponseHead | None = ResponseHead()
        self._rest = b""  # frames that came in the segment of the handshake
        self._onward = b""  # bytes for trio-websocket
        self._receive_time = 0
        self._reading = False
        self._send_lock = trio.StrictFIFOLock()
        self._read_transport = reads_of(transport)

    @property
    def upgraded(self) -> bool:
        """The handshake is complete and was accepted: what comes are frames."""
        return self._head is None

    @property
    def http_status(self) -> int | None:
        """The HTTP status of a handshake not (yet) accepted, None before it came."""
        return self._head.status if self._head is not None else None

    @property
    def pings(self) -> int:
        """Ping frames received."""
        return self._walker.pings

    @property
    def refusal(self) -> tuple[int, str] | None:
        """Close code and text of a breach that the tap itself has seen."""
        return self._walker.refusal

    @property
    def over(self) -> bool:
        """The peer has sent a close frame or broken the protocol."""
        return self._walker.over

    def start_closing(self) -> None:
        """Our close frame is about to go out: from now on pings remain without an answer."""
        self._walker.closing = True

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What is not data; ``b""`` at the end. Data is delivered while this waits.

        Raises BrokenResourceError and ClosedResourceError as the transport does, BusyResourceError
        for a second reader, HandshakeBroken where the stream ends before the WebSocket is open.
        """
        if self._reading:
            raise trio.BusyResourceError("another task is reading from this tap")
        if self._walker.finished and not self._onward:
            await trio.lowlevel.checkpoint()
            return b""
        self._reading = True
        try:
            if self._head is not None and self._head.status == 101 and not self._onward:
                self._head = None  # trio-websocket asks for more: it has accepted the answer
            if self._onward or self._rest:
                await trio.lowlevel.checkpoint()
            while not self._onward and not self._walker.finished:
                data = self._rest or await self._read()
                self._rest = b""
                if not data:
                    break
                self._take(data)
        finally:
            self._reading = False
        size = len(self._onward) if max_bytes is None else max_bytes
        chunk, self._onward = self._onward[:size], self._onward[size:]
        return chunk

    async def drain(self) -> None:
        """After a breach, when no reader is left: read and forget until the peer ends the stream.

        A TCP connection closed with unread input is reset, and the reset may overtake what was
        sent last. Does nothing while the stream is in order or somebody else reads.
        """
        if self._reading or not self._walker.finished:
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self._read():
                pass

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, one sender at a time; see the class for what a cancelled send does."""
        async with self._send_lock:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self.upgraded and len(data) > 0 and data[0] == _CLOSE_FRAME:
                self.close_sent = True  # trio-websocket sends one frame at a time
            try:
                await self._transport.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                await close_now(self._transport)
                self._note_end(_explain(exc))
                raise
            except BaseException:
                self.fault = self.fault or "a send was cut short in mid-frame"
                await close_now(self._transport)
                raise

    async def wait_send_all_might_not_block(self) -> None:
        """As the transport's."""
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the transport; a reader that waits on it wakes with ClosedResourceError."""
        await self._transport.aclose()

    def _take(self, data: bytes) -> None:
        if self._head is not None:
            self._onward, self._rest = self._head.feed(data)
            if self.bytes_received > _MAX_ANSWER_BYTES:
                raise HandshakeBroken("the answer is too long", self._head.status)
            return
        messages, self._onward = self._walker.walk(data)
        if self._pacing is not None:
            self._pacing.note(len(messages), len(data), self.last_receive)
        if not messages:
            return
        self.messages_received += len(messages)
        try:
            self._on_read(messages, self._receive_time)
        except Exception as exc:
            self.crash = exc
            raise trio.BrokenResourceError("on_read failed") from exc

    async def _read(self) -> bytes:
        """One read of the transport, and the one real checkpoint of the line."""
        if self._pacing is not None and not self._walker.closing:
            await self._pacing.wait()
        try:
            data = bytes(await self._read_transport())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._note_end(_explain(exc))
            raise
        self._receive_time = self._wall_clock()
        self.last_receive = trio.current_time()
        self.bytes_received += len(data)
        if not data:
            self._note_end("the peer ended the stream without a close frame")
        return data

    def _note_end(self, text: str) -> None:
        self.fault = self.fault or text
        if self._head is not None:
            raise HandshakeBroken(text, self._head.status)


def _explain(exc: BaseException) -> str:
    cause = exc.__cause__ or exc
    return str(cause) or type(cause).__name__
