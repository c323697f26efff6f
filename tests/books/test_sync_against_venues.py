"""Keeping one book of a venue that loses, repeats, swaps and restarts."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest

from farm.types import GapCause
from tests.books.feeding import DELTA, FULL, VERIFIED, Feed, Rows, shown
from tests.effort import runs


class Venue:
    """A book of integers that moves at random, and remembers what it was at every id."""

    def __init__(self, dice: random.Random, first_id: int) -> None:
        self.dice = dice
        self.id, self.seq = first_id, 10
        self.bids: Rows = {}
        self.asks: Rows = {}
        self.was: dict[Any, tuple[Rows, Rows]] = {first_id: ({}, {})}

    def step(self, ids: int = 1) -> tuple[tuple[int, int], Rows, Rows]:
        """A diff over so many ids."""
        changes = []
        for side, low, high in ((self.bids, 1, 8), (self.asks, 9, 16)):
            rows = {self.dice.randint(low, high): self.dice.randint(0, 3) for _ in range(3)}
            for price, size in rows.items():
                side[price] = size
                if not size:
                    del side[price]
            changes.append(rows)
        first, self.id = self.id + 1, self.id + ids
        self.seq += self.dice.randint(1, 5)
        self.was[self.id] = self.was["seq", self.seq] = dict(self.bids), dict(self.asks)
        return (first, self.id), changes[0], changes[1]

    def quote(self) -> tuple[tuple[int, int], tuple[int, int]] | None:
        if not self.bids or not self.asks:
            return None
        bid, ask = max(self.bids), min(self.asks)
        return (bid, self.bids[bid]), (ask, self.asks[ask])


@pytest.mark.parametrize("seed", range(runs(150)))
def test_binance_either_gives_the_true_book_or_does_not_call_it_verified(seed: int) -> None:
    """Diffs are lost, repeated and swapped; snapshots are old, new and late; quotes come and go."""
    dice = random.Random(seed)
    venue, feed = Venue(dice, 100), Feed(FULL)
    arrived: set[int] = set()
    held: deque[Any] = deque()
    for _ in range(150):
        diff = venue.step(dice.randint(1, 4))
        top = venue.quote()
        if top and dice.random() < 0.3:
            feed.quote(venue.id, *top)
        fate = dice.choices(["deliver", "lose", "twice", "hold"], [20, 1, 2, 1])[0]
        deliveries = [diff] * {"deliver": 1, "lose": 0, "twice": 2, "hold": 0}[fate]
        if fate == "hold":
            held.append(diff)
        elif held and dice.random() < 0.5:
            deliveries.append(held.popleft())
        for ids, bids, asks in deliveries:
            feed.update(ids, bids, asks)
            for gap in feed.sync.gaps:
                assert not arrived & set(range(gap.first_id or 0, (gap.last_id or -1) + 1))
            assert {cause for cause, *_ in feed.gaps()} <= {GapCause.SEQUENCE_BREAK}
            arrived |= set(range(ids[0], ids[1] + 1))
        if feed.asked and dice.random() < 0.3:
            feed.requests()
            known = [update_id for update_id in venue.was if isinstance(update_id, int)]
            at = dice.choice(known[-4:])
            feed.snapshot(at, *venue.was[at])
        if top and dice.random() < 0.3:
            feed.quote(venue.id, *top)
        if feed.sync.verdict is VERIFIED:
            book = feed.sync.book()
            assert shown(book) == venue.was[book.update_id]
            assert (book.update_id or 0) >= max(arrived, default=0)  # and it is up to date
    feed.update(*venue.step())
    if feed.sync.verdict is not VERIFIED:
        feed.snapshot(venue.id, venue.bids, venue.asks)
    assert feed.update(*venue.step()) is VERIFIED
    assert shown(feed.sync.book()) == (venue.bids, venue.asks)
    assert feed.sync.check.wrong == 0
    assert feed.sync.applied > 0


@pytest.mark.parametrize("seed", range(runs(150)))
def test_bybit_either_gives_the_true_book_or_does_not_call_it_verified(seed: int) -> None:
    """Deltas are lost and repeated, snapshots come at any time, and the service restarts once."""
    dice = random.Random(seed)
    venue, feed = Venue(dice, 1000), Feed(DELTA)
    restart = dice.randrange(150)
    lost = 0
    for n in range(150):
        if n == restart:
            venue.id = 0
        (_, last), bids, asks = venue.step()
        if feed.requests() or n == 0 or last == 1 or dice.random() < 0.02:
            message = (venue.bids, venue.asks, True)
        else:
            message = (bids, asks, False)
        chances = [1, 1, 0] if last == 1 else [20, 1, 2]
        times = dice.choices([1, 0, 2], chances)[0] if n else 1
        lost += times == 0
        for _ in range(times):
            feed.update(last, *message[:2], snapshot=message[2], seq=venue.seq)
        if feed.sync.verdict is VERIFIED:
            book = feed.sync.book()
            assert shown(book) == venue.was["seq", book.sequence]
            assert not times or book.sequence == venue.seq  # and it is up to date
    breaks = feed.gaps()
    assert len(breaks) <= lost
    assert {cause for cause, *_ in breaks} <= {GapCause.SEQUENCE_BREAK}
    feed.update(venue.id, venue.bids, venue.asks, snapshot=True, seq=venue.seq)
    assert shown(feed.sync.book()) == (venue.bids, venue.asks)
    assert feed.sync.verdict is VERIFIED
