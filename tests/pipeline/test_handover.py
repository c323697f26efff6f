"""Lines go over from one process to another: nothing is missing, nothing comes twice."""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from farm import Completeness, Gap, Trade
from farm.actors.supervisor import Lifecycle
from farm.config import SupervisionConfig
from farm.errors import LocalProtocolError
from farm.exchanges.outages import SHARD_EDGE
from farm.exchanges.session import StreamState
from farm.pipeline import Settings
from farm.pipeline.handover import line_is_ready
from farm.types import BookVerdict, GapCause, NumberMode
from tests.effort import moments, runs
from tests.farms import MARKET_NAMES
from tests.pipeline.moving import (
    Moving,
    Process,
    Reader,
    hand_over,
    is_up,
    move,
    open_heir,
    ready,
    until,
)

FEW = "trade quote book"
SMALL = 20_000
PARKING = Settings(supervision=SupervisionConfig(escalate="park", intensity=0))


def trade_ids(reader: Reader) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for trade in reader.of(Trade):
        found.setdefault(trade.symbol, []).append(int(trade.id))
    return found


def assert_nothing_is_missing(reader: Reader) -> None:
    """Of Binance's spot trades each one, once and in order, and no record of a loss."""
    assert reader.of(Gap) == []
    assert reader.again == 0
    for ids in trade_ids(reader).values():
        assert ids == list(range(ids[0], ids[-1] + 1))


def assert_same(read: Reader, expected: Reader) -> None:
    """Both read the same, whenever they began."""
    got, wanted = read.by_feed(), expected.by_feed()
    assert got.keys() == wanted.keys()
    for feed, rows in got.items():
        common = min(len(rows), len(wanted[feed]))
        assert rows[-common:] == wanted[feed][-common:], feed


async def settled(*processes: Process) -> None:
    """Wait until every line has all of its streams, and its books."""
    await until(lambda: all(is_up(line) for p in processes for line in p.pipeline.lines))
    await until(lambda: all(process.are_whole() for process in processes))


# ------------------------------------------------------------------------------------ as it should
@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("name", MARKET_NAMES)
async def test_a_line_goes_over_in_the_middle_of_trading(
    name: str, lanes: int, autojump_clock: MockClock
) -> None:
    """What both published is what a farm publishes that nobody moves."""
    moving, read, expected = Moving(name, lanes), Reader(), Reader()
    async with moving.processes(expected, read, read) as (control, old, new):
        await moving.open_lines(control)
        lines = await moving.open_lines(old)
        await settled(old)
        heirs = [await move(line, old, new) for line in lines]
        assert old.pipeline.lines == []
        assert new.are_whole()
        await moving.fake.finished.wait()
        await trio.sleep(1)
        assert new.are_whole()
        assert new.books() == control.books()
        for heir in heirs:
            assert heir.merger.lanes == [lane.name for lane in heir.lanes]
            assert len(heir.lanes) == (1 if heir.route == "rest" else lanes)
    assert read.of(Gap) == expected.of(Gap) == []
    assert (read.again, read.repeated()) == (0, {})
    assert_same(read, expected)


@pytest.mark.parametrize("name", ["binance/spot", "bybit/linear"])
async def test_exact_numbers_go_over_as_they_are(name: str, autojump_clock: MockClock) -> None:
    settings = Settings(numbers=NumberMode.DECIMAL)
    moving = Moving(name, specs=FEW, settings=settings)
    read, expected = Reader(), Reader()
    async with moving.processes(expected, read, read) as (control, old, new):
        await moving.open_lines(control)
        lines = await moving.open_lines(old)
        await settled(old)
        for line in lines:
            await move(line, old, new)
        await moving.fake.finished.wait()
        await trio.sleep(1)
        assert new.books() == control.books()
    assert_same(read, expected)
    assert read.of(Gap) == []


async def test_a_line_goes_there_and_back_again(autojump_clock: MockClock) -> None:
    """No lane's name is used again, and what ids proved is not forgotten on the way."""
    read = Reader()
    moving = Moving("binance/spot", specs=FEW, seconds=30.0)
    async with moving.processes(read, read) as (one, other):
        (line,) = await moving.open_lines(one)
        await settled(one)
        names = [lane.name for lane in line.lanes]
        for source, target in ((one, other), (other, one), (one, other)):
            line = await move(line, source, target)
            names += [lane.name for lane in line.lanes]
        await moving.fake.finished.wait()
        await trio.sleep(1)
        counts = line.continuity.counts("binance/spot/BTCUSDT/trade")
    assert names == [line.name, *(f"{line.name}~{number}" for number in (2, 3, 4))]
    assert_nothing_is_missing(read)
    assert counts is not None
    assert counts.completeness is Completeness.COMPLETE
    assert counts.checked == len(trade_ids(read)["BTCUSDT"])


