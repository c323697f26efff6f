"""Which part of a farm's feeds one of several farms collects, where none knows of the others."""

from __future__ import annotations

import re
from hashlib import blake2s

import attrs

from farm.exchanges.streams import Scope, Stream

__all__ = ["SHARE_PATTERN", "Share"]

SHARE_PATTERN = r"^[1-9][0-9]{0,3}/[1-9][0-9]{0,3}$"
"""How a share is written, in the syntax of JSON Schema."""

_PARTS = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")


@attrs.frozen
class Share:
    """The ``index``-th, from 1 on, of ``count`` shares: each stream is in exactly one of them.

    It depends on the stream's names alone, so that no farm needs to know of the others, and a
    symbol that is added moves no other.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """The share that is written as ``2/8``; ValueError says what is wrong with others."""
        parts = _PARTS.fullmatch(text)
        if parts is None:
            raise ValueError(f"{text[:80]!r} is no share: write it as 2/8, the second of eight")
        index, count = map(int, parts.groups())
        if not count:
            raise ValueError(f"{text!r}: there must be at least one shard, which is 1/1")
        if not index:
            raise ValueError(f"{text!r}: the first shard is 1/{count}")
        if index > count:
            raise ValueError(f"{text!r}: the last shard is {count}/{count}")
        if not re.search(SHARE_PATTERN, text):
            raise ValueError(f"{text!r}: write it without leading zeros, as {index}/{count}")
        return cls(index, count)

    def has(self, stream: Stream) -> bool:
        """Whether `stream` is in this share.

        What has a symbol goes by that, with all of its feeds: books are proven by the quotes on
        their own connection, and liveness is judged by the other streams of the symbol.
        """
        what = stream.spec if stream.scope is Scope.MARKET else stream.symbol
        name = f"{stream.exchange.value}/{stream.market.value}/{what}"
        digest = blake2s(name.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
