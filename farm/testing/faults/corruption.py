"""Frames spoilt in every way that a client must survive."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable, Mapping
from functools import partial

from farm.testing.faults.frame_kinds import Corruption
from farm.testing.wire import text_frame

__all__ = ["corrupted", "payload_of"]

_DEPTH = 100_000
_DIGITS = 5_000
_CLAIMED = 2 << 30

_BINARY, _TEXT = 0x82, 0x81
_RESERVED = 0xC1
_MASKED = 0x80
_MASK = b"\x0f\x5a\xa5\xf0"

_PRICE = re.compile(r'"-?\d+\.\d+"')
_NUMBER = re.compile(r'(?<=[:\[,"])-?\d+(?:\.\d+)?(?=[,\]}"])')
_VALUE = re.compile(r'(?<=[:\[,])(?:"-?\d+(?:\.\d+)?"|-?\d+(?:\.\d+)?)(?=[,\]}])')
_ODD_PRICES = ("NaN", '"NaN"', "Infinity", '"Infinity"', "-Infinity", '"-Infinity"')


def corrupted(how: Corruption, frame: bytes, rng: random.Random, turn: int) -> list[bytes]:
    """What is sent in place of a text frame.

    Where several values may stand, `rng` picks the place and `turn`, 0 for a fault's first
    frame, the value. A message that never ends (``fragments``) is its connection's affair: here
    it is nothing.
    """
    payload = payload_of(frame)
    if how in _PAYLOADS:
        return [text_frame(_PAYLOADS[how](payload.decode(), rng, turn).encode())]
    return _FRAMES[how](payload, rng)


def payload_of(frame: bytes) -> bytes:
    """What a frame made by :func:`~farm.testing.wire.text_frame` carries."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


# --- texts ---------------------------------------------------------------------------------------


def _garbage(text: str, rng: random.Random, turn: int) -> str:  # noqa: ARG001
    return rng.randbytes(rng.randint(1, 200)).decode("latin-1")


def _truncate(text: str, rng: random.Random, turn: int) -> str:  # noqa: ARG001
    return text[: rng.randrange(1, max(2, len(text)))]


def _deep(text: str, rng: random.Random, turn: int) -> str:  # noqa: ARG001
    return _replace(_VALUE, text, rng, "[" * _DEPTH + "]" * _DEPTH)


def _huge(text: str, rng: random.Random, turn: int) -> str:  # noqa: ARG001
    return _replace(_NUMBER, text, rng, "9" * _DIGITS)


def _nan(text: str, rng: random.Random, turn: int) -> str:
    return _replace(_PRICE, text, rng, _ODD_PRICES[turn % len(_ODD_PRICES)])


def _null(text: str, rng: random.Random, turn: int) -> str:
    return "null" if turn % 2 else _replace(_PRICE, text, rng, "null")


def _empty(text: str, rng: random.Random, turn: int) -> str:  # noqa: ARG001
    return ""


def _replace(pattern: re.Pattern[str], text: str, rng: random.Random, value: str) -> str:
    """The text with one match replaced, or the value alone where nothing matches."""
    found = list(pattern.finditer(text)) or list(_VALUE.finditer(text))
    if not found:
        return value
    place = rng.choice(found)
    return text[: place.start()] + value + text[place.end() :]


_PAYLOADS: Mapping[str, Callable[[str, random.Random, int], str]] = {
    "garbage": _garbage,
    "truncate": _truncate,
    "deep": _deep,
    "huge": _huge,
    "nan": _nan,
    "null": _null,
    "empty": _empty,
}


# --- frames --------------------------------------------------------------------------------------


def _with_head(head: int, payload: bytes) -> bytes:
    return bytes([head]) + text_frame(payload)[1:]


def _gzip(payload: bytes, rng: random.Random) -> list[bytes]:  # noqa: ARG001
    packed = gzip.compress(payload, mtime=0)
    return [_with_head(_BINARY, packed), _with_head(_TEXT, packed)]


def _utf8(payload: bytes, rng: random.Random) -> list[bytes]:
    place = rng.randint(0, len(payload))
    return [text_frame(payload[:place] + b"\xff\xfe" + payload[place:])]


def _length(payload: bytes, rng: random.Random) -> list[bytes]:  # noqa: ARG001
    return [bytes([_TEXT, 127]) + _CLAIMED.to_bytes(8) + payload]


def _masked(payload: bytes, rng: random.Random) -> list[bytes]:  # noqa: ARG001
    frame = text_frame(payload)
    head = bytes([frame[0], frame[1] | _MASKED]) + frame[2 : len(frame) - len(payload)]
    masked = bytes(byte ^ _MASK[index % 4] for index, byte in enumerate(payload))
    return [head + _MASK + masked]


def _other_head(head: int, payload: bytes, rng: random.Random) -> list[bytes]:  # noqa: ARG001
    return [_with_head(head, payload)]


def _nothing(payload: bytes, rng: random.Random) -> list[bytes]:  # noqa: ARG001
    return []


_FRAMES: Mapping[str, Callable[[bytes, random.Random], list[bytes]]] = {
    "gzip": _gzip,
    "binary": partial(_other_head, _BINARY),
    "utf8": _utf8,
    "length": _length,
    "fragments": _nothing,
    "masked": _masked,
    "reserved": partial(_other_head, _RESERVED),
}
