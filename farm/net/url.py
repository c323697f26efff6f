"""URLs as they go on the wire: checked, split, and percent-encoded where venues need it.

Symbols may be non-ASCII (`币安人生USDT`), so paths and queries are UTF-8, percent-encoded; what
is already encoded stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import quote, urlsplit

import attrs

from farm.errors import ConfigError

__all__ = ["Endpoint", "parse_endpoint", "quote_path"]

_DEFAULT_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}
_TARGET_SAFE = "/:@!$&'()*+,;=%-._~"


@attrs.define(frozen=True)
class Endpoint:
    """Where to connect and what to ask for there."""

    url: str
    """As given; for messages."""
    scheme: str
    host: str
    """ASCII (IDNA where the URL wasn't), without the brackets of an IPv6 address."""
    port: int
    target: str
    """Path and query, ASCII; never empty."""

    @property
    def secure(self) -> bool:
        """TLS is to be used."""
        return self.scheme in ("wss", "https")

    @property
    def authority(self) -> str:
        """The Host header: the port stands only where it isn't the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def quote_path(path: str) -> str:
    """Percent-encode what may not stand in a path."""
    return quote(path, safe=_TARGET_SAFE)


def parse_endpoint(url: str, schemes: Collection[str]) -> Endpoint:
    """Split `url`; raises ConfigError where it can't be connected to."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _ascii_host(parts.hostname or "")
    except ValueError as exc:
        raise ConfigError("url", f"{url!r}: {exc}") from exc
    if parts.scheme not in schemes:
        raise ConfigError("url", f"{url!r} does not begin with {' or '.join(schemes)}")
    if not host or parts.username is not None or port == 0:
        raise ConfigError("url", f"{url!r} must name a host, no user, and no port 0")
    query = "?" + quote(parts.query, safe=_TARGET_SAFE + "?") if parts.query else ""
    return Endpoint(
        url=url,
        scheme=parts.scheme,
        host=host,
        port=port or _DEFAULT_PORTS[parts.scheme],
        target=(quote_path(parts.path) or "/") + query,
    )


def _ascii_host(host: str) -> str:
    """Raises UnicodeError (a ValueError) where a label is empty or too long."""
    return host if ":" in host else host.encode("idna").decode("ascii")
