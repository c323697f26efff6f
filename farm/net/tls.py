"""TLS for everything that leaves the machine: certificate and host name are always checked.

The handshake is done here, under a deadline, before anything is built upon the stream:
trio-websocket 0.12.2 waits for ever when TLS fails inside its reader task.
"""

from __future__ import annotations

import functools
import ssl
from pathlib import Path

import certifi
import trio

from farm.errors import ConfigError, TlsFailed
from farm.net.tap import close_now
from farm.net.tls_stream import TlsStream

__all__ = ["check_verifies", "create_ssl_context", "default_ssl_context", "start_tls"]


def create_ssl_context() -> ssl.SSLContext:
    """A verifying client context with the system's roots, or certifi's where it has none."""
    context = ssl.create_default_context()
    if not _has_roots(context):
        context.load_verify_locations(cafile=certifi.where())
    return context


@functools.cache
def default_ssl_context() -> ssl.SSLContext:
    """The context that all WebSockets share; reading the roots takes tens of milliseconds."""
    return create_ssl_context()


def check_verifies(context: ssl.SSLContext) -> None:
    """Raise ConfigError for a context that would accept any certificate or any host."""
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise ConfigError("ssl_context", "must check the certificate and the host name")


async def start_tls(
    transport: trio.abc.Stream, context: ssl.SSLContext, hostname: str, *, timeout: float
) -> TlsStream:
    """Shake hands over `transport` within `timeout` seconds; `hostname` must match.

    Whatever goes wrong, cancellation included, closes the transport. Raises TlsFailed where the
    peer is at fault, ConfigError where the context doesn't verify or the host name is unusable.

    The end of the stream is taken without `close_notify`: a WebSocket close frame and the length
    of an HTTP body already tell a whole from a cut connection, and many servers send none.
    """
    try:
        check_verifies(context)
        if not hostname:
            raise ConfigError("hostname", "TLS needs a host name to check the certificate by")
        stream = _wrap(transport, context, hostname)
        with trio.fail_after(timeout):
            await stream.do_handshake()
    except BaseException as exc:
        await close_now(transport)
        if isinstance(exc, trio.TooSlowError):
            raise TlsFailed(f"{hostname}: no TLS handshake in {timeout:g} s") from None
        if isinstance(exc, trio.BrokenResourceError):
            raise TlsFailed(f"{hostname}: {_reason(exc)}") from exc
        raise
    return stream


def _wrap(transport: trio.abc.Stream, context: ssl.SSLContext, hostname: str) -> TlsStream:
    try:
        return TlsStream(transport, context, hostname)
    except ValueError as exc:  # the ssl module's word for an impossible host name
        raise ConfigError("hostname", f"{hostname!r}: {exc}") from exc


def _reason(exc: BaseException) -> str:
    cause = exc.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate refused: {cause.verify_message}"
    return f"TLS handshake failed: {cause or 'the connection ended'}"


def _has_roots(context: ssl.SSLContext) -> bool:
    """Roots of a directory are read when they are needed, so the store doesn't count them."""
    if context.cert_store_stats()["x509_ca"]:
        return True
    directory = ssl.get_default_verify_paths().capath
    return directory is not None and any(Path(directory).glob("*.[0-9]"))
