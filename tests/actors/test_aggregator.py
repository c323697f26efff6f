"""The aggregator actor under a real supervisor: real books, which crash where they are told to."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from itertools import chain, count, repeat
from typing import Any

import pytest
import trio

from farm.actors.aggregator import AggregatorActor
from farm.actors.hub import Hub, Outlet
from farm.actors.mailbox import Mailbox
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import BookUpdate, Gap, Trade
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.lanes.merger import LaneMerger
from farm.exchanges.session import LAST_SERIAL, FetchSnapshot, Session
from farm.exchanges.streams import Stream
from farm.monitor.feeds import FeedCounters
from farm.types import BookVerdict, GapCause
from tests.actors.lines import (
    SECOND,
    Crashes,
    Inputs,
    bundle_box,
    cut_short,
    read_all,
    rows,
    session,
    supervise,
    told,
    trade_ids,
)
from tests.effort import runs
from tests.exchanges.feeding import binance_diff, binance_trade, depth_body

BIDS, ASKS = [["10", "1"]], [["11", "1"]]
STALE, SYNCING, VERIFIED = BookVerdict.STALE, BookVerdict.SYNCING, BookVerdict.VERIFIED


class Flaky:
    """Crashes where it is told to: before what it calls, or after."""

    crashes = Crashes({})


class FlakyBooks(Flaky, BookKeeper):
    def take(self, bundle: Bundle) -> Bundle:
        taken: Bundle = self.crashes.call(super().take, bundle)
        return taken


class FlakyLanes(Flaky, LaneMerger):
    def take(self, bundle: Bundle) -> Bundle:
        taken: Bundle = self.crashes.call(super().take, bundle)
        return taken


class FlakyIds(Flaky, TradeContinuity):
    def take(self, bundle: Bundle) -> Bundle:
        taken: Bundle = self.crashes.call(super().take, bundle)
        return taken


class Rig:
    """An aggregator between a mailbox of bundles and what it publishes. Each of `inputs` is a
    lane's: "c", "d" and so on. What crashes is the `stage`: lanes, ids, books, or publish."""

    def __init__(
        self, *inputs: Inputs, crashes: Crashes | None = None, stage: str = "books"
    ) -> None:
        self.inbox = bundle_box()
        self.lanes: dict[str, Session] = {
            name: session("book", "trade", symbols=("BTCUSDT", "ETHUSDT"), connection=name)
            for name, _ in zip("cdefg", inputs, strict=False)
        }
        self.session = self.lanes["c"]
        self.keeper = FlakyBooks(self.streams, self.session.resync)
        self.merger = FlakyLanes(self.streams)
        self.continuity = FlakyIds(self.streams)
        self.crashes = {"publish": Crashes({})}
        stages = {"books": self.keeper, "lanes": self.merger, "ids": self.continuity}
        if stage in stages:
            stages[stage].crashes = crashes or Crashes({})
        elif crashes is not None:
            self.crashes[stage] = crashes
        self.published: list[Bundle] = []
        self.fetches: list[str] = []
        self.actor = AggregatorActor(
            "c aggregator",
            self.keeper,
            self.merger,
            self.continuity,
            self.inbox,
            self._publish,
            self._on_commands,
        )
        given = [
            (item, name) for name, own in zip(self.lanes, inputs, strict=True) for item in own.items
        ]
        for name in self.lanes:
            self.merger.add(name)
        for item, name in sorted(given, key=lambda pair: _time(pair[0])):
            bundle = self.lanes[name].handle(item)
            if bundle is not None:
                self.inbox.put(bundle)

    def streams(self) -> list[Stream]:
        return [status.stream for status in self.session.statuses.values()]

    async def _publish(self, bundle: Bundle) -> None:
        self.crashes["publish"].call(self._deliver, bundle)

    def _deliver(self, bundle: Bundle) -> None:
        """As the hub does: to nobody twice."""
        place = bundle.origin.connection, bundle.serial
        if all((b.origin.connection, b.serial) != place for b in self.published):
            self.published.append(bundle)

    def _on_commands(self) -> None:
        commands = self.session.take_commands()
        self.fetches += [c.stream.symbol for c in commands if isinstance(c, FetchSnapshot)]

    async def run(self) -> list[Bundle]:
        """Run to the end of what was put in."""
        self.inbox.close()
        await supervise(self.actor)
        return self.published

    @property
    def verdicts(self) -> list[BookVerdict]:
        return [book.verdict for book in self.keeper.books]


