"""Partial books: each message is whole."""

from __future__ import annotations

import pytest

from farm.exchanges.streams import Stream
from farm.types import GapCause
from tests.books.feeding import FUTURES_PART, PART, STALE, SUSPECT, UNVERIFIABLE, Feed


@pytest.mark.parametrize("stream", [PART, FUTURES_PART])
def test_a_whole_book_is_unverifiable_and_heals_by_its_next_message(stream: Stream) -> None:
    feed = Feed(stream)
    assert feed.snapshot(5, {10: 1}, {11: 1}) is UNVERIFIABLE
    assert feed.snapshot(9, {9: 1}, {12: 1}) is UNVERIFIABLE
    assert feed.shown() == ({9: 1}, {12: 1})
    assert feed.snapshot(10, {12: 1}, {12: 1}) is SUSPECT  # crossed
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None)]
    assert feed.snapshot(11, {9: 1}, {12: 1}) is UNVERIFIABLE
    assert feed.lost() is STALE
    assert feed.snapshot(12, {9: 1}, {12: 1}) is UNVERIFIABLE
    assert feed.requests() == 0  # there is nothing to ask for
    with pytest.raises(ValueError, match="BTCUSDT"):
        feed.update((13, 14))


def test_ids_that_do_not_adjoin_are_no_hole() -> None:
    """On futures a partial book has the ids of the book: messages in between are left out."""
    feed = Feed(FUTURES_PART)
    assert feed.update((80, 90), {10: 1}, pu=70, snapshot=True) is UNVERIFIABLE
    assert feed.update((200, 210), {11: 1}, pu=190, snapshot=True) is UNVERIFIABLE
    assert (feed.shown(), feed.gaps()) == (({11: 1}, {}), [])


def test_twenty_levels_are_no_cut_snapshot() -> None:
    feed = Feed(PART, levels=2)
    feed.snapshot(5, {10: 1, 9: 1, 8: 1})
    assert all(level.authoritative for level in feed.sync.book().bids)
