from __future__ import annotations

import socket

import pytest
import trio

from farm.testing.port import HOST, Port


async def greet(stream: trio.abc.Stream) -> None:
    async with stream:
        await stream.send_all(b"hello")


async def greeting(port: Port) -> bytes:
    async with await trio.open_tcp_stream(HOST, port.number) as stream:
        return bytes(await stream.receive_some())


async def test_a_stopped_port_refuses_keeps_its_number_and_listens_again(
    nursery: trio.Nursery,
) -> None:
    port = Port(greet, None)
    await nursery.start(port.serve, nursery)
    number = port.number
    assert await greeting(port) == b"hello"
    port.stop()
    with pytest.raises(OSError, match="connect"):
        await greeting(port)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, number))
    await nursery.start(port.serve, nursery)
    assert port.number == number
    assert await greeting(port) == b"hello"
    port.close()
    [listener] = await trio.open_tcp_listeners(number, host=HOST)
    await listener.aclose()