def _time(item: Any) -> int:
    return int(item.time)


def synced() -> Inputs:
    """Two verified books: both stand at 12. What it gives has the serials 2 to 10."""
    inputs = Inputs().open()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        inputs.read(binance_diff(11, 11, BIDS, ASKS, symbol))
        inputs.ask(symbol)
        inputs.snapshot(depth_body(11, BIDS, ASKS), symbol)
        inputs.read(binance_diff(12, 12, [["10", "2"]], [], symbol))
    return inputs


def serials(bundles: Iterable[Bundle]) -> list[int]:
    return [bundle.serial for bundle in bundles]


async def test_bundles_are_published_with_verdicts_and_the_end_ends_it() -> None:
    rig = Rig(synced().read(binance_trade(1)))
    published = await rig.run()
    assert serials(published) == list(range(2, 12))
    assert rig.verdicts == [VERIFIED, VERIFIED]
    assert trade_ids(published) == [1]
    verdicts = [update.verdict for update in rows(BookUpdate, published)]
    assert verdicts == [SYNCING, VERIFIED, VERIFIED] * 2
    assert rig.fetches == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize("halfway", [False, True])
async def test_after_a_crash_the_books_it_was_about_are_stale_with_a_record_and_resync(
    halfway: bool,
) -> None:
    inputs = synced().read(binance_diff(13, 13, [["10", "3"]]), binance_trade(1))  # serial 11
    inputs.read(binance_diff(13, 13, [["10", "3"]], [], "ETHUSDT"))
    inputs.ask()
    inputs.snapshot(depth_body(13, [["10", "3"]], ASKS))
    inputs.read(binance_diff(14, 14, [["10", "4"]]))
    rig = Rig(inputs, crashes=Crashes({11: 1}, halfway=halfway))
    published = await rig.run()
    assert serials(published) == list(range(2, 16))
    assert trade_ids(published) == [1]
    assert told(rows(Gap, published)) == [("BTCUSDT/book", "crash", "aggregator", None)]
    assert rows(Gap, published) == rows(Gap, published[9:10])
    verdicts = [update.verdict for update in rows(BookUpdate, published[9:])]
    assert verdicts == [STALE, VERIFIED, VERIFIED, VERIFIED]
    assert rig.fetches == ["BTCUSDT", "ETHUSDT", "BTCUSDT"]
    assert [book.book().bids[0].quantity for book in rig.keeper.books] == [4.0, 3.0]


@pytest.mark.parametrize("halfway", [False, True])
async def test_after_two_crashes_the_bundle_is_a_gap_and_the_crash_is_not_forgotten(
    halfway: bool,
) -> None:
    inputs = synced().read(binance_diff(13, 13, [["10", "3"]]), binance_trade(1))  # serial 11
    inputs.read(binance_trade(2))
    rig = Rig(inputs, crashes=Crashes({11: 2}, halfway=halfway))
    published = await rig.run()
    assert serials(published) == list(range(2, 13))
    assert trade_ids(published) == [2]
    assert sorted(told(rows(Gap, published[9:10]))) == [
        ("BTCUSDT/book", "crash", "aggregator", None),
        ("BTCUSDT/book", "quarantine", "parser>aggregator", 1),
        ("BTCUSDT/trade", "quarantine", "parser>aggregator", 1),
    ]
    assert rig.verdicts == [STALE, VERIFIED]
    assert set(rig.fetches[2:]) == {"BTCUSDT"}
    (kept,) = rig.inbox.quarantined
    assert (kept.item.serial, kept.actor) == (11, "c aggregator")


