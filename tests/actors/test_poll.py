"""The poll actor: a real REST client over memory streams, on a mock clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
import pytest
import trio
from trio.testing import MockClock

from farm.actors.poll import PollActor
from farm.actors.supervisor import Health, Lifecycle, LifecycleEvent, Policy, Supervisor
from farm.bundle import Bundle
from farm.entities import Gap, OpenInterest
from farm.errors import ConnectionLost
from farm.exchanges.registry import make_session
from farm.exchanges.rules import PollRules
from farm.exchanges.session import Closed, Input, Opened, SnapshotReply, Tick
from farm.exchanges.streams import Stream
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.types import GapCause
from tests.actors.lines import input_box, rows
from tests.actors.test_connection import check, shape
from tests.effort import moments
from tests.exchanges.feeding import BINANCE_USDM, text
from tests.net.test_rest import Answer, MemoryDial, Server

EVERY = 60.0
SECOND = 1_000_000_000


def polled(*symbols: str) -> list[Stream]:
    return [BINANCE_USDM.streams.stream(symbol, "open_interest") for symbol in symbols]


def interest(symbol: str) -> bytes:
    """The answer of Binance's futures, for 7 contracts and a symbol."""
    return text({"symbol": symbol, "openInterest": "7.5", "time": 1_790_000_000_000})


class Venue(Server):
    """Answers with what there is, or by `answer`; notes who was asked for, and when."""

    def __init__(self, answer: Callable[[int], Answer | None] = lambda _number: None) -> None:
        super().__init__(self._note)
        self.asked: list[tuple[float, str]] = []
        self._by_number = answer

    def _note(self, request: h11.Request) -> Answer:
        target = urlsplit(request.target.decode())
        assert target.path == "/open"
        symbol = parse_qs(target.query)["symbol"][0]
        self.asked.append((trio.current_time(), symbol))
        return self._by_number(len(self.asked) - 1) or Answer(body=interest(symbol))

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.asked]

    @property
    def symbols(self) -> list[str]:
        return [symbol for _, symbol in self.asked]


class Rig:
    """A poll actor, what it polls, and the mailbox that it fills."""

    def __init__(self, client: RestClient, streams: Sequence[Stream], weight: int) -> None:
        self.streams = list(streams)
        self.mailbox = input_box()
        self.ready = 0
        self.actor = PollActor(
            "p",
            PollRules("/open", weight, EVERY),
            lambda: self.streams,
            client,
            self.mailbox,
            lambda: int(trio.current_time() * SECOND),
        )
        self._reader = self.mailbox.reader()

    async def run(self) -> None:
        """One epoch."""
        await self.actor.run(Health(self._on_ready))

    def _on_ready(self) -> None:
        self.ready += 1

    async def run_for(self, seconds: float) -> None:
        """One epoch that we end."""
        with trio.move_on_after(seconds) as scope:
            await self.run()
        assert scope.cancelled_caught

    async def inputs(self) -> list[Input]:
        """Everything that waits in the mailbox."""
        return [await self._reader.next() for _ in range(len(self.mailbox))]


@asynccontextmanager
async def polling(
    venue: Venue, *symbols: str, budget: Budget | None = None, weight: int = 1
) -> AsyncIterator[Rig]:
    dial = MemoryDial(venue)
    async with trio.open_nursery() as nursery:
        dial.nursery = nursery
        budget = budget or Budget(10_000, 60.0, "weight")
        async with RestClient("http://a.test", budget=budget, open_stream=dial) as client:
            yield Rig(client, polled(*symbols), weight)
        nursery.cancel_scope.cancel()


# The pace --------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbols", ["A", "AB", "ABCDEF"])
async def test_each_stream_is_asked_for_once_in_its_time_evenly_spread(
    autojump_clock: MockClock, symbols: str
) -> None:
    venue = Venue()
    async with polling(venue, *symbols) as rig:
        await rig.run_for(10 * EVERY - 1)
    assert "".join(venue.symbols) == symbols * 10
    step = EVERY / len(symbols)
    assert venue.times == pytest.approx([step * number for number in range(10 * len(symbols))])


