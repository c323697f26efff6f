"""Frames and resets."""

from __future__ import annotations

import pytest
import trio

from farm.testing.network import MemoryStream
from farm.testing.tls import make_contexts
from farm.testing.wire import reset_socket, text_frame
from tests.testing.clients import PATIENCE


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frames_have_the_shortest_length(size: int) -> None:
    payload = b"x" * size
    frame = text_frame(payload)
    header = 2 if size < 126 else 4 if size < 65_536 else 10
    assert len(frame) == header + size
    assert frame[0] == 0x81
    length = frame[1] if header == 2 else int.from_bytes(frame[2:header])
    assert (length, frame[header:]) == (size, payload)


async def test_a_stream_in_memory_is_reset() -> None:
    near, far = MemoryStream.pair()
    await near.send_all(b"lost")
    reset_socket(near)
    with pytest.raises(trio.BrokenResourceError):
        await far.receive_some()
    reset_socket(near)  # again does nothing


async def test_the_line_under_tls_is_reset() -> None:
    server_context, client_context = make_contexts("h")
    near, far = MemoryStream.pair()
    server = trio.SSLStream(near, server_context, server_side=True)
    client = trio.SSLStream(far, client_context, server_hostname="h")
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            nursery.start_soon(client.do_handshake)
        reset_socket(server)
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


async def test_other_streams_are_left_as_they_are() -> None:
    near, far = trio.testing.memory_stream_pair()
    reset_socket(near)
    await near.send_all(b"x")
    assert await far.receive_some() == b"x"
