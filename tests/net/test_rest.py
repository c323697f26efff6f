"""REST against a small h11 server on loopback, and over memory streams."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import h11
import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

from farm.errors import BudgetExceeded, ConfigError, RestError, RestRateLimited, RestTimeout
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.testing.network import MemoryStream
from tests.effort import moments, runs

Headers = list[tuple[str, str]]


@attrs.define
class Answer:
    """What the server says to one request."""

    status: int = 200
    body: bytes = b"{}"
    headers: Headers = attrs.Factory(list)
    chunked: bool = False
    stall: bool = False
    """Send half of the body and no more."""
    cut: bool = False
    """Send half of the body and end the stream."""


class Server:
    """A keep-alive HTTP/1.1 server; `answer` decides, from the request, what it says."""

    def __init__(self, answer: Callable[[h11.Request], Answer] = lambda _: Answer()) -> None:
        self.answer = answer
        self.requests: list[h11.Request] = []
        self.connections = 0
        self.open = 0
        self.port = 0
        self.all_closed = trio.Event()

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        self.open += 1
        try:
            async with stream:
                await self._converse(stream)
        except trio.BrokenResourceError:
            pass
        finally:
            self.open -= 1
            if not self.open:
                self.all_closed.set()

    async def _converse(self, stream: trio.abc.Stream) -> None:
        http = h11.Connection(h11.SERVER)
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Request):
                self.requests.append(event)
            elif isinstance(event, h11.EndOfMessage):
                if not await self._answer(stream, http, self.answer(self.requests[-1])):
                    return
                http.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return

    async def _answer(self, stream: trio.abc.Stream, http: h11.Connection, answer: Answer) -> bool:
        length = ("Content-Length", str(len(answer.body)))
        framing = ("Transfer-Encoding", "chunked") if answer.chunked else length
        response = h11.Response(status_code=answer.status, headers=[framing, *answer.headers])
        await stream.send_all(http.send(response) or b"")
        half = len(answer.body) // 2
        await stream.send_all(http.send(h11.Data(data=answer.body[:half])) or b"")
        if answer.stall:
            await stream.receive_some(1)  # until the client gives up
        if answer.stall or answer.cut:
            return False
        await stream.send_all(http.send(h11.Data(data=answer.body[half:])) or b"")
        await stream.send_all(http.send(h11.EndOfMessage()) or b"")
        return True


@asynccontextmanager
async def running(server: Server, **options: Any) -> AsyncIterator[RestClient]:
    """`server` on loopback and a client of it; afterwards every connection must be closed."""
    options.setdefault("budget", Budget(100, 60.0, "weight"))
    prefix = options.pop("prefix", "")
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            partial(trio.serve_tcp, host="127.0.0.1"), server.serve, 0
        )
        server.port = listener.socket.getsockname()[1]
        async with RestClient(f"http://127.0.0.1:{server.port}{prefix}", **options) as client:
            yield client
        with trio.fail_after(5):
            while server.open:
                server.all_closed = trio.Event()
                await server.all_closed.wait()
        nursery.cancel_scope.cancel()


async def test_reply_and_kept_connection() -> None:
    server = Server(lambda _: Answer(body=b'{"a":1}', headers=[("X-One", "1"), ("x-one", "2")]))
    async with running(server, prefix="/base") as client:
        for _ in range(3):
            reply = await client.get("/api/v3/time")
        assert (reply.status, reply.body, reply.headers["x-one"]) == (200, b'{"a":1}', "1, 2")
        assert 0 < reply.elapsed < 10
        assert [request.target for request in server.requests] == [b"/base/api/v3/time"] * 3
        assert server.connections == 1
        assert client.budget.used == 3


async def test_parameters_are_percent_encoded() -> None:
    server = Server()
    async with running(server) as client:
        params: dict[str, str | int] = {"symbol": "币安人生USDT", "limit": 1000, "x": "a b&c=d/e+f"}
        await client.get("/api/v3/depth", params)
        await client.get("/币")
    target = server.requests[0].target.decode("ascii")
    assert target.startswith(
        "/api/v3/depth?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&limit=1000"
    )
    assert parse_qs(urlsplit(target).query) == {
        "symbol": ["币安人生USDT"],
        "limit": ["1000"],
        "x": ["a b&c=d/e+f"],
    }
    assert server.requests[1].target == b"/%E5%B8%81"


async def test_weight_comes_before_the_call() -> None:
    server = Server()
    budget = Budget(10, 60.0, "weight")
    async with running(server, budget=budget) as client:
        await client.get("/", weight=7)
        assert budget.used == 7
        with pytest.raises(BudgetExceeded):
            await client.get("/", weight=11)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(client.get, "/", weight=4))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert (budget.used, budget.waiting) == (7, 0)
    assert len(server.requests) == 1


async def test_who_waits_is_told_between_the_grant_and_the_request(
    autojump_clock: MockClock,
) -> None:
    log: list[tuple[float, str]] = []

    def note(what: str) -> None:
        log.append((trio.current_time(), what))

    def answer(request: h11.Request) -> Answer:
        note(f"request {request.target.decode()}")
        return Answer()

    dial = MemoryDial(Server(answer))
    budget = Budget(10, 60.0, "weight")
    async with trio.open_nursery() as nursery:
        dial.nursery = nursery
        async with RestClient("http://a.test", budget=budget, open_stream=dial) as client:
            for number in range(2):
                path = f"/{number}"
                await client.get(path, weight=7, on_granted=partial(note, f"granted {path}"))
                note(f"answer {path}")
        nursery.cancel_scope.cancel()
    assert log == [
        *((0.0, f"{what} /0") for what in ("granted", "request", "answer")),
        *((60.0, f"{what} /1") for what in ("granted", "request", "answer")),
    ]
    assert len(dial.connected) == 1


async def test_who_is_granted_nothing_is_told_nothing(autojump_clock: MockClock) -> None:
    told: list[str] = []
    dial = MemoryDial(Server())
    budget = Budget(10, 60.0, "weight")
    async with RestClient("http://a.test", budget=budget, open_stream=dial) as client:
        with pytest.raises(BudgetExceeded):
            await client.get("/", weight=11, on_granted=partial(told.append, "too much"))
        budget.pause(30.0)
        with trio.move_on_after(29):
            await client.get("/", on_granted=partial(told.append, "paused"))
    assert told == []
    assert dial.connected == []
    assert budget.used == 0


async def test_an_error_of_who_is_told_comes_out_and_nothing_is_sent() -> None:
    server = Server()

    def failing() -> None:
        raise ValueError("a bug")

    async with running(server) as client:
        with pytest.raises(ValueError, match="a bug"):
            await client.get("/", on_granted=failing)
        assert server.requests == []
        assert client.budget.used == 1  # spent all the same
        assert (await client.get("/")).status == 200


async def test_the_venues_own_count_is_taken_over() -> None:
    counts = iter(["50", "20", "nonsense", "", "9" * 5_000])
    server = Server(lambda _: Answer(headers=[("x-mbx-used-weight-1m", next(counts))]))
    async with running(server, used_weight_header="X-MBX-USED-WEIGHT-1M") as client:
        used = []
        for _ in range(5):
            await client.get("/")
            used.append(client.budget.used)
    assert used == [50, 51, 52, 53, 54]


@pytest.mark.parametrize(
    ("status", "retry_after", "pause"),
    [
        (429, "7", 7.0),
        (429, None, 60.0),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", 60.0),
        (429, "-5", 60.0),
        (429, "9" * 5_000, 60.0),
        (418, "180", 180.0),
        (418, None, 120.0),
        (418, "999999999", 259_200.0),
        (403, None, 600.0),
    ],
)
async def test_rate_limit_pauses_the_budget(
    status: int, retry_after: str | None, pause: float
) -> None:
    headers = [("Retry-After", retry_after)] if retry_after is not None else []
    server = Server(lambda _: Answer(status, b'{"code":-1003,"msg":"slow down"}', headers))
    budget = Budget(100, 60.0, "weight")
    async with running(server, budget=budget) as client:
        with pytest.raises(RestRateLimited, match="slow down") as caught:
            await client.get("/api/v3/depth")
        assert (caught.value.status, caught.value.retry_after) == (status, pause)
        assert b"-1003" in caught.value.body
        assert budget.available == 0


async def test_pause_is_as_long_as_it_says_and_holds_other_clients(
    autojump_clock: MockClock,
) -> None:
    budget = Budget(100, 60.0, "weight")
    answers = iter([Answer(429, headers=[("Retry-After", "30")]), Answer()])
    dial = MemoryDial(Server(lambda _: next(answers)))
    async with trio.open_nursery() as nursery:
        dial.nursery = nursery
        first = RestClient("http://one.test", budget=budget, open_stream=dial)
        second = RestClient("http://two.test", budget=budget, open_stream=dial)
        async with first, second:
            with pytest.raises(RestRateLimited):
                await first.get("/")
            start = trio.current_time()
            reply = await second.get("/")
            assert trio.current_time() - start == pytest.approx(30)
            assert reply.elapsed == 0  # the wait for the budget is not part of the call
        assert dial.connected == [("one.test", 80), ("two.test", 80)]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("status", [301, 400, 404, 451, 500, 503])
async def test_other_statuses_are_errors_with_an_excerpt(status: int) -> None:
    server = Server(lambda _: Answer(status, b"the reason " * 1_000, [("Location", "/other")]))
    async with running(server) as client:
        with pytest.raises(RestError, match=f"/api/v3/time: HTTP {status}: the reason") as caught:
            await client.get("/api/v3/time")
        assert type(caught.value) is RestError
        assert caught.value.status == status
        assert 0 < len(caught.value.body) <= 500
        assert client.budget.available == 99
    assert len(server.requests) == 1  # no retry, no redirect


@pytest.mark.parametrize("chunked", [False, True])
async def test_body_has_a_limit(chunked: bool) -> None:
    server = Server(lambda _: Answer(body=b"x" * 1_000, chunked=chunked))
    async with running(server, max_body_bytes=1_000) as client:
        assert len((await client.get("/")).body) == 1_000
        client.max_body_bytes = 999
        with pytest.raises(RestError, match="exceeds 999 bytes"):
            await client.get("/")
        client.max_body_bytes = 1_000
        assert len((await client.get("/")).body) == 1_000


async def test_broken_answers() -> None:
    server = Server(lambda _: Answer(body=b"x" * 100, cut=True))
    async with running(server) as client:
        with pytest.raises(RestError, match="/cut") as caught:
            await client.get("/cut")
        assert type(caught.value) is RestError
        assert caught.value.status is None


@pytest.mark.parametrize("said", [b"", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200"])
async def test_answers_that_are_none(said: bytes) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(said)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), speak, 0)
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with RestClient(url, budget=Budget(9, 1.0, "weight")) as client:
            with pytest.raises(RestError) as caught:
                await client.get("/")
        assert type(caught.value) is RestError
        assert url in str(caught.value)
        nursery.cancel_scope.cancel()


async def test_refused_connection() -> None:
    with trio.socket.socket() as unheard:
        await unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        async with RestClient(url, budget=Budget(9, 1.0, "weight")) as client:
            with pytest.raises(RestError, match=r"127\.0\.0\.1"):
                await client.get("/")


async def test_deadline_covers_the_whole_call_and_frees_the_connection() -> None:
    server = Server(lambda request: Answer(body=b"x" * 10, stall=request.target == b"/stall"))
    async with running(server, timeout=0.2) as client:
        with pytest.raises(RestTimeout, match=r"/stall: no whole answer in 0.2 s"):
            await client.get("/stall")
        client.timeout = 10
        assert (await client.get("/")).status == 200


async def test_cancelled_calls_give_their_connections_up() -> None:
    server = Server(lambda request: Answer(body=b"x" * 10, stall=request.target == b"/stall"))
    async with running(server) as client:
        for _ in range(runs(30)):  # more than the pool has connections
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.get, "/stall")
                    await trio.testing.wait_all_tasks_blocked(0.001)
                    scope.cancel()
        for steps in moments(40):  # at another place each time
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.get, "/")
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
        client.budget = Budget(100, 60.0, "anew")
        with trio.fail_after(5):
            assert (await client.get("/")).status == 200


async def test_many_calls_at_once_share_the_pool() -> None:
    server = Server(lambda request: Answer(body=bytes(request.target)))
    bodies: list[bytes] = []
    async with running(server) as client:

        async def call(number: int) -> None:
            bodies.append((await client.get(f"/{number}")).body)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(call, number)
    assert sorted(bodies) == sorted(b"/%d" % number for number in range(50))
    assert 1 < server.connections <= 8


# TLS -------------------------------------------------------------------------------------------


@asynccontextmanager
async def tls_server(
    behave: Callable[[trio.abc.Stream], Awaitable[None]],
) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    """(port, a context that trusts it)"""
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def handle(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server_context, server_side=True, https_compatible=True)
        try:
            await behave(tls)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(tls)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), handle, 0)
        yield listener.socket.getsockname()[1], context
        nursery.cancel_scope.cancel()


async def test_verified_tls() -> None:
    async with tls_server(Server().serve) as (port, context):
        url = f"https://localhost:{port}"
        budget = Budget(9, 1.0, "weight")
        async with RestClient(url, budget=budget, ssl_context=context) as client:
            assert (await client.get("/")).status == 200


async def test_unknown_authority() -> None:
    budget = Budget(9, 1.0, "w")
    async with (
        tls_server(Server().serve) as (port, _),
        RestClient(f"https://localhost:{port}", budget=budget) as client,
    ):
        with pytest.raises(RestError, match=r"localhost:\d+/: localhost: certificate refused: "):
            await client.get("/")


async def test_tls_handshake_cut_by_the_deadline_closes_tcp() -> None:
    ended = trio.Event()

    async def say_nothing(stream: trio.SocketStream) -> None:
        async with stream:
            while await stream.receive_some():
                pass
        ended.set()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), say_nothing, 0)
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with RestClient(url, budget=Budget(9, 1.0, "w"), timeout=0.2) as client:
            with pytest.raises(RestTimeout):
                await client.get("/")
            with trio.fail_after(5):
                await ended.wait()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("url", ["ws://a.test", "a.test", "https://"])
def test_impossible_url(url: str) -> None:
    with pytest.raises(ConfigError):
        RestClient(url, budget=Budget(9, 1.0, "w"))


def test_context_that_does_not_verify() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(ConfigError, match="ssl_context"):
        RestClient("https://a.test", budget=Budget(9, 1.0, "w"), ssl_context=context)


# Memory streams beneath ------------------------------------------------------------------------


class MemoryDial:
    """Connects every host to one server, through memory: what `open_stream` takes."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.nursery: trio.Nursery | None = None
        self.connected: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> trio.abc.Stream:
        self.connected.append((host, port))
        near, far = MemoryStream.pair()
        assert self.nursery is not None
        self.nursery.start_soon(self.server.serve, far)
        return near


async def test_memory_streams_beneath(autojump_clock: MockClock) -> None:
    dial = MemoryDial(
        Server(lambda request: Answer(body=b"x" * 10, stall=request.target == b"/stall"))
    )
    async with trio.open_nursery() as nursery:
        dial.nursery = nursery
        budget = Budget(100, 60.0, "weight")
        async with RestClient("http://farm.test:81", budget=budget, open_stream=dial) as client:
            assert (await client.get("/")).body == b"x" * 10
            assert (await client.get("/")).body == b"x" * 10
            assert dial.connected == [("farm.test", 81)]
            start = trio.current_time()
            with pytest.raises(RestTimeout, match="in 10 s"):
                await client.get("/stall")
            assert trio.current_time() - start == pytest.approx(10)
        assert dict(dial.server.requests[0].headers)[b"host"] == b"farm.test:81"
        nursery.cancel_scope.cancel()
