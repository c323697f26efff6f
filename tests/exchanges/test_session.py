"""The life of a session: subscribe, live, break, come back; and the record of every break."""

from __future__ import annotations

import pytest

from farm.entities import Gap, Trade
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import (
    LAST_SERIAL,
    Closed,
    Finished,
    Frames,
    Opened,
    SendText,
    StreamState,
    Tick,
)
from farm.exchanges.subscriptions import ACK_DEADLINE
from farm.types import BookVerdict, GapCause, GapUnit
from tests.exchanges.feeding import (
    ALL_RULES,
    BINANCE_SPOT,
    BYBIT_LINEAR,
    T0,
    Drive,
    binance_trade,
    bybit_book,
    bybit_trades,
    id_of,
    names_in,
)

venues = pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)
SYMBOLS = ["BTCUSDT", "ETHUSDT"]


def trade(rules: MarketRules, symbol: str = "BTCUSDT") -> bytes:
    return binance_trade(1, symbol) if rules is BINANCE_SPOT else bybit_trades("a", symbol=symbol)


def states(drive: Drive) -> list[StreamState]:
    return [status.state for status in drive.session.statuses.values()]


def bounds(gaps: list[Gap]) -> list[tuple[str, GapCause, int | None, int | None]]:
    return [(gap.symbol, gap.cause, gap.start_time, gap.end_time) for gap in gaps]


def test_the_end_comes_after_everything() -> None:
    drive = Drive(BINANCE_SPOT, ["trade"])
    drive.open()
    assert Finished(5).serial == LAST_SERIAL > drive.serial


