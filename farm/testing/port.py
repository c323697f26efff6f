"""A loopback port that can stop listening and listen again without changing its number."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable

import trio

__all__ = ["HOST", "Port"]

HOST = "127.0.0.1"

Handler = Callable[[trio.abc.Stream], Awaitable[None]]


class Port:
    """One port on loopback with one kind of connection.

    While it does not listen its number stays bound, so connecting is refused and nobody else can
    take it.
    """

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None) -> None:
        self.number = 0
        self._handler = handler
        self._tls = tls
        self._socket: socket.socket | None = None
        self._scope = trio.CancelScope()

    def bind(self) -> None:
        """Takes the port without listening: the same number again, a free one the first time."""
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((HOST, self.number))
        except OSError:
            sock.close()
            raise
        self.number = sock.getsockname()[1]
        self._socket = sock

    async def serve(
        self,
        nursery: trio.Nursery,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listens, every connection being a task of `nursery`, until :meth:`stop`."""
        if self._socket is None:
            self.bind()
        assert self._socket is not None
        self._socket.listen(128)
        listener: trio.abc.Listener[trio.abc.Stream] = trio.SocketListener(
            trio.socket.from_stdlib_socket(self._socket)
        )
        if self._tls is not None:
            listener = trio.SSLListener(listener, self._tls, https_compatible=True)
        with trio.CancelScope() as self._scope:
            task_status.started()
            await trio.serve_listeners(self._handler, [listener], handler_nursery=nursery)

    def close(self) -> None:
        """Stops listening and gives the port back; connections stay."""
        self._scope.cancel()
        if self._socket is not None:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._socket = None

    def stop(self) -> None:
        """Stops listening, but keeps the number."""
        self.close()
        self.bind()
