"""REST over HTTP/1.1 with kept connections, a shared weight budget, and one error per cause.

There is no retry in here: whether a call is worth repeating, and when, the caller knows.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from types import MappingProxyType, TracebackType
from urllib.parse import quote, urlencode

import attrs
import httpcore2
import trio

from farm.errors import RestError, RestRateLimited, RestTimeout, TlsFailed
from farm.net.budget import Budget
from farm.net.dial import OpenStream, dial
from farm.net.http_backend import HttpBackend
from farm.net.tls import check_verifies, create_ssl_context
from farm.net.url import parse_endpoint, quote_path

__all__ = ["RestClient", "RestReply"]

_DEFAULT_PAUSES = {429: 60.0, 418: 120.0, 403: 600.0}
"""Seconds to pause where Retry-After is absent or no number.

429: Binance counts by the minute, and who goes on too early is banned. 418: Binance's bans last
from two minutes to three days. 403: Bybit's "access too frequent" bans for ten minutes; Binance's
firewall answers 403 too.
"""

_MAX_PAUSE = 3 * 24 * 3600.0
_MAX_CONNECTIONS = 8
_KEEPALIVE_SECONDS = 30.0
_EXCERPT_BYTES = 500
_NO_PARAMS: Mapping[str, str | int] = MappingProxyType({})


@attrs.define
class RestReply:
    """A successful answer (status 2xx)."""

    status: int
    headers: dict[str, str]
    """Names in lower case; repeated headers joined by a comma."""
    body: bytes
    elapsed: float
    """Seconds from the request to the end of the body, the wait for the budget excluded."""


class RestClient:
    """GET requests to one host; use as an async context manager.

    `budget` is the weight per IP address that all clients of a venue share. `used_weight_header`
    names the header in which the venue tells its own count (``X-MBX-USED-WEIGHT-1M``). Connections
    are made by `open_stream`. TLS is always verified.
    """

    def __init__(
        self,
        base_url: str,
        *,
        budget: Budget,
        used_weight_header: str | None = None,
        timeout: float = 10.0,
        max_body_bytes: int = 64 * 2**20,
        ssl_context: ssl.SSLContext | None = None,
        open_stream: OpenStream | None = None,
    ) -> None:
        endpoint = parse_endpoint(base_url, ("http", "https"))
        if endpoint.secure:
            ssl_context = ssl_context or create_ssl_context()
            check_verifies(ssl_context)
        self.budget = budget
        self.timeout = timeout
        self.max_body_bytes = max_body_bytes
        self._endpoint = endpoint
        self._prefix = endpoint.target.rstrip("/")
        self._used_weight_header = (used_weight_header or "").lower()
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=_MAX_CONNECTIONS,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=HttpBackend(open_stream or dial),
        )

    async def __aenter__(self) -> RestClient:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def get(
        self,
        path: str,
        params: Mapping[str, str | int] = _NO_PARAMS,
        *,
        weight: int = 1,
        on_granted: Callable[[], None] = lambda: None,
    ) -> RestReply:
        """GET `path`, which costs `weight`; the body is read whole.

        First waits, as long as it takes, for the budget, and calls `on_granted`; then the whole
        call has `timeout` seconds. Redirects are not followed. Raises RestTimeout, RestRateLimited
        (429, 418 and 403; the budget is paused), RestError for everything else that isn't a 2xx
        answer, and BudgetExceeded. Cancelled, it gives its connection up.
        """
        target = self._prefix + quote_path(path)
        if params:
            target += "?" + urlencode(params, quote_via=quote)
        await self.budget.acquire(weight)
        on_granted()
        start = trio.current_time()
        with self._translated_errors(path):
            with trio.fail_after(self.timeout):
                status, headers, body = await self._exchange(target)
        used = _whole_number(headers.get(self._used_weight_header, ""))
        if used is not None:
            self.budget.observe(used)
        self._check_status(path, status, headers, body)
        return RestReply(status, headers, body, trio.current_time() - start)

    async def _exchange(self, target: str) -> tuple[int, dict[str, str], bytes]:
        endpoint = self._endpoint
        url = httpcore2.URL(
            scheme=endpoint.scheme, host=endpoint.host, port=endpoint.port, target=target
        )
        asked: list[tuple[bytes | str, bytes | str]] = [
            ("Host", endpoint.authority),
            ("Accept-Encoding", "identity"),
            ("User-Agent", "farm"),
        ]
        async with self._pool.stream("GET", url, headers=asked) as response:
            headers = _fold(response.headers)
            announced = _whole_number(headers.get("content-length", ""))
            if announced is not None and announced > self.max_body_bytes:
                raise RestError(f"body exceeds {self.max_body_bytes} bytes: {announced}")
            body = bytearray()
            async with aclosing(response.aiter_stream()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > self.max_body_bytes:
                        raise RestError(f"body exceeds {self.max_body_bytes} bytes")
            return response.status, headers, bytes(body)

    @contextmanager
    def _translated_errors(self, path: str) -> Iterator[None]:
        where = f"GET {self._endpoint.url}{path}"
        try:
            yield
        except RestError as exc:
            raise RestError(f"{where}: {exc}") from None
        except trio.TooSlowError as exc:
            raise RestTimeout(f"{where}: no whole answer in {self.timeout:g} s") from exc
        except (httpcore2.NetworkError, httpcore2.ProtocolError, TlsFailed) as exc:
            raise RestError(f"{where}: {_explain(exc)}") from exc

    def _check_status(self, path: str, status: int, headers: dict[str, str], body: bytes) -> None:
        if 200 <= status < 300:
            return
        excerpt = body[:_EXCERPT_BYTES]
        said = excerpt.decode(errors="replace")
        message = f"GET {self._endpoint.url}{path}: HTTP {status}: {said}"
        if status not in _DEFAULT_PAUSES:
            raise RestError(message, status=status, body=excerpt)
        pause = _retry_after(headers.get("retry-after", ""), _DEFAULT_PAUSES[status])
        self.budget.pause(pause)
        raise RestRateLimited(message, status=status, retry_after=pause, body=excerpt)


def _fold(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    folded: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        folded[name] = f"{folded[name]}, {value}" if name in folded else value
    return folded


def _retry_after(text: str, default: float) -> float:
    """Seconds; a date or nonsense gives the default, and no pause is longer than any known ban."""
    seconds = _whole_number(text)
    return default if seconds is None else min(float(seconds), _MAX_PAUSE)


def _whole_number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 16 else None


def _explain(exc: BaseException) -> str:
    """The first word that anything in the chain has to say.

    httpcore2 cuts the chain of causes, but its errors hold what they translate as an argument.
    """
    link: BaseException | None = exc
    while link is not None:
        if str(link):
            return str(link)
        inner = link.args[0] if link.args else None
        link = link.__cause__ or (inner if isinstance(inner, BaseException) else None)
    return type(exc).__name__
