"""The hub: who gets what, once."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from farm.actors.hub import Filter, Hub
from farm.actors.losses import lose_batches
from farm.actors.mailbox import Mailbox
from farm.batch import Batch, Origin
from farm.bundle import Bundle, UnparsedFrame
from farm.entities import AggTrade, BookUpdate, Event, Gap, Kline, Quote, Trade
from farm.exchanges.session import Frames, Opened
from farm.monitor.feeds import FeedCounters
from farm.types import Exchange, Market
from tests.actors.lines import bundle_box, read_all, session
from tests.exchanges.feeding import binance_trade
from tests.storage.events import NOON, ORIGIN, frame, quote, trade
from tests.strategies import plain

BYBIT = Origin(Exchange.BYBIT, Market.LINEAR, "d", 1)


def batch(*rows: Event) -> Batch[Any]:
    return Batch(type(rows[0]), rows=list(rows), origins=[(ORIGIN, len(rows))], nbytes=90)


MIXED = batch(trade(0), trade(1, symbol="ETHUSDT"), trade(2), trade(3, symbol="SOLUSDT"))
QUOTES = batch(quote(4))


def bundle(serial: int, *batches: Batch[Any], origin: Origin = ORIGIN, **more: Any) -> Bundle:
    return Bundle(origin, serial, NOON, list(batches), **more)


def wanting(*kinds: type[Event], **more: Any) -> Filter:
    return Filter(frozenset(kinds), **more)


class Reader:
    """A subscriber with room for `max_bytes`."""

    def __init__(self, hub: Hub, wanted: Filter, max_bytes: int = 10**6) -> None:
        self.box: Mailbox[Batch[Any]] = Mailbox(
            "reader", lose=lose_batches("reader"), max_bytes=max_bytes
        )
        self.outlet = hub.subscribe(wanted, self.box)

    async def got(self) -> list[Batch[Any]]:
        self.box.close()
        return await read_all(self.box)


# Filters ---------------------------------------------------------------------------------------


def test_a_filter_shares_what_is_wanted_whole() -> None:
    both = bundle(1, MIXED, QUOTES)
    assert wanting(Trade, Quote).apply(both)[0] is MIXED
    (quotes,) = wanting(Quote, symbols=frozenset({"BTCUSDT"})).apply(both)
    assert quotes is QUOTES


def test_a_filter_cuts_out_symbols_in_order() -> None:
    (part,) = wanting(Trade, symbols=frozenset({"BTCUSDT", "SOLUSDT"})).apply(bundle(1, MIXED))
    assert part.rows == [MIXED[0], MIXED[2], MIXED[3]]
    assert part.rows[0] is MIXED.rows[0]
    assert (part.origins, part.nbytes, part.numbers) == ([(ORIGIN, 3)], 67, MIXED.numbers)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (wanting(Trade), 1),
        (wanting(Quote), 1),
        (wanting(Gap), 0),
        (wanting(Trade, Quote), 2),
        (wanting(Trade, Quote, symbols=frozenset({"ETHUSDT"})), 1),
        (wanting(Trade, Quote, symbols=frozenset({"XRPUSDT"})), 0),
        (wanting(Trade, Quote, symbols=frozenset()), 0),
        (wanting(Trade, exchange=Exchange.BINANCE), 1),
        (wanting(Trade, exchange=Exchange.BYBIT), 0),
        (wanting(Trade, market=Market.SPOT), 1),
        (wanting(Trade, market=Market.LINEAR), 0),
        (wanting(Trade, exchange=Exchange.BINANCE, market=Market.LINEAR), 0),
    ],
)
def test_a_filter_takes_kinds_symbols_and_markets(wanted: Filter, count: int) -> None:
    assert len(wanted.apply(bundle(1, MIXED, QUOTES))) == count


def make_hub() -> Hub:
    return Hub(FeedCounters(), lambda _frames: None)


# Publishing ------------------------------------------------------------------------------------


async def test_each_subscriber_gets_its_own_and_shares_the_batches() -> None:
    unparsed: list[UnparsedFrame] = []
    hub = Hub(FeedCounters(), unparsed.extend)
    all_trades, eth, quotes = (
        Reader(hub, wanting(Trade)),
        Reader(hub, wanting(Trade, symbols=frozenset({"ETHUSDT"}))),
        Reader(hub, wanting(Quote)),
    )
    await hub.publish(bundle(1, MIXED, QUOTES, unparsed=[frame()]))
    assert [b is MIXED for b in await all_trades.got()] == [True]
    assert [b.rows for b in await eth.got()] == [[MIXED[1]]]
    assert [b is QUOTES for b in await quotes.got()] == [True]
    assert hub._counters.feeds["binance/spot/BTCUSDT/trade"].events == 2
    assert unparsed == [frame()]


async def test_a_bundle_that_comes_again_reaches_nobody_twice() -> None:
    hub, store = make_hub(), bundle_box("aggregator>sink")
    hub.store(store)
    early = Reader(hub, wanting(Trade))
    await hub.publish(bundle(5, MIXED))
    late = Reader(hub, wanting(Trade))
    await hub.publish(bundle(5, MIXED))
    await hub.publish(bundle(4, MIXED))
    await hub.publish(bundle(6, MIXED))
    await hub.publish(bundle(1, MIXED, origin=BYBIT))  # each connection counts for itself
    store.close()
    assert [(b.origin.connection, b.serial) for b in await read_all(store)] == [
        ("c", 5),
        ("c", 6),
        ("d", 1),
    ]
    assert len(await early.got()) == 3
    assert len(await late.got()) == 3  # it had seen nothing before
    assert hub._counters.feeds["binance/spot/BTCUSDT/trade"].events == 6


async def test_a_listener_is_shown_every_bundle_once_whatever_is_in_it() -> None:
    hub = make_hub()
    shown: list[Bundle] = []
    bundles = [bundle(1, MIXED), bundle(2), bundle(3, final=True), bundle(1, QUOTES, origin=BYBIT)]
    hub.listen(shown.append)
    for one in bundles:
        await hub.publish(one)
        await hub.publish(one)
    assert shown == bundles


async def test_a_listener_that_fails_is_shown_the_bundle_again_and_others_are_not() -> None:
    hub = make_hub()
    reader, shown = Reader(hub, wanting(Trade)), list[int]()

    def failing(one: Bundle) -> None:
        shown.append(one.serial)
        if shown == [1]:
            raise ValueError("a bug")

    hub.listen(failing)
    with pytest.raises(ValueError, match="a bug"):
        await hub.publish(bundle(1, MIXED))
    await hub.publish(bundle(1, MIXED))  # as its aggregator does, started again
    assert shown == [1, 1]
    assert len(await reader.got()) == 1


async def test_who_left_gets_nothing_more() -> None:
    hub = make_hub()
    reader, other = Reader(hub, wanting(Trade)), Reader(hub, wanting(Trade))
    await hub.publish(bundle(1, MIXED))
    hub.unsubscribe(reader.outlet)
    await hub.publish(bundle(2, MIXED))
    assert (len(await reader.got()), len(await other.got())) == (1, 2)


async def test_a_slow_subscriber_loses_alone() -> None:
    hub = make_hub()
    slow, quick = Reader(hub, wanting(Trade), max_bytes=100), Reader(hub, wanting(Trade))
    for serial in range(1, 5):
        await hub.publish(bundle(serial, MIXED))
    gaps, last = await slow.got()
    assert {gap.symbol: gap.size for gap in gaps} == {"BTCUSDT": 6, "ETHUSDT": 3, "SOLUSDT": 3}
    assert last is MIXED
    assert [b.kind for b in await quick.got()] == [Trade] * 4
    assert hub._counters.feeds["binance/spot/BTCUSDT/trade"].gaps == 0


async def test_what_waits_for_a_store_has_reached_nobody_yet() -> None:
    hub, store = make_hub(), bundle_box("aggregator>sink", max_items=1)
    hub.store(store)
    reader = Reader(hub, wanting(Trade))
    await hub.publish(bundle(1, MIXED))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.publish, bundle(2, MIXED))
        await wait_all_tasks_blocked()
        assert (len(store), len(reader.box)) == (1, 1)
        stored = store.reader()
        assert (await stored.next()).serial == 1
    assert (await stored.next()).serial == 2
    assert len(reader.box) == 2


async def test_publishing_cancelled_while_it_waits_is_made_good_by_the_next_try() -> None:
    hub, store = make_hub(), bundle_box("aggregator>sink", max_items=1)
    hub.store(store)
    reader = Reader(hub, wanting(Trade))
    await hub.publish(bundle(1, MIXED))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.publish, bundle(2, MIXED))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    stored = store.reader()
    await stored.next()
    await hub.publish(bundle(2, MIXED))
    assert (await stored.next()).serial == 2
    assert len(await reader.got()) == 2


def decoded(*symbols: str) -> Bundle:
    """Trades of these symbols in one read, of which no row was made yet."""
    core = session("trade", symbols=("BTCUSDT", "ETHUSDT"))
    core.handle(Opened(1, NOON, 0.0))
    for ordinal, symbol in enumerate(("BTCUSDT", "ETHUSDT"), 1):  # brings them up
        core.handle(Frames(1, NOON, ordinal, [binance_trade(ordinal, symbol)], 0))
    frames = [binance_trade(number, symbol) for number, symbol in enumerate(symbols, 7)]
    made = core.handle(Frames(1, NOON, 3, frames, 0))
    assert made is not None
    assert made.batches[0].source is not None
    return made


def test_a_filter_of_symbols_makes_no_row_of_what_is_wanted_whole() -> None:
    read = decoded("BTCUSDT", "ETHUSDT", "BTCUSDT")
    (whole,) = wanting(Trade, symbols=frozenset({"BTCUSDT", "ETHUSDT", "SOLUSDT"})).apply(read)
    assert whole is read.batches[0]
    assert whole.source is not None
    (part,) = wanting(Trade, symbols=frozenset({"BTCUSDT"})).apply(read)
    assert [row.id for row in part.rows] == ["7", "9"]
    assert wanting(Trade, symbols=frozenset({"SOLUSDT"})).apply(read) == []


def as_columns(batch: Batch[Any]) -> Batch[Any]:
    """The same, as it comes from a shard: columns, of which no row was made."""
    return Batch(
        batch.kind,
        columns=dict(batch.columns),
        origins=batch.origins,
        numbers=batch.numbers,
        nbytes=batch.nbytes,
    )


def test_a_filter_of_symbols_makes_no_row_of_columns_that_are_wanted_whole() -> None:
    (made,) = decoded("BTCUSDT", "ETHUSDT", "BTCUSDT").batches
    columns = as_columns(made)
    both = bundle(1, columns)
    (whole,) = wanting(Trade, symbols=frozenset({"BTCUSDT", "ETHUSDT", "SOLUSDT"})).apply(both)
    assert whole is columns
    assert not columns.has_rows
    assert wanting(Trade).apply(both) == [columns]
    assert not columns.has_rows
    (part,) = wanting(Trade, symbols=frozenset({"BTCUSDT"})).apply(both)
    assert [row.id for row in part.rows] == ["7", "9"]
    assert wanting(Trade, symbols=frozenset({"SOLUSDT"})).apply(both) == []


# From other processes --------------------------------------------------------------------------


def gap(feed: str, **more: Any) -> Gap:
    exchange, market, symbol, _ = feed.split("/")
    where = {"exchange": Exchange(exchange), "market": Market(market), "symbol": symbol}
    return plain(Gap, feed=feed, **where, **more)  # type: ignore[no-any-return]


async def test_what_was_published_elsewhere_is_read_here_and_neither_counted_nor_stored() -> None:
    kept: list[UnparsedFrame] = []
    hub = Hub(FeedCounters(), kept.extend)
    store = bundle_box("aggregator>sink")
    hub.store(store)
    shown: list[Bundle] = []
    hub.listen(shown.append)
    trades, quotes = Reader(hub, wanting(Trade)), Reader(hub, wanting(Quote))
    sent = bundle(5, MIXED, QUOTES, unparsed=[frame()])
    hub.relay(sent)
    assert (len(store), hub._counters.feeds, kept) == (0, {}, [])
    assert shown == [sent]
    assert [b is MIXED for b in await trades.got()] == [True]
    assert [b is QUOTES for b in await quotes.got()] == [True]


@pytest.mark.parametrize(
    ("wanted", "feed", "is_concerned"),
    [
        (wanting(Trade), "binance/spot/BTCUSDT/trade", True),
        (wanting(Trade, Quote), "binance/spot/BTCUSDT/quote", True),
        (wanting(Trade), "binance/spot/BTCUSDT/quote", False),
        (wanting(Gap), "binance/spot/BTCUSDT/trade", False),
        (wanting(AggTrade), "binance/spot/BTCUSDT/trade", False),
        (wanting(BookUpdate), "binance/spot/BTCUSDT/book", True),
        (wanting(BookUpdate), "bybit/linear/BTCUSDT/book:200", True),
        (wanting(Kline), "binance/spot/BTCUSDT/kline:1m", True),
        (wanting(Trade, symbols=frozenset({"BTCUSDT"})), "binance/spot/BTCUSDT/trade", True),
        (wanting(Trade, symbols=frozenset({"BTCUSDT"})), "binance/spot/ETHUSDT/trade", False),
        (wanting(Trade, exchange=Exchange.BYBIT), "binance/spot/BTCUSDT/trade", False),
        (wanting(Trade, exchange=Exchange.BYBIT), "bybit/linear/BTCUSDT/trade", True),
        (wanting(Trade, market=Market.LINEAR), "bybit/spot/BTCUSDT/trade", False),
        (wanting(Trade, market=Market.SPOT), "bybit/spot/BTCUSDT/trade", True),
    ],
)
def test_a_gap_concerns_who_would_have_had_what_is_lost(
    wanted: Filter, feed: str, is_concerned: bool
) -> None:
    assert wanted.concerns(gap(feed)) == is_concerned


async def test_losses_on_the_way_here_are_told_once_to_whom_they_concern() -> None:
    """Who reads gaps has them as events already."""
    hub = make_hub()
    shown: list[Bundle] = []
    hub.listen(shown.append)
    bitcoin = wanting(Trade, symbols=frozenset({"BTCUSDT"}))
    readers = [Reader(hub, w) for w in (wanting(Trade), bitcoin, wanting(Quote))]
    all_gaps = Reader(hub, wanting(Trade, Gap))
    losses = batch(
        gap("binance/spot/BTCUSDT/trade"),
        gap("binance/spot/ETHUSDT/trade"),
        gap("binance/spot/BTCUSDT/book"),
    )
    hub.relay_losses(losses)
    told = [[row.feed for b in await r.got() for row in b.rows] for r in (*readers, all_gaps)]
    assert told == [
        ["binance/spot/BTCUSDT/trade", "binance/spot/ETHUSDT/trade"],
        ["binance/spot/BTCUSDT/trade"],
        [],
        [],
    ]
    assert shown == []


def test_the_filters_are_those_of_subscribers() -> None:
    hub = make_hub()
    hub.listen(lambda _: None)
    first, second = Reader(hub, wanting(Trade)), Reader(hub, wanting(Quote))
    assert hub.filters == [wanting(Trade), wanting(Quote)]
    hub.unsubscribe(first.outlet)
    assert hub.filters == [second.outlet.wanted]
