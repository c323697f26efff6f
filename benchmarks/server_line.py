"""One connection of the benchmarks' server: TCP or TLS, then HTTP or a WebSocket of Binance's.

The protocol is wsproto's; what is sent in bulk goes round it, framed by :func:`framed`.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Request,
    TextMessage,
)

__all__ = ["Line", "framed"]

_READ = 65_536
_END_OF_HEAD = b"\r\n\r\n"


def framed(payload: bytes) -> bytes:
    """A text as one unmasked WebSocket frame; for payloads below 64 KiB."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    return b"\x81\x7e" + size.to_bytes(2, "big") + payload


@attrs.define(eq=False)
class Line:
    """A client's connection. ``streams`` are those it has subscribed to, ``raw`` whether they come
    without an envelope; ``open`` until either side has closed.

    `answer` gives the JSON body for a REST path. While ``held``, answers wait, for frames that are
    on their way must not be broken into.
    """

    sock: socket.socket
    answer: Callable[[str], bytes]
    tls: ssl.SSLObject | None = None
    streams: list[str] = attrs.field(factory=list)
    raw: bool = False
    open: bool = True
    held: bool = False
    _incoming: ssl.MemoryBIO = attrs.field(factory=ssl.MemoryBIO)
    _outgoing: ssl.MemoryBIO = attrs.field(factory=ssl.MemoryBIO)
    _shaken: bool = False
    _head: bytes = b""
    _protocol: WSConnection | None = None
    _waiting: list[bytes] = attrs.field(factory=list)

    @classmethod
    def accept(
        cls, sock: socket.socket, answer: Callable[[str], bytes], context: ssl.SSLContext | None
    ) -> Line:
        """A line on an accepted socket, with TLS where there is a context."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = cls(sock, answer)
        if context is not None:
            line.tls = context.wrap_bio(line._incoming, line._outgoing, server_side=True)
        return line

    @property
    def is_websocket(self) -> bool:
        return self._protocol is not None

    def seal(self, data: bytes) -> bytes:
        """What goes over TCP for `data`; it must be sent in the order of the calls."""
        if self.tls is None:
            return data
        self.tls.write(data)
        return self._outgoing.read()

    def read(self) -> None:
        """Take what has come, which must be something, and answer it."""
        try:
            data = self.sock.recv(_READ)
        except ConnectionError:
            data = b""
        if not data:
            self.close()
        elif self.tls is None:
            self._take(data)
        else:
            self._incoming.write(data)
            self._take(self._unsealed(self.tls))

    def release(self) -> None:
        """Send the answers that were held."""
        self.held = False
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self._send(data)

    def close(self) -> None:
        self.open = False
        self.sock.close()

    def _unsealed(self, tls: ssl.SSLObject) -> bytes:
        plain = b""
        try:
            if not self._shaken:
                tls.do_handshake()
                self._shaken = True
            while part := tls.read(_READ):
                plain += part
        except ssl.SSLWantReadError:
            pass
        if made := self._outgoing.read():  # of the handshake; answers are sealed when they are sent
            self.sock.sendall(made)
        return plain

    def _take(self, data: bytes) -> None:
        if self._protocol is None:
            self._head += data
            if _END_OF_HEAD not in self._head:
                return
            data, self._head = self._head, b""
            if b"upgrade: websocket" not in data.lower():
                self._rest(data)
                return
            self._protocol = WSConnection(ConnectionType.SERVER)
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            self._heed(self._protocol, event)

    def _rest(self, head: bytes) -> None:
        body = self.answer(urlsplit(head.split()[1].decode()).path)
        self._send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )

    def _heed(self, protocol: WSConnection, event: Event) -> None:
        match event:
            case Request():
                url = urlsplit(event.target)
                self.raw = "/ws" in url.path
                self._send(protocol.send(AcceptConnection()))
                for names in parse_qs(url.query).get("streams", []):
                    self.streams += names.split("/")
            case TextMessage():
                reply = self._reply(json.loads(event.data))
                self._send(protocol.send(TextMessage(json.dumps(reply))))
            case Ping():
                self._send(protocol.send(event.response()))
            case CloseConnection():
                self._send(protocol.send(event.response()))
                self.close()

    def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do and answer a request of Binance's."""
        names = request.get("params", [])
        match request["method"]:
            case "SUBSCRIBE":
                self.streams += names
            case "UNSUBSCRIBE":
                self.streams = [name for name in self.streams if name not in names]
            case "LIST_SUBSCRIPTIONS":
                return {"result": self.streams, "id": request["id"]}
        return {"result": None, "id": request["id"]}

    def _send(self, data: bytes) -> None:
        if self.held:
            self._waiting.append(data)
        elif self.open:
            try:
                self.sock.sendall(self.seal(data))
            except ConnectionError:
                self.close()
