"""A client WebSocket whose messages leave in batches, one synchronous call a socket read.

The protocol is trio-websocket's (over wsproto); the messages go round it through the
:mod:`tap <farm.net.tap>`. What this file adds is the life of a connection: deadlines for every
step of the opening, one reason for its end, and a goodbye that never hangs.

What trio-websocket 0.12.2 leaves undone, and where it is done here:

1. It waits for ever where the stream ends before the handshake is complete: the tap raises.
2. It refuses a broken frame without sending a close frame and without closing TCP: `_refuse`.
3. `aclose` on a connection that the peer has closed doesn't close TCP: :meth:`WebSocket.close`.
4. A ping between our close frame and the peer's crashes its reader: the tap drops it, and
   `_raise_unless_closing` knows the error, should one slip through.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
import trio_websocket
from wsproto.frame_protocol import FrameProtocol
from wsproto.utilities import LocalProtocolError as _WsprotoLocalError

from farm.errors import ConnectionLost
from farm.groups import raise_sole
from farm.net.dial import OpenStream
from farm.net.opening import open_transport, raise_refusal, shake_hands
from farm.net.tap import OnRead, Tap, WallClock, close_now
from farm.net.url import Endpoint, parse_endpoint

__all__ = ["OpenStream", "WebSocket", "WebSocketOptions", "open_websocket"]

_ABNORMAL = 1006  # RFC 6455: never sent, only reported where no close frame came


@attrs.define(frozen=True)
class WebSocketOptions:
    """Deadlines in seconds, the longest message that is accepted, and what may wait."""

    connect_timeout: float = 10.0
    """For name lookup and TCP together."""
    handshake_timeout: float = 10.0
    """For TLS, and again for the WebSocket handshake."""
    close_timeout: float = 2.0
    """For the whole goodbye: our close frame, the peer's answer and its end of stream."""
    max_message_bytes: int = 16 * 2**20
    """A longer message ends the connection with code 1009."""
    latency_budget: float = 0.0
    """Seconds that a message may wait for others to be read with it, on a line so busy that two or
    more are to be expected in that time; less than a millisecond is none (see
    :mod:`farm.net.pacing`). Pings wait with them."""


