"""Venues whose books move at random, and remember what they were: the truth to hold books against.

Each numbers its messages in its own way, and may restart.
"""

from __future__ import annotations

import random

import attrs

from farm.exchanges.streams import Stream
from tests.books.feeding import DELTA, FULL, SPOT, USDM, Feed, Rows

State = tuple[Rows, Rows]


@attrs.frozen
class Message:
    """A diff or a snapshot on its way; ``mark`` is what the book is known by after it."""

    ids: tuple[int, int]
    bids: Rows
    asks: Rows
    mark: int
    pu: int | None = None
    seq: int | None = None
    snapshot: bool = False

    def give(self, feed: Feed) -> None:
        """Hand it to a book."""
        feed.update(
            self.ids, self.bids, self.asks, snapshot=self.snapshot, seq=self.seq, pu=self.pu
        )


class Venue:
    """Binance spot: ids step by one, a diff covers several."""

    stream: Stream = SPOT
    restarts = False

    def __init__(self, dice: random.Random, levels: int) -> None:
        self.dice = dice
        self.levels = levels  # of a snapshot
        self.id = 1_000_000
        self.seq = 10
        self.bids: Rows = {}
        self.asks: Rows = {}
        self.was: dict[int, State] = {}
        self.snapshots: list[Message] = []
        self.remember()

    def number(self) -> Message:
        """The ids of the next diff."""
        first, self.id = self.id + 1, self.id + self.dice.randint(1, 4)
        return Message((first, self.id), {}, {}, self.id)

    def restart(self) -> None:
        """Begin other ids."""

    def mark_of(self, feed: Feed) -> int:
        """What the book of a feed says it is at."""
        mark: int = feed.sync.book().update_id
        return mark

    def remember(self) -> None:
        self.was[self.mark] = dict(self.bids), dict(self.asks)
        best = sorted(self.bids, reverse=True)[: self.levels], sorted(self.asks)[: self.levels]
        sides = (
            {price: side[price] for price in prices}
            for side, prices in zip((self.bids, self.asks), best, strict=True)
        )
        self.snapshots.append(
            Message((self.id, self.id), *sides, self.mark, seq=self.seq, snapshot=True)
        )

    @property
    def mark(self) -> int:
        return self.id

    def step(self) -> Message:
        """Something changes: the diff of it."""
        changes = []
        for side, low, high in ((self.bids, 1, 8), (self.asks, 9, 16)):
            rows = {self.dice.randint(low, high): self.dice.randint(0, 3) for _ in range(3)}
            for price, size in rows.items():
                side[price] = size
                if not size:
                    del side[price]
            changes.append(rows)
        self.seq += self.dice.randint(1, 5)
        message = attrs.evolve(self.number(), bids=changes[0], asks=changes[1])
        self.remember()
        return message

    def quote(self, feed: Feed) -> None:
        """Its top, if it has one."""
        if self.bids and self.asks:
            bid, ask = max(self.bids), min(self.asks)
            feed.quote(self.id, (bid, self.bids[bid]), (ask, self.asks[ask]))


class Futures(Venue):
    """Binance futures: ids skip, ``pu`` chains them; a restart begins lower ones."""

    stream = USDM
    restarts = True

    def number(self) -> Message:
        pu = self.id
        first = pu + self.dice.randint(1, 9)
        self.id = first + self.dice.randint(0, 9)
        return Message((first, self.id), {}, {}, self.id, pu=pu)

    def restart(self) -> None:
        self.id = min(self.was) - 10_000


class Full(Venue):
    """Bybit's full book: ``u`` steps by one and restarts at 1, ``seq`` rises."""

    stream = FULL
    restarts = True

    def number(self) -> Message:
        self.id += 1
        return Message((self.id, self.id), {}, {}, self.seq, seq=self.seq)

    def restart(self) -> None:
        if self.id >= 1_000_000:  # once: nothing tells a second one from the first
            self.id = 0

    @property
    def mark(self) -> int:
        return self.seq

    def mark_of(self, feed: Feed) -> int:
        mark: int = feed.sync.book().sequence
        return mark


class InStream(Full):
    """Bybit's other books: snapshots come in the stream, that of a restart has ``u = 1``."""

    stream = DELTA

    def __init__(self, dice: random.Random, levels: int) -> None:
        super().__init__(dice, 1000)  # they are whole

    def step(self) -> Message:
        diff = super().step()
        return self.snapshots[-1] if self.id == 1 else diff
