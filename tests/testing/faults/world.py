"""A raw client, and the two worlds in which every fault is shown: memory and sockets.

Nothing of the client comes from farm: it writes its own handshakes and takes frames apart itself.
"""

from __future__ import annotations

import base64
import functools
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import pytest
import trio
from trio.testing import MockClock

from farm.testing import FakeBinance, FakeBybit, FakeExchange, Flood, MemoryNetwork, Push, open_fake
from farm.types import Market
from tests.testing.clients import PATIENCE, Answer, masked_frame

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
NEVER = Flood(start_after=10_000)
LINEAR = "/v5/public/linear"
X = "/ws/x@trade"


@attrs.frozen
class Frame:
    """``first`` and ``second``: the first two bytes of the head."""

    first: int
    second: int
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 0x0F

    @property
    def code(self) -> int:
        """The code of a close frame."""
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2])


class RawClient:
    """One line to a fake, WebSocket or REST. ``answer``: the head of what a handshake got."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.answer = b""
        self._data = b""

    async def shake_hands(self, path: str) -> None:
        key = base64.b64encode(b"0123456789abcdef").decode()
        await self.stream.send_all(
            f"GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        with trio.fail_after(PATIENCE):
            while b"\r\n\r\n" not in self._data:
                if not await self._receive():
                    break
        self.answer, _, self._data = self._data.partition(b"\r\n\r\n")

    async def send(self, request: object) -> None:
        """Sends a short text, or an object as JSON."""
        text = request if isinstance(request, str) else json.dumps(request)
        await self.stream.send_all(masked_frame(TEXT, text.encode()))

    async def ping(self, payload: bytes = b"hi") -> None:
        await self.stream.send_all(masked_frame(PING, payload))

    async def frame(self, patience: float = PATIENCE) -> Frame:
        with trio.fail_after(patience):
            head = await self._exactly(2)
            size = head[1] & 0x7F
            if size > 125:
                size = int.from_bytes(await self._exactly(2 if size == 126 else 8))
            if head[1] & 0x80:
                size += 4  # the mask stays in the payload
            return Frame(head[0], head[1], await self._exactly(size))

    async def text(self) -> str:
        frame = await self.frame()
        assert frame.first == 0x80 | TEXT
        return frame.payload.decode()

    async def texts(self, count: int) -> list[str]:
        return [await self.text() for _ in range(count)]

    async def json(self) -> Any:
        return json.loads(await self.text())

    async def hears_nothing(self, seconds: float) -> bool:
        """Whether nothing comes for so long, neither data nor an end: for virtual clocks."""
        with trio.move_on_after(seconds) as waiting:
            await self._receive()
        return waiting.cancelled_caught and not self._data

    async def read_to_end(self) -> tuple[bytes, str]:
        """What comes yet, and how the line ends: ``"closed"`` or ``"reset"``."""
        with trio.fail_after(PATIENCE):
            try:
                while await self._receive():
                    pass
            except trio.BrokenResourceError:
                return self._data, "reset"
        return self._data, "closed"

    async def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            assert await self._receive(), "the line has ended"
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    async def _receive(self) -> bool:
        data = bytes(await self.stream.receive_some(1 << 16))
        self._data += data
        return data != b""


@attrs.define
class World:
    """``network``: None on sockets. ``lasts``: how long a fault lasts that a test waits out."""

    network: MemoryNetwork | None
    lasts: float
    clients: list[RawClient] = attrs.Factory(list)

    @property
    def virtual(self) -> bool:
        """Whether time is virtual: what never comes can be waited for there."""
        return self.network is not None

    async def line(self, url: str, context: ssl.SSLContext | None = None) -> RawClient:
        """A line that has said nothing yet."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        stream: trio.abc.Stream
        if self.network is None:
            stream = await trio.open_tcp_stream(parts.hostname, parts.port)
        else:
            stream = await self.network.open_stream(parts.hostname, parts.port)
        if context is not None:
            stream = trio.SSLStream(
                stream, context, server_hostname=parts.hostname, https_compatible=True
            )
        client = RawClient(stream)
        self.clients.append(client)
        return client

    async def ws(self, fake: FakeExchange, path: str = X) -> RawClient:
        """A WebSocket whose handshake has been answered, whatever the answer was."""
        client = await self.line(fake.ws_url, fake.ssl_context)
        await client.shake_hands(path)
        return client

    async def ask(self, fake: FakeExchange, target: str) -> RawClient:
        """A REST request has been sent."""
        client = await self.line(fake.rest_url, fake.ssl_context)
        head = f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        await client.stream.send_all(head.encode())
        return client

    async def get(self, fake: FakeExchange, target: str) -> Answer:
        client = await self.ask(fake, target)
        raw, _ = await client.read_to_end()
        answered, _, body = raw.partition(b"\r\n\r\n")
        status, *lines = answered.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        assert int(headers["content-length"]) == len(body)
        return Answer(int(status.split()[1]), headers, body)

    async def is_refused(self, url: str) -> bool:
        try:
            await self.line(url)
        except OSError:
            return True
        return False

    def binance(self, source: Any = (), **options: Any) -> FakeBinance:
        return FakeBinance(source, pace=NEVER, network=self.network, **options)

    def bybit(self, source: Any = (), **options: Any) -> FakeBybit:
        return FakeBybit(source, Market.LINEAR, pace=NEVER, network=self.network, **options)

    @asynccontextmanager
    async def opened(self, fake: Fake) -> AsyncIterator[Fake]:
        """The fake is open; at its end no task and no socket of it is left."""
        tasks = trio.lowlevel.current_statistics().tasks_living
        try:
            async with open_fake(fake):
                yield fake
            assert trio.lowlevel.current_statistics().tasks_living == tasks
        finally:
            await self.close_clients()
        if self.network is not None:
            assert self.network.streams_open == 0

    async def close_clients(self) -> None:
        for client in self.clients:
            await trio.aclose_forcefully(client.stream)

    async def listens_again(self, url: str) -> None:
        """Until connecting is no longer refused."""
        with trio.fail_after(PATIENCE):
            while await self.is_refused(url):  # noqa: ASYNC110  # what any client does
                await trio.sleep(self.lasts / 5)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # the fakes set no event for it
            await trio.sleep(0.001)


