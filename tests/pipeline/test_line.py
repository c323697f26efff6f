"""Lines and their lanes: names, notes on actors, commands, states."""

from __future__ import annotations

from itertools import count

import pytest
import trio
import trio.lowlevel

from farm.actors.connection import ConnectionActor
from farm.actors.mailbox import Overflow
from farm.actors.supervisor import Lifecycle, LifecycleEvent
from farm.bundle import Bundle
from farm.errors import ConnectionLost
from farm.exchanges.registry import rules_of
from farm.exchanges.session import Frames, Input, Opened, SendText, StreamState
from farm.pipeline import Lane, Line, Settings
from farm.pipeline.lane import SessionOptions
from farm.pipeline.line import make_line
from farm.storage.quarantine import QuarantineStore
from farm.types import BookVerdict, CollectorStatus, Exchange, Market
from tests.actors.lines import Inputs
from tests.exchanges.feeding import binance_diff, depth_body

SPOT = rules_of(Exchange.BINANCE, Market.SPOT)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":5,"p":"1","q":"2",'
    b'"T":1,"m":true,"M":true}}'
)


def line(name: str = "binance/spot#1", lanes: int = 1, kinds: tuple[str, ...] = ("trade",)) -> Line:
    streams = [SPOT.streams.stream("BTCUSDT", kind) for kind in kinds]
    one = make_line(
        name, SPOT, Settings(), SessionOptions(), Overflow.DROP_OLDEST, QuarantineStore(), streams
    )
    for _ in range(lanes):
        one.new_lane()
    return one


def event(actor: str, what: Lifecycle, error: Exception | None = None) -> LifecycleEvent:
    return LifecycleEvent(actor, what, 0.0, 1, error)


async def test_it_takes_note_of_its_own_actors_alone() -> None:
    first, tenth = line("binance/spot#1"), line("binance/spot#10")
    lost = ConnectionLost("gone")
    for one in (first, tenth):
        one.take_note(event("binance/spot#10", Lifecycle.WEATHER, lost))
        one.take_note(event("binance/spot#10 parser", Lifecycle.CRASHED, KeyError("x")))
    untouched, lane = first.lanes[0], tenth.lanes[0]
    assert (untouched.failures, untouched.crashes, untouched.last_error) == (0, 0, "")
    assert untouched.status is CollectorStatus.STARTING
    assert (lane.failures, lane.crashes) == (1, 1)
    assert lane.status is CollectorStatus.BACKING_OFF  # a parser's crash is not the connection's
    assert lane.last_error == "'x'"


async def test_an_error_without_words_is_named_by_its_type() -> None:
    one = line()
    one.take_note(event(one.name, Lifecycle.CRASHED, ZeroDivisionError()))
    assert one.lanes[0].last_error == "ZeroDivisionError"


async def test_lanes_have_names_of_their_own_and_none_is_used_again() -> None:
    one = line(lanes=2)
    first, second = one.lanes
    assert (first.name, second.name) == ("binance/spot#1", "binance/spot#1~2")
    first.counters.frames = 7
    one.let_go(first)
    assert (one.past.frames, one.lanes) == (7, [second])
    assert one.new_lane().name == "binance/spot#1~3"


async def test_a_note_on_one_lane_leaves_the_other_alone() -> None:
    one = line(lanes=2)
    one.take_note(event("binance/spot#1~2", Lifecycle.HEALTHY))
    assert [lane.is_running for lane in one.lanes] == [False, True]


async def test_a_parked_aggregator_stops_every_lane() -> None:
    one = line(lanes=2)
    one.take_note(event(f"{one.name} aggregator", Lifecycle.PARKED, KeyError("x")))
    assert {lane.status for lane in one.lanes} == {CollectorStatus.PARKED}


def read(one: Line, lane: Lane, items: list[Input]) -> None:
    """What a connection reads goes all the way to the books."""
    for item in items:
        bundle = lane.session.handle(item)
        if bundle is not None:
            one.keeper.take(one.continuity.take(one.merger.take(bundle)))


def with_books() -> tuple[Line, Inputs]:
    """A line whose two lanes carry a book that is verified, and what the second one has read."""
    one, clock = line(lanes=2, kinds=("book",)), count(1)
    for lane in one.lanes:
        inputs = Inputs(clock).open()
        inputs.read(binance_diff(11, 11, [["10", "1"]], [["11", "1"]])).ask()
        inputs.snapshot(depth_body(11, [["10", "1"]], [["11", "1"]]))
        inputs.read(binance_diff(12, 12, [["10", "2"]]))
        read(one, lane, inputs.items)
    assert verdict(one) is BookVerdict.VERIFIED
    return one, inputs


