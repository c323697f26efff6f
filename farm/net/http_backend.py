"""What httpcore2 connects, reads and writes by: any stream of Trio's, and farm's own TLS.

httpcore2 2.16 leaves TCP open when a TLS handshake is cancelled; :func:`farm.net.tls.start_tls`
does not. The deadlines that httpcore2 hands down are not kept here: nobody sets them, since
:class:`~farm.net.rest.RestClient` has one for the whole call.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2
import trio

from farm.net.dial import OpenStream
from farm.net.reading import is_readable
from farm.net.tls import start_tls

__all__ = ["HttpBackend"]

CLOSE_SECONDS = 1.0
"""For a TLS goodbye: httpcore2 closes within a shield, where a peer that does not read would hold
it for ever."""


class HttpBackend(httpcore2.AsyncNetworkBackend):
    """Connects by `open_stream`."""

    def __init__(self, open_stream: OpenStream) -> None:
        self._open_stream = open_stream

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 (see above)
        local_address: str | None = None,  # noqa: ARG002 (never asked for)
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        """Connect; httpcore2.ConnectError where that fails."""
        try:
            return _HttpStream(await self._open_stream(host, port))
        except (OSError, trio.BrokenResourceError) as exc:
            raise httpcore2.ConnectError(str(exc)) from exc


class _HttpStream(httpcore2.AsyncNetworkStream):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        with _translated(httpcore2.ReadError):
            return bytes(await self._stream.receive_some(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        with _translated(httpcore2.WriteError):
            await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        with trio.move_on_after(CLOSE_SECONDS):
            await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        """Raises TlsFailed and ConfigError as :func:`farm.net.tls.start_tls` does."""
        secure = await start_tls(self._stream, ssl_context, server_hostname or "", timeout=math.inf)
        return _HttpStream(secure)

    def get_extra_info(self, info: str) -> Any:
        """``is_readable``: of a connection that is kept, whether the server has ended it."""
        return is_readable(self._stream) if info == "is_readable" else None


@contextmanager
def _translated(error: type[httpcore2.NetworkError]) -> Iterator[None]:
    """httpcore2 knows its own errors: after a WriteError it still reads what the server said."""
    try:
        yield
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise error(str(exc)) from exc
