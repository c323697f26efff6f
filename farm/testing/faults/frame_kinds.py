"""Faults of frames and streams."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import attrs
from attrs.validators import in_, optional

from farm.testing.faults.fault import COUNT, LENGTH, Fault, one_word

__all__ = [
    "Corrupt",
    "Corruption",
    "Delay",
    "Drop",
    "Duplicate",
    "FrameFault",
    "NoData",
    "Reorder",
    "SequenceBreak",
    "StreamSilence",
]

Corruption: TypeAlias = Literal[
    "garbage",
    "truncate",
    "gzip",
    "binary",
    "utf8",
    "deep",
    "huge",
    "nan",
    "null",
    "empty",
    "length",
    "fragments",
    "masked",
    "reserved",
]


@attrs.frozen
class FrameFault(Fault):
    """Hits the next ``count`` frames of a stream. One frame that goes to several connections is
    one frame, and hit for all of them."""

    stream: str = attrs.field(validator=one_word)
    count: int = attrs.field(default=1, kw_only=True, validator=COUNT)
    connection: str | None = attrs.field(default=None, kw_only=True, validator=optional(one_word))


@attrs.frozen
class Drop(FrameFault):
    """Frames are not sent."""

    word = "drop"


@attrs.frozen
class Duplicate(FrameFault):
    """Frames are sent twice."""

    word = "duplicate"


@attrs.frozen
class Reorder(FrameFault):
    """Frames are sent after the ``by`` next ones of their connection."""

    word = "reorder"

    by: int = attrs.field(default=1, kw_only=True, validator=COUNT)


@attrs.frozen
class Corrupt(FrameFault):
    """Frames are sent spoilt.

    ``how``: ``garbage`` (random text), ``truncate``, ``gzip`` (compressed: a binary frame, then a
    text frame), ``binary`` (the right text in a binary frame), ``utf8`` (no UTF-8), ``deep`` (JSON
    nested 100,000 deep in place of a value), ``huge`` (a number of 5,000 digits in place of one),
    ``nan`` (NaN and infinities, as number and as text, in place of a price), ``null`` (the same,
    and the whole message in turn), ``empty``, ``length`` (a header that claims 2 GB),
    ``fragments`` (a message that never ends), ``masked``, ``reserved`` (a reserved bit).
    """

    word = "corrupt"

    how: Corruption = attrs.field(kw_only=True, validator=in_(get_args(Corruption)))


@attrs.frozen
class SequenceBreak(Fault):
    """The next ``count`` diffs of a book's stream get lost before anyone saw them: they are sent
    to nobody, while the venue's own book has them."""

    word = "sequence_break"

    stream: str = attrs.field(validator=one_word)
    count: int = attrs.field(default=1, kw_only=True, validator=COUNT)


@attrs.frozen
class StreamSilence(Fault):
    """Concerns all frames of a stream for ``seconds``."""

    stream: str = attrs.field(validator=one_word)
    seconds: float = attrs.field(kw_only=True, converter=float, validator=LENGTH)
    connection: str | None = attrs.field(default=None, kw_only=True, validator=optional(one_word))


@attrs.frozen
class Delay(StreamSilence):
    """Frames are held until ``seconds`` have passed, then sent in their order."""

    word = "delay"


@attrs.frozen
class NoData(StreamSilence):
    """A stream is acknowledged, and silent: its frames are not sent."""

    word = "no_data"
