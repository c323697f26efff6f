"""Bytes of a WebSocket server in, whole messages out: a walker without I/O (RFC 6455, section 5).

trio-websocket stays the authority over the protocol; it merely never sees data frames. What this
file takes out are the text and binary messages of a client's incoming bytes. Everything else is
handed on unchanged: ping, pong and close, and any frame whose *header* breaks the protocol, so
that trio-websocket refuses it as it would have without us. What it can't judge any more, because
it needs data frames for it, is refused here, with the code that trio-websocket would have given:

====================================================  ====
a text message that is not UTF-8                      1007
a message longer than the limit, endless fragments    1009
a new message inside a fragmented one                 1002
====================================================  ====
"""

from __future__ import annotations

import re
from struct import Struct

__all__ = ["FrameWalker", "ResponseHead"]

_TEXT = 0x81  # FIN and opcode 1
_BINARY = 0x82
_CLOSE = 0x88
_PING = 0x89
_PONG = 0x8A

_SHORT_MAX = 0xFFFF
"""Bytes of a frame whose length takes two bytes at most."""

_HEADER = Struct(">HH").unpack_from
"""Two bytes of header, and the length that may follow."""

_MAX_FRAGMENTS = 1 << 16
"""Fragments of one message; empty ones cost no memory, but would go on for ever."""

_ENOUGH_TO_REFUSE = 16
"""Bytes of a broken frame that any parser needs to refuse it: 2 + 8 + 4 of header, and payload."""

_BLANK_LINE = re.compile(rb"\n\r?\n")  # what h11, which parses the head, takes for the end of it
_STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})")
_MAX_HEAD_BYTES = 64 * 1024


