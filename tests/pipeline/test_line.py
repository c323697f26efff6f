"""Lines and their lanes: names, notes on actors, commands, states."""

from __future__ import annotations

import trio
import trio.lowlevel

from farm.actors.connection import ConnectionActor
from farm.actors.mailbox import Overflow
from farm.actors.supervisor import Lifecycle, LifecycleEvent
from farm.bundle import Bundle
from farm.errors import ConnectionLost
from farm.exchanges.registry import rules_of
from farm.exchanges.session import Frames, Opened, SendText, StreamState
from farm.pipeline import Lane, Line, Settings
from farm.pipeline.lane import SessionOptions
from farm.pipeline.line import make_line
from farm.storage.quarantine import QuarantineStore
from farm.types import CollectorStatus, Exchange, Market

SPOT = rules_of(Exchange.BINANCE, Market.SPOT)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":5,"p":"1","q":"2",'
    b'"T":1,"m":true,"M":true}}'
)


def line(name: str = "binance/spot#1", lanes: int = 1) -> Line:
    streams = [SPOT.streams.stream("BTCUSDT", "trade")]
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
