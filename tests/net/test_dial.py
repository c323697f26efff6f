"""Dialling: real sockets on loopback, names looked up as the test says."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from farm.net import dial as dialling
from farm.net.dial import MOST_LOOK_UPS, STAGGER, open_tcp
from farm.net.websocket import open_websocket
from tests.effort import moments

NAME = "venue.test"
TCP = socket.SOCK_STREAM, 6, ""


class Resolver:
    """A runner of blocking work that answers every lookup, and notes which there were."""

    def __init__(self, *answer: tuple[str, int] | Exception) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, work: Callable[[], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", self._look_up)
            return work()

    def _look_up(self, host: str, port: int, **more: Any) -> Any:
        self.asked.append({"host": host, "port": port} | more)
        found = []
        for one in self.answer:
            if isinstance(one, Exception):
                raise one
            family = socket.AF_INET6 if ":" in one[0] else socket.AF_INET
            found.append((family, *TCP, one))
        return found


async def in_place(work: Callable[[], Any]) -> Any:
    await trio.lowlevel.checkpoint()
    return work()


@asynccontextmanager
async def greeting(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Somebody who says by which address a client came; its port."""

    async def greet(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(stream.socket.getsockname()[0].encode())

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host=host), greet, port)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def unheard() -> AsyncIterator[int]:
    """A port on which nobody listens."""
    with trio.socket.socket() as bound:
        await bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def said(stream: trio.abc.Stream) -> bytes:
    async with stream:
        return bytes(await stream.receive_some())


async def test_a_numeric_address_is_connected_to_without_a_lookup() -> None:
    resolver = Resolver()
    async with greeting() as port:
        stream = await open_tcp(resolver)("127.0.0.1", port)
        assert isinstance(stream, trio.SocketStream)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert await said(stream) == b"127.0.0.1"
    assert resolver.asked == []


async def test_a_name_is_looked_up_by_the_runner_that_is_given() -> None:
    async with greeting() as port:
        resolver = Resolver(("127.0.0.1", port))
        assert await said(await open_tcp(resolver)(NAME, 443)) == b"127.0.0.1"
    (asked,) = resolver.asked
    assert asked == {"host": NAME, "port": 443, "type": socket.SOCK_STREAM, "flags": 0}


async def test_the_resolver_of_the_machine_is_asked() -> None:
    async with greeting() as port:
        assert await said(await open_tcp(in_place)("localhost", port)) in (b"127.0.0.1", b"::1")


async def test_an_address_that_refuses_is_followed_by_the_next() -> None:
    async with greeting() as port, unheard() as nobody:
        resolver = Resolver(("127.0.0.1", nobody), ("127.0.0.2", nobody), ("127.0.0.1", port))
        assert await said(await open_tcp(resolver)(NAME, port)) == b"127.0.0.1"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "not known"), "no address for venue.test: not known"),
        (None, "no address for venue.test"),
    ],
)
async def test_a_name_without_an_address(answer: Exception | None, text: str) -> None:
    resolver = Resolver(*([answer] if answer else []))
    with pytest.raises(OSError) as caught:
        await open_tcp(resolver)(NAME, 443)
    assert str(caught.value) == text


async def test_every_failure_is_named() -> None:
    async with unheard() as nobody:
        resolver = Resolver(("127.0.0.1", nobody), ("127.0.0.2", nobody))
        with pytest.raises(OSError) as caught:
            await open_tcp(resolver)(NAME, 443)
        assert str(caught.value) == (
            "no connection to venue.test:443: 127.0.0.1: Connection refused; "
            "127.0.0.2: Connection refused"
        )
        with pytest.raises(OSError) as caught:
            await open_tcp(resolver)("127.0.0.1", nobody)
        text = f"no connection to 127.0.0.1:{nobody}: Connection refused"
        assert str(caught.value) == text


async def test_a_failure_comes_out_of_a_websocket_with_its_reasons() -> None:
    async with unheard() as nobody:
        dial = open_tcp(Resolver(("127.0.0.1", nobody)))
        with pytest.raises(Exception, match=r"ws://venue\.test/: .*127\.0\.0\.1: Connection ref"):
            async with open_websocket(
                "ws://venue.test/", lambda _messages, _time: None, open_stream=dial
            ):
                pass


