"""All books of a connection, and what comes to them from above."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.entities import BookUpdate, Gap, Quote
from farm.exchanges.session import Frames
from farm.types import BookVerdict, Exchange, GapCause, Market
from tests.books.feeding import STALE, UNVERIFIABLE, VERIFIED
from tests.exchanges.feeding import (
    BINANCE_SPOT,
    BYBIT_LINEAR,
    SECOND,
    Drive,
    binance_diff,
    binance_partial,
    binance_quote,
    bybit_book,
    combined,
    depth_body,
)


def two_books() -> Drive:
    """Two Binance books that stand at id 10, and a partial one of the first symbol."""
    drive = Drive(BINANCE_SPOT, ["book", "quote"], ["BTCUSDT", "ETHUSDT"], discover=True)
    drive.open()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        drive.read(binance_diff(9, 10, symbol=symbol))
        drive.snapshot(depth_body(10, [["1", "1"]], [["2", "1"]]), symbol=symbol)
    drive.read(binance_partial(10, [["1", "1"]], [["2", "1"]]))
    assert verdicts(drive) == [VERIFIED, VERIFIED, UNVERIFIABLE]
    drive.fetches()
    return drive


def verdicts(drive: Drive) -> list[BookVerdict]:
    return [book.verdict for book in drive.keeper.books]


@pytest.mark.parametrize("quarantined", [False, True])
def test_frames_lost_upstream_make_all_books_stale_and_sync_anew(quarantined: bool) -> None:
    drive = two_books()
    outcome = drive.lose(7, quarantined=quarantined)
    assert len(outcome.gaps) == len(outcome.rows) == 5  # a stream each, and none besides
    assert verdicts(drive) == [STALE] * 3
    assert [fetch.stream.symbol for fetch in drive.fetches()] == ["BTCUSDT", "ETHUSDT"]
    drive.read(binance_partial(14, [["1", "1"]], [["2", "1"]]))
    drive.snapshot(depth_body(13, [["1", "2"]], [["2", "1"]]))
    assert verdicts(drive) == [VERIFIED, STALE, UNVERIFIABLE]


def test_a_gap_on_another_feed_or_of_another_cause_leaves_the_books_alone() -> None:
    drive = two_books()
    broken = drive.read(combined("btcusdt@bookTicker", {"u": 11}))
    assert [(gap.feed, gap.cause) for gap in broken.gaps] == [
        ("binance/spot/BTCUSDT/quote", GapCause.QUARANTINE)
    ]
    assert verdicts(drive) == [VERIFIED, VERIFIED, UNVERIFIABLE]
    assert drive.fetches() == []


def test_the_end_of_the_connection_makes_all_books_stale_until_they_sync_anew() -> None:
    drive = two_books()
    drive.close()
    assert verdicts(drive) == [STALE] * 3
    drive.open()
    assert drive.fetches() == []
    drive.read(binance_diff(50, 51, [["1", "5"]]))
    assert [fetch.epoch for fetch in drive.fetches()] == [2]
    drive.snapshot(depth_body(50, [["1", "1"]], [["2", "1"]]))
    assert drive.book().verdict is VERIFIED
    assert drive.book().book().best_bid.quantity == 5


def bundle_of(*batches: Batch[Any], **more: Any) -> Bundle:
    origin = Origin(Exchange.BINANCE, Market.SPOT, "c", 1)
    return Bundle(origin, 99, 77, list(batches), **more)


def test_a_keeper_interrupted_at_the_end_of_an_epoch_trusts_no_book_and_says_so() -> None:
    drive = two_books()
    gaps = drive.keeper.interrupted(bundle_of(ended="gone"))
    assert [(gap.feed, gap.cause, gap.edge) for gap in gaps] == [
        (f"binance/spot/{feed}", GapCause.CRASH, "aggregator")
        for feed in ("BTCUSDT/book", "ETHUSDT/book", "BTCUSDT/book:20")
    ]
    assert {(gap.start_time, gap.end_time) for gap in gaps} == {(77, 77)}
    assert verdicts(drive) == [STALE] * 3
    drive.read()
    drive.read(binance_diff(11, 11))
    assert [fetch.stream.symbol for fetch in drive.fetches()] == ["BTCUSDT", "ETHUSDT"]


BTC = "binance/spot/BTCUSDT/book"
BTC20 = "binance/spot/BTCUSDT/book:20"
ETH = "binance/spot/ETHUSDT/book"


def update_of(symbol: str, depth: int | None) -> BookUpdate:
    (update,) = two_books().read(binance_diff(11, 11, symbol=symbol)).rows
    assert isinstance(update, BookUpdate)
    return attrs.evolve(update, depth=depth)


@pytest.mark.parametrize(
    ("bundle", "feeds"),
    [
        (bundle_of(Batch.of([update_of("ETHUSDT", None)])), [ETH]),
        (bundle_of(Batch.of([update_of("BTCUSDT", 20)])), [BTC20]),
        (bundle_of(asked=(BTC,)), [BTC]),
        (bundle_of(dropped=(ETH,)), [ETH]),
        (bundle_of(down=frozenset({BTC, ETH})), [BTC, ETH]),
        (bundle_of(ended="gone", down=frozenset({ETH})), [ETH]),
        (bundle_of(up=(BTC,)), []),
    ],
)
def test_an_interrupted_keeper_trusts_no_book_that_the_bundle_was_about(
    bundle: Bundle, feeds: list[str]
) -> None:
    drive = two_books()
    assert [gap.feed for gap in drive.keeper.interrupted(bundle)] == feeds
    stale = [book.stream.feed for book in drive.keeper.books if book.verdict is STALE]
    assert stale == feeds


def test_an_interrupted_keeper_trusts_no_book_that_a_quote_or_a_gap_was_about() -> None:
    drive = two_books()
    quotes = Batch.of(drive.read(binance_quote(1, ("1", "1"), ("2", "1"))).rows)
    assert [gap.feed for gap in drive.keeper.interrupted(bundle_of(quotes))] == [BTC]
    gaps = Batch.of(two_books().keeper.interrupted(bundle_of(asked=(ETH,))))
    assert [gap.feed for gap in drive.keeper.interrupted(bundle_of(gaps))] == [ETH]


def test_a_contradicting_quote_touches_its_own_book_alone() -> None:
    drive = two_books()
    (quote, gap) = drive.read(binance_quote(10, ("1.5", "1"), ("2", "1"))).rows
    assert isinstance(quote, Quote)
    assert (gap.feed, gap.cause) == ("binance/spot/BTCUSDT/book", GapCause.CONTRADICTED)
    assert verdicts(drive) == [BookVerdict.SUSPECT, VERIFIED, UNVERIFIABLE]
    assert [fetch.stream.symbol for fetch in drive.fetches()] == ["BTCUSDT"]


def test_gaps_join_those_of_the_bundle_and_the_given_bundle_stays_as_it_was() -> None:
    drive = two_books()
    drive.time += SECOND
    frames = [combined("btcusdt@bookTicker", {"u": 11}), binance_diff(15, 15), binance_diff(19, 19)]
    bundle = drive.session.handle(Frames(1, drive.time, drive.ordinal, frames, 100, serial=99))
    assert bundle is not None
    before = [(batch.kind, len(batch)) for batch in bundle.batches]
    kept = drive.keeper.take(bundle)
    assert [(batch.kind, len(batch)) for batch in bundle.batches] == before
    assert [(b.kind, len(b)) for b in kept.batches] == [(BookUpdate, 2), (Gap, 3)]
    causes = [gap.cause for batch in kept.batches for gap in batch if batch.kind is Gap]
    assert causes == [GapCause.QUARANTINE, GapCause.SEQUENCE_BREAK, GapCause.SEQUENCE_BREAK]
    assert (kept.serial, kept.origin, kept.unparsed) == (
        bundle.serial,
        bundle.origin,
        bundle.unparsed,
    )


def test_books_of_two_depths_of_one_symbol_are_kept_apart() -> None:
    drive = Drive(BYBIT_LINEAR, ["book:50", "book:200"])
    drive.open()
    drive.read(
        bybit_book("snapshot", 5, [["1", "1"]], depth=50),
        bybit_book("snapshot", 90, [["2", "1"]], depth=200),
    )
    drive.read(bybit_book("delta", 7, [["1", "2"]], depth=50))
    assert [drive.book(f"book:{depth}").verdict for depth in (50, 200)] == [STALE, VERIFIED]
    assert drive.book("book:200").book().best_bid.price == 2.0
    assert {tuple(r["args"]) for r in drive.sent()} == {("orderbook.50.BTCUSDT",)}
