"""Actors cancelled at every await: nothing of what they had in hand is lost, or done twice."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.lowlevel import checkpoint

from farm.actors import sink
from farm.actors.aggregator import AggregatorActor
from farm.actors.conflate import ConflatingMailbox
from farm.actors.hub import Hub
from farm.actors.mailbox import Mailbox, Overflow, Quarantined
from farm.actors.parser import ParserActor
from farm.actors.sink import SinkActor
from farm.actors.snapshots import SnapshotFetcher
from farm.actors.supervisor import (
    Actor,
    Child,
    Escalation,
    Health,
    Lifecycle,
    LifecycleEvent,
    Policy,
    Supervisor,
    open_supervisor,
)
from farm.batch import Batch
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import Gap, Trade
from farm.errors import ConnectionLost, RestartsExceeded
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.lanes.merger import LaneMerger
from farm.exchanges.session import (
    Closed,
    FetchSnapshot,
    ForgetSnapshot,
    Input,
    Reconnect,
    SendText,
)
from farm.exchanges.streams import Stream
from farm.monitor.feeds import FeedCounters
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.storage.directory import DataDirectory, open_data_directory
from farm.storage.parquet import ParquetStore
from farm.storage.quarantine import quarantine_files
from farm.storage.reader import read_batches
from farm.storage.unparsed import UnparsedStore
from farm.testing import (
    FakeBinance,
    FakeExchange,
    MarketSimulator,
    MemoryNetwork,
    Recorded,
    open_fake,
)
from farm.testing.chaos.stored import left_behind
from farm.testing.moments import Moment, at_every_moment
from farm.threads import in_thread
from farm.types import Exchange, Market, NumberMode
from tests.actors.lines import bundle_box, input_box, session
from tests.actors.test_children import Doing, Life, Story, crashing, forever, until
from tests.actors.test_conflate import quotes
from tests.actors.test_connection import STREAM, check
from tests.actors.test_connection import Rig as ConnectionRig
from tests.actors.test_mailbox import Item, mailbox
from tests.actors.test_parser import trades
from tests.actors.test_poll import Venue as PolledVenue
from tests.actors.test_poll import polling
from tests.actors.test_sink import Rig as SinkRig
from tests.actors.test_snapshots import Venue, fetching, one_a_minute, request
from tests.effort import runs
from tests.net.test_rest import Answer
from tests.storage.events import NOON, ORIGIN, frame
from tests.storage.events import trades as batch_of
from tests.storage.test_cancellation import Halted

SEEDS = range(runs(1))
MOST = runs(80)


async def abandoned_late(work: Callable[[], Any]) -> Any:
    """Blocking work as a thread does it: cancelled, it is done all the same, or not at all."""
    await checkpoint()
    done = work()
    await checkpoint()
    return done


# Mailboxes ----------------------------------------------------------------------------------------

SENT = 12
BAD = 5  # the item that every reader crashes on


@pytest.mark.parametrize("ending", ["read", "drained"])
@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("cut", ["reader", "sender", "both"])
def test_of_what_was_put_into_a_mailbox_nothing_vanishes(
    overflow: Overflow, ending: str, cut: str
) -> None:
    async def trial(moment: Moment) -> None:
        kept: list[Item] = []
        box = mailbox(overflow, max_items=3, on_quarantine=lambda crash: kept.append(crash.item))
        sent: list[int] = []
        done: list[Item] = []

        async def send() -> None:
            for number in range(SENT):
                await box.send(Item((number,)))
                sent.append(number)

        async def read() -> None:
            """Read to the end, whatever crashes on the way."""
            while True:
                with suppress(ValueError), box.reader() as reader:
                    async for item in reader:
                        await checkpoint()
                        if item.ids == (BAD,) and not item.loss:
                            raise ValueError("a bug")
                        done.append(item)
                    return

        async with trio.open_nursery() as nursery:
            if cut == "both":
                with moment.cancels():
                    async with trio.open_nursery() as both:
                        both.start_soon(read)
                        await send()
                        both.cancel_scope.cancel()
            elif cut == "sender":
                nursery.start_soon(read)
                with moment.cancels():
                    await send()
            else:
                nursery.start_soon(send)
                with moment.cancels(), trio.move_on_after(1):
                    await read()
            if ending == "read":
                if cut != "sender":
                    nursery.start_soon(read)
                await trio.sleep(1)
                box.close()
            else:
                nursery.cancel_scope.cancel()
        lost = box.drain_in_order()
        assert box.offered == len(sent) == box.taken + box.dropped
        numbers = [number for item in done for number in item.ids]
        left = [number for item in lost for number in item.ids]
        # What a reader was done with and did not say so comes again: to the next, or as lost.
        assert sorted({*numbers, *left}) == sent
        assert len(numbers) + len(left) <= len(sent) + 1
        assert [item.ids for item in kept] in ([], [(BAD,)])

    at_every_moment(trial, most=MOST, seeds=SEEDS)


async def test_drained_in_order_what_may_not_be_dropped_stays_as_it_is() -> None:
    box = mailbox(max_items=3)
    for number in range(9):
        box.put(Item((number,), control=number in (4, 7)))
    with box.reader() as reader:
        assert (await reader.next()).ids == (0, 1, 2, 3)  # there was no room for them
    left = box.drain_in_order()
    assert [(item.ids, item.control, item.loss) for item in left] == [
        ((0, 1, 2, 3), False, "overflow"),
        ((4,), True, ""),
        ((5, 6), False, "overflow"),
        ((7,), True, ""),
        ((8,), False, "overflow"),
    ]
    assert box.offered == box.taken + box.dropped
    assert (len(box), box.nbytes, box.drain_in_order()) == (0, 0, [])


@pytest.mark.parametrize("cut", ["reader", "sender"])
def test_of_what_was_conflated_nothing_vanishes(cut: str) -> None:
    async def trial(moment: Moment) -> None:
        box = ConflatingMailbox("a>b")
        sent = 0
        seen: list[Batch[Any]] = []

        async def send() -> None:
            nonlocal sent
            for number in range(SENT):
                await box.send(quotes(number, symbol=f"S{number % 3}"))
                sent += 1

        async def read() -> None:
            with box.reader() as reader:
                async for batch in reader:
                    if not seen or batch is not seen[-1]:
                        seen.append(batch)
                    await checkpoint()

        async with trio.open_nursery() as nursery:
            if cut == "sender":
                nursery.start_soon(read)
                with moment.cancels():
                    await send()
            else:
                nursery.start_soon(send)
                with moment.cancels(), trio.move_on_after(1):
                    await read()
                nursery.start_soon(read)
                await trio.sleep(1)
            box.close()
        rows = [row for batch in seen for row in batch]
        sizes = [row.size if isinstance(row, Gap) else 1 for row in rows]
        assert sum(size for size in sizes if size is not None) == sent
        assert len(box) == 0

    at_every_moment(trial, most=MOST, seeds=SEEDS)


# The stages of a line -----------------------------------------------------------------------------


class Line:
    """A line from its inputs to the disk: what its actors share, and what outlives them.

    `fed`: the inputs come while it runs, so that turns are taken for who waits.
    """

    def __init__(self, directory: DataDirectory, fed: bool) -> None:
        self.inputs: Mailbox[Input] = input_box(hand_off=fed)
        self.bundles = bundle_box(max_items=2, hand_off=fed)
        self.stored = bundle_box("aggregator>sink", max_items=2)
        self.store = ParquetStore(directory)
        hub = Hub(FeedCounters(), lambda _frames: None)
        hub.store(self.stored)
        core = session("trade")

        def streams() -> list[Stream]:
            return [status.stream for status in core.statuses.values()]

        merger = LaneMerger(streams)
        merger.add("c")
        self.actors: dict[str, tuple[Actor, Callable[[], None]]] = {
            "parser": (
                ParserActor(
                    "parser", core, self.inputs, self.bundles, core.take_commands, lambda: None
                ),
                self.bundles.close,
            ),
            "aggregator": (
                AggregatorActor(
                    "aggregator",
                    BookKeeper(streams, lambda _stream, _need: None),
                    merger,
                    TradeContinuity(streams),
                    self.bundles,
                    hub.publish,
                    lambda: None,
                ),
                self.stored.close,
            ),
            "sink": (
                SinkActor(
                    self.store,
                    UnparsedStore(directory),
                    self.stored,
                    run_sync=abandoned_late,
                    max_pending_bytes=1000,
                ),
                lambda: None,
            ),
        }
        self._unfed = deque(trades(6).finish().items)
        if not fed:
            while self._unfed:
                self.inputs.put(self._unfed.popleft())
            self.inputs.close()

    async def feed(self) -> None:
        """Put in what is not yet, bit by bit."""
        while self._unfed:
            await checkpoint()
            self.inputs.put(self._unfed.popleft())
        self.inputs.close()

    async def live(self, supervisor: Supervisor, child: Child) -> None:
        """Wait until an actor has done its work, in a second life where the first was ended."""
        await child.wait()
        actor, end = self.actors[child.name]
        if not child.finished:
            await supervisor.add(actor).wait()
        end()

    async def run(self, moment: Moment, cut: str) -> None:
        async with open_supervisor() as supervisor, trio.open_nursery() as nursery:
            for actor, _ in self.actors.values():
                nursery.start_soon(self.live, supervisor, supervisor.add(actor))
            nursery.start_soon(self.feed)
            child = supervisor.children[cut]
            with moment.calls(partial(child.ask_to_stop, 0.0)):
                await child.wait()


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize("cut", ["parser", "aggregator", "sink"])
def test_whichever_actor_of_a_line_is_stopped_the_next_one_goes_on(
    cut: str, fed: bool, tmp_path: Path
) -> None:
    async def trial(moment: Moment) -> None:
        path = tmp_path / f"{moment.step}"
        with open_data_directory(path, NumberMode.FLOAT) as directory:
            await Line(directory, fed).run(moment, cut)
        found = [int(row.id) for batch in read_batches(path, Trade) for row in batch]
        assert sorted(found) == list(range(18))
        assert list(read_batches(path, Gap)) == []
        assert left_behind(path) == []

    at_every_moment(trial, most=runs(20))


@pytest.mark.parametrize("fed", [False, True])
def test_a_line_cancelled_as_a_whole_goes_on_as_a_whole(fed: bool, tmp_path: Path) -> None:
    async def trial(moment: Moment) -> None:
        path = tmp_path / f"{moment.step}"
        with open_data_directory(path, NumberMode.FLOAT) as directory:
            line = Line(directory, fed)
            ended: set[str] = set()

            async def live(supervisor: Supervisor, name: str) -> None:
                actor, end = line.actors[name]
                await supervisor.run(actor)
                ended.add(name)
                end()

            async def go_on() -> None:
                supervisor = Supervisor()
                async with trio.open_nursery() as nursery:
                    for name in line.actors.keys() - ended:
                        nursery.start_soon(live, supervisor, name)
                    nursery.start_soon(line.feed)

            with moment.cancels() as scope:
                await go_on()
            if scope.cancelled_caught:
                assert trio.current_time() == moment.time
            await go_on()
        found = [int(row.id) for batch in read_batches(path, Trade) for row in batch]
        assert sorted(found) == list(range(18))
        assert left_behind(path) == []

    at_every_moment(trial, most=runs(20))


class Threads:
    """Real threads, one of which is halted in a write until the same is asked for once more."""

    def __init__(self, halted: Halted) -> None:
        self.asked: Counter[Any] = Counter()
        self._halted = halted

    async def __call__(self, work: Callable[[], Any]) -> Any:
        what = getattr(work, "func", work)
        self.asked[what] += 1
        if self._halted.reached.is_set() and self.asked[what] > 1:
            self._halted.go_on.set()
        return await in_thread(work)


@pytest.mark.parametrize("what", ["rows", "frames", "quarantine"])
async def test_at_its_end_a_sink_waits_for_what_a_thread_still_writes(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "CHECK_EVERY", 0.01)
    monkeypatch.setattr(sink, "UNPARSED_EVERY", 0.0 if what == "frames" else 60.0)
    halted = Halted(monkeypatch, 0)
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        rig = SinkRig(directory, max_seconds=0.0, run_sync=Threads(halted))
        if what == "rows":
            rig.put(batch_of([7]))
        elif what == "frames":
            rig.put(unparsed=[frame(7)])
        else:
            rig.quarantine.add(Quarantined("m", Bundle(ORIGIN, 7, NOON), "a", ("one", "two")))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.actor.run, Health(lambda: None))
            assert await in_thread(lambda: halted.reached.wait(30))
            rig.inbox.close()
    halted.go_on.set()  # where it did not wait, that is too late now
    assert rig.trades() == ([7] if what == "rows" else [])
    assert len(rig.kept()) == (what == "frames")
    assert len(quarantine_files(tmp_path)) == (what == "quarantine")


# Connections, polling, snapshots ------------------------------------------------------------------


def subscribe(*names: str) -> SendText:
    return SendText(
        1, f'{{"method":"SUBSCRIBE","params":{list(names)!r},"id":1}}'.replace("'", '"')
    )


def fetch(symbol: str) -> FetchSnapshot:
    stream = attrs.evolve(STREAM, symbol=symbol)
    return FetchSnapshot(1, stream, "/api/v3/depth", (("symbol", symbol), ("limit", 100)), 1)


@asynccontextmanager
async def fetching_from(
    venue: FakeExchange, network: MemoryNetwork, budget: Budget
) -> AsyncIterator[SnapshotFetcher]:
    async with RestClient(venue.rest_url, budget=budget, open_stream=network.open_stream) as client:
        yield SnapshotFetcher(client, rng=random.Random)


@pytest.mark.parametrize("how", ["cancelled", "stopped"])
def test_a_connection_closes_its_epoch_and_leaves_nothing(how: str) -> None:
    async def live(rig: ConnectionRig) -> None:
        """Two epochs: the first is ended by a command."""
        rig.command(subscribe("btcusdt@trade", "btcusdt@depth@100ms"), fetch("BTCUSDT"))
        rig.command(fetch("ETHUSDT"), ForgetSnapshot(1, attrs.evolve(STREAM, symbol="ETHUSDT")))
        await trio.sleep(2.5)
        rig.command(Reconnect(1, "on command"))
        await trio.sleep(2)

    async def trial(moment: Moment) -> None:
        network = MemoryNetwork()
        market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT", "ETHUSDT"], seconds=9)
        budget = Budget(1000, 60.0, "weight")
        events: list[LifecycleEvent] = []
        fake = FakeBinance(market, pace=Recorded(), network=network)
        async with open_fake(fake) as venue, fetching_from(venue, network, budget) as fetcher:
            rig = ConnectionRig(
                url=f"{venue.ws_url}/stream", open_stream=network.open_stream, fetcher=fetcher
            )
            policy = Policy(backoff_initial=0.1, backoff_cap=0.1)
            supervised = open_supervisor(
                policy, weather=(ConnectionLost,), on_event=events.append, rng=random.Random
            )
            if how == "cancelled":
                with moment.cancels() as scope:
                    async with supervised as supervisor:
                        supervisor.add(rig.actor)
                        await live(rig)
                if scope.cancelled_caught:
                    assert trio.current_time() == moment.time
            else:
                async with supervised as supervisor:
                    child = supervisor.add(rig.actor)
                    with moment.calls(child.ask_to_stop):
                        await live(rig)
                    if moment.came:
                        await child.wait()
                        assert events[-1].time == moment.time
                    assert child.ended is moment.came
            assert budget.waiting == 0
            assert fetcher._turns._free
            assert fetcher._limit.borrowed_tokens == 0
            assert fetcher._needs == {}
            await trio.sleep(0.01)
            assert venue.connections == []
        assert network.streams_open == 0
        items = await rig.inputs(ticks=True)
        check(items)
        closed = [item.intended for item in items if isinstance(item, Closed)]
        assert closed in ([], [True], [False], [False, True])
        assert closed == [False, True] or moment.came
        assert [event.what for event in events][-1:] == [Lifecycle.STOPPED]

    at_every_moment(trial, most=runs(30), seeds=SEEDS)


@pytest.mark.parametrize("kept", [False, True])
def test_a_poll_closes_its_epoch_and_the_next_one_polls_on(kept: bool) -> None:
    async def trial(moment: Moment) -> None:
        budget = Budget(1, 10.0, "weight")
        async with polling(PolledVenue(), "A", "B", budget=budget) as rig:
            if kept:
                await rig.run_for(90)
            with moment.cancels() as scope:
                await rig.run_for(90)
            if scope.cancelled_caught:
                assert trio.current_time() == moment.time
            assert budget.waiting == 0
            before = rig.actor.counters.frames
            await rig.run_for(90)
            assert rig.actor.counters.frames >= before + 3
            items = await rig.inputs()
        check(items)
        closed = [item for item in items if isinstance(item, Closed)]
        assert {(item.reason, item.intended) for item in closed} == {("closed by us", True)}

    at_every_moment(trial, most=MOST, seeds=SEEDS, within=400.0)


def test_a_snapshot_that_is_wanted_no_more_holds_up_no_other() -> None:
    """Three wait for a budget that grants one a minute; answers fail by turns."""

    async def trial(moment: Moment) -> None:
        venue = Venue(lambda number: Answer(500 if number % 3 == 1 else 200, body=b"{}"))
        async with fetching(venue, parallel=2, budget=one_a_minute(), rng=random.Random) as fetcher:
            bodies: dict[str, bytes] = {}
            sent: list[str] = []

            async def get(symbol: str) -> None:
                wanted = request(symbol, 50, need=len(symbol))
                bodies[symbol] = await fetcher.fetch(wanted, lambda: sent.append(symbol))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(get, "A")
                with moment.cancels() as scope:
                    async with trio.open_nursery() as inner:
                        inner.start_soon(get, "BBB")
                        await trio.sleep(0.5)
                        nursery.start_soon(get, "CC")
                        inner.start_soon(get, "DDDD")
                if scope.cancelled_caught:
                    assert trio.current_time() == moment.time
            assert {"A"} <= bodies.keys() <= {"A", "BBB", "CC", "DDDD"}
            assert ("CC" in bodies) or not sent.count("CC")
            for symbol in ("BBB", "CC", "DDDD"):
                await get(symbol)
            assert fetcher._turns._free
            assert fetcher._turns._waiting == {}
            assert fetcher._limit.borrowed_tokens == 0
            assert fetcher._needs == {}

    # Who of two that are cancelled together comes first is a matter of the seed.
    at_every_moment(trial, most=runs(40), seeds=range(runs(4)), within=3600.0)


# Supervisors --------------------------------------------------------------------------------------


class Troupe:
    """Actors of every kind under a supervisor: one that drains, one that is parked and started
    again, one under bad weather, one that runs for ever."""

    def __init__(self) -> None:
        self.story = Story()
        self.children: dict[str, Child] = {}
        self.alive = 0

    def actor(self, name: str, life: Life) -> Doing:
        async def counted(health: Health) -> None:
            self.alive += 1
            try:
                await life(health)
            finally:
                self.alive -= 1

        return Doing(name, counted)

    async def play(self, supervisor: Supervisor) -> None:
        asked, children = trio.Event(), self.children
        park = Policy(escalation=Escalation.PARK, intensity=1, backoff_initial=0.1)
        drains = self.actor("drains", until(asked, 3.0))
        children["drains"] = await supervisor.start(drains, stop=asked.set)
        children["parks"] = supervisor.add(self.actor("parks", crashing(0.01)), policy=park)
        children["storms"] = supervisor.add(self.actor("storms", storming))
        children["forever"] = await supervisor.start(self.actor("forever", forever))
        await trio.sleep(1)
        if children["parks"].state is Lifecycle.PARKED:
            children["parks"].restart()
        await trio.sleep(1)
        await children["storms"].stop()

    def supervised(self, together: bool) -> AbstractAsyncContextManager[Supervisor]:
        policy = Policy(intensity=1)
        return self.story.supervised(policy, together=together, rng=random.Random)

    def ask_to_stop(self, name: str) -> None:
        if name in self.children:
            self.children[name].ask_to_stop(1.0)

    def check(self) -> None:
        """All have ended, and were told to have."""
        assert self.alive == 0
        for name, child in self.children.items():
            assert child.ended
            assert child.state is Lifecycle.STOPPED
            assert self.story.of(name)[-1] == "stopped"
            assert self.story.of(name).count("stopped") == 1


async def storming(health: Health) -> None:
    await trio.sleep(0.2)
    health.ready()
    raise ConnectionLost("rain")


@pytest.mark.parametrize("together", [False, True])
def test_a_supervisor_cancelled_anywhere_has_ended_all_and_said_so(together: bool) -> None:
    async def trial(moment: Moment) -> None:
        troupe = Troupe()
        with moment.cancels() as scope:
            async with troupe.supervised(together) as supervisor:
                await troupe.play(supervisor)
        if scope.cancelled_caught:
            assert trio.current_time() == moment.time
        troupe.check()

    at_every_moment(trial, most=MOST, seeds=SEEDS)


@pytest.mark.parametrize("name", ["drains", "parks", "storms", "forever"])
def test_an_actor_stopped_at_any_moment_ends_alone(name: str) -> None:
    async def trial(moment: Moment) -> None:
        troupe = Troupe()
        async with troupe.supervised(False) as supervisor:
            with moment.calls(partial(troupe.ask_to_stop, name)):
                await troupe.play(supervisor)
            others = troupe.children.keys() - {name, "storms", "parks"}
            assert not any(troupe.children[other].ended for other in others)
        troupe.check()

    at_every_moment(trial, most=MOST, seeds=SEEDS)


def test_an_actor_that_is_cancelled_as_it_escalates_takes_the_others_along() -> None:
    async def trial(moment: Moment) -> None:
        story = Story()

        async def boom(_health: Any) -> None:
            await trio.sleep(0.1)
            raise ValueError("boom")

        policy = Policy(intensity=1, backoff_initial=0.1)
        with moment.cancels() as scope, suppress(RestartsExceeded):
            async with story.supervised(policy, rng=random.Random) as supervisor:
                asked = trio.Event()
                await supervisor.start(Doing("drains", until(asked, 3.0)), stop=asked.set)
                supervisor.add(Doing("booms", boom))
                await trio.sleep_forever()
        if scope.cancelled_caught:
            assert trio.current_time() == moment.time
        for name in {event.actor for event in story.events}:
            assert story.of(name)[-1] == "stopped"

    at_every_moment(trial, most=MOST, seeds=SEEDS)
