"""Plain clients for the tests of fake exchanges; nothing here comes from farm."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

PATIENCE = 30.0


@attrs.define
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Transport: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"


async def connect(url: str, context: ssl.SSLContext | None = None) -> Transport:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    if context is None:
        return stream
    return trio.SSLStream(stream, context, server_hostname=parts.hostname, https_compatible=True)


async def get(url: str, context: ssl.SSLContext | None = None) -> Answer:
    """One HTTP request on a connection of its own."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    raw = b""
    with trio.fail_after(PATIENCE):
        async with await connect(url, context) as stream:
            head = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
            await stream.send_all(head.encode())
            while chunk := await stream.receive_some():
                raw += chunk
    answered, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = answered.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert int(headers["content-length"]) == len(body)
    return Answer(int(status.split()[1]), headers, body)


@asynccontextmanager
async def open_ws(
    url: str, context: ssl.SSLContext | None = None
) -> AsyncIterator[WebSocketConnection]:
    """A trio-websocket client whose socket is closed however the connection ends."""
    parts = urlsplit(url)
    stream = await connect(url, context)
    try:
        async with trio.open_nursery() as nursery:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            ws = await wrap_client_stream(nursery, stream, parts.netloc, target)
            yield ws
            with trio.move_on_after(PATIENCE):
                await ws.aclose()
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def texts(ws: WebSocketConnection, count: int) -> list[str]:
    """The next `count` messages."""
    with trio.fail_after(PATIENCE):
        messages = [await ws.get_message() for _ in range(count)]
    return [message for message in messages if isinstance(message, str)]


async def text(ws: WebSocketConnection) -> str:
    [message] = await texts(ws, 1)
    return message


async def ask(ws: WebSocketConnection, request: object) -> str:
    """Sends a request (text, or an object to be written as JSON); returns the next message."""
    await ws.send_message(request if isinstance(request, str) else json.dumps(request))
    return await text(ws)


async def closed_with(ws: WebSocketConnection) -> tuple[int, str | None]:
    """Reads until the server closes."""

    async def read_on() -> None:
        while True:
            await ws.get_message()

    with trio.fail_after(PATIENCE), pytest.raises(ConnectionClosed) as caught:
        await read_on()
    reason = caught.value.reason
    assert reason is not None
    return reason.code, reason.reason


async def shake_hands(url: str) -> tuple[Transport, bytes]:
    """A WebSocket handshake by hand, for clients that misbehave; returns what was answered."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    stream = await connect(url)
    key = base64.b64encode(b"0123456789abcdef").decode()
    await stream.send_all(
        f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return stream, bytes(await stream.receive_some())


def masked_frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A short client frame under a mask of zeros."""
    assert len(payload) < 126
    return bytes([(0x80 if final else 0) | opcode, 0x80 | len(payload)]) + bytes(4) + payload


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    """All bytes until the server closes or resets the line."""
    received = b""
    with trio.fail_after(PATIENCE):
        try:
            while chunk := await stream.receive_some():
                received += chunk
        except trio.BrokenResourceError:
            pass
    return received


@attrs.define
class PlainBook:
    """Levels by price text, from any venue's lists of [price, size]."""

    bids: dict[str, str] = attrs.Factory(dict)
    asks: dict[str, str] = attrs.Factory(dict)

    def change(self, bids: Iterable[list[str]], asks: Iterable[list[str]]) -> None:
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, size in levels:
                if float(size) == 0:
                    side.pop(price, None)  # levels beyond a snapshot leave unseen
                else:
                    side[price] = size

    @property
    def top(self) -> tuple[str, str, str, str]:
        bid, ask = max(self.bids, key=float), min(self.asks, key=float)
        return bid, self.bids[bid], ask, self.asks[ask]

    @property
    def crossed(self) -> bool:
        return max(map(float, self.bids)) >= min(map(float, self.asks))
