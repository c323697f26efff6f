"""One read of a transport, as cheaply as Trio lets it be done.

On a plain socket that is to wait until it is readable, and then to read once into a buffer that
lasts: `SocketStream.receive_some` costs about 10 µs more a wake. Everything else is asked to
receive.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeAlias, runtime_checkable

import trio

__all__ = ["READ_BYTES", "Read", "is_readable", "reads_of"]

READ_BYTES = 96 * 1024
"""One read; at 128 KiB and more `malloc` asks the kernel for each, and page faults cost 7 µs."""

Read: TypeAlias = Callable[[], Awaitable[bytes | bytearray | memoryview]]
"""Reads once: at most `READ_BYTES`, nothing at the end, and good until the next read.

Each is a real checkpoint. Raises BrokenResourceError and ClosedResourceError as streams do.
"""


def reads_of(transport: trio.abc.Stream) -> Read:
    """What reads `transport`, for one task at a time."""
    if sys.platform != "win32" and isinstance(transport, trio.SocketStream):
        return _SocketReads(transport.socket).read
    return partial(transport.receive_some, READ_BYTES)


@runtime_checkable
class _Readable(Protocol):
    """A stream that is no plain socket, but can tell as well."""

    def is_readable(self) -> bool: ...


def is_readable(transport: trio.abc.Stream) -> bool:
    """Whether a read would return at once, if only with the end; False where that can't be told."""
    if isinstance(transport, trio.SocketStream):
        return transport.socket.is_readable()
    return isinstance(transport, _Readable) and transport.is_readable()


class _SocketReads:
    """Reads of a socket into one lasting buffer."""

    __slots__ = ("_buffer", "_buffers", "_socket", "_view")

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self._socket = socket
        self._buffer = bytearray(READ_BYTES)
        self._buffers = [self._buffer]
        self._view = memoryview(self._buffer)

    async def read(self) -> memoryview:
        """The file descriptor is asked for anew each time: after a close its number may belong to
        another connection, and a closed socket gives -1."""
        socket = self._socket
        while True:
            if socket.fileno() < 0:
                raise trio.ClosedResourceError("this socket was already closed")
            await trio.lowlevel.wait_readable(socket)
            try:
                size = os.readv(socket.fileno(), self._buffers)
            except BlockingIOError:
                continue
            except OSError as exc:
                if socket.fileno() < 0:
                    raise trio.ClosedResourceError("this socket was already closed") from None
                raise trio.BrokenResourceError(f"socket connection broken: {exc}") from exc
            return self._view[:size]
