"""What becomes of batches and bundles that no reader was quick enough for."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.actors.losses import lose_batches, lose_bundles
from farm.actors.mailbox import Mailbox
from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.entities import Gap, Quote, Trade
from farm.exchanges.session import Frames, Opened
from farm.types import Exchange, GapCause, GapUnit, Market
from tests.actors.lines import read_all, session
from tests.exchanges.feeding import binance_trade
from tests.storage.events import NOON, ORIGIN, frame, quote, trade, trades

EDGE = "aggregator>reader"


def gap(feed: str = "binance/spot/BTCUSDT/book", edge: str = "venue") -> Gap:
    return Gap(
        Exchange.BINANCE, Market.SPOT, "BTCUSDT", feed, edge, GapCause.SEQUENCE_BREAK, 3, 9, 1, 2,
        7, GapUnit.IDS, False, NOON, 1,
    )  # fmt: skip


def batch(*rows: Any, origin: Origin = ORIGIN) -> Batch[Any]:
    return Batch(type(rows[0]), rows=list(rows), origins=[(origin, len(rows))])


def bundle(serial: int, *batches: Batch[Any], **more: Any) -> Bundle:
    return Bundle(ORIGIN, serial, NOON + serial, list(batches), **more)


def test_batches_become_a_gap_a_feed_with_counts_and_bounds() -> None:
    lose = lose_batches(EDGE)
    loss = lose(None, trades(range(2, 5)), False)
    loss = lose(loss, trades([5], symbol="ETHUSDT"), False)
    loss = lose(loss, batch(quote(6)), False)
    loss = lose(loss, trades([7, 8]), False)
    assert loss.kind is Gap
    btc, eth, quotes = loss.rows
    assert btc == Gap(
        exchange=Exchange.BINANCE,
        market=Market.SPOT,
        symbol="BTCUSDT",
        feed="binance/spot/BTCUSDT/trade",
        edge=EDGE,
        cause=GapCause.OVERFLOW,
        first_id=None,
        last_id=None,
        start_time=NOON + 2,
        end_time=NOON + 8,
        size=5,
        unit=GapUnit.EVENTS,
        repaired=False,
        receive_time=NOON + 8,
        ordinal=8,
    )
    assert (eth.feed, eth.size) == ("binance/spot/ETHUSDT/trade", 1)
    assert (quotes.feed, quotes.size) == ("binance/spot/BTCUSDT/quote", 1)


def test_one_batch_of_several_symbols_is_several_gaps() -> None:
    rows = [trade(0), trade(1, symbol="ETHUSDT"), trade(2)]
    loss = lose_batches(EDGE)(None, batch(*rows), False)
    assert [(g.symbol, g.size, g.start_time, g.end_time) for g in loss.rows] == [
        ("BTCUSDT", 2, NOON, NOON + 2),
        ("ETHUSDT", 1, NOON + 1, NOON + 1),
    ]


def test_a_quarantined_batch_is_no_overflow() -> None:
    lose = lose_batches(EDGE)
    assert lose(None, trades([1]), True).rows[0].cause is GapCause.QUARANTINE


def test_gaps_in_what_is_lost_survive_unchanged() -> None:
    before = gap()
    lose = lose_batches(EDGE)
    loss = lose(lose(None, batch(before), False), trades([1]), False)
    loss = lose(loss, batch(gap("other")), False)
    assert [(g.feed, g.cause) for g in loss.rows] == [
        (before.feed, GapCause.SEQUENCE_BREAK),
        ("binance/spot/BTCUSDT/trade", GapCause.OVERFLOW),
        ("other", GapCause.SEQUENCE_BREAK),
    ]
    assert before == gap()


def test_every_gap_keeps_the_connection_it_was_lost_from() -> None:
    lose = lose_batches(EDGE)
    other = attrs.evolve(ORIGIN, connection="d", epoch=7)
    loss = lose(None, trades([0]), False)
    loss = lose(loss, batch(trade(1, symbol="ETHUSDT"), origin=other), False)
    loss = lose(loss, trades([2]), False)
    assert loss.columns["connection"].tolist() == ["c", "d"]  # type: ignore[union-attr]
    assert loss.columns["epoch"].tolist() == [1, 7]  # type: ignore[union-attr]
    assert len(loss) == len(loss.rows) == 2
    assert Batch.from_arrow(loss.to_arrow()) == loss


def test_gaps_from_elsewhere_are_folded_without_copying_those_before() -> None:
    """Nobody reads, and each of 20,000 outages is a gap: a loss made anew each time would cost the
    square of that."""
    lose = lose_batches(EDGE)
    loss = lose(None, batch(gap()), False)
    rows, origins = loss.rows, loss.origins
    other = attrs.evolve(ORIGIN, epoch=2)
    for _ in range(20_000):
        loss = lose(loss, batch(gap(), origin=other), False)
        assert loss.rows is rows
        assert loss.origins is origins
    assert loss.origins == [(ORIGIN, 1), (other, 20_000)]
    assert len(loss.rows) == 20_001


async def crash(box: Mailbox[Batch[Any]]) -> None:
    """A reader crashes on the first item."""
    with suppress(ValueError), box.reader() as reader:
        await reader.next()
        raise ValueError


async def test_a_mailbox_that_loses_by_turns_keeps_its_books_straight() -> None:
    """A quarantine between two drops of one loss must not part them."""
    box: Mailbox[Batch[Any]] = Mailbox("m", lose=lose_batches("m"), max_bytes=10**6, max_items=1)
    box.put(trades([0]))
    await crash(box)
    box.put(trades([1]))
    box.put(trades([2]))  # drops 1
    await crash(box)  # quarantines 0
    box.put(trades([3]))  # drops 2
    box.close()
    quarantined, overflow, last = await read_all(box)
    assert [(g.cause, g.size) for g in quarantined.rows] == [(GapCause.QUARANTINE, 1)]
    assert [(g.cause, g.size) for g in overflow.rows] == [(GapCause.OVERFLOW, 2)]
    assert last == trades([3])


def test_a_bundle_becomes_one_of_gaps_and_keeps_its_gaps() -> None:
    lose = lose_bundles(EDGE)
    loss = lose(None, bundle(1, trades([1]), batch(gap()), unparsed=[frame(1)]), False)
    loss = lose(loss, bundle(2, batch(quote(2)), ended="reset"), False)
    loss = lose(loss, bundle(3, trades([3, 4]), unparsed=[frame(3)]), False)
    (gaps,) = loss.batches
    assert [(g.feed.rpartition("/")[2], g.cause.value, g.size) for g in gaps] == [
        ("trade", "overflow", 3),
        ("book", "sequence_break", 7),
        ("quote", "overflow", 1),
    ]
    assert loss.unparsed == []  # the hub has them: it keeps them before it offers the bundle
    assert (loss.serial, loss.receive_time, loss.ended) == (3, NOON + 3, "reset")


@pytest.mark.parametrize("quarantined", [False, True])
def test_a_bundle_without_events_leaves_no_gap(quarantined: bool) -> None:
    loss = lose_bundles(EDGE)(None, bundle(1, unparsed=[frame()], ended="gone"), quarantined)
    assert (loss.batches, loss.ended) == ([], "gone")
    assert loss.unparsed == ([frame()] if quarantined else [])


def test_a_quarantined_loss_stays_the_loss_it_was() -> None:
    lose = lose_bundles(EDGE)
    loss = lose(None, bundle(1, trades([1])), False)
    assert lose(None, loss, True).batches == loss.batches


def test_kinds_are_not_mixed_up() -> None:
    loss = lose_bundles(EDGE)(None, bundle(1, trades([1]), batch(quote(2))), False)
    assert {row.feed.rpartition("/")[2] for row in loss.batches[0]} == {"trade", "quote"}
    assert {Trade, Quote}.isdisjoint({b.kind for b in loss.batches})


@given(symbols=st.lists(st.sampled_from(("BTCUSDT", "ETHUSDT")), min_size=1, max_size=6))
def test_what_is_lost_is_told_without_making_it(symbols: list[str]) -> None:
    core = session("trade", symbols=("BTCUSDT", "ETHUSDT"))
    core.handle(Opened(1, NOON, 0.0))
    for ordinal, symbol in enumerate(("BTCUSDT", "ETHUSDT"), 1):  # brings them up
        core.handle(Frames(1, NOON, ordinal, [binance_trade(ordinal, symbol)], 0))
    frames = [binance_trade(number, symbol) for number, symbol in enumerate(symbols, 7)]
    made = core.handle(Frames(1, NOON + 5, 3, frames, 0))
    assert made is not None
    (unmade,) = made.batches
    assert unmade.source is not None

    def lost(batch: Batch[Any]) -> Batch[Any]:
        lose = lose_batches(EDGE)
        return lose(lose(None, trades(range(2)), False), batch, False)

    loss = lost(unmade)
    assert unmade.source is not None
    assert loss == lost(Batch(Trade, rows=unmade.rows, origins=unmade.origins))
