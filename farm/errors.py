"""Every error that farm raises, in one tree under :class:`FarmError`.

Two branches say whose fault a broken protocol is: :class:`LocalProtocolError` (we did) and
:class:`RemoteProtocolError` (they did). Weather, that is network trouble that passes by itself,
is :class:`ConnectionLost` and its kin; supervisors back off from it and never count it as a crash.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AmbiguousSymbol",
    "BudgetExceeded",
    "ConfigError",
    "ConnectFailed",
    "ConnectionLost",
    "ControlError",
    "DataDirectoryError",
    "FarmError",
    "HandshakeRefused",
    "LinkError",
    "LocalProtocolError",
    "MissingExtra",
    "NumberRangeError",
    "RecordingError",
    "RemoteProtocolError",
    "RestError",
    "RestRateLimited",
    "RestTimeout",
    "RestartsExceeded",
    "ShardError",
    "StorageFailed",
    "TlsFailed",
    "UnknownFeed",
    "UnknownSymbol",
]


class FarmError(Exception):
    """Base of every error that farm raises on purpose. All can be pickled, attributes included."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is unpickled by `type(self)(*self.args)`, but some constructors below take
        # something other than the finished message: theirs is passed over.
        return _without_constructor, (type(self), self.args), self.__dict__


def _without_constructor(kind: type[FarmError], args: tuple[Any, ...]) -> FarmError:
    error = kind.__new__(kind)
    super(FarmError, error).__init__(*args)  # that of the built-in base: ImportError keeps a copy
    return error


class ConfigError(FarmError, ValueError):
    """A configuration value that cannot be used.

    ``path`` names its place, such as ``collectors[0].streams[2]``; empty for the whole document.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


class LocalProtocolError(FarmError):
    """We broke a protocol: a bug in farm or in the caller, never the venue's fault."""


class RemoteProtocolError(FarmError):
    """The venue broke its protocol, or speaks one that farm does not know."""


class ConnectionLost(FarmError):
    """An open connection ended: weather. ``reason`` is short and fit for a record."""

    def __init__(self, reason: str, *, code: int | None = None) -> None:
        super().__init__(reason if code is None else f"{reason} (code {code})")
        self.reason = reason
        self.code = code


class ConnectFailed(ConnectionLost):
    """No connection came about (refused, unreachable, no such host, deadline passed)."""


class TlsFailed(ConnectFailed):
    """The TLS handshake failed: unknown authority, wrong host name, a peer that speaks no TLS."""


class HandshakeRefused(ConnectFailed):
    """The server answered the WebSocket handshake with something other than 101.

    ``code`` is the HTTP status, ``retry_after`` the pause in seconds that it asked for, if any.
    """

    def __init__(
        self, reason: str, *, code: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(reason, code=code)
        self.retry_after = retry_after


class RestError(FarmError):
    """A REST call failed. ``status`` is the HTTP status, or None where no answer came."""

    def __init__(self, message: str, *, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class RestRateLimited(RestError):
    """429, 418 or 403: the venue asks for a pause of ``retry_after`` seconds."""

    def __init__(self, message: str, *, status: int, retry_after: float, body: bytes = b"") -> None:
        super().__init__(message, status=status, body=body)
        self.retry_after = retry_after


class RestTimeout(RestError):
    """A REST call passed its deadline."""


class BudgetExceeded(LocalProtocolError):
    """A single request weighs more than the whole budget: it could never be granted."""


class RestartsExceeded(FarmError):
    """An actor crashed more often than its intensity allows; the last crash is the cause."""


class UnknownSymbol(FarmError, LookupError):
    """No configured feed carries this symbol."""


class AmbiguousSymbol(FarmError, LookupError):
    """A symbol trades on several configured markets; ``candidates`` lists them."""

    def __init__(self, symbol: str, candidates: list[str]) -> None:
        super().__init__(
            f"{symbol!r} is ambiguous: it is collected on {', '.join(candidates)}; "
            "name exchange= and market="
        )
        self.symbol = symbol
        self.candidates = candidates


class UnknownFeed(FarmError, LookupError):
    """Nothing configured produces what was asked for."""


class NumberRangeError(FarmError, ValueError):
    """A number does not fit where it is to be stored exactly."""


class DataDirectoryError(FarmError):
    """A data directory that cannot be used: not writable, or written in another number mode."""


class StorageFailed(FarmError):
    """The disk refused a write (full, gone, no rights): weather. The rows are kept."""


class RecordingError(FarmError):
    """A recording that cannot be read; the message names the file and the line."""


class LinkError(FarmError):
    """What came over the link between two processes of a farm is not what farm sends."""


class ShardError(FarmError):
    """A shard, a process of a farm's own, could not be started, or ended before its time."""


class ControlError(FarmError):
    """A running farm could not be asked how it is: none is there, or it does not answer."""


class MissingExtra(FarmError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs {package}, which is not installed: "
            f"python -m pip install 'collector-farm[{extra}]'"
        )
        self.extra = extra
