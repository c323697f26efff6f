"""The link: frames with a length before them, over a stream that both processes have an end of.

::

    length (4 bytes, little-endian) | kind (1 byte) | payload

A payload is a message (:mod:`farm.cluster.messages`), a bundle (:mod:`farm.cluster.codec`), or news
of books (:mod:`farm.cluster.mirror`). Frames are sent whole: who sends is never cancelled in the
midst of one, but by the end of the link.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum

import trio

from farm.errors import LinkError
from farm.net.reading import reads_of

__all__ = ["Frame", "FrameKind", "Link"]

MAX_FRAME = 2**30
"""Bytes of a payload; more is no frame of ours. Images of the greatest books have a few MB, states
of lines with hundreds of such books a hundred."""

_HEAD = struct.Struct("<IB")


class FrameKind(IntEnum):
    """What a payload is."""

    MESSAGE = 0
    BUNDLE = 1
    BOOKS = 2


Frame = tuple[FrameKind, bytes]

_KINDS = {kind.value: kind for kind in FrameKind}


class Link:
    """One process's end of the link. One task may receive; any may send."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._read = reads_of(stream)
        self._sending = trio.StrictFIFOLock()
        self._is_whole = True  # no frame was cut off
        self._unread = bytearray()

    async def send(self, frames: Iterable[Frame]) -> None:
        """Send frames, one directly behind the other.

        trio.BrokenResourceError where the other end is gone, or a frame before was cut off.
        """
        data = bytearray()
        for kind, payload in frames:
            data += _HEAD.pack(len(payload), kind)
            data += payload
        try:
            self._sending.acquire_nowait()  # where it is free that saves a checkpoint, of two
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            if not self._is_whole:
                raise trio.BrokenResourceError("a frame was cut off: nothing can follow it")
            self._is_whole = False
            await self._stream.send_all(data)
            self._is_whole = True
        finally:
            self._sending.release()

    async def receive(self) -> list[Frame]:
        """The frames of one read, at least one; none at the end.

        LinkError for what is no frame, and for an end in the midst of one.
        """
        while True:
            try:
                data = await self._read()
            except trio.BrokenResourceError:  # it ended with something of ours unread
                data = b""
            if not data:
                if self._unread:
                    raise LinkError(f"the link ended within a frame ({len(self._unread)} bytes)")
                return []
            self._unread += data
            if frames := self._frames():
                return frames

    async def aclose(self) -> None:
        """Close this end."""
        await self._stream.aclose()

    def _frames(self) -> list[Frame]:
        unread = self._unread
        frames: list[Frame] = []
        place = 0
        with memoryview(unread) as view:
            while len(view) - place >= _HEAD.size:
                length, kind = _HEAD.unpack_from(view, place)
                if length > MAX_FRAME or kind not in _KINDS:
                    raise LinkError(f"no frame: {length} bytes of kind {kind}")
                end = place + _HEAD.size + length
                if len(view) < end:
                    break
                frames.append((_KINDS[kind], bytes(view[place + _HEAD.size : end])))
                place = end
        if place:
            del unread[:place]
        return frames
