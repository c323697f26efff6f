"""What leaves a shard: what somebody in the parent reads, nothing else, and a record of losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from farm.actors.hub import Filter
from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.cluster.link import Link
from farm.cluster.messages import Reader
from farm.cluster.outlet import LINK_EDGE, Outlet, line_of
from farm.entities import EVENT_KINDS, BookUpdate, Event, Gap, Quote, Trade, feed_of
from farm.exchanges.decoded import Decoded
from farm.types import DataType, Exchange, GapCause, GapUnit, Market
from tests.cluster.links import Way
from tests.cluster.test_codec import trades as decoded_trades
from tests.effort import runs
from tests.exchanges.feeding import T0
from tests.strategies import plain

KINDS = [DataType.TRADE, DataType.QUOTE, DataType.BOOK]
WHERE = [(Exchange.BINANCE, Market.SPOT), (Exchange.BINANCE, Market.USDM), (Exchange.BYBIT, Market.SPOT)]  # fmt: skip  # noqa: E501
SYMBOLS = ["BTCUSDT", "ETHUSDT", "XRPUSDT"]
ALL = [Reader(kind, None, None, None) for kind in DataType]


def bundle(
    *rows: tuple[type[Event], str],
    where: tuple[Exchange, Market] = WHERE[0],
    serial: int = 1,
    nbytes: int = 100,
) -> Bundle:
    """Events of these kinds and symbols, as one read of a connection gives them."""
    origin = Origin(*where, f"{where[0].value}/{where[1].value}#1", 1)
    batches: dict[type[Event], list[Any]] = {}
    for number, (kind, symbol) in enumerate(rows):
        event = plain(
            kind,
            exchange=where[0],
            market=where[1],
            symbol=symbol,
            receive_time=T0 + serial,
            ordinal=10 * serial + number,
        )
        batches.setdefault(kind, []).append(event)
    made = [Batch(k, rows=r, origins=[(origin, len(r))]) for k, r in batches.items()]
    return Bundle(origin, serial, T0 + serial, made, nbytes=nbytes)


def events(bundles: Sequence[Bundle]) -> list[Any]:
    return [row for bundle in bundles for batch in bundle.batches for row in batch.rows]


async def carried(readers: Sequence[Reader], *given: Bundle) -> Way:
    way = Way()
    async with way.open() as outlet:
        outlet.read_by(readers)
        for one in given:
            outlet.deliver(one)
    return way


# --------------------------------------------------------------------------------- what is wanted
READERS = st.builds(
    Reader,
    st.sampled_from(KINDS),
    st.none() | st.sampled_from(Exchange),
    st.none() | st.sampled_from([Market.SPOT, Market.USDM]),
    st.none() | st.lists(st.sampled_from(SYMBOLS), max_size=2),
)
BUNDLES = st.builds(
    lambda rows, where, serial: bundle(*rows, where=where, serial=serial),
    st.lists(
        st.tuples(st.sampled_from([Trade, Quote, BookUpdate]), st.sampled_from(SYMBOLS)), max_size=6
    ),
    st.sampled_from(WHERE),
    st.integers(1, 5),
)


def is_wanted(row: Any, readers: Sequence[Reader]) -> bool:
    return any(
        EVENT_KINDS[reader.kind] is type(row)
        and reader.exchange in (None, row.exchange)
        and reader.market in (None, row.market)
        and (reader.symbols is None or row.symbol in reader.symbols)
        for reader in readers
    )


@settings(max_examples=runs(100))
@given(st.lists(READERS, max_size=5), st.lists(BUNDLES, max_size=5))
def test_exactly_what_somebody_reads_is_sent(readers: list[Reader], given: list[Bundle]) -> None:
    """Each event once, in order, be it read by one or by several."""
    way = trio.run(carried, readers, *given)
    right = [row for row in events(given) if is_wanted(row, readers)]
    assert events(way.bundles) == right
    assert all(batch.rows for bundle in way.bundles for batch in bundle.batches)
    assert way.outlet.events == len(right)
    assert way.outlet.bundles == len(way.bundles)
    box = way.outlet.mailbox
    assert (box.offered, box.taken, box.dropped) == (len(way.bundles), len(way.bundles), 0)


async def test_readers_of_a_subscription_find_in_the_parent_what_the_shard_would_give_them() -> (
    None
):
    wanted = Filter(frozenset({Trade}), frozenset({"ETHUSDT"}), Exchange.BINANCE)
    given = [
        bundle(*((kind, s) for kind in (Trade, Quote) for s in SYMBOLS), where=w) for w in WHERE
    ]
    reader = Reader(DataType.TRADE, Exchange.BINANCE, None, ["ETHUSDT"])
    way = await carried([reader], *given)
    of_shard = [batch.rows for one in given for batch in wanted.apply(one)]
    assert [batch.rows for one in way.bundles for batch in wanted.apply(one)] == of_shard
    assert len(of_shard) == 2


async def test_nothing_is_sent_where_nobody_reads() -> None:
    way = await carried([], bundle((Trade, "BTCUSDT")), bundle((Quote, "BTCUSDT")))
    assert (way.bundles, way.outlet.mailbox.offered) == ([], 0)
    nobody = [Reader(DataType.TRADE, None, None, [])]
    assert (await carried(nobody, bundle((Trade, "BTCUSDT")))).bundles == []


async def test_readers_come_and_go() -> None:
    way = Way()
    async with way.open() as outlet:
        for serial, readers in enumerate(([], ALL, [ALL[0]], [], ALL)):
            outlet.read_by(readers)
            outlet.deliver(bundle((Trade, "BTCUSDT"), (Quote, "BTCUSDT"), serial=serial))
    assert [one.serial for one in way.bundles] == [1, 2, 4]
    kinds = [[batch.data_type for batch in one.batches] for one in way.bundles]
    assert kinds == [
        [DataType.TRADE, DataType.QUOTE],
        [ALL[0].kind],
        [DataType.TRADE, DataType.QUOTE],
    ]


async def test_of_what_was_decoded_no_event_is_made() -> None:
    """Not where all is wanted, nor where that can be told by symbols."""
    for symbols in (None, ["BTCUSDT", "ETHUSDT"]):
        given = decoded_trades(30)
        way = await carried([Reader(DataType.TRADE, None, None, symbols)], given)
        (batch,) = given.batches
        assert isinstance(batch.source, Decoded)
        assert not batch.has_rows
        assert events(way.bundles) == batch.rows
        assert len(batch) == 30


async def test_a_bundle_keeps_whence_and_when_it_came() -> None:
    given = bundle((Trade, "BTCUSDT"), serial=7)
    (ours,) = (await carried(ALL, given)).bundles
    assert (ours.origin, ours.serial, ours.receive_time, ours.nbytes) == (
        given.origin, 7, given.receive_time, 100,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("connection", "line"),
    [("binance/spot#1", "binance/spot#1"), ("binance/spot#12~3", "binance/spot#12")],
)
def test_lanes_are_of_their_line(connection: str, line: str) -> None:
    assert line_of(connection) == line


# ------------------------------------------------------------------------------------- what is lost
SIZES = st.integers(1, 3)


@settings(max_examples=runs(100))
@given(st.lists(st.tuples(st.booleans(), SIZES, st.booleans()), max_size=30), st.integers(1, 500))
def test_each_event_comes_or_is_in_a_gap(
    given: list[tuple[bool, int, bool]], max_bytes: int
) -> None:
    """Of each feed, and the accounts of the queue say so too."""
    way = Way(max_bytes=max_bytes)
    sent: list[Any] = []

    async def play() -> None:
        async with way.open() as outlet:
            outlet.read_by(ALL)
            for serial, (quotes, size, rest) in enumerate(given):
                rows = [(Quote if quotes else Trade, symbol) for symbol in SYMBOLS[:size]]
                one = bundle(*rows, serial=serial)
                sent.extend(events([one]))
                outlet.deliver(one)
                if rest:
                    await way.go_on()

    trio.run(play)
    came = [row for row in events(way.bundles) if not isinstance(row, Gap)]
    gaps = [row for row in events(way.bundles) if isinstance(row, Gap)]
    assert Counter(map(feed_of, sent)) == Counter(map(feed_of, came)) + sum(
        (Counter({gap.feed: gap.size}) for gap in gaps), Counter()
    )
    places = [row.ordinal for row in came]
    assert places == sorted(set(places))
    for gap in gaps:
        assert (gap.edge, gap.cause, gap.unit) == (
            LINK_EDGE, GapCause.OVERFLOW, GapUnit.EVENTS,
        )  # fmt: skip
        within = [row for row in sent if feed_of(row) == gap.feed]
        within = [row for row in within if gap.start_time <= row.receive_time <= gap.end_time]
        assert len(within) == gap.size
        assert not any(row in came for row in within)
    box = way.outlet.mailbox
    assert box.offered == box.taken + box.dropped == len(given)
    assert bool(box.dropped) == bool(gaps)


async def test_a_parent_that_is_slow_is_told_of_one_gap_a_feed() -> None:
    way = Way(max_bytes=250)
    async with way.open() as outlet:
        outlet.read_by([Reader(DataType.TRADE, None, None, SYMBOLS[:2])])
        way.hold()
        for serial in range(9):
            rows = [(kind, symbol) for kind in (Trade, Quote) for symbol in SYMBOLS]
            outlet.deliver(bundle(*rows, serial=serial))
        assert (outlet.mailbox.offered, outlet.mailbox.dropped) == (9, 7)
    gaps, *rest = way.bundles
    assert [(gap.feed, gap.size, gap.start_time, gap.end_time) for gap in events([gaps])] == [
        (f"binance/spot/{symbol}/trade", 7, T0, T0 + 6) for symbol in SYMBOLS[:2]
    ], "of what nobody reads nothing is lost"
    assert [one.serial for one in rest] == [7, 8]


async def test_what_has_no_reader_takes_no_room() -> None:
    way = Way(max_bytes=250)
    async with way.open() as outlet:
        outlet.read_by([Reader(DataType.TRADE, None, None, ["BTCUSDT"])])
        way.hold()
        outlet.deliver(bundle((Trade, "BTCUSDT"), serial=1))
        for serial in range(2, 50):
            outlet.deliver(bundle((Quote, "BTCUSDT"), (Trade, "ETHUSDT"), serial=serial))
        outlet.deliver(bundle((Trade, "BTCUSDT"), serial=50))
    assert [one.serial for one in way.bundles] == [1, 50]


async def test_gaps_of_a_shard_are_not_lost_in_a_loss() -> None:
    """They are records: they go on, each as it is."""
    way = Way(max_bytes=150)
    async with way.open() as outlet:
        outlet.read_by([Reader(DataType.GAP, None, None, None), Reader(DataType.TRADE, None, None, None)])  # fmt: skip  # noqa: E501
        way.hold()
        for serial in range(4):
            outlet.deliver(bundle((Gap, "BTCUSDT"), (Trade, "BTCUSDT"), serial=serial))
    rows = events(way.bundles)
    records = [row for row in rows if isinstance(row, Gap) and row.edge != LINK_EDGE]
    assert [row.receive_time for row in records] == [T0, T0 + 1, T0 + 2, T0 + 3]
    assert [row.size for row in rows if isinstance(row, Gap) and row.edge == LINK_EDGE] == [3]


# --------------------------------------------------------------------------------- what has passed
async def test_who_leaves_waits_for_the_record_of_what_was_lost() -> None:
    """What the line's new process sends must not overtake it."""
    way = Way(max_bytes=250)
    left: list[int] = []

    async def leave(outlet: Outlet) -> None:
        await outlet.leave("binance/spot#1")
        left.append(outlet.bundles)

    async with trio.open_nursery() as nursery, way.open() as outlet:
        outlet.read_by(ALL)
        way.hold()
        outlet.deliver(bundle((Trade, "BTCUSDT"), serial=0))
        await wait_all_tasks_blocked()  # that is being sent
        for serial in range(1, 7):
            outlet.deliver(bundle((Trade, "BTCUSDT"), serial=serial))
        assert outlet.mailbox.dropped == 4
        nursery.start_soon(leave, outlet)
        await wait_all_tasks_blocked()
        for serial in range(7, 12):  # all that waited is dropped, and some that is not meant
            outlet.deliver(bundle((Trade, "BTCUSDT"), serial=serial))
        await wait_all_tasks_blocked()
        assert left == []
        await way.go_on()
        assert len(left) == 1
    (gap,) = [row for row in events(way.bundles) if isinstance(row, Gap)]
    assert gap.size == 9
    told = next(place for place, one in enumerate(way.bundles) if one.batches[0].kind is Gap)
    assert left[0] > told


@settings(max_examples=runs(100))
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30), st.integers(1, 900))
def test_what_has_passed_has_come_or_was_said_to_be_lost(
    given: list[tuple[bool, bool]], max_bytes: int
) -> None:
    """However much of it is taken out, and about to be sent."""
    way = Way(max_bytes=max_bytes)

    def known() -> int:
        rows = events(way.bundles)
        return sum(row.size if isinstance(row, Gap) else 1 for row in rows)

    async def play() -> None:
        async with way.open() as outlet:
            outlet.read_by(ALL)
            way.hold()
            for serial, (rest, go_on) in enumerate(given):
                outlet.deliver(bundle((Trade, "BTCUSDT"), serial=serial))
                assert outlet.passed <= known()
                if rest:
                    await wait_all_tasks_blocked()
                    assert outlet.passed <= known()
                if go_on:
                    await way.go_on()
                    assert outlet.passed == outlet.offered == serial + 1 == known()
                    way.hold()

    trio.run(play)


async def test_nobody_waits_for_a_link_that_has_ended() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.aclose()
    outlet = Way().outlet
    outlet.read_by(ALL)
    outlet.deliver(bundle((Trade, "BTCUSDT"), serial=0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.leave, "binance/spot#1")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await outlet.run(Link(ours))
