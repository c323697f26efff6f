"""A port that can stop listening and listen again without changing its number.

It lies on loopback, or on a loopback in memory: see :mod:`farm.testing.network`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable

import trio

from farm.testing.network import MemoryNetwork

__all__ = ["HOST", "Port"]

HOST = "127.0.0.1"

Handler = Callable[[trio.abc.Stream], Awaitable[None]]


class Port:
    """One port with one kind of connection; in `network` where one is given, else a socket's.

    While it does not listen its number stays bound, so connecting is refused and nobody else can
    take it.
    """

    def __init__(
        self, handler: Handler, tls: ssl.SSLContext | None, network: MemoryNetwork | None = None
    ) -> None:
        self.number = 0
        self._handler = handler
        self._tls = tls
        self._place: _Sockets | _Memory = _Sockets() if network is None else _Memory(network)
        self._scope = trio.CancelScope()

    def bind(self) -> None:
        """Takes the port without listening: the same number again, a free one the first time."""
        self.number = self._place.bind(self.number)

    async def serve(
        self,
        nursery: trio.Nursery,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listens, every connection being a task of `nursery`, until :meth:`stop`."""
        if not self._place.bound:
            self.bind()
        listener = self._place.listen()
        if self._tls is not None:
            listener = trio.SSLListener(listener, self._tls, https_compatible=True)
        with trio.CancelScope() as self._scope:
            task_status.started()
            await trio.serve_listeners(self._handler, [listener], handler_nursery=nursery)

    def close(self) -> None:
        """Stops listening and gives the port back; connections stay."""
        self._scope.cancel()
        self._place.close()

    def stop(self) -> None:
        """Stops listening, but keeps the number."""
        self.close()
        self.bind()


class _Sockets:
    """A port of the machine's loopback."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    @property
    def bound(self) -> bool:
        return self._socket is not None

    def bind(self, number: int) -> int:
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((HOST, number))
        except OSError:
            sock.close()
            raise
        self._socket = sock
        return int(sock.getsockname()[1])

    def listen(self) -> trio.abc.Listener[trio.abc.Stream]:
        assert self._socket is not None
        self._socket.listen(128)
        return trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))

    def close(self) -> None:
        if self._socket is not None:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._socket = None


class _Memory:
    """A port of a loopback in memory."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._number: int | None = None

    @property
    def bound(self) -> bool:
        return self._number is not None

    def bind(self, number: int) -> int:
        self._number = self._network.bind(number)
        return self._number

    def listen(self) -> trio.abc.Listener[trio.abc.Stream]:
        assert self._number is not None
        return self._network.listen(self._number)

    def close(self) -> None:
        if self._number is not None:
            self._network.release(self._number)
            self._number = None
