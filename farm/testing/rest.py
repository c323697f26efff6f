"""A small HTTP/1.1 server over h11, for the REST side of fake exchanges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlsplit

import attrs
import h11
import trio

__all__ = ["Request", "Response", "serve_http"]

_CHUNK = 1 << 16


@attrs.define
class Request:
    """A request; ``query`` holds the last value of each parameter."""

    method: str
    target: str
    path: str
    query: dict[str, str]


@attrs.define
class Response:
    """An answer; the body is JSON text unless ``content_type`` says otherwise."""

    body: str
    status: int = 200
    headers: list[tuple[str, str]] = attrs.Factory(list)
    content_type: str = "application/json"


async def serve_http(
    stream: trio.abc.Stream, answer: Callable[[Request], Awaitable[Response]]
) -> None:
    """Serves one connection until the client is done with it."""
    connection = h11.Connection(h11.SERVER)
    try:
        while await _serve_one(connection, stream, answer):
            connection.start_next_cycle()
    except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
        pass  # the client went away or does not speak HTTP
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await trio.aclose_forcefully(stream)


async def _serve_one(
    connection: h11.Connection,
    stream: trio.abc.Stream,
    answer: Callable[[Request], Awaitable[Response]],
) -> bool:
    """Reads one request and answers it; False where no further one can follow."""
    head: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_CHUNK)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.EndOfMessage):
            break
        elif not isinstance(event, h11.Data):  # the line is closed
            return False
    assert head is not None
    response = await answer(_request(head))
    body = response.body.encode()
    headers = [
        ("content-type", f"{response.content_type};charset=UTF-8"),
        ("content-length", str(len(body))),
        *response.headers,
    ]
    for part in (
        h11.Response(status_code=response.status, headers=headers),
        h11.Data(data=body),
        h11.EndOfMessage(),
    ):
        await stream.send_all(connection.send(part) or b"")
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE


def _request(head: h11.Request) -> Request:
    target = head.target.decode("ascii", "replace")
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(head.method.decode(), target, parts.path, query)
