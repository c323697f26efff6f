"""REST over streams of any kind, TLS on them included, and what a cancellation leaves of it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpcore2
import pytest
import trio
from trio.testing import MockClock

from farm.errors import RestError, RestTimeout
from farm.net.budget import Budget
from farm.net.http_backend import CLOSE_SECONDS, HttpBackend
from farm.net.rest import RestClient
from farm.testing.network import MemoryNetwork, MemoryStream
from farm.testing.tls import make_contexts
from tests.effort import moments
from tests.net.test_rest import Answer, Server

HOST = "127.0.0.1"
STEPS = 120
"""More than a call over TLS has checkpoints: the last moments are those after its end."""


@asynccontextmanager
async def serving(
    server: Server, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[MemoryNetwork, int]]:
    """`server` on a port of a network in memory."""
    network = MemoryNetwork()
    port = network.bind()
    listener: trio.abc.Listener[trio.abc.Stream] = network.listen(port)
    if tls is not None:
        listener = trio.SSLListener(listener, tls, https_compatible=True)

    async def serve(stream: trio.abc.Stream) -> None:
        with trio.move_on_after(3600):
            await server.serve(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, serve, [listener]))
        yield network, port
        nursery.cancel_scope.cancel()


def client(network: MemoryNetwork, port: int, context: ssl.SSLContext | None = None) -> RestClient:
    scheme = "http" if context is None else "https"
    return RestClient(
        f"{scheme}://{HOST}:{port}",
        budget=Budget(10_000, 60.0, "weight"),
        ssl_context=context,
        open_stream=network.open_stream,
    )


@pytest.mark.parametrize("secure", [False, True])
async def test_a_reply_a_kept_connection_and_its_end(
    autojump_clock: MockClock, secure: bool
) -> None:
    tls, context = make_contexts(HOST) if secure else (None, None)
    server = Server(lambda _: Answer(body=b"x" * 300_000))
    async with serving(server, tls) as (network, port):
        async with client(network, port, context) as rest:
            for _ in range(3):
                assert (await rest.get("/")).body == b"x" * 300_000
            assert (server.connections, network.streams_open) == (1, 2)
        await trio.sleep(1)
        assert network.streams_open == 0


@pytest.mark.parametrize("secure", [False, True])
async def test_cancelled_at_any_moment_nothing_is_left(
    autojump_clock: MockClock, secure: bool
) -> None:
    tls, context = make_contexts(HOST) if secure else (None, None)
    server = Server(lambda _: Answer(body=b"x" * 100_000))
    async with serving(server, tls) as (network, port):
        cut = 0
        for steps in moments(STEPS):
            async with client(network, port, context) as rest:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(rest.get, "/")
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    cut += bool(nursery.child_tasks)
                    nursery.cancel_scope.cancel()
                await trio.sleep(10)  # before the client ends: the server must learn of it
                assert network.streams_open == 2 * len(rest._pool.connections)
                assert all(connection.is_idle() for connection in rest._pool.connections)
            await trio.sleep(1)
            assert network.streams_open == 0
        assert 0 < cut < len(moments(STEPS))


async def test_a_handshake_that_is_cut_closes_what_is_beneath(autojump_clock: MockClock) -> None:
    _, context = make_contexts(HOST)

    async def say_nothing(stream: MemoryStream) -> None:
        await stream.receive_some()
        await trio.sleep_forever()

    network = MemoryNetwork()
    port = network.bind()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, say_nothing, [network.listen(port)])
        async with client(network, port, context) as rest:
            with pytest.raises(RestTimeout):
                await rest.get("/")
            assert network.streams_open == 1  # the server's own
        nursery.cancel_scope.cancel()


async def test_a_connection_that_the_server_has_ended_is_not_used_again(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    async with serving(server) as (network, port), client(network, port) as rest:
        await rest.get("/")
        await trio.sleep(3601)
        assert network.streams_open == 1
        await rest.get("/")
        assert server.connections == 2


async def test_the_same_over_sockets_and_tls() -> None:
    tls, context = make_contexts(HOST)
    served = 0

    async def serve_one(stream: trio.SocketStream) -> None:
        nonlocal served
        served += 1
        secure = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        await secure.receive_some(65536)
        await secure.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await secure.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host=HOST), serve_one, 0)
        url = f"https://{HOST}:{listener.socket.getsockname()[1]}"
        budget = Budget(9, 60.0, "weight")
        async with RestClient(url, budget=budget, ssl_context=context) as rest:
            for expected in (1, 2):
                assert (await rest.get("/")).body == b"ok"
                assert served == expected
                with trio.fail_after(10):
                    while not all(one.has_expired() for one in rest._pool.connections):  # noqa: ASYNC110
                        await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


async def test_a_goodbye_that_nobody_reads_does_not_hold_for_ever(
    autojump_clock: MockClock,
) -> None:
    tls, context = make_contexts(HOST)
    near, far = MemoryStream.pair(limit=2_000)

    async def connect(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return near

    plain = await HttpBackend(connect).connect_tcp(HOST, 443)
    server = trio.SSLStream(far, tls, server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        secure = await plain.start_tls(context, HOST)
    with trio.move_on_after(1):
        await secure.write(b"x" * 10_000)  # more than there is room for
    start = trio.current_time()
    with trio.CancelScope(shield=True):
        await secure.aclose()
    assert trio.current_time() - start <= CLOSE_SECONDS
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")
    await far.aclose()


async def test_each_failure_is_an_error_of_httpcore(autojump_clock: MockClock) -> None:
    near, far = MemoryStream.pair()

    async def connect(host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if host == HOST:
            return near
        raise trio.BrokenResourceError("no route") if host == "broken" else OSError("refused")

    backend = HttpBackend(connect)
    for host, text in [("broken", "no route"), ("refused", "refused")]:
        with pytest.raises(httpcore2.ConnectError, match=text):
            await backend.connect_tcp(host, 80)
    stream = await backend.connect_tcp(HOST, 80)
    far.reset()
    with pytest.raises(httpcore2.ReadError, match="reset by the peer"):
        await stream.read(1)
    with pytest.raises(httpcore2.WriteError, match="reset by the peer"):
        await stream.write(b"x")
    await stream.aclose()
    with pytest.raises(httpcore2.ReadError, match="closed here"):
        await stream.read(1)
    assert stream.get_extra_info("ssl_object") is None


async def test_what_the_server_said_before_it_went_away_is_read(
    autojump_clock: MockClock,
) -> None:
    """A server may refuse, and close, before it has the whole request."""

    async def refuse(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    network = MemoryNetwork()
    port = network.bind()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, refuse, [network.listen(port)])
        async with client(network, port) as rest:
            with pytest.raises(RestError, match="HTTP 403: no"):
                await rest.get("/", {"long": "x" * 500_000})
        nursery.cancel_scope.cancel()
