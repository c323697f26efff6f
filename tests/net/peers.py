"""The other side of a connection, for the tests of this room: frames by hand, odd peers."""

from __future__ import annotations

from collections.abc import Iterable

import trio
from trio.testing import memory_stream_pair
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Event, Request

ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: x\r\n\r\n"
)


def frame(first: int, payload: bytes = b"", *, mask: bytes = b"") -> bytes:
    """A frame as a server sends it: `first` holds FIN, reserved bits and opcode."""
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head = bytes([first, bit | size])
    elif size < 1 << 16:
        head = bytes([first, bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, bit | 127]) + size.to_bytes(8, "big")
    return head + mask + payload


def text(message: str) -> bytes:
    return frame(0x81, message.encode())


def close_frame(code: int, reason: str = "") -> bytes:
    return frame(0x88, code.to_bytes(2, "big") + reason.encode())


class ScriptedStream(trio.abc.Stream):
    """A transport that yields the given reads one by one, then the end (or `error`)."""

    def __init__(self, reads: Iterable[bytes], error: Exception | None = None) -> None:
        self.reads = list(reads)
        self.error = error
        self.sent = b""
        self.closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.reads:
            return self.reads.pop(0)
        if self.error is not None:
            raise self.error
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += bytes(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class RawServer:
    """A server under the test's control, over memory unless given another stream.

    The opening handshake and the client's frames are wsproto's; what it sends is bytes by hand.
    """

    def __init__(self, stream: trio.abc.Stream | None = None) -> None:
        self.client_side, memory_side = memory_stream_pair()
        self.stream = memory_side if stream is None else stream
        self.protocol = WSConnection(ConnectionType.SERVER)
        self.opened: tuple[str, int] | None = None
        self.request: Request | None = None
        self.accepted = trio.Event()
        self._events: list[Event] = []

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.opened = host, port
        return self.client_side

    async def event(self) -> Event | None:
        """The client's next event, None at the end of its stream."""
        while not self._events:
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self.protocol.receive_data(bytes(data))
            self._events += self.protocol.events()
        return self._events.pop(0)

    async def accept(self, first_frames: bytes = b"") -> None:
        """Answer the handshake, with frames in the same segment."""
        event = await self.event()
        assert isinstance(event, Request)
        self.request = event
        await self.stream.send_all(self.protocol.send(AcceptConnection()) + first_frames)
        self.accepted.set()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)
