"""The life of a session: subscribe, live, break, come back; and the record of every break."""

from __future__ import annotations

import pytest

from farm.entities import BookUpdate, Gap, OpenInterest, Quote, Ticker, Trade
from farm.exchanges.core import RETRY_REFUSED
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import (
    LAST_SERIAL,
    Closed,
    Finished,
    ForgetSnapshot,
    Frames,
    Opened,
    SendText,
    StreamState,
    Tick,
)
from farm.exchanges.subscriptions import ACK_DEADLINE
from farm.types import GapCause, GapUnit
from tests.exchanges.feeding import (
    ALL_RULES,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_LINEAR,
    BYBIT_OPTION,
    BYBIT_SPOT,
    T0,
    Drive,
    bybit_book,
    id_of,
    names_in,
    text,
    trade_text,
)

venues = pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)
SYMBOLS = ["BTCUSDT", "ETHUSDT"]


def trade(rules: MarketRules, symbol: str = "BTCUSDT") -> bytes:
    return trade_text(rules, 1, symbol)


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
                gaps += drive.read(drive.answer(request, [bad])).gaps
        status = drive.session.statuses[bad]
        assert status.state is StreamState.FAILED
        assert ("no such stream" in status.reason) != rules.answers_by_topic
        assert states(drive).count(StreamState.ACKNOWLEDGED) == 9
        if epoch == 0:
            assert bounds(gaps) == [("S3", GapCause.REFUSED, opened, None)]
        drive.close()
    assert [gap.symbol for gap in gaps if gap.cause is GapCause.REFUSED] == ["S3"]
    assert sorted(gap.symbol for gap in gaps if gap.cause is GapCause.DISCONNECT) == sorted(
        2 * [symbol for symbol in symbols if symbol != "S3"]
    )


@venues
def test_what_was_refused_is_asked_for_again_in_a_while(rules: MarketRules) -> None:
    """A venue in trouble refuses what it would grant at any other time."""
    drive = Drive(rules, ["trade"], SYMBOLS, books=False)
    bad = drive.stream("trade").name
    drive.open(answered=False)
    while requests := drive.sent():
        for request in requests:
            drive.read(drive.answer(request, [bad]))
    assert drive.status("trade").state is StreamState.FAILED
    asked: list[str] = []
    for _ in range(int(RETRY_REFUSED) - 1):
        drive.tick(1)
        asked += [name for request in drive.sent() for name in names_in(request)]
    assert asked == []
    drive.tick(1)
    (again,) = (request for request in drive.sent() if names_in(request))
    assert names_in(again) == [bad]
    drive.read(drive.granted(again))
    assert drive.status("trade").state is StreamState.ACKNOWLEDGED
    assert drive.read(trade(rules)).only(Trade)


