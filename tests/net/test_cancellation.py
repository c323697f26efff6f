"""The net cancelled at every await: what was opened is closed, at once, and nobody else suffers."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trustme
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from farm.errors import ConnectionLost, RestError
from farm.net.budget import Budget
from farm.net.dial import open_tcp
from farm.net.rest import RestClient
from farm.net.websocket import WebSocketOptions, open_websocket
from farm.testing.moments import Moment, at_every_moment
from farm.testing.network import MemoryNetwork
from tests.effort import runs
from tests.net.peers import RawServer, close_frame, text
from tests.net.test_dial import NAME, Sockets, hosts
from tests.net.test_rest import Answer, Server

HOST = "farm.test"
SEEDS = range(runs(1))
MOST = runs(100)

Serve = Callable[[trio.abc.Stream], Awaitable[None]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Tls:
    """Both contexts of a test with TLS; neither of one without."""

    def __init__(self, authority: trustme.CA | None) -> None:
        self.server: ssl.SSLContext | None = None
        self.client: ssl.SSLContext | None = None
        if authority is not None:
            self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert(HOST).configure_cert(self.server)
            self.client = ssl.create_default_context()
            authority.configure_trust(self.client)

    @property
    def s(self) -> str:
        """The letter by which a secure scheme differs."""
        return "s" if self.client is not None else ""


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, authority: trustme.CA) -> Tls:
    return Tls(authority if request.param == "tls" else None)


@asynccontextmanager
async def serving(serve: Serve, tls: Tls) -> AsyncIterator[tuple[MemoryNetwork, int]]:
    """A server whose conversations end when their clients are gone: else this does not end."""
    network = MemoryNetwork()
    number = network.bind()
    listener: trio.abc.Listener[Any] = network.listen(number)
    if tls.server is not None:
        listener = trio.SSLListener(listener, tls.server, https_compatible=True)

    async def converse(stream: trio.abc.Stream) -> None:
        try:
            with suppress(trio.BrokenResourceError):
                await serve(stream)
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as conversations, trio.open_nursery() as listening:
        serve_all = partial(trio.serve_listeners, handler_nursery=conversations)
        listening.start_soon(serve_all, converse, [listener])
        yield network, number
        listening.cancel_scope.cancel()
    assert network.streams_open == 0


# A WebSocket --------------------------------------------------------------------------------------


class Peer:
    """A WebSocket server that greets, echoes what it hears, and ends as it is told to."""

    def __init__(self, ending: str) -> None:
        self.ending = ending
        self.heard: list[str] = []

    async def __call__(self, stream: trio.abc.Stream) -> None:
        server = RawServer(stream)
        message = ""
        while (event := await server.event()) is not None:
            if isinstance(event, Request):
                await server.send(server.protocol.send(AcceptConnection()) + text("welcome"))
            elif isinstance(event, TextMessage):
                message += event.data
                if event.message_finished:
                    self.heard.append(message)
                    await server.send(text(f"echo of {message}"))
                    message = ""
                    if self.ending == "the peer closes":
                        await server.send(close_frame(1001, "away"))
                    if self.ending == "the peer is gone":
                        return
            elif isinstance(event, CloseConnection) and self.ending != "no answer":
                await server.send(server.protocol.send(event.response()))
                return


@pytest.mark.parametrize(
    "ending", ["leave", "close", "no answer", "the peer closes", "the peer is gone"]
)
def test_a_websocket_cancelled_anywhere_is_closed_at_once(tls: Tls, ending: str) -> None:
    async def talk(url: str, messages: list[bytes], network: MemoryNetwork) -> ConnectionLost:
        echo = trio.Event()

        def on_read(read: list[bytes], _time: int) -> None:
            messages.extend(read)
            if len(messages) >= 2:
                echo.set()

        async with open_websocket(
            url,
            on_read,
            ssl_context=tls.client,
            options=WebSocketOptions(close_timeout=2.0),
            open_stream=network.open_stream,
        ) as socket:
            sockets.append(socket)
            await socket.send_text("hello")
            await echo.wait()
            if ending.startswith("the peer"):
                await socket.wait_closed()
            elif ending == "close":
                await socket.close(3000, "enough")
        return await socket.wait_closed()

    sockets: list[Any] = []

    async def trial(moment: Moment) -> None:
        messages: list[bytes] = []
        peer = Peer(ending)
        sockets.clear()
        async with serving(peer, tls) as (network, number):
            with moment.cancels() as scope:
                await talk(f"ws{tls.s}://{HOST}:{number}/", messages, network)
            if scope.cancelled_caught:
                assert trio.current_time() == moment.time, "it waited for something"
            with trio.move_on_after(1) as waiting:
                for socket in sockets:
                    await socket.wait_closed()
            assert not waiting.cancelled_caught, "who waits for the end is not told"
            assert messages == [b"welcome", b"echo of hello"][: len(messages)]
        assert peer.heard in ([], ["hello"])

    assert at_every_moment(trial, most=MOST, seeds=SEEDS) > 20


def test_a_cancelled_send_leaves_a_whole_message_or_none(tls: Tls) -> None:
    """Larger than what may be under way, so that it waits in the middle of the frame."""
    large = "x" * 200_000

    async def trial(moment: Moment) -> None:
        peer = Peer("leave")
        async with (
            serving(peer, tls) as (network, number),
            open_websocket(
                f"ws{tls.s}://{HOST}:{number}/",
                lambda _read, _time: None,
                ssl_context=tls.client,
                open_stream=network.open_stream,
            ) as socket,
        ):
            await trio.testing.wait_all_tasks_blocked()
            with moment.cancels() as scope:
                await socket.send_text(large)
            whole = not scope.cancelled_caught
            try:
                await socket.send_text("more")
            except ConnectionLost:
                assert not whole
                await socket.wait_closed()
        assert peer.heard in ([], [large], ["more"], [large, "more"])
        assert not whole or peer.heard == [large, "more"]

    at_every_moment(trial, most=MOST, seeds=SEEDS)


# REST ---------------------------------------------------------------------------------------------


class Barrier(Server):
    """Answers ``/together`` when as many requests have come as are wanted, all others at once."""

    def __init__(self, wanted: int) -> None:
        super().__init__(lambda _request: Answer(body=b"[1, 2, 3]"))
        self.wanted = wanted
        self.come = trio.Event()

    async def _answer(self, stream: trio.abc.Stream, http: Any, answer: Answer) -> bool:
        if self.requests[-1].target == b"/together":
            self.wanted -= 1
            if not self.wanted:
                self.come.set()
            with trio.move_on_after(30):  # their clients may be gone meanwhile
                await self.come.wait()
        return await super()._answer(stream, http, answer)

    async def __call__(self, stream: trio.abc.Stream) -> None:
        await self.serve(stream)


CONNECTIONS = 8  # that a client has at most


async def together(client: RestClient, number: int = CONNECTIONS) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(client.get, "/together")


@pytest.mark.parametrize("kept", [False, True])
def test_a_cancelled_call_gives_everything_back(tls: Tls, kept: bool) -> None:
    async def trial(moment: Moment) -> None:
        budget = Budget(1000, 60.0, "weight")
        granted: list[int] = []
        async with serving(Barrier(CONNECTIONS), tls) as (network, number):
            url = f"http{tls.s}://{HOST}:{number}"
            async with RestClient(
                url, budget=budget, ssl_context=tls.client, open_stream=network.open_stream
            ) as client:
                if kept:
                    await client.get("/first")
                used = budget.used
                with moment.cancels() as scope:
                    on_granted = partial(granted.append, 1)
                    reply = await client.get("/", weight=3, on_granted=on_granted)
                    assert reply.body == b"[1, 2, 3]"
                if scope.cancelled_caught:
                    assert trio.current_time() == moment.time
                assert (budget.used - used, budget.waiting) == (3 * len(granted), 0)
                await together(client)  # no place of the pool is lost

    at_every_moment(trial, most=MOST, seeds=SEEDS)


def test_a_call_cancelled_while_it_waits_for_a_connection_leaves_the_others_alone(
    tls: Tls,
) -> None:
    async def trial(moment: Moment) -> None:
        budget = Budget(1000, 60.0, "weight")
        async with serving(Barrier(2 * CONNECTIONS), tls) as (network, number):
            url = f"http{tls.s}://{HOST}:{number}"
            async with RestClient(
                url,
                budget=budget,
                ssl_context=tls.client,
                open_stream=network.open_stream,
                timeout=20.0,
            ) as client:
                answered: list[bytes] = []

                async def get(path: str) -> None:
                    with suppress(RestError):
                        answered.append((await client.get(path)).body)

                async with trio.open_nursery() as nursery:
                    for _ in range(CONNECTIONS):
                        nursery.start_soon(get, "/together")  # answered by none, in 20 s
                    await trio.sleep(1)
                    nursery.start_soon(get, "/behind")
                    with moment.cancels() as scope:
                        await client.get("/")
                    if scope.cancelled_caught:
                        assert trio.current_time() == moment.time
                assert answered == [b"[1, 2, 3]"]
                await together(client)

    at_every_moment(trial, most=runs(50), seeds=SEEDS)


def test_a_client_cancelled_anywhere_leaves_no_connection(tls: Tls) -> None:
    async def trial(moment: Moment) -> None:
        async with serving(Barrier(2), tls) as (network, number):
            with moment.cancels() as scope:
                async with RestClient(
                    f"http{tls.s}://{HOST}:{number}",
                    budget=Budget(10, 60.0, "weight"),
                    ssl_context=tls.client,
                    open_stream=network.open_stream,
                ) as client:
                    await together(client, 2)
                    await client.get("/")
            if scope.cancelled_caught:
                assert trio.current_time() == moment.time

    at_every_moment(trial, most=MOST, seeds=SEEDS)


# Budgets and dialling -----------------------------------------------------------------------------


def test_a_cancelled_acquire_spends_nothing_and_holds_nobody_up() -> None:
    async def trial(moment: Moment) -> None:
        budget = Budget(2, 60.0, "b")
        granted: dict[str, float] = {}

        async def acquire(name: str) -> None:
            await budget.acquire()
            granted[name] = trio.current_time()

        async def acquire_until(moment: Moment) -> None:
            with moment.cancels():
                await acquire("cancelled")

        await budget.acquire(2)
        async with trio.open_nursery() as nursery:
            for start in (
                partial(acquire, "before"),
                partial(acquire_until, moment),
                partial(acquire, "behind"),
            ):
                nursery.start_soon(start)
                await trio.testing.wait_all_tasks_blocked()
            assert granted == {}
        assert granted["before"] == 60.0
        assert granted["behind"] == (120.0 if "cancelled" in granted else 60.0)
        assert (budget.used, budget.waiting) == (1 if "cancelled" in granted else 2, 0)

    at_every_moment(trial, seeds=SEEDS, within=200.0)


def test_dialling_cancelled_anywhere_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = Sockets(monkeypatch, a=1.0, b=-0.3, c=0.75, d=0.5)

    async def trial(moment: Moment) -> None:
        dialled: list[Any] = []
        with moment.cancels() as scope:
            dialled.append(await open_tcp(hosts("a", "b", "c", "d"))(NAME, 443))
        if scope.cancelled_caught:
            assert trio.current_time() == moment.time
        assert sockets.open == [stream.host for stream in dialled]
        for stream in dialled:
            stream.close()

    at_every_moment(trial, seeds=range(runs(5)))