class WebSocket:
    """An open connection; made by :func:`open_websocket`."""

    def __init__(
        self, connection: trio_websocket.WebSocketConnection, tap: Tap, close_timeout: float
    ) -> None:
        self._connection = connection
        self._tap = tap
        self._close_timeout = close_timeout
        self._closing: ConnectionLost | None = None  # how we ended it ourselves
        self._lost: ConnectionLost | None = None
        self._closed = trio.Event()  # _lost is known
        self._served = trio.Event()  # nothing reads from the stream any more

    @property
    def bytes_received(self) -> int:
        """Bytes off the transport (behind TLS), the handshake included."""
        return self._tap.bytes_received

    @property
    def messages_received(self) -> int:
        """Messages given to `on_read`."""
        return self._tap.messages_received

    @property
    def pings(self) -> int:
        """Ping frames received; each was answered with a pong of the same payload."""
        return self._tap.pings

    @property
    def last_receive(self) -> float:
        """When anything at all was last read, on Trio's clock."""
        return self._tap.last_receive

    async def send_text(self, text: str) -> None:
        """Send one text message; raises ConnectionLost where the connection is gone.

        Safe from several tasks: each frame leaves whole, in the order of the calls. But a call
        that is cancelled while its frame is going out has broken the stream, and the connection
        ends with it. So let one task own the sending, and cancel it only to end the connection.
        """
        if self._lost is not None:
            raise ConnectionLost(self._lost.reason, code=self._lost.code)
        try:
            await self._connection.send_message(text)
        except trio_websocket.ConnectionClosed as exc:
            reason = self._reason()
            raise ConnectionLost(reason.reason, code=reason.code) from exc

    async def wait_closed(self) -> ConnectionLost:
        """Wait until the connection has ended, for whatever reason, and return the reason.

        ``code`` is the close code (1006 where there was no close frame). Every message that came
        before the end has been delivered by then.
        """
        await self._closed.wait()
        assert self._lost is not None
        return self._lost

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, wait at most `close_timeout` seconds for the answer, and close.

        Messages that still arrive before the answer are delivered. `code` is 1000 or in 3000 to
        4999 (RFC 6455, 7.4). Idempotent; cancelled, it closes at once.
        """
        if self._connection.closed is None:
            self._closing = ConnectionLost(reason or "closed by us", code=code)
            self._tap.start_closing()
        try:
            with trio.move_on_after(self._close_timeout):
                await self._connection.aclose(code, reason or None)
                await self._served.wait()
        finally:
            await close_now(self._tap)

    async def aclose(self) -> None:
        """:meth:`close` with code 1000."""
        await self.close()

    async def _attend(self) -> None:
        """Wait for the end of the connection, name its reason, and do what is left to do."""
        try:
            while True:  # no message comes this way, the tap takes them all
                await self._connection.get_message()
        except trio_websocket.ConnectionClosed:
            reason = self._reason()
        if self._tap.crash is not None:
            return  # not weather: `_serve` raises it, and nobody shall first be told otherwise
        with trio.move_on_after(self._close_timeout):
            if self._must_refuse():
                await self._refuse(reason)
            self._end(reason)
            await self._tap.drain()

    def _reason(self) -> ConnectionLost:
        """Why the connection ended, as far as is known by now."""
        if self._closing is not None:
            return self._closing
        if self._tap.refusal is not None:
            code, text = self._tap.refusal
            return ConnectionLost(f"refused: {text}", code=code)
        closed = self._connection.closed
        if closed is None or closed.code == _ABNORMAL:
            return ConnectionLost(self._tap.fault or "the stream ended", code=_ABNORMAL)
        text = "closed by the server" if self._tap.close_sent else "refused"
        if closed.reason:
            text += f": {closed.reason}"
        return ConnectionLost(text, code=int(closed.code))

    def _must_refuse(self) -> bool:
        return self._tap.over and not self._tap.close_sent and self._tap.fault is None

    async def _refuse(self, reason: ConnectionLost) -> None:
        """Tell the peer what it broke (RFC 6455, 7.1.7): trio-websocket only stops listening."""
        frame = FrameProtocol(client=True, extensions=[]).close(reason.code, reason.reason)
        try:
            await self._tap.send_all(bytes(frame))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def _end(self, reason: ConnectionLost) -> None:
        if self._lost is None:
            self._lost = reason
            self._closed.set()


@asynccontextmanager
async def open_websocket(
    url: str,
    on_read: OnRead,
    *,
    ssl_context: ssl.SSLContext | None = None,
    options: WebSocketOptions = WebSocketOptions(),  # noqa: B008  (frozen)
    wall_clock: WallClock = time.time_ns,
    open_stream: OpenStream | None = None,
) -> AsyncIterator[WebSocket]:
    """Connect to a ``ws:`` or ``wss:`` URL; the connection lives as long as the context.

    `on_read` is called with all messages of one socket read, in order, and the time of the read
    by `wall_clock`, at the latest until the context has been left. It runs in the reader: it must
    not block. An error in it is a bug downstream, not weather: it ends the context as itself.

    The opening raises ConnectFailed, TlsFailed or HandshakeRefused (ConfigError for a URL or a
    context that can't be used). Later on, the end of the connection is no exception of its own:
    :meth:`WebSocket.wait_closed` returns it, and the body decides. Left normally, the context
    closes with code 1000 (see :meth:`WebSocket.close`); left by an exception or a cancellation,
    it closes at once. An exception of the body comes out as it is, not in a group.
    """
    endpoint = parse_endpoint(url, ("ws", "wss"))
    transport = await open_transport(
        endpoint,
        ssl_context,
        open_stream,
        connect_timeout=options.connect_timeout,
        handshake_timeout=options.handshake_timeout,
    )
    tap = Tap(
        transport,
        on_read,
        max_message_bytes=options.max_message_bytes,
        latency_budget=options.latency_budget,
        wall_clock=wall_clock,
    )
    socket: WebSocket | None = None
    try:
        async with trio.open_nursery() as nursery:
            socket = await nursery.start(_serve, endpoint, tap, options)
            yield socket
            await socket.close()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise_sole(group)
    finally:
        await close_now(transport)
        if socket is not None:
            socket._end(socket._reason())  # noqa: SLF001


async def _serve(
    endpoint: Endpoint,
    tap: Tap,
    options: WebSocketOptions,
    task_status: trio.TaskStatus[WebSocket],
) -> None:
    """Run trio-websocket's reader until the stream has ended."""
    socket: WebSocket | None = None
    try:
        async with trio.open_nursery() as nursery:
            connection = await shake_hands(
                nursery, endpoint, tap, timeout=options.handshake_timeout
            )
            socket = WebSocket(connection, tap, options.close_timeout)
            task_status.started(socket)
            await socket._attend()  # noqa: SLF001
    except BaseExceptionGroup as group:
        if tap.crash is not None:
            raise tap.crash from group
        if socket is None:
            raise_refusal(group, endpoint)
        _raise_unless_closing(group, socket)
    finally:
        if socket is not None:
            socket._served.set()  # noqa: SLF001
    if tap.crash is not None:
        raise tap.crash
    socket._end(socket._reason())  # noqa: SLF001


def _raise_unless_closing(group: BaseExceptionGroup, socket: WebSocket) -> None:
    """Forget wsproto's complaint that a connection on its way out can't send a pong any more."""
    rest: BaseExceptionGroup | None = group
    if socket._connection.closed is not None:  # noqa: SLF001
        rest = group.split(_WsprotoLocalError)[1]
    if rest is not None:
        raise_sole(rest)