@venues
def test_a_stream_is_requested_then_acknowledged_then_live(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"], SYMBOLS)
    assert states(drive) == [StreamState.IDLE] * 2
    drive.open(answered=False)
    assert states(drive) == [StreamState.REQUESTED] * 2
    drive.answer_all()
    assert states(drive) == [StreamState.ACKNOWLEDGED] * 2
    outcome = drive.read(trade(rules))
    assert len(outcome.only(Trade)) == 1
    assert outcome.gaps == []  # the first connect has missed nothing
    assert states(drive) == [StreamState.LIVE, StreamState.ACKNOWLEDGED]
    status = drive.status("trade")
    assert (status.frames, status.last_time) == (1, drive.time)


@venues
def test_everything_is_asked_for_in_chunks_and_again_after_a_break_under_new_ids(
    rules: MarketRules,
) -> None:
    symbols = [f"S{n}" for n in range(401)]
    drive = Drive(rules, ["trade"], symbols)
    asked = []
    for _ in range(2):
        drive.open(answered=False)
        requests = drive.sent()
        names = [name for request in requests for name in names_in(request)]
        assert names == list(drive.session.statuses)
        sizes = [len(names_in(request)) for request in requests]
        assert max(sizes) == rules.topics_per_request
        assert len(sizes) == -(-401 // rules.topics_per_request)
        asked += [id_of(request) for request in requests]
        drive.read(*(drive.granted(request) for request in requests))
        assert set(states(drive)) == {StreamState.ACKNOWLEDGED}
        drive.close()
    assert len(set(asked)) == len(asked)


@venues
def test_commands_name_their_epoch_and_those_of_a_dead_connection_are_dropped(
    rules: MarketRules,
) -> None:
    drive = Drive(rules, ["trade"])
    drive.session.handle(Opened(1, T0, 0.0))
    drive.session.handle(Closed(1, T0, "reset"))
    drive.session.handle(Opened(2, T0, 1.0))
    (command,) = drive.session.take_commands()
    assert isinstance(command, SendText)
    assert command.epoch == 2
    assert drive.session.take_commands() == []


@venues
def test_data_may_come_before_the_answer(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"])
    drive.open(answered=False)
    assert len(drive.read(trade(rules)).only(Trade)) == 1
    assert states(drive) == [StreamState.LIVE]
    assert drive.answer_all().rows == []
    assert states(drive) == [StreamState.LIVE]


@venues
def test_a_break_is_a_gap_on_each_stream_from_the_last_good_frame_to_its_return(
    rules: MarketRules,
) -> None:
    drive = Drive(rules, ["trade"], SYMBOLS)
    drive.open()
    drive.read(trade(rules))  # any frame shows that the line was good, for all its streams
    good = drive.time
    closed = drive.close()
    assert (closed.ended, closed.rows) == ("reset by peer", [])
    drive.open(answered=False)
    first = drive.read(trade(rules))  # BTC is back by its data, before the answer
    first_time = drive.time
    place = drive.ordinal
    answer = drive.answer_all()  # ETH by the answer
    assert bounds(first.gaps) == [("BTCUSDT", GapCause.DISCONNECT, good, first_time)]
    assert bounds(answer.gaps) == [("ETHUSDT", GapCause.DISCONNECT, good, drive.time)]
    assert [gap.ordinal for gap in answer.gaps] == [place]
    gap = first.gaps[0]
    assert gap.ordinal == place - 1
    assert (gap.edge, gap.unit, gap.size) == ("venue", GapUnit.UNKNOWN, None)
    assert drive.read(trade(rules), trade(rules, "ETHUSDT")).gaps == []
    assert drive.finish().rows == []


@venues
def test_an_outage_over_several_epochs_is_one_gap(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"])
    drive.open()
    drive.read(trade(rules))
    good = drive.time
    for _ in range(3):  # the server accepts, and closes before it answers
        drive.close()
        drive.open(answered=False)
    assert bounds(drive.read(trade(rules)).gaps) == [
        ("BTCUSDT", GapCause.DISCONNECT, good, drive.time)
    ]


@venues
def test_what_was_never_subscribed_was_never_lost(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"])
    drive.open(answered=False)
    drive.close()
    drive.open()
    assert drive.finish().rows == []


@venues
def test_what_is_down_at_the_end_was_down_until_then(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"], SYMBOLS)
    drive.open()
    drive.read(trade(rules))
    good = drive.time
    drive.close()
    assert bounds(drive.finish().gaps) == [
        (s, GapCause.DISCONNECT, good, drive.time) for s in SYMBOLS
    ]


@venues
def test_an_end_that_we_intend_is_no_gap_and_neither_is_that_of_an_old_epoch(
    rules: MarketRules,
) -> None:
    drive = Drive(rules, ["trade"])
    drive.open()
    drive.read(trade(rules))
    assert drive.session.handle(Closed(0, drive.time, "late news")) is None
    assert drive.close(intended=True).ended is None
    assert drive.finish().rows == []


@venues
def test_lost_inputs_are_a_gap_on_every_subscribed_stream(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"], SYMBOLS)
    drive.open(answered=False)
    before = drive.time
    gaps = drive.lose(5).gaps  # the answer may have been in it, and data after it
    assert bounds(gaps) == [(s, GapCause.OVERFLOW, before, drive.time) for s in SYMBOLS]
    drive.answer_all()
    start = drive.time
    gaps = drive.lose(5).gaps
    assert bounds(gaps) == [(s, GapCause.OVERFLOW, start, drive.time) for s in SYMBOLS]
    assert {(gap.size, gap.unit, gap.edge) for gap in gaps} == {(5, GapUnit.FRAMES, "a>b")}
    assert {gap.cause for gap in drive.lose(1, quarantined=True).gaps} == {GapCause.QUARANTINE}
    assert drive.lose(0, quarantined=True).rows == []


@venues
def test_one_bad_name_is_found_recorded_once_and_hurts_no_other(rules: MarketRules) -> None:
    symbols = [f"S{n}" for n in range(10)]
    drive = Drive(rules, ["trade"], symbols)
    bad = rules.streams.stream("S3", "trade").name
    gaps = []
    for epoch in range(3):
        drive.open(answered=False)
        opened = drive.time
        while requests := drive.sent():
            for request in requests:
                wrong = bad in names_in(request)
                reply = drive.refused(request) if wrong else drive.granted(request)
                gaps += drive.read(reply).gaps
        status = drive.session.statuses[bad]
        assert status.state is StreamState.FAILED
        assert "no such stream" in status.reason
        assert states(drive).count(StreamState.ACKNOWLEDGED) == 9
        if epoch == 0:
            assert bounds(gaps) == [("S3", GapCause.REFUSED, opened, None)]
        drive.close()
    assert [gap.symbol for gap in gaps if gap.cause is GapCause.REFUSED] == ["S3"]
    assert sorted(gap.symbol for gap in gaps if gap.cause is GapCause.DISCONNECT) == sorted(
        2 * [symbol for symbol in symbols if symbol != "S3"]
    )


@venues
def test_a_request_that_is_never_answered_ends_the_connection(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"])
    drive.open(answered=False)
    drive.tick(ACK_DEADLINE - 1)
    assert drive.reconnects() == []
    drive.session.handle(Tick(drive.epoch - 1, drive.time, 1e9))  # of the connection before
    assert drive.session.take_commands() == []
    drive.tick(2)
    (command,) = drive.reconnects()
    assert command.epoch == drive.epoch
    assert drive.rules.streams.stream("BTCUSDT", "trade").name in command.reason
    drive.close()
    drive.open()
    drive.tick(1)
    assert drive.reconnects() == []


# ------------------------------------------------------------------------------------------- resync
def test_a_rest_book_resyncs_by_a_snapshot_of_its_symbol_alone() -> None:
    drive = Drive(BINANCE_SPOT, ["book"], SYMBOLS)
    drive.open()
    drive.session.resync(drive.stream("book", "ETHUSDT"))
    (fetch,) = drive.session.take_commands()
    assert (fetch.epoch, fetch.stream) == (1, drive.stream("book", "ETHUSDT"))
    assert dict(fetch.params) == {"symbol": "ETHUSDT", "limit": 1000}
    assert (fetch.path, fetch.weight) == ("/api/v3/depth", 50)


def test_a_bybit_book_resyncs_by_its_topic_alone_and_only_where_it_is_subscribed() -> None:
    drive = Drive(BYBIT_LINEAR, ["book", "trade"], SYMBOLS)
    stream = drive.stream("book", "ETHUSDT")
    drive.session.resync(stream)  # not subscribed yet: its snapshot comes by itself
    drive.open(answered=False)
    requested = drive.sent()
    drive.session.resync(stream)
    assert drive.session.take_commands() == []
    drive.read(*(drive.granted(request) for request in requested))
    drive.session.resync(stream)
    drive.tick(0)
    requests = drive.sent()
    assert [(r["op"], r["args"]) for r in requests] == [
        ("unsubscribe", ["orderbook.200.ETHUSDT"]),
        ("subscribe", ["orderbook.200.ETHUSDT"]),
    ]
    assert states(drive).count(StreamState.REQUESTED) == 1
    drive.read(*(drive.granted(request) for request in requests))
    assert set(states(drive)) == {StreamState.ACKNOWLEDGED}


def test_a_break_during_a_resync_is_recorded_too() -> None:
    drive = Drive(BYBIT_LINEAR, ["book"])
    drive.open()
    drive.read(bybit_book("snapshot", 1, [["1", "1"]]))
    drive.read(bybit_book("delta", 3))  # a break: subscribed anew, not answered yet
    assert states(drive) == [StreamState.REQUESTED]
    good = drive.time
    drive.close()
    drive.open(answered=False)
    gaps = drive.read(bybit_book("snapshot", 9, [["1", "1"]])).gaps
    assert bounds(gaps) == [("BTCUSDT", GapCause.DISCONNECT, good, drive.time)]
    assert drive.book().verdict is BookVerdict.VERIFIED


@venues
def test_an_input_that_is_delivered_again_makes_the_same_gaps_again(rules: MarketRules) -> None:
    """A crash after the core must not cost the record of an outage, which is made only once."""
    drive = Drive(rules, ["trade"], books=False)
    drive.open()
    drive.read(trade(rules))
    drive.close()
    drive.open(answered=False)
    (first,) = drive.read(trade(rules)).gaps
    again = Frames(drive.epoch, drive.time, drive.ordinal - 1, [trade(rules)], 1)
    drive.serial -= 1
    outcome = drive.give(again)
    assert outcome.gaps == [first]
    assert outcome.only(Trade)
    assert drive.read(trade(rules)).gaps == []


def test_a_connection_whose_opening_was_never_processed_is_opened_again() -> None:
    drive = Drive(BINANCE_SPOT, ["trade"])
    drive.open()
    drive.give(Tick(drive.epoch + 1, drive.time, drive.now))
    (reconnect,) = drive.reconnects()
    assert reconnect.epoch == drive.epoch + 1


@venues
def test_an_epoch_whose_end_was_never_processed_ends_with_the_next(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"], books=False)
    drive.open()
    drive.read(trade(rules))
    good = drive.time
    outcome = drive.open(answered=False)
    assert states(drive) == [StreamState.REQUESTED]
    (gap,) = drive.read(trade(rules)).gaps
    assert (gap.cause, gap.start_time, gap.end_time) == (GapCause.DISCONNECT, good, drive.time)
    assert outcome.rows == []