class ResponseHead:
    """Finds where the HTTP answer to the opening handshake ends and the frames begin.

    ``status`` is the HTTP status once the head is complete, None before then.
    """

    __slots__ = ("_head", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self._head = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Split what was read into (what belongs to HTTP, the frames after a complete 101)."""
        if self.status is not None or len(self._head) > _MAX_HEAD_BYTES:
            return data, b""
        known = len(self._head)
        self._head += data
        blank = _BLANK_LINE.search(self._head, max(0, known - 2))
        if blank is None:
            return data, b""
        line = _STATUS_LINE.match(self._head)
        self.status = int(line[1]) if line else 0
        if self.status != 101:
            return data, b""
        cut = blank.end() - known
        return data[:cut], data[cut:]


class FrameWalker:
    """Takes the data messages out of a server's frames; hands everything else on.

    No extension is ever negotiated, so a reserved bit is always a breach. Memory is bounded by
    one message of `max_message_bytes` plus the bytes given to :meth:`walk`.
    """

    __slots__ = (
        "_final",
        "_fragments",
        "_message",
        "_missing",
        "_opcode",
        "_owed",
        "_tail",
        "closing",
        "finished",
        "max_message_bytes",
        "over",
        "pings",
        "refusal",
    )

    def __init__(self, max_message_bytes: int) -> None:
        self.max_message_bytes = max_message_bytes
        self.pings = 0
        """Ping frames seen."""
        self.closing = False
        """Set by the owner once it has sent a close frame: pings and pongs are dropped then,
        since RFC 6455 wants no answer and wsproto raises when it is made to give one."""
        self.over = False
        """A close frame or a breach was met: no message follows any more."""
        self.finished = False
        """Nothing is left to hand on after a breach: the owner shall end the stream."""
        self.refusal: tuple[int, str] | None = None
        """Close code and text of a breach that only this walker can see."""
        self._tail = b""  # a header or control frame of which the rest hasn't come
        self._opcode = 0  # 1 or 2 while a message is being assembled
        self._message = bytearray()
        self._fragments = 0
        self._missing = 0  # payload bytes of the present data frame still to come
        self._final = False  # the present data frame is the last of its message
        self._owed = 0  # bytes of a broken frame still to be handed on

    def walk(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Walk what one read of the socket gave: (whole messages in order, bytes to hand on)."""
        messages: list[bytes] = []
        if self.over:
            return messages, self._rest_of_breach(data)
        onward = bytearray()
        at = 0
        if self._missing:
            at = self._absorb(data, 0, messages)
        elif self._tail:
            data, self._tail = self._tail + data, b""
        end = len(data)
        while at < end:
            if not self._opcode:
                at = self._whole_frames(data, at, messages)
            if at < end:
                at = self._other_frame(data, at, messages, onward)
        return messages, bytes(onward)

    def _whole_frames(self, data: bytes, at: int, messages: list[bytes]) -> int:
        """The hot loop: whole, unfragmented, lawful data frames of one kind. Stops before any
        other, and leaves those to be looked at one by one that may be too long as it is."""
        kind = data[at]
        if kind not in (_TEXT, _BINARY) or self.max_message_bytes < _SHORT_MAX:
            return at
        known, begin, end = len(messages), at, len(data)
        short, long = kind << 8, kind << 8 | 126
        append, header, last = messages.append, _HEADER, end - 4
        stop = at
        while stop <= last:
            at = stop
            lead, size = header(data, at)
            start = at + 4
            if lead != long or size < 126:
                size = lead - short
                if not 0 <= size < 126:
                    break
                start = at + 2
            stop = start + size
            append(data[start:stop])
        if stop > end:
            messages.pop()  # the read ends within it
        else:
            at = stop
        if kind == _TEXT and not b"".join(messages[known:]).isascii():
            return _cut_at_broken_text(messages, known, begin, at)
        return at

    def _other_frame(self, data: bytes, at: int, messages: list[bytes], onward: bytearray) -> int:
        """One frame of any kind, perhaps only its beginning; the place where the next begins."""
        if len(data) - at < 2:
            return self._await_more(data, at)
        first, second = data[at], data[at + 1]
        if first in (_CLOSE, _PING, _PONG) and second < 126:
            return self._control_frame(data, at, onward)
        opcode = first & 0x0F
        if first & 0x7F > 2 or second > 127 or not (opcode or self._opcode):
            return self._breach(data, at, onward)
        length = _payload_length(data, at)
        if length is None:
            return self._await_more(data, at)
        size, start = length
        if size < 0:
            return self._breach(data, at, onward)
        if opcode and self._opcode:
            return self._refuse(data, 1002, "a new message began inside a fragmented one")
        if len(self._message) + size > self.max_message_bytes:
            return self._refuse(data, 1009, f"a message exceeds {self.max_message_bytes} bytes")
        self._fragments += 1
        if self._fragments > _MAX_FRAGMENTS:
            return self._refuse(data, 1009, f"a message has more than {_MAX_FRAGMENTS} fragments")
        self._opcode = opcode or self._opcode
        self._final = first > 127
        self._missing = size
        return self._absorb(data, start, messages)

    def _absorb(self, data: bytes, at: int, messages: list[bytes]) -> int:
        """Take payload of the present data frame; complete its message if it was the last."""
        taken = data[at : at + self._missing]
        self._missing -= len(taken)
        self._message += taken
        if self._missing == 0 and self._final:
            message = bytes(self._message)
            if self._opcode == 1 and not message.isascii() and not _is_utf8(message):
                return self._refuse(data, 1007, "a text message is not valid UTF-8")
            self._message = bytearray()
            self._opcode = self._fragments = 0
            messages.append(message)
        return at + len(taken)

    def _control_frame(self, data: bytes, at: int, onward: bytearray) -> int:
        frame_end = at + 2 + data[at + 1]
        if frame_end > len(data):
            return self._await_more(data, at)
        first = data[at]
        self.pings += first == _PING
        if first == _CLOSE or not self.closing:
            onward += data[at:frame_end]
        if first == _CLOSE:  # "no more data frames": whatever follows is dropped
            self._forget()
            return len(data)
        return frame_end

    def _await_more(self, data: bytes, at: int) -> int:
        self._tail = data[at:]
        return len(data)

    def _breach(self, data: bytes, at: int, onward: bytearray) -> int:
        """The header is unlawful: hand it on to be refused, and drop what follows."""
        self._forget()
        self._owed = _ENOUGH_TO_REFUSE
        onward += self._rest_of_breach(data[at : at + _ENOUGH_TO_REFUSE])
        return len(data)

    def _rest_of_breach(self, data: bytes) -> bytes:
        if not self._owed:
            return b""
        chunk = data[: self._owed]
        self._owed -= len(chunk)
        self.finished = self._owed == 0
        return chunk

    def _refuse(self, data: bytes, code: int, text: str) -> int:
        self._forget()
        self.refusal = code, text
        self.finished = True
        return len(data)

    def _forget(self) -> None:
        self.over = True
        self._message = bytearray()
        self._missing = 0


def _payload_length(data: bytes, at: int) -> tuple[int, int] | None:
    """(payload length, where it starts) of an unmasked frame; None: header incomplete.

    The length is -1 where it isn't written in the shortest way, or has its top bit set.
    """
    short = data[at + 1]
    if short < 126:
        return short, at + 2
    start = at + (4 if short == 126 else 10)
    if start > len(data):
        return None
    size = int.from_bytes(data[at + 2 : start], "big")
    least = 126 if short == 126 else 1 << 16
    return (size if least <= size < 1 << 63 else -1), start


def _cut_at_broken_text(messages: list[bytes], known: int, begin: int, end: int) -> int:
    """Of the texts after the first `known`, whose frames are the bytes from `begin` to `end`, keep
    those before the first that is not UTF-8; the place of its frame, or else the end."""
    at = begin
    for index in range(known, len(messages)):
        message = messages[index]
        if not message.isascii() and not _is_utf8(message):
            del messages[index:]
            return at
        at += len(message) + (2 if len(message) < 126 else 4)
    return end


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