async def test_a_line_goes_over_while_one_connection_takes_over_from_another(
    autojump_clock: MockClock,
) -> None:
    """The state has two lanes then, of which one carries nothing yet."""
    read = Reader()
    moving = Moving("binance/spot", specs=FEW)
    async with moving.processes(read, read) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        old.sources.rotate_soon(line, line.lanes[0], "a test wants it")
        await until(lambda: len(moving.fake.connections) == 2)
        mute = moving.fake.connections[1]
        moving.fake.filter = lambda connection, _push: connection is not mute
        heir = await move(line, old, new)
        assert [lane.name for lane in heir.lanes] == [f"{line.name}~3"]
        await moving.fake.finished.wait()
        await trio.sleep(1)
        assert heir.merger.lanes == [f"{line.name}~3"]
        assert old.sources.past.rotations == 0
        assert new.are_whole()
    assert_nothing_is_missing(read)


async def test_connections_are_replaced_on_both_sides_meanwhile(autojump_clock: MockClock) -> None:
    """In the old process at once, in the new one when it has taken over; under names of their
    own."""
    read = Reader()
    moving = Moving("binance/spot", specs=FEW)
    async with moving.processes(read, read) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        heir = await open_heir(line, old, new)
        await ready(heir, line)
        old.sources.rotate_soon(line, line.lanes[0], "a test wants it")
        new.sources.rotate_soon(heir, heir.lanes[0], "a test wants it")
        await until(lambda: line.past.rotations == 1)
        assert [lane.name for lane in line.lanes] == [f"{line.name}~3"]
        assert [lane.name for lane in heir.lanes] == [f"{line.name}~2"]
        await new.sources.take_over(heir, await hand_over(old, line))
        await until(lambda: heir.past.rotations == 1)
        assert [lane.name for lane in heir.lanes] == [f"{line.name}~4"]
        await moving.fake.finished.wait()
        await trio.sleep(1)
        assert heir.merger.lanes == [f"{line.name}~4"]
        assert new.are_whole()
    assert_nothing_is_missing(read)


async def test_what_is_removed_while_it_is_held_is_gone(autojump_clock: MockClock) -> None:
    """A symbol from both; then all, which closes the new line, though it is full."""
    read, silent = Reader(), Reader()
    moving = Moving("binance/spot", specs=FEW, settings=Settings(mailbox_bytes=SMALL))
    async with moving.processes(read, silent) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        heir = await open_heir(line, old, new)
        await ready(heir, line)
        gone = [stream for stream in line.planned.values() if stream.symbol == "ETHUSDT"]
        old.sources.remove(line, gone)
        new.sources.remove(heir, gone)
        await ready(heir, line)
        await until(lambda: len(heir.lanes[0].inputs) > 5)
        new.sources.remove(heir, list(heir.planned.values()))
        await until(lambda: new.pipeline.lines == [], seconds=2.0)
        heir = await open_heir(line, old, new)
        await ready(heir, line)
        await new.sources.take_over(heir, await hand_over(old, line))
        assert {book.stream.symbol for book in heir.keeper.books} == {"BTCUSDT"}
        await moving.fake.finished.wait()
    assert silent.of(Gap) == read.of(Gap) == []
    assert {trade.symbol for trade in silent.of(Trade)} == {"BTCUSDT"}


async def test_what_is_added_meanwhile_is_there(autojump_clock: MockClock) -> None:
    """A book that the old process has not heard of when it hands over."""
    read = Reader()
    moving = Moving("binance/spot", specs="trade")
    async with moving.processes(read, read) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        heir = await open_heir(line, old, new)
        await ready(heir, line)
        new.sources.add(heir, [heir.rules.streams.stream("BTCUSDT", "book")])
        await trio.sleep(1)
        await new.sources.take_over(heir, await hand_over(old, line))
        (book,) = heir.keeper.books
        await until(new.are_whole)
        assert book.verdict is BookVerdict.VERIFIED
        await moving.fake.finished.wait()
        await trio.sleep(1)
    assert_nothing_is_missing(read)


