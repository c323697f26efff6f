"""The opening of a WebSocket: TCP, TLS, HTTP, each under a deadline, each with its own error."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any, NoReturn, cast

import h11
import trio
import trio_websocket
from wsproto.utilities import ProtocolError as WsprotoError

from farm.errors import ConnectFailed, HandshakeRefused, TlsFailed
from farm.groups import leaves, raise_sole
from farm.net.dial import OpenStream, dial
from farm.net.tap import HandshakeBroken, Tap
from farm.net.tls import default_ssl_context, start_tls
from farm.net.url import Endpoint

__all__ = ["open_transport", "raise_refusal", "shake_hands"]

_MAX_EXCERPT = 200


async def open_transport(
    endpoint: Endpoint,
    ssl_context: ssl.SSLContext | None,
    open_stream: OpenStream | None,
    *,
    connect_timeout: float,
    handshake_timeout: float,
) -> trio.abc.Stream:
    """TCP, and TLS on it where the scheme asks for it. Raises ConnectFailed or TlsFailed."""
    try:
        with trio.fail_after(connect_timeout):
            stream = await (open_stream or dial)(endpoint.host, endpoint.port)
    except trio.TooSlowError:
        raise ConnectFailed(f"{endpoint.url}: no connection in {connect_timeout:g} s") from None
    except (OSError, trio.BrokenResourceError) as exc:
        raise ConnectFailed(f"{endpoint.url}: {_explain(exc)}") from exc
    if not endpoint.secure:
        return stream
    context = ssl_context or default_ssl_context()
    try:
        return await start_tls(stream, context, endpoint.host, timeout=handshake_timeout)
    except TlsFailed as exc:
        raise TlsFailed(f"{endpoint.url}: {exc.reason}") from exc


async def shake_hands(
    nursery: trio.Nursery, endpoint: Endpoint, tap: Tap, *, timeout: float
) -> trio_websocket.WebSocketConnection:
    """The WebSocket handshake; trio-websocket's reader goes on in `nursery`.

    What fails, fails in `nursery`: give the group to :func:`raise_refusal`.
    """
    with trio.move_on_after(timeout):
        return await trio_websocket.wrap_client_stream(
            nursery,
            cast("trio.SocketStream", tap),  # any trio.abc.Stream will do
            endpoint.authority,
            endpoint.target,
            receive_buffer_size=None,
        )
    raise HandshakeBroken(f"no answer in {timeout:g} s", tap.http_status)


def raise_refusal(group: BaseExceptionGroup[Any], endpoint: Endpoint) -> NoReturn:
    """Translate what went wrong before the WebSocket was open."""
    where = f"{endpoint.url}: WebSocket handshake:"
    for exc in leaves(group):
        if isinstance(exc, trio_websocket.ConnectionRejected):
            excerpt = (exc.body or b"")[:_MAX_EXCERPT].decode(errors="replace").strip()
            said = f"refused: {excerpt}" if excerpt else "refused"
            pause = _retry_after(exc.headers or ())
            raise HandshakeRefused(
                f"{where} {said}", code=exc.status_code, retry_after=pause
            ) from exc
        if isinstance(exc, HandshakeBroken):
            if exc.status is not None and exc.status != 101:
                raise HandshakeRefused(f"{where} refused", code=exc.status) from exc
            raise ConnectFailed(f"{where} {exc}") from exc
        if isinstance(exc, (WsprotoError, h11.ProtocolError, UnicodeError)):
            raise ConnectFailed(f"{where} unusable answer: {_first_cause(exc)}") from exc
    raise_sole(group)


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds; None where the server names none, or a date."""
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 16:
            return float(value)
    return None


def _first_cause(exc: BaseException) -> BaseException:
    """wsproto has a client answer what it refuses, which h11 forbids: an error upon the error."""
    link: BaseException | None = exc
    while link is not None:
        if isinstance(link, WsprotoError):
            return link
        link = link.__context__
    return exc


def _explain(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__