Fake = TypeVar("Fake", bound=FakeExchange)


def everywhere(test: Callable[[World], Awaitable[None]]) -> Callable[[str], None]:
    """The test in memory under a virtual clock, and on sockets."""

    @pytest.mark.parametrize("place", ["memory", "sockets"])
    def run(place: str) -> None:
        if place == "memory":
            world, clock = World(MemoryNetwork(), 5.0), MockClock(autojump_threshold=0)
            trio.run(test, world, clock=clock)
        else:
            trio.run(test, World(None, 0.05))

    return _named(run, test)


def in_memory(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """The test in memory under a virtual clock, for what never comes."""

    def run() -> None:
        trio.run(test, World(MemoryNetwork(), 5.0), clock=MockClock(autojump_threshold=0))

    return _named(run, test)


F = TypeVar("F", bound=Callable[..., None])


def _named(run: F, test: Callable[..., Any]) -> F:
    """`run` under the name of `test`, with a signature of its own."""
    functools.update_wrapper(run, test)
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


def tell(fake: FakeExchange, stream: str, *texts: str) -> list[Push]:
    """The venue takes note of texts and sends them to whoever is subscribed."""
    pushes = [Push(number, stream, text) for number, text in enumerate(texts, 1)]
    for push in pushes:
        fake.take(push)
        fake.deliver(push, 1 << 40)
    return pushes


def orderbook(kind: str, number: int, topic: str = "orderbook.50.BTCUSDT") -> str:
    """A message about a Bybit book, whose size of the one level is its id."""
    data = {"s": "BTCUSDT", "b": [["9", f"{number}"]], "a": [], "u": number, "seq": number}
    return json.dumps({"topic": topic, "type": kind, "ts": 1, "data": data, "cts": 1})
