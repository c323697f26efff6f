"""The aggregator actor under a real supervisor: real books, which crash where they are told to."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import partial

import pytest
import trio

from farm.actors.aggregator import AggregatorActor
from farm.actors.hub import Hub, Outlet
from farm.actors.mailbox import Mailbox
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import BookUpdate, Gap
from farm.exchanges.session import FetchSnapshot, Session
from farm.monitor.feeds import FeedCounters
from farm.types import BookVerdict
from tests.actors.lines import (
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


class Flaky(BookKeeper):
    """Real books that crash where they are told to."""

    crashes = Crashes({})

    def take(self, bundle: Bundle) -> Bundle:
        taken: Bundle = self.crashes.call(super().take, bundle)
        return taken


class Rig:
    """An aggregator between a mailbox of bundles and what it publishes."""

    def __init__(self, inputs: Inputs, crashes: Crashes | None = None) -> None:
        self.inbox = bundle_box()
        self.session: Session = session("book", "trade", symbols=("BTCUSDT", "ETHUSDT"))
        self.keeper = Flaky(
            lambda: [status.stream for status in self.session.statuses.values()],
            self.session.resync,
        )
        self.keeper.crashes = crashes or Crashes({})
        self.published: list[Bundle] = []
        self.fetches: list[str] = []
        self.actor = AggregatorActor(
            "c aggregator", self.keeper, self.inbox, self._publish, self._on_commands
        )
        for item in inputs.items:
            bundle = self.session.handle(item)
            if bundle is not None:
                self.inbox.put(bundle)

    async def _publish(self, bundle: Bundle) -> None:
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


def synced() -> Inputs:
    """Two verified books: both stand at 12."""
    inputs = Inputs().open()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        inputs.read(binance_diff(11, 11, BIDS, ASKS, symbol))
        inputs.snapshot(depth_body(11, BIDS, ASKS), symbol)
        inputs.read(binance_diff(12, 12, [["10", "2"]], [], symbol))
    return inputs


def serials(bundles: Iterable[Bundle]) -> list[int]:
    return [bundle.serial for bundle in bundles]


async def test_bundles_are_published_with_verdicts_and_the_end_ends_it() -> None:
    rig = Rig(synced().read(binance_trade(1)))
    published = await rig.run()
    assert serials(published) == [3, 4, 5, 6, 7, 8, 9]
    assert rig.verdicts == [VERIFIED, VERIFIED]
    assert trade_ids(published) == [1]
    verdicts = [update.verdict for update in rows(BookUpdate, published)]
    assert verdicts == [SYNCING, VERIFIED, VERIFIED] * 2
    assert rig.fetches == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize("halfway", [False, True])
async def test_after_a_crash_all_books_are_stale_with_a_record_and_resync(halfway: bool) -> None:
    inputs = synced().read(binance_diff(13, 13, [["10", "3"]]), binance_trade(1))  # serial 9
    inputs.read(binance_diff(13, 13, [["10", "3"]], [], "ETHUSDT"))
    inputs.snapshot(depth_body(13, [["10", "3"]], ASKS))
    inputs.snapshot(depth_body(13, [["10", "3"]], ASKS), "ETHUSDT")
    inputs.read(binance_diff(14, 14, [["10", "4"]]))
    rig = Rig(inputs, Crashes({9: 1}, halfway=halfway))
    published = await rig.run()
    assert serials(published) == list(range(3, 14))
    assert trade_ids(published) == [1]
    assert told(rows(Gap, published)) == [
        ("BTCUSDT/book", "crash", "aggregator", None),
        ("ETHUSDT/book", "crash", "aggregator", None),
    ]
    assert rows(Gap, published) == rows(Gap, published[6:7])
    verdicts = [update.verdict for update in rows(BookUpdate, published[6:])]
    assert verdicts == [STALE, STALE, VERIFIED, VERIFIED, VERIFIED]
    assert rig.fetches == ["BTCUSDT", "ETHUSDT"] * 2
    assert [book.book().bids[0].quantity for book in rig.keeper.books] == [4.0, 3.0]


@pytest.mark.parametrize("halfway", [False, True])
async def test_after_two_crashes_the_bundle_is_a_gap_and_the_crash_is_not_forgotten(
    halfway: bool,
) -> None:
    inputs = synced().read(binance_diff(13, 13, [["10", "3"]]), binance_trade(1))  # serial 9
    inputs.read(binance_trade(2))
    rig = Rig(inputs, Crashes({9: 2}, halfway=halfway))
    published = await rig.run()
    assert serials(published) == list(range(3, 11))
    assert trade_ids(published) == [2]
    assert sorted(told(rows(Gap, published[6:7]))) == [
        ("BTCUSDT/book", "crash", "aggregator", None),
        ("BTCUSDT/book", "quarantine", "parser>aggregator", 1),
        ("BTCUSDT/trade", "quarantine", "parser>aggregator", 1),
        ("ETHUSDT/book", "crash", "aggregator", None),
    ]
    assert rig.verdicts == [STALE, STALE]
    assert set(rig.fetches[2:]) == {"BTCUSDT", "ETHUSDT"}
    assert len(rig.inbox.quarantined) == 1


async def test_the_end_of_an_epoch_is_not_lost_with_its_bundle() -> None:
    rig = Rig(synced().close(), Crashes({9: 2}))
    published = await rig.run()
    assert published[-1].ended == "reset by peer"
    assert rig.verdicts == [STALE, STALE]


async def test_serials_that_do_not_rise_are_discarded() -> None:
    rig = Rig(synced())
    bundles = rig.inbox
    for serial in (20, 19, 20, 21):
        bundles.put(Bundle(rig.session._origin, serial, 1))  # type: ignore[attr-defined]
    assert serials(await rig.run()) == [*range(3, 9), 20, 21]


async def test_a_crash_in_publishing_reaches_each_outlet_once() -> None:
    rig = Rig(synced().read(binance_trade(1)).read(binance_trade(2)))
    hub = Hub(FeedCounters(), lambda _frames: None)
    seen: list[list[Bundle]] = [[], []]
    store = bundle_box("aggregator>sink")
    left = {9: 1}

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
        assert serials(bundles) == list(range(3, 11))
    assert hub._counters.feeds["binance/spot/BTCUSDT/trade"].events == 2
    assert rig.verdicts == [STALE, STALE]


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
        assert serials(stored) == list(range(3, 15)), seed
        assert trade_ids(stored) == list(range(6))
    assert cut > 0
