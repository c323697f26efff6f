"""Two ways to read a plain socket under Trio, for :mod:`benchmarks.receive`: bytes alone are
counted, nothing is parsed."""

from __future__ import annotations

import ssl
from functools import partial
from urllib.parse import urlsplit

import trio
from wsproto.frame_protocol import FrameProtocol

from benchmarks.receive_contenders import GO, Meter, Run
from benchmarks.receive_server import READY, messages_of
from benchmarks.server_line import framed
from farm.net.reading import READ_BYTES, Read, reads_of

__all__ = ["READINGS"]

_REQUEST = (
    "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def _count(url: str, meter: Meter, *, lasting: bool) -> None:
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    sent = messages_of(meter.wanted)
    wire = sum(len(framed(text)) for text in sent)
    stream = await trio.open_tcp_stream(address.hostname, address.port)
    async with stream:
        read: Read = reads_of(stream) if lasting else partial(stream.receive_some, READ_BYTES)
        target = f"{address.path}?{address.query}"
        await stream.send_all(_REQUEST.format(target=target, host=address.netloc).encode())
        seen = b""
        while not seen.endswith(READY):
            seen += await read()
        go = FrameProtocol(client=True, extensions=[]).send_data(GO, fin=True)
        meter.start()
        await stream.send_all(bytes(go))
        left = wire
        while left > 0:
            left -= len(await read())
        meter.stop(sum(map(len, sent)) - left)


def _run(*, lasting: bool) -> Run:
    def run(url: str, _context: ssl.SSLContext | None, meter: Meter) -> None:
        trio.run(partial(_count, url, meter, lasting=lasting))

    return run


READINGS: dict[str, tuple[Run, tuple[str, ...]]] = {
    "farm's reads": (_run(lasting=True), ()),
    "SocketStream.receive_some": (_run(lasting=False), ()),
}
