"""Bytes that a venue sent, in a line of JSON: as the text that they are, else as base64."""

from __future__ import annotations

import base64
import binascii

__all__ = ["as_unicode", "decode_raw", "encode_raw"]

_TEXT = "utf-8"
_BYTES = "base64"


def encode_raw(raw: bytes) -> tuple[str, str]:
    """The text, and its encoding: ``utf-8`` or ``base64``."""
    try:
        return raw.decode(), _TEXT
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode(), _BYTES


def decode_raw(text: str, encoding: str) -> bytes:
    """The inverse of :func:`encode_raw`; ValueError for an encoding that is none of ours."""
    if encoding == _TEXT:
        return text.encode()
    if encoding != _BYTES:
        raise ValueError(f"{encoding!r} is no encoding; these are: {_TEXT}, {_BYTES}")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"broken base64: {error}") from None


def as_unicode(text: str) -> str:
    """The text with lone surrogates, of which no JSON can be made, written out."""
    return text.encode(errors="backslashreplace").decode()