# When which address is tried: sockets that answer as the test says, on a mock clock --------------


class Sockets:
    """Stands in for Trio's sockets: to connect takes so long, and then fails or does not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **delays: float) -> None:
        self.tried: list[tuple[float, str]] = []
        self.open: list[str] = []
        self.delays = {name.replace("_", ":"): delay for name, delay in delays.items()}
        monkeypatch.setattr(dialling.trio.socket, "socket", lambda *_: Socket(self))
        monkeypatch.setattr(dialling.trio, "SocketStream", lambda sock: sock)


class Socket:
    def __init__(self, all_of_them: Sockets) -> None:
        self.all = all_of_them
        self.host = ""

    async def connect(self, address: tuple[str, int]) -> None:
        self.host = address[0]
        self.all.tried.append((trio.current_time(), self.host))
        self.all.open.append(self.host)
        delay = self.all.delays[self.host]
        await trio.sleep(abs(delay))
        if delay < 0:
            raise OSError(errno.ENETUNREACH, "no way")

    def close(self) -> None:
        self.all.open.remove(self.host)


def hosts(*names: str) -> Resolver:
    return Resolver(*((name, 443) for name in names))


async def test_an_address_that_says_nothing_is_joined_by_the_next_after_a_while(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = Sockets(monkeypatch, a=90.0, b=-0.1, c=90.0, d=0.2, e=90.0)
    stream: Any = await open_tcp(hosts("a", "b", "c", "d", "e"))(NAME, 443)
    assert stream.host == "d"
    assert sockets.tried == [
        (0.0, "a"),
        (STAGGER, "b"),
        (pytest.approx(STAGGER + 0.1), "c"),  # b has failed
        (pytest.approx(2 * STAGGER + 0.1), "d"),
    ]
    assert sockets.open == ["d"]


async def test_two_that_connect_in_one_moment_leave_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = Sockets(monkeypatch, a=STAGGER + 1.0, b=1.0)
    stream: Any = await open_tcp(hosts("a", "b"))(NAME, 443)
    assert sockets.open == [stream.host]


async def test_both_families_come_by_turns(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("::1", "::2", "::3", "4")
    sockets = Sockets(monkeypatch, **dict.fromkeys(("__1", "__2", "__3", "4"), -0.1))
    with pytest.raises(OSError, match=r"::1: Network is unreachable; 4: .*; ::2: .*; ::3: "):
        await open_tcp(hosts(*names))(NAME, 443)
    assert [host for _, host in sockets.tried] == ["::1", "4", "::2", "::3"]
    assert sockets.open == []


async def test_cancelled_at_any_moment_no_socket_stays(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = Sockets(monkeypatch, a=1.0, b=-0.3, c=1.0)
    for moment in moments(60):
        with trio.move_on_after(moment * 0.02):  # up to the moment when a connects, and after
            stream: Any = await open_tcp(hosts("a", "b", "c"))(NAME, 443)
            stream.close()
        assert sockets.open == []


async def test_cancelled_after_any_step_no_socket_stays() -> None:
    """Of real ones: one that is left open is an error (ResourceWarning)."""
    async with greeting() as port, unheard() as nobody:
        resolver = Resolver(("127.0.0.1", nobody), ("127.0.0.1", port))

        async def call() -> None:
            await trio.aclose_forcefully(await open_tcp(resolver)(NAME, port))

        for steps in moments(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()


async def test_a_resolver_that_hangs_keeps_only_so_many_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    goes_on = threading.Event()
    real, asked = socket.getaddrinfo, []

    def hang(host: str, *args: Any, **more: Any) -> Any:
        if host != NAME or more["flags"]:
            return real(host, *args, **more)
        asked.append(host)
        goes_on.wait(30.0)
        raise socket.gaierror(8, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def give_up() -> None:
        with trio.move_on_after(0.2):
            await dialling.dial(NAME, 443)

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(3 * MOST_LOOK_UPS):
                nursery.start_soon(give_up)
        assert len(asked) == MOST_LOOK_UPS
    finally:
        goes_on.set()
    with trio.fail_after(30.0), pytest.raises(OSError, match="no such name"):
        await dialling.dial(NAME, 443)