def verdict(one: Line) -> BookVerdict:
    (book,) = one.keeper.books
    return book.verdict


def park(one: Line, lane: Lane) -> None:
    one.take_note(event(f"{lane.name} parser", Lifecycle.PARKED, KeyError("x")))


async def test_a_lane_whose_parser_is_parked_vouches_for_no_book() -> None:
    one, inputs = with_books()
    first, second = one.lanes
    park(one, first)
    assert (first.status, second.status) == (CollectorStatus.PARKED, CollectorStatus.STARTING)
    read(one, second, inputs.read(binance_diff(13, 13, [["10", "3"]])).items[-1:])
    assert verdict(one) is BookVerdict.VERIFIED
    read(one, second, inputs.close().items[-1:])
    assert verdict(one) is BookVerdict.STALE


async def test_with_the_last_parser_that_is_parked_books_are_stale() -> None:
    one, _ = with_books()
    first, second = one.lanes
    park(one, second)
    assert verdict(one) is BookVerdict.VERIFIED
    park(one, first)
    assert verdict(one) is BookVerdict.STALE


async def test_of_a_cut_and_a_parked_lane_neither_carries_a_book() -> None:
    one, inputs = with_books()
    first, second = one.lanes
    read(one, second, inputs.close().items[-1:])
    assert verdict(one) is BookVerdict.VERIFIED
    park(one, first)
    assert verdict(one) is BookVerdict.STALE


async def test_with_its_aggregator_parked_no_book_of_a_line_is_verified() -> None:
    one, _ = with_books()
    one.take_note(event(f"{one.name} aggregator", Lifecycle.PARKED, KeyError("x")))
    assert verdict(one) is BookVerdict.STALE


async def publish_nowhere(_bundle: Bundle) -> None:
    await trio.lowlevel.checkpoint()


def opened(lane: Lane, epoch: int) -> None:
    lane.session.handle(Opened(epoch, epoch, float(epoch)))


async def test_commands_go_to_the_connection_and_nowhere_without_one() -> None:
    one = line()
    (lane,) = one.lanes
    opened(lane, 1)
    assert one.aggregator(publish_nowhere).name == f"{one.name} aggregator"
    assert lane.parser(one.bundles).name == f"{one.name} parser"
    one.pass_commands()
    assert lane.executed.statistics().current_buffer_used == 0
    opened(lane, 2)
    lane.source = object.__new__(ConnectionActor)
    one.pass_commands()
    command = lane.executed.receive_nowait()
    assert isinstance(command, SendText)
    assert command.epoch == 2


async def test_of_several_lanes_the_best_state_of_a_stream_is_told() -> None:
    one = line(lanes=2)
    first, second = one.lanes
    for lane in one.lanes:
        opened(lane, 1)
    (status,) = one.statuses()
    assert status.state is StreamState.REQUESTED
    second.session.handle(Frames(1, 2, 0, [TRADE], len(TRADE)))
    (status,) = one.statuses()
    assert status.state is StreamState.LIVE
    assert first.session.statuses["btcusdt@trade"].state is StreamState.REQUESTED


async def test_lanes_of_the_process_before_are_let_go_of_before_its_own() -> None:
    """Also where the line is closed while that is done."""
    one = line(lanes=1)
    one.old_lanes.extend(["binance/spot#1~8", "binance/spot#1~9"])
    one.closing.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.end_old_lanes, lambda: 7)
        nursery.start_soon(one.close_when_ended, lambda: 7)
    ended = []
    with one.bundles.reader() as reader:
        async for bundle in reader:
            assert bundle.final
            ended.append(bundle.origin.connection)
    assert list(dict.fromkeys(ended)) == ["binance/spot#1~8", "binance/spot#1~9", one.name]
    assert not one.old_lanes


async def test_a_book_that_has_no_lane_left_to_ask_gets_its_snapshot_from_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = line(lanes=0, kinds=("book",))
    expected: list[str] = []
    monkeypatch.setattr(one.merger, "expect_snapshot", expected.append)
    (stream,) = one.streams()
    one.resync(stream, 0)
    assert expected == [stream.feed]