@pytest.mark.parametrize("name", ["binance/spot", "bybit/linear"])
async def test_a_line_goes_over_whatever_its_books_wait_for(
    name: str, autojump_clock: MockClock
) -> None:
    """Their requests died with the old process, so the new one asks again."""
    for seed in range(runs(5)):
        read, rng = Reader(), random.Random(seed)
        moving = Moving(name, specs=FEW, seed=seed)
        async with moving.processes(read, read) as (old, new):
            lines = await moving.open_lines(old)
            await settled(old)
            heirs = [await open_heir(line, old, new) for line in lines]
            for line, heir in zip(lines, heirs, strict=True):
                await ready(heir, line)
            for line in lines:
                for book in line.keeper.books:
                    book.lost(moving.world.wall_clock())
            await trio.sleep(rng.random() * 0.2)
            for line, heir in zip(lines, heirs, strict=True):
                state = await hand_over(old, line)
                await new.sources.take_over(heir, state)
            await until(new.are_whole, seconds=10.0)
        assert read.repeated() == {}


async def test_what_does_not_fit_waits_before_the_parser(autojump_clock: MockClock) -> None:
    read = Reader()
    moving = Moving("binance/spot", specs=FEW, settings=Settings(mailbox_bytes=SMALL))
    async with moving.processes(read, read) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        heir = await open_heir(line, old, new)
        await ready(heir, line)
        await until(lambda: len(heir.lanes[0].inputs) > 5)
        state = await hand_over(old, line)
        await new.sources.take_over(heir, state)
        await moving.fake.finished.wait()
        await trio.sleep(1)
        assert heir.merger.lanes == [lane.name for lane in heir.lanes]
        assert new.are_whole()
    assert_nothing_is_missing(read)


async def test_connections_that_break_meanwhile_cost_nothing(autojump_clock: MockClock) -> None:
    """The heir's before it has all; the old one when it has, if it is not back before it goes."""
    for seed in range(runs(3)):
        read = Reader()
        moving = Moving("binance/spot", specs=FEW, seed=seed)
        async with moving.processes(read, read) as (old, new):
            (line,) = await moving.open_lines(old)
            await settled(old)
            heir = await open_heir(line, old, new)
            await until(lambda heir=heir: is_up(heir))
            moving.fake.connections[1].reset()
            await until(lambda heir=heir: not heir.lanes[0].is_running)
            assert not line_is_ready(heir, line.delivering())
            await ready(heir, line)
            moving.fake.connections[0].reset()
            await trio.sleep(random.Random(seed).uniform(0.0, 0.03))
            state = await hand_over(old, line)
            await new.sources.take_over(heir, state)
            await until(new.are_whole)
            await moving.fake.finished.wait()
            await trio.sleep(1)
        assert trade_ids(read).keys() == {"BTCUSDT", "ETHUSDT"}
        assert_nothing_is_missing(read)


# ----------------------------------------------------------------------------- as it should not be
async def test_after_a_crash_a_line_is_opened_under_its_name_and_records_what_is_lost(
    autojump_clock: MockClock,
) -> None:
    read = Reader()
    moving = Moving("binance/spot", specs=FEW)
    clock = moving.world.wall_clock
    async with moving.processes(read, read) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        old.dead, since = True, clock()
        await trio.sleep(1)
        other = await new.sources.open_line(
            moving.collector,
            list(line.planned.values()),
            name=line.name,
            first_lane=line.next_lane,
            down_since=dict.fromkeys(line.planned, since),
        )
        assert [lane.name for lane in other.lanes] == [f"{line.name}~2"]
        opened = clock()
        await moving.fake.finished.wait()
        await trio.sleep(1)
        assert new.are_whole()
        counts = other.continuity.counts("binance/spot/BTCUSDT/trade")
    assert counts is not None
    assert counts.completeness is Completeness.INCOMPLETE
    gaps = read.of(Gap)
    assert sorted(gap.feed for gap in gaps) == sorted(s.feed for s in line.planned.values())
    for gap in gaps:
        assert (gap.cause, gap.edge, gap.start_time) == (GapCause.CRASH, SHARD_EDGE, since)
        assert gap.end_time is not None
        assert gap.end_time >= opened
    assert read.again == 0