async def test_the_end_of_an_epoch_is_not_lost_with_its_bundle() -> None:
    rig = Rig(synced().close(), crashes=Crashes({11: 2}))
    published = await rig.run()
    assert published[-1].ended == "reset by peer"
    assert rig.verdicts == [STALE, STALE]


async def test_serials_that_do_not_rise_are_discarded() -> None:
    rig = Rig(synced())
    bundles = rig.inbox
    for serial in (20, 19, 20, 21):
        bundles.put(Bundle(rig.session._origin, serial, 1))  # type: ignore[attr-defined]
    assert serials(await rig.run()) == [*range(2, 11), 20, 21]


async def test_a_crash_in_publishing_reaches_each_outlet_once() -> None:
    rig = Rig(synced().read(binance_trade(1)).read(binance_trade(2)))
    hub = Hub(FeedCounters(), lambda _frames: None)
    seen: list[list[Bundle]] = [[], []]
    store = bundle_box("aggregator>sink")
    left = {11: 1}

    def deliver(place: int, bundle: Bundle) -> None:
        if place == 1 and left.get(bundle.serial):
            left[bundle.serial] -= 1
            raise ValueError
        seen[place].append(bundle)

    for place in range(2):
        hub._outlets.append(Outlet(partial(deliver, place)))
    hub.store(store)
    rig.actor._publish = hub.publish
    await rig.run()
    store.close()
    stored = await read_all(store)
    for bundles in (*seen, stored):
        assert serials(bundles) == list(range(2, 13))
    assert hub._counters.feeds["binance/spot/BTCUSDT/trade"].events == 2
    # The books were done with the bundle: nothing is wrong with them.
    assert rig.verdicts == [VERIFIED, VERIFIED]
    assert rows(Gap, stored) == []


async def test_cancelled_at_any_moment_it_publishes_each_bundle_once() -> None:
    cut = 0
    for seed in range(runs(60)):
        rng = random.Random(seed)
        inputs = synced()
        for number in range(6):
            inputs.read(binance_trade(number))
        rig = Rig(inputs)
        rig.inbox.close()
        hub, store = (
            Hub(FeedCounters(), lambda _frames: None),
            bundle_box("aggregator>sink", max_items=2),
        )
        hub.store(store)
        rig.actor._publish = hub.publish
        stored: list[Bundle] = []

        async def read(store: Mailbox[Bundle], stored: list[Bundle]) -> None:
            stored += await read_all(store)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, store, stored)
            cut += await cut_short(rig.actor, rng)
            await supervise(rig.actor)
            store.close()
        assert serials(stored) == list(range(2, 17)), seed
        assert trade_ids(stored) == list(range(6))
    assert cut > 0


# Lanes -----------------------------------------------------------------------------------------


def pair(clock: Iterator[int] | None = None) -> tuple[Inputs, Inputs]:
    """Two lanes that were opened one after the other."""
    clock = count(1) if clock is None else clock
    return Inputs(clock).open(), Inputs(clock).open()


def losses(bundles: list[Bundle]) -> list[tuple[str, str, int | None, int | None]]:
    """The gaps but for those that record a crash: feed, cause, and the ids missing."""
    return sorted(
        (gap.feed.removeprefix("binance/spot/"), gap.cause.value, gap.first_id, gap.last_id)
        for gap in rows(Gap, bundles)
        if gap.cause not in (GapCause.CRASH, GapCause.QUARANTINE)
    )


async def test_the_first_copy_of_an_event_is_published_whichever_lane_brings_it() -> None:
    one, other = pair()
    for number in range(1, 9):
        first, second = (one, other) if number % 3 else (other, one)
        first.read(binance_trade(number))
        second.read(binance_trade(number))
    rig = Rig(one.finish(), other.finish())
    published = await rig.run()
    assert trade_ids(published) == list(range(1, 9))
    assert rows(Gap, published) == []
    connections = [bundle.origin.connection for bundle in published if trade_ids([bundle])]
    assert connections == ["c", "c", "d", "c", "c", "d", "c", "c"]
    assert sum(bundle.final for bundle in published) == 2
    assert rig.merger.lanes == []


