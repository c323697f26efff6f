from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio

from farm.testing.network import MemoryNetwork
from farm.testing.port import HOST, Port
from farm.testing.tls import make_contexts

REFUSED = r"connect|nobody listens"

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]


async def greet(stream: trio.abc.Stream) -> None:
    async with stream:
        await stream.send_all(b"hello")


@pytest.fixture(params=["sockets", "memory"])
def network(request: pytest.FixtureRequest) -> MemoryNetwork | None:
    return MemoryNetwork() if request.param == "memory" else None


@pytest.fixture
def dial(network: MemoryNetwork | None) -> Dial:
    return trio.open_tcp_stream if network is None else network.open_stream


async def greeting(port: Port, dial: Dial, context: ssl.SSLContext | None = None) -> bytes:
    stream = await dial(HOST, port.number)
    if context is not None:
        stream = trio.SSLStream(stream, context, server_hostname=HOST, https_compatible=True)
    async with stream:
        return bytes(await stream.receive_some())


async def test_a_stopped_port_refuses_keeps_its_number_and_listens_again(
    nursery: trio.Nursery, network: MemoryNetwork | None, dial: Dial
) -> None:
    port = Port(greet, None, network)
    await nursery.start(port.serve, nursery)
    number = port.number
    assert await greeting(port, dial) == b"hello"
    port.stop()
    with pytest.raises(OSError, match=REFUSED):
        await greeting(port, dial)
    with pytest.raises(OSError, match="in use"):
        take(number, network, reuse=False)
    await nursery.start(port.serve, nursery)
    assert port.number == number
    assert await greeting(port, dial) == b"hello"
    port.close()
    port.close()
    take(number, network, reuse=True)  # the connections of before may linger


def take(number: int, network: MemoryNetwork | None, *, reuse: bool) -> None:
    """Take a port, as somebody else would."""
    if network is not None:
        network.bind(number)
        return
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        other.bind((HOST, number))


async def test_a_port_may_be_bound_before_it_is_served(
    nursery: trio.Nursery, network: MemoryNetwork | None, dial: Dial
) -> None:
    port = Port(greet, None, network)
    port.bind()
    with pytest.raises(OSError, match=REFUSED):
        await greeting(port, dial)
    number = port.number
    await nursery.start(port.serve, nursery)
    assert port.number == number
    assert await greeting(port, dial) == b"hello"
    port.close()


async def test_it_serves_tls(
    nursery: trio.Nursery, network: MemoryNetwork | None, dial: Dial
) -> None:
    server, client = make_contexts(HOST)
    port = Port(greet, server, network)
    await nursery.start(port.serve, nursery)
    assert await greeting(port, dial, client) == b"hello"
    port.close()


async def test_connections_outlive_their_port(
    nursery: trio.Nursery, network: MemoryNetwork | None, dial: Dial
) -> None:
    async def echo(stream: trio.abc.Stream) -> None:
        async for chunk in stream:
            await stream.send_all(chunk)

    port = Port(echo, None, network)
    await nursery.start(port.serve, nursery)
    async with await dial(HOST, port.number) as stream:
        await stream.send_all(b"one")
        assert await stream.receive_some() == b"one"
        port.close()
        await stream.send_all(b"two")
        assert await stream.receive_some() == b"two"