async def test_a_heir_that_is_not_wanted_leaves_no_trace(autojump_clock: MockClock) -> None:
    read, silent = Reader(), Reader()
    moving = Moving("binance/spot", specs=FEW, lanes=2)
    async with moving.processes(read, silent) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        heir = await open_heir(line, old, new)
        await ready(heir, line)
        new.sources.rotate_soon(heir, heir.lanes[0], "a test wants it")
        await new.sources.discard(heir)
        old.sources.expect_no_heir(line)
        assert heir.settled.is_set()  # whoever waited for it goes on, and finds nothing to do
        assert line.merger._coverage.expected == []
        assert new.pipeline.lines == []
        await until(lambda: len(moving.fake.connections) == 2)
        old.sources.rotate_soon(line, line.lanes[0], "a test wants it")
        await until(lambda: line.past.rotations == 1)
        assert [lane.name for lane in line.lanes] == [f"{line.name}~{n}" for n in (2, 5)]
        await moving.fake.finished.wait()
        await trio.sleep(1)
        assert old.are_whole()
    assert silent.bundles == 0
    assert_nothing_is_missing(read)


@pytest.mark.parametrize("bytes_", [64 * 2**20, SMALL])
async def test_a_process_that_ends_with_a_line_held_says_nothing_of_it(
    bytes_: int, autojump_clock: MockClock
) -> None:
    read, silent = Reader(), Reader()
    moving = Moving("binance/spot", specs=FEW, settings=Settings(mailbox_bytes=bytes_))
    async with moving.processes(read, silent) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        heir = await open_heir(line, old, new)
        await ready(heir, line)
        if bytes_ == SMALL:
            await until(lambda: len(heir.lanes[0].inputs) > 5)
        began = trio.current_time()
        new.pipeline.stop()
        await new.pipeline.finished.wait()
        assert trio.current_time() - began < 1.0
        await moving.fake.finished.wait()
        await trio.sleep(1)
    assert silent.bundles == 0
    assert_nothing_is_missing(read)