async def test_what_one_lane_misses_the_other_makes_up_for_in_the_order_of_ids() -> None:
    one, other = pair()
    for number in (1, 2):
        one.read(binance_trade(number))
        other.read(binance_trade(number))
    one.read(binance_trade(5))  # it misses two
    other.read(binance_trade(3), binance_trade(4))
    one.read(binance_trade(6))
    other.read(binance_trade(5), binance_trade(6))
    rig = Rig(one, other)
    assert trade_ids(await rig.run()) == [1, 2, 3, 4, 5, 6]
    assert losses(rig.published) == []
    assert rig.merger.shares()["c"].misses == 2
    assert rig.merger.shares()["d"].misses == 0


async def test_a_lane_that_ends_leaves_the_others_and_no_gap() -> None:
    one, other = pair()
    for number in range(1, 4):
        one.read(binance_trade(number))
        other.read(binance_trade(number))
    one.close().finish()
    for number in range(4, 20):  # long enough for the first to be forgotten
        other.read(binance_trade(number))
    rig = Rig(one, other)
    published = await rig.run()
    assert trade_ids(published) == list(range(1, 20))
    assert rows(Gap, published) == []
    assert rig.merger.lanes == ["d"]
    assert set(rig.merger.shares()) == {"d"}


async def test_the_books_stand_while_one_of_two_lanes_is_down() -> None:
    clock = count(1)
    one, other = Inputs(clock).open(), Inputs(clock).open()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        one.read(binance_diff(11, 11, BIDS, ASKS, symbol))
        other.read(binance_diff(11, 11, BIDS, ASKS, symbol))
        one.ask(symbol).snapshot(depth_body(11, BIDS, ASKS), symbol)
    one.close()
    other.read(
        binance_diff(12, 12, [["10", "2"]]), binance_diff(12, 12, [["10", "2"]], [], "ETHUSDT")
    )
    rig = Rig(one, other)
    published = await rig.run()
    assert rig.verdicts == [VERIFIED, VERIFIED]
    assert rows(Gap, published) == []
    assert [bundle.ended for bundle in published if bundle.ended] == ["reset by peer"]
    both = Rig(one, other.close())
    await both.run()
    assert both.verdicts == [STALE, STALE]


# The end ---------------------------------------------------------------------------------------


def held_back() -> tuple[Inputs, Inputs]:
    """The first lane is ahead of the second by two trades, and then both end at once: what it
    brought last waits for the second to bring them, and nothing more comes."""
    one, other = pair(chain(range(1, 9), repeat(9)))
    for number in (1, 2):
        one.read(binance_trade(number))
        other.read(binance_trade(number))
    one.read(binance_trade(5))
    return one.finish(), other.finish()


async def test_what_was_kept_back_comes_out_with_the_last_bundle_of_all() -> None:
    rig = Rig(*held_back())
    published = await rig.run()
    assert trade_ids(published) == [1, 2, 5]
    assert trade_ids(published[-1:]) == [5]
    assert published[-1].final
    assert losses(published) == [("BTCUSDT/trade", "sequence_break", 3, 4)]


def outage(*, back: bool) -> Inputs:
    """Two trades, then a break that no trade follows, whether the connection came back or not."""
    inputs = Inputs().open().read(binance_trade(1), binance_trade(1, "ETHUSDT"))
    inputs.read(binance_trade(2)).close()
    if back:
        inputs.open()
    return inputs.finish()


FEEDS = ["BTCUSDT/book", "BTCUSDT/trade", "ETHUSDT/book", "ETHUSDT/trade"]
DISCONNECTED = [(feed, "disconnect", None, None) for feed in FEEDS]


@pytest.mark.parametrize("back", [True, False])
async def test_an_outage_that_no_trade_settled_comes_out_at_the_end(back: bool) -> None:
    rig = Rig(outage(back=back))
    published = await rig.run()
    assert losses(published) == DISCONNECTED
    trades = [gap for gap in losses(published[-1:]) if gap[0].endswith("trade")]
    assert trades == [gap for gap in DISCONNECTED if gap[0].endswith("trade")]
    assert published[-1].final


