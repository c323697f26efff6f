from __future__ import annotations

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from farm.testing.rest import Request, Response, serve_http


async def conversation(*sent: bytes) -> tuple[bytes, list[Request]]:
    """What a server answers to these segments, and the requests it saw."""
    near, far = memory_stream_pair()
    seen: list[Request] = []

    async def answer(request: Request) -> Response:
        seen.append(request)
        await trio.lowlevel.checkpoint()
        return Response(f'"{request.path}"', 200 if request.path != "/no" else 404, [("x-a", "b")])

    received = b""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_http, far, answer)
            for segment in sent:
                await near.send_all(segment)
                await wait_all_tasks_blocked()
            await near.send_eof()
            while chunk := await near.receive_some():
                received += chunk
    return received, seen


async def test_requests_follow_one_another_on_one_connection() -> None:
    received, seen = await conversation(
        b"GET /a?x=1&x=2&y=%20z HTTP/1.1\r\nHo", b"st: h\r\n\r\n",
        b"POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    )  # fmt: skip
    assert [(r.method, r.path, r.query) for r in seen] == [
        ("GET", "/a", {"x": "2", "y": " z"}), ("POST", "/no", {})
    ]  # fmt: skip
    first, second = received.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200")
    assert b"x-a: b\r\n" in first
    assert b"content-length: 4\r\n" in first
    assert first.endswith(b'\r\n\r\n"/a"')
    assert second.startswith(b"404")


async def test_a_client_that_wants_to_close_gets_its_answer_first() -> None:
    received, seen = await conversation(
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert received.endswith(b'"/a"')
    assert [request.path for request in seen] == ["/a"]


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x02\r\n\r\n", b"GET /a HT"])
async def test_what_is_no_http_is_dropped(data: bytes) -> None:
    assert await conversation(data) == (b"", [])
