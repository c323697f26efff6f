"""What all keepers of a book have in common."""

from __future__ import annotations

import pytest

from farm.books.sync import (
    BookSync,
    FullSync,
    FuturesDiffSync,
    SnapshotSync,
    SpotDiffSync,
    WholeBookSync,
    make_sync,
)
from farm.exchanges.streams import Stream
from farm.types import GapCause
from tests.books.feeding import (
    COINM,
    DELTA,
    FULL,
    FUTURES_PART,
    OPTION,
    PART,
    SPOT,
    STALE,
    SUSPECT,
    SYNCING,
    USDM,
    VERIFIED,
    Feed,
    shown,
)
from tests.exchanges.feeding import BINANCE_SPOT


@pytest.mark.parametrize(
    ("stream", "kind", "shares"),
    [
        (SPOT, SpotDiffSync, True),
        (USDM, FuturesDiffSync, True),
        (COINM, FuturesDiffSync, True),
        (FULL, FullSync, False),
        (DELTA, SnapshotSync, False),
        (OPTION, SnapshotSync, False),
        (PART, WholeBookSync, False),
        (FUTURES_PART, WholeBookSync, False),
    ],
    ids=lambda value: value.name if isinstance(value, Stream) else None,
)
def test_each_procedure_has_its_keeper(stream: Stream, kind: type[BookSync], shares: bool) -> None:
    made = make_sync(stream)
    assert (type(made), made.stream, made.shares_quote_ids) == (kind, stream, shares)


def test_what_is_no_book_has_none() -> None:
    with pytest.raises(AssertionError, match="BTCUSDT/trade"):
        make_sync(BINANCE_SPOT.streams.stream("BTCUSDT", "trade"))


def synced() -> Feed:
    feed = Feed(SPOT)
    feed.update((95, 100), {10: 9})
    feed.snapshot(100, {10: 1}, {11: 1})
    feed.requests()
    return feed


def test_a_book_is_a_copy_of_so_many_levels() -> None:
    feed = synced()
    feed.update((101, 101), {9: 2, 8: 3}, {12: 5})
    book = feed.sync.book(2)
    assert shown(book) == ({10: 1, 9: 2}, {11: 1, 12: 5})
    assert (book.symbol, book.verdict, book.update_id) == ("BTCUSDT", VERIFIED, 101)
    assert (book.exchange_time, book.receive_time) == (feed.time, feed.time)
    feed.update((102, 102), {10: 0})
    assert shown(book)[0] == {10: 1, 9: 2}


def test_what_was_lost_on_the_way_and_the_end_of_the_connection_make_it_stale() -> None:
    feed = synced()
    assert feed.lost() is STALE
    assert (feed.requests(), feed.gaps()) == (1, [])  # who lost it has recorded it
    assert feed.snapshot(120, {10: 3}) is VERIFIED
    feed.sync.ended()
    assert feed.verdict is STALE
    assert feed.shown()[0] == {10: 3}  # still shown, by what it is
    assert feed.requests() == 0
    assert feed.update((200, 201)) is STALE
    assert (feed.requests(), feed.gaps()) == (1, [])  # who knows of connections records that
    assert feed.snapshot(200) is VERIFIED
    fresh = Feed(SPOT)
    assert fresh.lost() is SYNCING


@pytest.mark.parametrize("stream", [SPOT, USDM, FULL, DELTA])
def test_a_crossed_book_is_suspect(stream: Stream) -> None:
    feed = Feed(stream)
    assert feed.snapshot(100, {10: 1}, {12: 1}, seq=100) is VERIFIED
    assert feed.update((101, 101), {12: 5}, seq=101, pu=100) is SUSPECT
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None)]
    assert feed.requests() == 1
    feed = Feed(stream)
    assert feed.snapshot(5, {10: 1}, {10: 1}, seq=5) is SUSPECT
    assert feed.gaps() == [(GapCause.CONTRADICTED, None, None)]


def test_a_book_that_had_stood_needs_its_snapshot_more_than_one_that_never_did() -> None:
    never, once, busier = Feed(SPOT), synced(), synced()
    for n in range(101, 300):
        never.update((n, n))
    assert never.sync.need == 199
    busier.update((101, 101))
    for feed in (once, busier):
        feed.update((200, 200))
        assert feed.verdict is STALE
    busier.update((201, 201))
    assert busier.sync.need > once.sync.need > never.sync.need
    assert busier.sync.need - once.sync.need == 1  # what it saw while it stood is no need
    once.snapshot(200)
    once.update((300, 300))
    assert once.sync.need < busier.sync.need
