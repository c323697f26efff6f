"""Who takes part in :mod:`benchmarks.receive`: each connects to a server, asks for messages, and
counts what it gets, as its documentation says to do it.

The clients of asyncio run on uvloop, their best case. Messages are taken as bytes where the
library has a way to, so that nobody decodes what a parser of bytes wouldn't want decoded.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias

import attrs
import trio

from farm.net.websocket import WebSocketOptions, open_websocket

__all__ = ["BUDGETED", "CONTENDERS", "GO", "Meter", "Run"]

GO = json.dumps({"method": "SUBSCRIBE", "params": ["go"], "id": 1})

TIMEOUT = 120.0
"""Seconds; a contender that loses a message waits for it until then."""

Client: TypeAlias = Callable[[str, "ssl.SSLContext | None", "Meter"], Coroutine[Any, Any, None]]

Run: TypeAlias = Callable[[str, "ssl.SSLContext | None", "Meter"], None]
"""Receives what is asked for at an address, and fills the meter."""


@attrs.define
class Meter:
    """What came in one run, and what it took from the request to the last message."""

    wanted: int
    messages: int = 0
    nbytes: int = 0
    cpu: float = 0.0
    """Seconds of this process on a processor."""
    wall: float = 0.0

    def start(self) -> None:
        """From now on it counts."""
        self.cpu, self.wall = -time.process_time(), -time.perf_counter()

    def stop(self, nbytes: int, messages: int | None = None) -> None:
        """So many bytes came, in so many messages (default: all)."""
        self.cpu += time.process_time()
        self.wall += time.perf_counter()
        self.nbytes = nbytes
        self.messages = self.wanted if messages is None else messages


async def _farm(
    url: str, context: ssl.SSLContext | None, meter: Meter, *, budget: float = 0.0
) -> None:
    options = WebSocketOptions(latency_budget=budget)
    ready, done = trio.Event(), trio.Event()

    nbytes, left = 0, 1  # the greeting first

    def on_read(messages: list[bytes], _receive_time: int) -> None:
        nonlocal nbytes, left
        nbytes += sum(map(len, messages))
        left -= len(messages)
        if left <= 0:
            (done if ready.is_set() else ready).set()

    async with open_websocket(url, on_read, ssl_context=context, options=options) as socket:
        await ready.wait()
        nbytes, left = 0, meter.wanted
        meter.start()
        await socket.send_text(GO)
        await done.wait()
        meter.stop(nbytes, meter.wanted - left)


async def _trio_websocket(url: str, context: ssl.SSLContext | None, meter: Meter) -> None:
    from trio_websocket import open_websocket_url

    async with open_websocket_url(url, ssl_context=context) as socket:
        await socket.get_message()
        meter.start()
        await socket.send_message(GO)
        nbytes, left = 0, meter.wanted
        while left:
            nbytes += len(await socket.get_message())
            left -= 1
        meter.stop(nbytes)


async def _websockets(url: str, context: ssl.SSLContext | None, meter: Meter) -> None:
    from websockets.asyncio.client import connect

    async with connect(url, ssl=context, compression=None, proxy=None) as socket:
        await socket.recv(decode=False)
        meter.start()
        await socket.send(GO)
        nbytes, left = 0, meter.wanted
        while left:
            nbytes += len(await socket.recv(decode=False))
            left -= 1
        meter.stop(nbytes)


async def _aiohttp(url: str, context: ssl.SSLContext | None, meter: Meter) -> None:
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, ssl=context or True, decode_text=False) as socket,
    ):
        await socket.receive()
        meter.start()
        await socket.send_str(GO)
        nbytes, left = 0, meter.wanted
        async for message in socket:
            nbytes += len(message.data)
            left -= 1
            if not left:
                break
        meter.stop(nbytes, meter.wanted - left)


async def _picows(
    url: str, context: ssl.SSLContext | None, meter: Meter, *, own_transports: bool = True
) -> None:
    """By itself picows takes the transports, and the TLS, of aiofastnet, not uvloop's."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

    ready, done = asyncio.Event(), asyncio.Event()
    nbytes, left, text = 0, 1, WSMsgType.TEXT  # the greeting first

    class Reader(WSListener):
        def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
            nonlocal nbytes, left
            if frame.msg_type == text:
                nbytes += len(frame.get_payload_as_bytes())
                left -= 1
                if not left:
                    (done if ready.is_set() else ready).set()

    transport, _ = await ws_connect(
        Reader, url, ssl_context=context, use_aiofastnet=None if own_transports else False
    )
    await ready.wait()
    nbytes, left = 0, meter.wanted
    meter.start()
    transport.send(WSMsgType.TEXT, GO.encode())
    await done.wait()
    meter.stop(nbytes, meter.wanted - left)
    transport.send_close()
    await transport.wait_disconnected()


def _in_trio(client: Client) -> Run:
    async def run(url: str, context: ssl.SSLContext | None, meter: Meter) -> None:
        with trio.move_on_after(TIMEOUT):
            await client(url, context, meter)

    return lambda url, context, meter: trio.run(run, url, context, meter)


def _in_asyncio(client: Client) -> Run:
    async def run(url: str, context: ssl.SSLContext | None, meter: Meter) -> None:
        await asyncio.wait_for(client(url, context, meter), TIMEOUT)

    def go(url: str, context: ssl.SSLContext | None, meter: Meter) -> None:
        import uvloop

        uvloop.run(run(url, context, meter))

    return go


CONTENDERS: dict[str, tuple[Run, tuple[str, ...]]] = {
    "farm": (_in_trio(_farm), ()),
    "trio-websocket": (_in_trio(_trio_websocket), ()),
    "websockets": (_in_asyncio(_websockets), ("websockets", "uvloop")),
    "aiohttp": (_in_asyncio(_aiohttp), ("aiohttp", "uvloop")),
    "picows": (_in_asyncio(_picows), ("picows", "uvloop")),
    "picows on uvloop's transports": (
        _in_asyncio(partial(_picows, own_transports=False)),
        ("picows", "uvloop"),
    ),
}
"""How to run each, and the packages that it needs."""

BUDGETED: dict[str, tuple[Run, tuple[str, ...]]] = {
    "farm, latency budget 2 ms": (_in_trio(partial(_farm, budget=0.002)), ()),
}
"""Who has something to gain where messages come one by one."""