@venues
def test_what_is_removed_while_it_is_down_was_lost_until_then(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"], SYMBOLS, books=False)
    drive.open()
    drive.read(trade(rules, "ETHUSDT"))
    good = drive.time
    drive.close()
    drive.time += 3_600 * drive.step
    removed = drive.unsubscribe("trade", "ETHUSDT")
    assert bounds(removed.gaps) == [("ETHUSDT", GapCause.DISCONNECT, good, drive.time)]
    later = [*drive.open().gaps, *drive.finish().gaps]
    assert {gap.symbol for gap in later} == {"BTCUSDT"}


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
    drive.session.resync(drive.stream("book", "ETHUSDT"), 7)
    (fetch,) = drive.session.take_commands()
    assert (fetch.epoch, fetch.stream) == (1, drive.stream("book", "ETHUSDT"))
    assert dict(fetch.params) == {"symbol": "ETHUSDT", "limit": 1000}
    assert (fetch.path, fetch.weight, fetch.need) == ("/api/v3/depth", 50, 7)


@pytest.mark.parametrize(
    ("rules", "levels", "limit", "weight"),
    [
        (BINANCE_SPOT, None, 1000, 50),
        (BINANCE_SPOT, 100, 100, 5),
        (BINANCE_SPOT, 5000, 5000, 250),
        (BINANCE_USDM, None, 1000, 20),
        (BINANCE_USDM, 50, 50, 2),
    ],
)
def test_a_snapshot_has_as_many_levels_as_are_wanted_and_its_price(
    rules: MarketRules, levels: int | None, limit: int, weight: int
) -> None:
    drive = Drive(rules, ["book"], snapshot_levels=levels)
    drive.open()
    drive.session.resync(drive.stream("book"))
    (fetch,) = drive.session.take_commands()
    assert (dict(fetch.params)["limit"], fetch.weight) == (limit, weight)


def test_a_full_book_of_bybit_resyncs_by_rest() -> None:
    drive = Drive(BYBIT_SPOT, ["book:full"], books=False)
    drive.open()
    drive.session.resync(drive.stream("book:full"), 3)
    (fetch,) = drive.session.take_commands()
    assert (fetch.path, fetch.weight, fetch.need) == ("/v5/market/full_orderbook", 1, 3)
    assert dict(fetch.params) == {"category": "spot", "symbol": "BTCUSDT"}


def test_a_snapshot_that_is_none_is_asked_for_again_without_hurry() -> None:
    """Bybit says that there were too many requests in an answer of HTTP 200."""
    drive = Drive(BYBIT_SPOT, ["book:full"], books=False)
    drive.open()
    drive.session.resync(drive.stream("book:full"), 3)
    drive.commands += drive.session.take_commands()
    assert [fetch.failed for fetch in drive.fetches()] == [False]
    busy = text({"retCode": 10006, "retMsg": "Too many visits", "result": {}, "time": 1})
    drive.snapshot(busy, "book:full")
    assert [fetch.failed for fetch in drive.fetches()] == [True]


def test_the_snapshot_of_a_book_that_is_removed_is_not_wanted() -> None:
    drive = Drive(BINANCE_SPOT, ["book", "trade"], SYMBOLS, books=False)
    drive.open()
    drive.commands.clear()
    stream = drive.stream("book")
    drive.unsubscribe("trade", "BTCUSDT")
    drive.unsubscribe("book", "BTCUSDT")
    forgotten = [c for c in drive.commands if isinstance(c, ForgetSnapshot)]
    assert forgotten == [ForgetSnapshot(1, stream)]


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


@pytest.mark.parametrize(
    ("rules", "sizes"), [(BYBIT_LINEAR, [25]), (BYBIT_SPOT, [10, 10, 5]), (BYBIT_OPTION, [25])]
)
def test_resyncs_of_one_moment_go_in_common_requests(rules: MarketRules, sizes: list[int]) -> None:
    """After a loss all books start anew, and one request each would take minutes."""
    drive = Drive(rules, ["book"], [f"S{n}" for n in range(25)], books=False)
    drive.open()
    streams = [status.stream for status in drive.session.statuses.values()]
    for stream in [*streams, *streams]:
        drive.session.resync(stream)
    drive.tick(0)
    requests = drive.sent()
    half = len(sizes)
    for part, op in ((requests[:half], "unsubscribe"), (requests[half:], "subscribe")):
        assert [(request["op"], len(request["args"])) for request in part] == [
            (op, size) for size in sizes
        ]
        assert [name for request in part for name in request["args"]] == [s.name for s in streams]
    for stream in streams:  # it is under way
        drive.session.resync(stream)
    assert drive.session.take_commands() == []


def test_what_is_collected_no_longer_is_not_resynced() -> None:
    for rules in (BYBIT_LINEAR, BINANCE_SPOT):
        drive = Drive(rules, ["book"], SYMBOLS, books=False)
        drive.open()
        stream = drive.stream("book")
        drive.session.resync(stream)
        drive.commands.clear()
        drive.session.take_commands()
        drive.session.resync(stream)
        drive.unsubscribe("book", "BTCUSDT")
        drive.session.resync(stream)
        subscribed = [r for r in drive.sent() if str(r.get("op", r.get("method"))) == "subscribe"]
        assert subscribed == []


def test_the_books_are_told_when_their_snapshot_is_asked_for() -> None:
    drive = Drive(BINANCE_SPOT, ["book"], SYMBOLS, books=False)
    drive.open()
    outcome = drive.asked("book", "ETHUSDT")
    assert outcome.asked == ("binance/spot/ETHUSDT/book",)
    assert outcome.rows == []


def test_a_resync_that_is_refused_was_good_until_its_last_message() -> None:
    drive = Drive(BYBIT_LINEAR, ["book"], books=False)
    drive.open()
    drive.read(bybit_book("snapshot", 1, [["1", "1"]]))
    good = drive.time
    assert states(drive) == [StreamState.LIVE]
    drive.session.resync(drive.stream("book"))
    drive.tick(0)
    unsubscribe, subscribe = drive.sent()
    drive.read(drive.granted(unsubscribe))
    (gap,) = drive.read(drive.refused(subscribe)).gaps
    assert (gap.cause, gap.start_time, gap.end_time) == (GapCause.REFUSED, good, None)
    assert states(drive) == [StreamState.FAILED]
    outcome = drive.read(bybit_book("snapshot", 2, [["1", "1"]]))  # it was none of its kind, then
    assert len(outcome.only(BookUpdate)) == 1
    assert states(drive) == [StreamState.LIVE]


def test_a_break_during_a_resync_is_recorded_too() -> None:
    drive = Drive(BYBIT_LINEAR, ["book"], books=False)
    drive.open()
    drive.read(bybit_book("snapshot", 1, [["1", "1"]]))
    good = drive.time
    drive.session.resync(drive.stream("book"))
    drive.tick(0)
    assert states(drive) == [StreamState.REQUESTED]  # subscribed anew, not answered yet
    drive.close()
    drive.open(answered=False)
    gaps = drive.read(bybit_book("snapshot", 9, [["1", "1"]])).gaps
    assert bounds(gaps) == [("BTCUSDT", GapCause.DISCONNECT, good, drive.time)]


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


@venues
def test_what_a_crash_amid_an_input_kept_from_being_told_is_told_with_the_next_try(
    rules: MarketRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core itself fails once, in the read that also brings the answer of the venue."""
    drive = Drive(rules, ["trade"], SYMBOLS, books=False)
    feeds = {f"{rules.key}/{symbol}/trade" for symbol in SYMBOLS}
    drive.open(answered=False)
    (request,) = drive.sent()
    answer, size = drive.granted(request), 10
    drive.serial += 1
    item = Frames(drive.epoch, drive.time, 0, [answer, trade(rules)], size, serial=drive.serial)
    route = drive.session._routes[drive.stream("trade").name.encode()]  # type: ignore[attr-defined]
    parse = route.parse

    def failing(*_: object) -> None:
        raise RuntimeError("a bug")

    route.parse = failing
    with pytest.raises(RuntimeError, match="a bug"):
        drive.session.handle(item)
    route.parse = parse
    drive.serial -= 1
    outcome = drive.give(item)
    assert set(outcome.up) == feeds
    assert outcome.only(Trade)


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


# ------------------------------------------------------------------------------- more and fewer
@venues
def test_streams_may_be_added_while_it_runs(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"])
    drive.open()
    drive.subscribe("trade", "BTCUSDT", "ETHUSDT", "SOLUSDT")  # the first is there already
    (request,) = drive.sent()
    names = [rules.streams.stream(symbol, "trade").name for symbol in ("ETHUSDT", "SOLUSDT")]
    assert names_in(request) == names
    outcome = drive.read(drive.granted(request))
    assert outcome.up == tuple(f"{rules.key}/{s}/trade" for s in ("ETHUSDT", "SOLUSDT"))
    assert outcome.gaps == []  # nobody asked for them before, so nothing was missed
    assert len(drive.read(trade(rules, "ETHUSDT")).only(Trade)) == 1
    assert len(drive.session.statuses) == 3


@venues
def test_what_is_added_before_the_connection_stands_is_asked_for_with_the_rest(
    rules: MarketRules,
) -> None:
    drive = Drive(rules, ["trade"])
    drive.subscribe("trade", "ETHUSDT")
    assert drive.commands == []
    drive.open(answered=False)
    assert [len(names_in(request)) for request in drive.sent()] == [2]


@venues
def test_what_is_dropped_is_taken_back_and_what_is_still_on_its_way_is_nothing(
    rules: MarketRules,
) -> None:
    drive = Drive(rules, ["trade"], SYMBOLS)
    drive.open()
    drive.read(trade(rules), trade(rules, "ETHUSDT"))
    outcome = drive.unsubscribe("trade", "ETHUSDT", "NOBODY")
    assert outcome.dropped == (f"{rules.key}/ETHUSDT/trade",)
    assert outcome.rows == []
    (request,) = drive.sent()
    assert str(request.get("method", request.get("op"))).lower() == "unsubscribe"
    assert names_in(request) == [rules.streams.stream("ETHUSDT", "trade").name]
    late = drive.read(trade(rules, "ETHUSDT"), drive.granted(request))
    assert (late.rows, late.unparsed) == ([], [])
    drive.close()
    assert [gap.symbol for gap in drive.finish().gaps] == ["BTCUSDT"]


@venues
def test_what_was_dropped_may_be_collected_again(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"], SYMBOLS)
    drive.open()
    drive.unsubscribe("trade", "ETHUSDT")
    drive.subscribe("trade", "ETHUSDT")
    drive.answer_all()
    assert states(drive) == [StreamState.ACKNOWLEDGED] * 2
    outcome = drive.read(trade(rules, "ETHUSDT"))
    assert len(outcome.only(Trade)) == 1
    assert outcome.gaps == []


def test_all_feeds_of_a_stream_are_dropped_with_it() -> None:
    drive = Drive(BYBIT_LINEAR, ["ticker"], books=False)
    drive.open()
    kinds = ("ticker", "mark_price", "open_interest")
    feeds = tuple(f"bybit/linear/BTCUSDT/{kind}" for kind in kinds)
    assert drive.unsubscribe("ticker", "BTCUSDT").dropped == feeds


# ------------------------------------------------------------------------------------- what is up
@venues
def test_a_feed_is_up_when_the_venue_says_so_or_delivers_and_is_said_so_once(
    rules: MarketRules,
) -> None:
    btc, eth = (f"{rules.key}/{symbol}/trade" for symbol in SYMBOLS)
    drive = Drive(rules, ["trade"], SYMBOLS)
    drive.open(answered=False)
    assert drive.read(trade(rules)).up == (btc,)
    assert set(drive.answer_all().up) == {btc, eth}  # said twice, for two reasons
    assert drive.read(trade(rules), trade(rules, "ETHUSDT")).up == ()
    drive.close()
    assert set(drive.open().up) == {btc, eth}


def test_a_ticker_brings_three_feeds_up() -> None:
    drive = Drive(BYBIT_LINEAR, ["ticker"], books=False)
    kinds = ("ticker", "mark_price", "open_interest")
    assert drive.open().up == tuple(f"bybit/linear/BTCUSDT/{kind}" for kind in kinds)


@venues
def test_what_was_refused_is_not_up(rules: MarketRules) -> None:
    drive = Drive(rules, ["trade"])
    drive.open(answered=False)
    (request,) = drive.sent()
    assert drive.read(drive.refused(request)).up == ()


# --------------------------------------------------------------------------------- what is polled
INTEREST = text({"symbol": "BTCUSDT", "openInterest": "84617.188", "time": 1790000000122})


def test_what_is_polled_is_asked_for_on_no_socket() -> None:
    drive = Drive(BINANCE_USDM, ["open_interest", "trade"], books=False)
    outcome = drive.open(answered=False)
    assert [names_in(request) for request in drive.sent()] == [["btcusdt@trade"]]
    assert outcome.up == ()
    outcome = drive.snapshot(INTEREST, "open_interest")
    assert outcome.up == ("binance/usdm/BTCUSDT/open_interest",)
    (event,) = outcome.only(OpenInterest)
    assert event.open_interest == 84617.188
    status = drive.status("open_interest")
    assert (status.state, status.frames, status.last_time) == (StreamState.LIVE, 1, drive.time)
    assert drive.snapshot(INTEREST, "open_interest").up == ()
    for _ in range(600):
        drive.tick(1)
        drive.read(trade(BINANCE_USDM))
    assert [names_in(request) for request in drive.sent()] == []
    drive.unsubscribe("open_interest", "BTCUSDT")
    assert drive.sent() == []


def test_an_answer_to_a_poll_that_is_none_is_kept_and_is_a_gap() -> None:
    drive = Drive(BINANCE_USDM, ["open_interest"], books=False)
    drive.open()
    body = b'{"code":-1121,"msg":"Invalid symbol."}'
    outcome = drive.snapshot(body, "open_interest")
    assert [(kept.kind, kept.raw) for kept in outcome.unparsed] == [("malformed", body)]
    assert [(gap.feed, gap.cause) for gap in outcome.gaps] == [
        ("binance/usdm/BTCUSDT/open_interest", GapCause.QUARANTINE)
    ]
    assert drive.fetches() == []  # it is asked again in its time


# --------------------------------------------------------------------- what a connection remembers
def test_a_new_connection_knows_nothing_of_the_tickers_of_the_one_before() -> None:
    """Between the two the venue changed what was never seen: only a snapshot can begin again."""
    drive = Drive(BYBIT_LINEAR, ["ticker"], books=False)
    drive.open()
    snapshot = {"topic": "tickers.BTCUSDT", "type": "snapshot", "ts": 1, "cs": 5}
    snapshot |= {"data": {"symbol": "BTCUSDT", "lastPrice": "1", "highPrice24h": "9"}}
    change = snapshot | {"type": "delta", "data": {"symbol": "BTCUSDT", "lastPrice": "2"}}
    tickers = drive.read(text(snapshot), text(change)).only(Ticker)
    assert [(t.last_price, t.high_price) for t in tickers] == [(1.0, 9.0), (2.0, 9.0)]
    drive.close()
    drive.open()
    assert drive.read(text(change)).only(Ticker) == []
    assert drive.session.unknown_values == {"tickers: a delta before its snapshot": 1}
    (ticker,) = drive.read(text(snapshot)).only(Ticker)
    assert ticker.last_price == 1.0


def test_a_new_connection_repeats_a_quote_that_is_known() -> None:
    drive = Drive(BYBIT_LINEAR, ["quote"], books=False)
    drive.open()
    frame = bybit_book("snapshot", 7, [["1", "1"]], depth=1)
    assert len(drive.read(frame, frame).only(Quote)) == 1
    drive.close()
    drive.open()
    assert len(drive.read(frame, frame).only(Quote)) == 1
