"""What a server puts on the line beside the protocol's library: text frames, and resets."""

from __future__ import annotations

import socket
import struct

import trio

from farm.testing.network import MemoryStream

__all__ = ["reset_socket", "text_frame"]


def text_frame(payload: bytes) -> bytes:
    """A whole, unmasked text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


def reset_socket(stream: trio.abc.Stream) -> None:
    """Closes the socket under a stream so that the peer gets a TCP reset."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if isinstance(stream, MemoryStream):
        stream.reset()
    elif isinstance(stream, trio.SocketStream) and stream.socket.fileno() >= 0:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()
