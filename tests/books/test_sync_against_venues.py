"""Keeping one book of a venue that loses, repeats, swaps and restarts."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from farm.types import GapCause
from tests.books.feeding import VERIFIED, Feed
from tests.books.venues import Full, Futures, InStream, Message, State, Venue

ACTIONS = {
    "deliver": 12,
    "lose": 1,
    "twice": 1,
    "hold": 1,
    "release": 1,
    "again": 1,
    "quote": 3,
    "snapshot": 3,
    "old snapshot": 2,
    "asked": 2,
    "lost": 1,
    "ended": 1,
    "restart": 1,
}
WEIGHTED = [name for name, weight in ACTIONS.items() for _ in range(weight)]

STORIES = st.lists(st.sampled_from(WEIGHTED), max_size=80)
SEEDS = st.integers(0, 2**32)


class Story:
    """What happens between a venue and the keeper of its book; after each act the book is held
    against what the venue's was."""

    def __init__(self, venue: Venue, *, paced: bool) -> None:
        self.venue = venue
        self.feed = Feed(venue.stream, paced=paced, levels=venue.levels)
        self.sent: deque[Message] = deque(maxlen=6)
        self.held: deque[Message] = deque()
        self.arrived: set[int] = set()  # ids
        self.fresh: Message | None = None  # the newest diff, if it is what came last

    def act(self, name: str) -> None:
        self.fresh = None
        getattr(self, name.replace(" ", "_"))()
        self.check()

    def check(self) -> None:
        feed = self.feed
        for gap in feed.records():
            assert gap.cause is GapCause.SEQUENCE_BREAK  # for no quote lies
            if type(self.venue) is Venue:
                assert not self.arrived & set(range(gap.first_id or 0, (gap.last_id or -1) + 1))
        if self.fresh is not None:
            self.arrived |= set(range(self.fresh.ids[0], self.fresh.ids[1] + 1))
        assert feed.sync.check.wrong == 0 or self.venue.levels < 1000
        if feed.verdict is not VERIFIED:
            return
        mark = self.venue.mark_of(feed)
        check_book(feed, self.venue.was[mark])
        if self.fresh is not None:  # it is up to date
            assert mark == self.fresh.mark

    # --------------------------------------------------------------------------------------- acts
    def deliver(self, times: int = 1) -> None:
        message = self.fresh = self.venue.step()
        self.sent.append(message)
        for _ in range(times):
            message.give(self.feed)

    def twice(self) -> None:
        self.deliver(2)

    def lose(self) -> None:
        self.venue.step()

    def hold(self) -> None:
        self.held.append(self.venue.step())

    def release(self) -> None:
        if self.held:
            self.held.popleft().give(self.feed)

    def again(self) -> None:
        if self.sent:
            self.venue.dice.choice(self.sent).give(self.feed)

    def quote(self) -> None:
        self.venue.quote(self.feed)

    def snapshot(self) -> None:
        self.venue.snapshots[-1].give(self.feed)

    def old_snapshot(self) -> None:
        self.venue.dice.choice(self.venue.snapshots[-5:]).give(self.feed)

    def asked(self) -> None:
        if hasattr(self.feed.sync, "asked"):
            self.feed.sync.asked()

    def lost(self) -> None:
        self.feed.lost()

    def ended(self) -> None:
        self.feed.sync.ended()
        self.held.clear()
        self.sent.clear()

    def restart(self) -> None:
        if self.venue.restarts:
            self.venue.restart()

    def heal(self) -> None:
        """From here on nothing goes wrong, and every request is answered."""
        verdicts = []
        for _ in range(40):
            self.act("deliver")
            if self.feed.requests():
                self.act("asked")
                self.act("deliver")
                self.act("snapshot")
            verdicts.append(self.feed.verdict)
        # A book of three levels loses sight of its top again and again.
        assert VERIFIED in (verdicts[-8:] if self.venue.levels < 1000 else verdicts[-1:])


def check_book(feed: Feed, truth: State) -> None:
    """Every level shown is true, and those that are not shown lie beyond the snapshot's."""
    levels = feed.sync._levels
    for shown, true, side, sign in zip(
        feed.shown(), truth, (levels.bids, levels.asks), (1, -1), strict=True
    ):
        assert shown.items() <= true.items()
        missing = {sign * price for price in true.keys() - shown.keys()}
        if side.horizon is None:
            assert not missing
        else:
            assert max(missing, default=-99) < sign * side.horizon
            best = max(sign * price for price in true)
            assert best == max(sign * price for price in shown)


@pytest.mark.parametrize("market", [Venue, Futures, Full, InStream])
@given(story=STORIES, seed=SEEDS, paced=st.booleans(), levels=st.sampled_from([1000, 3]))
def test_the_book_is_the_true_one_or_is_not_called_verified(
    market: type[Venue], story: list[str], seed: int, paced: bool, levels: int
) -> None:
    """Diffs are lost, repeated and swapped; snapshots are old, new, late and unasked for; quotes
    come and go; connections end; the venue restarts."""
    told = Story(market(random.Random(seed), levels), paced=paced)
    for name in story:
        told.act(name)
    event(f"verified before it healed: {told.feed.verdict is VERIFIED}")
    told.heal()


@pytest.mark.parametrize("market", [Venue, Futures, Full, InStream])
@given(seed=SEEDS, paced=st.booleans())
def test_a_book_that_nothing_disturbs_stays_verified(
    market: type[Venue], seed: int, paced: bool
) -> None:
    told = Story(market(random.Random(seed), 1000), paced=paced)
    if market is InStream:
        told.act("snapshot")
    else:
        told.act("deliver")
        told.act("asked")
        told.act("deliver")
        told.act("snapshot")
    for n in range(30):
        told.act("quote" if n % 3 else "deliver")
        told.act("deliver")
        assert told.feed.verdict is VERIFIED
    assert told.feed.sync.check.compared > 0 or not told.feed.sync.shares_quote_ids