async def test_a_line_whose_aggregator_was_given_up_gives_no_state(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Reader()
    moving = Moving("binance/spot", specs=FEW, settings=PARKING)
    async with moving.processes(read, read) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        heir = await open_heir(line, old, new)
        await ready(heir, line)

        def failing(_bundle: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(line.keeper, "take", failing)
        child = line.aggregator_child
        assert child is not None
        await until(lambda: child.state is Lifecycle.PARKED)
        assert await old.sources.hand_over(line) is None
        assert old.pipeline.lines == []
        said = read.of(Gap)
        assert said != []
        await new.sources.discard(heir)
    assert read.of(Gap) == said


async def test_what_a_parser_could_not_parse_is_on_record(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state goes over all the same: the line's ids show what is missing, and no more is."""
    read = Reader()
    moving = Moving("binance/spot", specs=FEW, settings=PARKING)
    async with moving.processes(read, read) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        heir = await open_heir(line, old, new)
        await ready(heir, line)
        lane = line.lanes[0]

        def failing(_item: object) -> Any:
            raise RuntimeError("a bug")

        monkeypatch.setattr(lane.session, "handle", failing)
        child = lane.parser_child
        assert child is not None
        await until(lambda: child.state is Lifecycle.PARKED)
        state = await hand_over(old, line)
        assert state is not None
        await new.sources.take_over(heir, state)
        await moving.fake.finished.wait()
        await trio.sleep(1)
        assert new.are_whole()
    assert {gap.cause for gap in read.of(Gap)} == {GapCause.CRASH}
    for ids in trade_ids(read).values():
        assert ids == list(range(ids[0], ids[-1] + 1))


async def test_a_lane_that_was_parked_while_it_was_held_counts_for_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had carried before is no proof that it carries anything."""
    read = Reader()
    moving = Moving("binance/spot", specs="trade", lanes=2, settings=PARKING)
    async with moving.processes(read, read) as (old, new):
        (line,) = await moving.open_lines(old)
        await settled(old)
        heir = await open_heir(line, old, new)
        await ready(heir, line)

        def failing(_item: object) -> Any:
            raise RuntimeError("a bug")

        parked, other = heir.lanes
        monkeypatch.setattr(parked.session, "handle", failing)
        await until(lambda: parked.parser_child is not None and parked.parser_child.given_up)
        await ready(heir, line)
        await new.sources.take_over(heir, await hand_over(old, line))
        await until(lambda: len(moving.fake.connections) == 2)
        assert read.of(Gap) == []
        moving.fake.connections[1].reset()  # the other one's
        await until(lambda: not other.is_running)
        await until(lambda: other.is_running)
        await moving.fake.finished.wait()
        await trio.sleep(1)
        gaps = read.of(Gap)  # in the end come those of what was never parsed
    ids = trade_ids(read)
    missing = {s: set(range(n[0], n[-1] + 1)) - set(n) for s, n in ids.items()}
    recorded = {gap.symbol: gap.size for gap in gaps}
    assert recorded == {symbol: len(lost) for symbol, lost in missing.items() if lost} != {}
    assert {gap.cause for gap in gaps} == {GapCause.DISCONNECT}


async def test_what_is_no_move_is_refused(autojump_clock: MockClock) -> None:
    read = Reader()
    moving = Moving("binance/spot", specs=FEW)
    async with moving.processes(read, read) as (old, new):
        (line,) = await moving.open_lines(old)
        with pytest.raises(LocalProtocolError, match="no heir was expected"):
            await old.sources.hand_over(line)
        with pytest.raises(LocalProtocolError, match="is not held"):
            await old.sources.take_over(line, b"")
        with pytest.raises(LocalProtocolError, match="is not held"):
            await old.sources.discard(line)
        await settled(old)
        heir = await open_heir(line, old, new)
        old.sources.expect_no_heir(line)
        with pytest.raises(LocalProtocolError, match="no heir was expected"):
            await old.sources.hand_over(line)
        new.sources.stop()
        with pytest.raises(LocalProtocolError, match="ending"):
            await new.sources.take_over(heir, b"")


async def test_a_process_that_ends_in_taking_over_loses_nothing(autojump_clock: MockClock) -> None:
    """Whenever that is: what it received is published, in order and once."""
    for moment in moments(12):
        read = Reader()
        moving = Moving("binance/spot", specs=FEW, seed=moment)
        async with moving.processes(read, read) as (old, new):
            (line,) = await moving.open_lines(old)
            await settled(old)
            heir = await open_heir(line, old, new)
            await ready(heir, line)
            state = await hand_over(old, line)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(new.sources.take_over, heir, state)
                while heir.held:
                    await trio.lowlevel.checkpoint()
                for _ in range(moment):
                    await trio.lowlevel.checkpoint()
                new.pipeline.stop()
            await new.pipeline.finished.wait()
        assert read.again == 0
        for ids in trade_ids(read).values():
            assert ids == list(range(ids[0], ids[-1] + 1))
        assert {gap.cause for gap in read.of(Gap)} <= {GapCause.DISCONNECT}


# --------------------------------------------------------------------------------------- readiness
async def test_a_line_is_ready_when_all_that_delivers_delivers_there(
    autojump_clock: MockClock,
) -> None:
    read = Reader()
    moving = Moving("binance/spot", specs=FEW)
    async with moving.processes(read, read) as (old, new):
        (line,) = await moving.open_lines(old)
        heir = await open_heir(line, old, new)
        assert not line_is_ready(heir, line.delivering())
        await settled(old)
        await ready(heir, line)
        statuses = heir.lanes[0].session.statuses
        delivering = line.delivering()
        assert delivering.keys() == statuses.keys()
        name, last = next((n, time) for n, time in delivering.items() if time is not None)
        good = attrs.evolve(statuses[name])
        acknowledged = good.acknowledged_at
        assert acknowledged is not None
        cases = [
            # state, what the old line says of it, whether that is good enough
            (StreamState.ACKNOWLEDGED, acknowledged + 10**9, True),
            (StreamState.ACKNOWLEDGED, acknowledged + 10**9 + 1, False),
            (StreamState.ACKNOWLEDGED, None, True),
            (StreamState.REQUESTED, None, False),
            (StreamState.DOWN, None, False),
            (StreamState.FAILED, None, True),
            (StreamState.LIVE, last, True),
        ]
        for state, time, expected in cases:
            statuses[name].state = state
            assert line_is_ready(heir, delivering | {name: time}) is expected, (state, time)
        assert line_is_ready(heir, delivering | {"xrpusdt@trade": last})  # removed meanwhile