@pytest.mark.parametrize("first", [0, 1])
async def test_of_several_lanes_it_comes_out_with_the_last_one_only(first: int) -> None:
    lanes = pair()
    for number in (1, 2):
        for lane in lanes:
            lane.read(binance_trade(number), binance_trade(number, "ETHUSDT"))
    for lane in lanes:
        lane.close()
    lanes[first].finish()
    lanes[1 - first].finish()
    rig = Rig(*lanes)
    published = await rig.run()
    finals = [bundle for bundle in published if bundle.final]
    assert [bundle.origin.connection for bundle in finals] == ["cd"[first], "dc"[first]]
    # Nobody carried anything from 8 on: the last instant known good of the later one.
    times = {feed: spans(feed, published) for feed in FEEDS}
    assert times["BTCUSDT/trade"] == times["ETHUSDT/trade"] == [(8, 12)]
    assert times["BTCUSDT/book"] == times["ETHUSDT/book"] == [(8, 11), (11, 12)]
    assert spans("BTCUSDT/trade", finals[:1]) == []


def spans(feed: str, bundles: list[Bundle]) -> list[tuple[int, int]]:
    """The seconds that a feed's gaps cover."""
    gaps = [gap for gap in rows(Gap, bundles) if gap.feed == f"binance/spot/{feed}"]
    return [((gap.start_time or 0) // SECOND, (gap.end_time or 0) // SECOND) for gap in gaps]


# Crashes in any stage, on any bundle -----------------------------------------------------------


STAGES = ["lanes", "ids", "books", "publish"]


def eventful() -> tuple[Inputs, Inputs]:
    """Two lanes with losses of their own, an outage of both, and trades that wait at the end."""
    one, other = pair(chain(range(1, 30), repeat(30)))
    for number in (1, 2, 3):
        one.read(binance_trade(number), binance_trade(number, "ETHUSDT"))
        other.read(binance_trade(number))
    one.read(binance_trade(6))
    other.read(binance_trade(4), binance_trade(5), binance_trade(7))
    one.close()
    other.read(binance_trade(8), binance_trade(4, "ETHUSDT"))
    other.close()
    one.open()
    other.open().read(binance_trade(11))
    one.read(binance_trade(9), binance_trade(10), binance_trade(11))
    other.read(binance_trade(14))
    return one.close().finish(), other.finish()


def summary(bundles: list[Bundle]) -> Any:
    trades = [(int(t.id), t.symbol) for t in rows(Trade, bundles)]
    return sorted(trades), losses(bundles)


def is_about_books(bundle: Bundle) -> bool:
    feeds = {gap.feed for gap in rows(Gap, [bundle])} | (bundle.down or frozenset())
    all_end = bundle.ended is not None and bundle.down is None
    return all_end or any(feed.endswith("/book") for feed in feeds)


@pytest.mark.parametrize("halfway", [False, True])
@pytest.mark.parametrize("stage", STAGES)
async def test_one_crash_anywhere_neither_loses_nor_doubles_anything(
    stage: str, halfway: bool
) -> None:
    calm = await Rig(*eventful()).run()
    trades, gaps = summary(calm)
    assert [number for number, symbol in trades if symbol == "BTCUSDT"] == [*range(1, 12), 14]
    assert ("BTCUSDT/trade", "sequence_break", 12, 13) in gaps
    # Both lanes count from 1: the first bundle of a serial is what it crashes on.
    about_books = {bundle.serial: is_about_books(bundle) for bundle in reversed(calm)}
    for serial in about_books:
        rig = Rig(*eventful(), crashes=Crashes({serial: 1}, halfway=halfway), stage=stage)
        published = await rig.run()
        assert summary(published) == (trades, gaps), serial
        assert len(published) == len(calm)
        crashed = {gap.feed for gap in rows(Gap, published) if gap.cause is GapCause.CRASH}
        assert bool(crashed) is (stage == "books" and about_books[serial])
        assert rig.merger.lanes == []


async def test_several_crashes_neither_lose_nor_double_anything() -> None:
    calm = summary(await Rig(*eventful()).run())
    for seed in range(runs(60)):
        rng = random.Random(seed)
        victims = dict.fromkeys(rng.sample(range(2, 12), 2), 1)
        crashes = Crashes(victims, halfway=rng.random() < 0.5)
        rig = Rig(*eventful(), crashes=crashes, stage=rng.choice(STAGES))
        assert summary(await rig.run()) == calm, seed


async def test_lanes_cut_short_at_any_moment_neither_lose_nor_double_anything() -> None:
    calm = summary(await Rig(*eventful()).run())
    cut = 0
    for seed in range(runs(60)):
        rng = random.Random(seed)
        rig = Rig(*eventful())
        rig.inbox.close()
        rig.actor._publish = slowly(rig._publish, rng)
        cut += await cut_short(rig.actor, rng)
        await supervise(rig.actor)
        assert summary(rig.published) == calm, seed
        assert rig.merger.lanes == []
    assert cut > 0


def slowly(
    publish: Callable[[Bundle], Awaitable[None]], rng: random.Random
) -> Callable[[Bundle], Awaitable[None]]:
    """As a store that has to be waited for: before it has taken the bundle, and after."""

    async def wait_and_publish(bundle: Bundle) -> None:
        for _ in range(rng.randrange(3)):
            await trio.lowlevel.checkpoint()
        await publish(bundle)
        for _ in range(rng.randrange(3)):
            await trio.lowlevel.checkpoint()

    return wait_and_publish


@pytest.mark.parametrize("halfway", [False, True])
@pytest.mark.parametrize("stage", STAGES)
async def test_after_two_crashes_on_a_last_bundle_what_was_held_back_comes_out_all_the_same(
    stage: str, halfway: bool
) -> None:
    rig = Rig(outage(back=True), crashes=Crashes({LAST_SERIAL: 2}, halfway=halfway), stage=stage)
    published = await rig.run()
    assert len(rig.inbox.quarantined) == 1
    assert losses(published) == DISCONNECTED
    assert rig.merger.lanes == []
    assert published[-1].final


async def test_what_came_with_a_bundle_that_crashed_twice_is_on_record_too() -> None:
    """The trade of the first lane that came out with the last bundle of the second."""
    one, other = held_back()
    rig = Rig(one, other)
    rig.keeper.crashes = OfLane("d", Crashes({LAST_SERIAL: 2}))
    published = await rig.run()
    assert trade_ids(published) == [1, 2]
    quarantined = [gap for gap in rows(Gap, published) if gap.cause is GapCause.QUARANTINE]
    assert told(quarantined) == [("BTCUSDT/trade", "quarantine", "parser>aggregator", 1)]
    assert losses(published) == [("BTCUSDT/trade", "sequence_break", 3, 4)]


class OfLane(Crashes):
    """Crashes on the bundles of one lane alone."""

    def __init__(self, lane: str, crashes: Crashes) -> None:
        self._lane = lane
        self._crashes = crashes

    def call(self, work: Callable[[Any], Any], item: Any) -> Any:
        if item.origin.connection == self._lane:
            return self._crashes.call(work, item)
        return work(item)


@pytest.mark.parametrize("stage", STAGES)
async def test_a_book_that_is_dropped_is_dropped_though_its_bundle_crashed_twice(
    stage: str,
) -> None:
    rig = Rig(synced(), crashes=Crashes({50: 2}), stage=stage)
    origin, book = rig.session._origin, "binance/spot/BTCUSDT/book"  # type: ignore[attr-defined]
    del rig.session.statuses["btcusdt@depth@100ms"]
    rig.inbox.put(Bundle(origin, 50, 99 * SECOND, dropped=(book,)))
    await rig.run()
    assert [kept.stream.symbol for kept in rig.keeper.books] == ["ETHUSDT"]
