"""One read of a transport: what came, the end, and that nobody reads a socket that is another's."""

from __future__ import annotations

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from farm.net.reading import READ_BYTES, is_readable, reads_of


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    ours, theirs = trio.socket.socketpair()
    return trio.SocketStream(ours), trio.SocketStream(theirs)


async def test_a_read_brings_what_there_is_up_to_its_size_and_then_the_end() -> None:
    ours, theirs = await socket_pair()
    async with ours:
        read = reads_of(ours)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                await theirs.send_all(b"x" * (READ_BYTES + 10))
                await theirs.aclose()

            got = bytearray()
            while part := bytes(await read()):
                assert len(part) <= READ_BYTES
                got += part
    assert got == b"x" * (READ_BYTES + 10)


async def test_what_a_read_gave_is_good_until_the_next() -> None:
    ours, theirs = await socket_pair()
    async with ours, theirs:
        read = reads_of(ours)
        await theirs.send_all(b"first")
        first = await read()
        assert bytes(first) == b"first"
        await theirs.send_all(b"other")
        assert bytes(await read()) == b"other"


async def test_a_closed_socket_is_not_read_however_its_number_is_used() -> None:
    ours, theirs = await socket_pair()
    async with theirs:
        read = reads_of(ours)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await read()

            await wait_all_tasks_blocked()
            await ours.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await read()


async def test_a_stream_that_is_no_socket_is_asked_to_receive() -> None:
    ours, theirs = memory_stream_pair()
    read = reads_of(ours)
    await theirs.send_all(b"hello")
    assert bytes(await read()) == b"hello"
    await theirs.aclose()
    assert bytes(await read()) == b""


async def test_a_socket_tells_whether_a_read_would_return() -> None:
    ours, theirs = await socket_pair()
    async with ours:
        assert not is_readable(ours)
        await theirs.aclose()
        assert is_readable(ours)
    assert not is_readable(memory_stream_pair()[0])  # which cannot tell