async def test_where_the_budget_is_tight_as_often_as_it_allows_and_in_turn(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    async with polling(venue, *"ABCDEFG", budget=Budget(10, EVERY, "weight"), weight=2) as rig:
        await rig.run_for(10 * EVERY - 1)
    assert "".join(venue.symbols) == ("ABCDEFG" * 8)[: len(venue.asked)]
    assert len(venue.asked) == 50
    for start in venue.times:
        assert sum(start <= time < start + EVERY for time in venue.times) * 2 <= 10


async def test_after_a_slow_answer_the_pace_is_what_it_was_before(
    autojump_clock: MockClock,
) -> None:
    """What was missed meanwhile is not made up for by a burst."""
    venue = Venue()
    budget = Budget(10_000, 60.0, "weight")
    async with polling(venue, *"ABCDEF", budget=budget) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        await trio.sleep(15)
        budget.pause(50)  # so the third has to wait until 65
        await trio.sleep(104)
        nursery.cancel_scope.cancel()
    assert venue.times == pytest.approx([0, 10, 65, 75, 85, 95, 105, 115])
    assert "".join(venue.symbols) == "ABCDEFAB"


async def test_what_is_added_is_polled_from_the_next_round_on_and_what_is_dropped_no_more(
    autojump_clock: MockClock,
) -> None:
    venue = Venue()
    async with polling(venue, "A", "B") as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        await trio.sleep(EVERY + 10)  # in the second round
        rig.streams += polled("C")
        await trio.sleep(EVERY)
        rig.streams = rig.streams[1:]
        await trio.sleep(EVERY)
        nursery.cancel_scope.cancel()
    assert "".join(venue.symbols) == "AB" + "AB" + "ABC" + "B"
    assert venue.times == pytest.approx([0, 30, 60, 90, 120, 140, 160, 180])


async def test_without_streams_it_waits_for_some(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with polling(venue) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        await trio.sleep(2.5 * EVERY)
        assert venue.asked == []
        rig.streams += polled("A", "B")
        await trio.sleep(1.9 * EVERY)
        nursery.cancel_scope.cancel()
    assert "".join(venue.symbols) == "ABA"
    assert venue.times == pytest.approx([3 * EVERY, 3.5 * EVERY, 4 * EVERY])


# Epochs ----------------------------------------------------------------------------------------


async def test_an_epoch_is_that_of_a_connection(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with polling(venue, "A", "B") as rig:
        await rig.run_for(100)
        items = await rig.inputs()
    check(items)
    assert shape(items) == [
        "Opened",
        *["SnapshotReply", "SnapshotReply", "Tick"],
        *["SnapshotReply", "SnapshotReply"],
        "Closed",
    ]
    replies = [item for item in items if isinstance(item, SnapshotReply)]
    assert [(r.time, r.ordinal, r.stream.symbol, r.body, r.nbytes) for r in replies] == [
        (number * 30 * SECOND, number, symbol, interest(symbol), len(interest(symbol)))
        for number, symbol in enumerate("ABAB")
    ]
    (tick,) = [item for item in items if isinstance(item, Tick)]
    assert (tick.time, tick.now) == (60 * SECOND, 60.0)
    assert rig.ready == 1
    counters = rig.actor.counters
    assert (counters.frames, counters.nbytes) == (4, sum(reply.nbytes for reply in replies))
    assert (counters.connects, counters.last_frame) == (1, 90 * SECOND)


FAILURES = [
    (Answer(500, b"down"), "HTTP 500: down", 500),
    (Answer(503, b"busy"), "HTTP 503: busy", 503),
    (Answer(429, b"slow"), "HTTP 429: slow", 429),
    (Answer(418, b"banned"), "HTTP 418: banned", 418),
    (Answer(403, b"no"), "HTTP 403: no", 403),
    (Answer(body=b"{}", cut=True), "GET http://a.test/open", None),
    (Answer(body=b"{}", stall=True), "no whole answer in 10 s", None),
]


@pytest.mark.parametrize(("answer", "reason", "code"), FAILURES)
async def test_trouble_ends_the_epoch_and_the_next_begins(
    autojump_clock: MockClock, answer: Answer, reason: str, code: int | None
) -> None:
    venue = Venue(lambda number: answer if number == 3 else None)
    async with polling(venue, "A", "B") as rig:
        with pytest.raises(ConnectionLost, match=reason) as caught:
            await rig.run()
        assert caught.value.code == code
        ended = trio.current_time()
        await rig.run_for(1000)
        items = await rig.inputs()
    check(items)
    first = [item for item in items if item.epoch == 1]
    assert shape(first)[-1] == "Closed"
    assert shape(first).count("SnapshotReply") == 3
    first_end, last_end = (item for item in items if isinstance(item, Closed))
    assert reason in first_end.reason
    assert (first_end.intended, last_end.intended) == (False, True)
    assert first_end.time == int(ended * SECOND)
    opened = [item for item in items if isinstance(item, Opened)]
    assert [item.epoch for item in opened] == [1, 2]
    again = [item.ordinal for item in items if item.epoch == 2 and isinstance(item, SnapshotReply)]
    assert again[:3] == [0, 1, 2]
    assert rig.actor.counters.connects == 2


async def test_a_venue_that_is_down_is_not_hammered(autojump_clock: MockClock) -> None:
    venue = Venue(lambda _number: Answer(500))
    heard: list[LifecycleEvent] = []
    policy = Policy(backoff_initial=1.0, backoff_cap=30.0)
    supervisor = Supervisor(policy, weather=(ConnectionLost,), on_event=heard.append)
    async with polling(venue, *"ABCDEF") as rig:
        with trio.move_on_after(3600):
            await supervisor.run(rig.actor)
    assert 100 < len(venue.asked) < 600  # every 15 s on an average, by full jitter
    assert {event.what for event in heard} <= {
        Lifecycle.STARTED,
        Lifecycle.RESTARTED,
        Lifecycle.HEALTHY,
        Lifecycle.WEATHER,
    }


@pytest.mark.parametrize("status", [400, 404])
async def test_what_the_venue_refuses_for_one_symbol_is_passed_on_as_its_answer(
    autojump_clock: MockClock, status: int
) -> None:
    """A delisted symbol must not cost the others theirs; the core keeps it, with a gap."""
    refusal = b'{"code":-1121,"msg":"Invalid symbol."}'
    venue = Venue(lambda number: Answer(status, refusal) if number % 2 else None)
    async with polling(venue, "A", "B") as rig:
        await rig.run_for(2 * EVERY)
        items = await rig.inputs()
    check(items)
    replies = [item for item in items if isinstance(item, SnapshotReply)]
    assert [(reply.stream.symbol, reply.body) for reply in replies] == [
        ("A", interest("A")),
        ("B", refusal),
    ] * 2
    bundles = parsed(rig.streams, items)
    assert [row.symbol for row in rows(OpenInterest, bundles)] == ["A", "A"]
    gaps = [(gap.feed, gap.cause) for gap in rows(Gap, bundles)]
    assert gaps == [("binance/usdm/B/open_interest", GapCause.QUARANTINE)] * 2
    assert [frame.raw for bundle in bundles for frame in bundle.unparsed] == [refusal] * 2


async def test_what_was_missed_between_two_epochs_is_a_gap(autojump_clock: MockClock) -> None:
    venue = Venue(lambda number: Answer(500) if number == 1 else None)
    async with polling(venue, "A") as rig:
        with pytest.raises(ConnectionLost):
            await rig.run()
        await trio.sleep(30)
        await rig.run_for(10)
        items = await rig.inputs()
    bundles = parsed(rig.streams, items)
    assert len(rows(OpenInterest, bundles)) == 2
    (gap,) = rows(Gap, bundles)
    assert (gap.feed, gap.cause) == ("binance/usdm/A/open_interest", GapCause.DISCONNECT)
    assert (gap.start_time, gap.end_time) == (0, 90 * SECOND)


def parsed(streams: Sequence[Stream], items: Sequence[Input]) -> list[Bundle]:
    """What a core makes of these inputs."""
    session = make_session(BINANCE_USDM, streams, connection="p")
    bundles = [session.handle(item) for item in items]
    assert session.take_commands() == []  # nothing is subscribed, nothing is to be sent
    return [bundle for bundle in bundles if bundle is not None]


async def test_a_crash_of_its_own_closes_the_epoch(autojump_clock: MockClock) -> None:
    venue = Venue()
    async with polling(venue, "A") as rig:

        def failing() -> Any:
            raise ValueError("a bug")

        rig.actor._streams = failing
        with pytest.raises(ValueError, match="a bug"):
            await rig.run()
        opened, closed = await rig.inputs()
    assert isinstance(opened, Opened)
    assert isinstance(closed, Closed)
    assert (closed.reason, closed.intended) == ("the poll actor crashed", False)


async def test_cancelled_at_any_moment_it_closes_the_epoch_as_intended(
    autojump_clock: MockClock,
) -> None:
    replies = set()
    for turn in moments(60):
        venue = Venue()
        async with polling(venue, "A", "B", budget=Budget(1, 10.0, "weight")) as rig:
            for _ in range(2):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(rig.run)
                    await trio.lowlevel.checkpoint()  # a task that never began has no epoch
                    for _ in range(turn):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
                await trio.sleep(10)
            items = await rig.inputs()
        check(items)
        closed = [item for item in items if isinstance(item, Closed)]
        assert [(item.reason, item.intended) for item in closed] == [("closed by us", True)] * 2
        replies.add(shape(items).count("SnapshotReply"))
    assert {0, 2} <= replies


async def test_one_that_always_fails_starves_no_other(autojump_clock: MockClock) -> None:
    venue = Venue(lambda number: Answer(500) if venue.symbols[number] == "B" else None)
    async with polling(venue, "A", "B", "C", "D") as rig:
        for _ in range(6):
            with pytest.raises(ConnectionLost):
                await rig.run()
    counts = Counter(venue.symbols)
    assert counts["B"] == 6
    assert min(counts["A"], counts["C"], counts["D"]) >= 5
