"""Which streams were down, from when to when, and that it is recorded once."""

from __future__ import annotations

import pytest

from farm.entities import Gap
from farm.exchanges.outages import Outages, stream_gap, stream_gaps
from farm.exchanges.session import Lost, StreamState, StreamStatus
from farm.types import GapCause, GapUnit
from tests.exchanges.feeding import BINANCE_SPOT, BYBIT_LINEAR

SUBSCRIBED = [StreamState.ACKNOWLEDGED, StreamState.LIVE]
LOST = Lost(1, 3, 100, 200, "connection>parser", quarantined=False)


def make(*states: StreamState) -> tuple[Outages, list[StreamStatus]]:
    streams = [BINANCE_SPOT.streams.stream(f"S{n}", "trade") for n in range(len(states))]
    statuses = [StreamStatus(s, state) for s, state in zip(streams, states, strict=True)]
    outages = Outages({status.stream.name: status for status in statuses})
    outages.opened(10)
    return outages, statuses


def bounds(gaps: list[Gap]) -> list[tuple[str, GapCause, int | None, int | None]]:
    return [(gap.symbol, gap.cause, gap.start_time, gap.end_time) for gap in gaps]


def test_what_was_subscribed_is_down_until_it_is_back_and_recorded_once() -> None:
    outages, statuses = make(*StreamState)
    outages.closed(last_good=50)
    down = [status for status in statuses if status.down_since is not None]
    assert [status.state for status in down] == [StreamState.DOWN] * len(SUBSCRIBED)
    gaps = outages.back(statuses, 90, 4)
    assert bounds(gaps) == [(s.stream.symbol, GapCause.DISCONNECT, 50, 90) for s in down]
    assert [(gap.ordinal, gap.unit, gap.size, gap.edge) for gap in gaps] == [
        (4, GapUnit.UNKNOWN, None, "venue")
    ] * 2
    assert outages.back(statuses, 99, 5) == outages.finished(100, 6) == []


def test_a_second_break_before_the_return_extends_the_first() -> None:
    outages, statuses = make(StreamState.LIVE)
    outages.closed(50)
    statuses[0].state = StreamState.ACKNOWLEDGED
    outages.closed(70)
    assert bounds(outages.finished(80, 0)) == [("S0", GapCause.DISCONNECT, 50, 80)]


def test_a_stream_that_is_subscribed_anew_counts_as_subscribed() -> None:
    """Between the request for a resync and its answer the venue was sending it all the same."""
    outages, (again, never) = make(StreamState.REQUESTED, StreamState.REQUESTED)
    again.last_time = 30  # it delivered in this epoch
    assert [gap.symbol for gap in outages.lost(LOST, 0)] == ["S0", "S1"]
    outages.closed(50)
    assert (again.down_since, never.down_since) == (50, None)


def test_delivery_in_an_epoch_before_makes_no_subscription() -> None:
    outages, (status,) = make(StreamState.REQUESTED)
    status.last_time = 9
    outages.closed(50)
    assert status.down_since is None


def test_an_answer_ends_an_outage_but_no_silence() -> None:
    """A stream that was acknowledged and silent is believed when it delivers, not before."""
    outages, (dead, other) = make(StreamState.LIVE, StreamState.LIVE)
    dead.last_time = 40
    outages.silent(dead)
    outages.closed(50)
    assert bounds(outages.acknowledged([dead, other], 70, 0)) == [
        ("S1", GapCause.DISCONNECT, 50, 70)
    ]
    assert bounds(outages.back([dead], 90, 0)) == [("S0", GapCause.SILENCE, 40, 90)]
    dead.state = StreamState.LIVE
    outages.closed(95)  # the next break is one of the usual kind
    assert bounds(outages.acknowledged([dead], 99, 0)) == [("S0", GapCause.DISCONNECT, 95, 99)]


@pytest.mark.parametrize(
    ("last", "granted", "good"),
    [
        (40, None, 40),
        (40, 30, 40),
        (None, 30, 30),  # it never delivered
        (None, None, 10),  # nor was it ever granted: since the connection stands
        (5, 7, 10),  # both of a connection before
        (20, 35, 35),  # granted again since
    ],
)
def test_a_silence_begins_at_the_last_good_instant(
    last: int | None, granted: int | None, good: int
) -> None:
    outages, (status,) = make(StreamState.LIVE)
    status.last_time, status.acknowledged_at = last, granted
    outages.silent(status)
    outages.silent(status)  # found dead again, before it ever came back
    assert bounds(outages.finished(90, 0)) == [("S0", GapCause.SILENCE, good, 90)]


def test_a_silence_begins_where_an_outage_was_already() -> None:
    outages, (status,) = make(StreamState.LIVE)
    outages.closed(50)
    status.state, status.last_time = StreamState.ACKNOWLEDGED, 50
    outages.silent(status)
    assert bounds(outages.back([status], 90, 0)) == [("S0", GapCause.SILENCE, 50, 90)]


def test_what_is_refused_at_last_is_on_record_as_refused() -> None:
    outages, (status,) = make(StreamState.LIVE)
    status.last_time = 40
    outages.silent(status)
    status.state = StreamState.FAILED
    assert bounds(outages.refused([status], 60, 0)) == [("S0", GapCause.REFUSED, 40, None)]
    assert outages.finished(90, 0) == []


def test_every_feed_of_a_stream_is_hit() -> None:
    stream = BYBIT_LINEAR.streams.stream("BTCUSDT", "ticker")
    feeds = [f"bybit/linear/BTCUSDT/{kind}" for kind in ("ticker", "mark_price", "open_interest")]
    status = StreamStatus(stream, StreamState.LIVE)
    outages = Outages({stream.name: status})
    outages.opened(10)
    assert [gap.feed for gap in outages.lost(LOST, 0)] == feeds
    outages.closed(50)
    assert [gap.feed for gap in outages.back([status], 60, 0)] == feeds
    assert [gap.feed for gap in outages.refused([status], 70, 0)] == feeds
    gaps = stream_gaps(
        stream, GapCause.QUARANTINE, start=1, end=2, receive_time=3, ordinal=4, frames=1
    )
    assert [(gap.feed, gap.size) for gap in gaps] == [(feed, 1) for feed in feeds]


def test_a_refusal_is_recorded_once_and_has_no_end() -> None:
    outages, statuses = make(StreamState.FAILED)
    assert bounds(outages.refused(statuses, 20, 0)) == [("S0", GapCause.REFUSED, 10, None)]
    outages.closed(30)
    outages.opened(40)
    assert outages.refused(statuses, 50, 0) == []
    assert outages.back(statuses, 60, 0) == []  # granted at last
    assert bounds(outages.refused(statuses, 70, 0)) == [("S0", GapCause.REFUSED, 40, None)]


@pytest.mark.parametrize("quarantined", [False, True])
def test_lost_frames_may_have_been_any_subscribed_streams(quarantined: bool) -> None:
    outages, statuses = make(*StreamState)
    gaps = outages.lost(Lost(1, 3, 100, 200, "a>b", quarantined), 7)
    cause = GapCause.QUARANTINE if quarantined else GapCause.OVERFLOW
    # The answer to a request may have been among what was lost.
    asked_for = [*SUBSCRIBED, StreamState.REQUESTED]
    hit = [status.stream.symbol for status in statuses if status.state in asked_for]
    assert bounds(gaps) == [(symbol, cause, 100, 200) for symbol in hit]
    assert {(gap.edge, gap.size, gap.unit) for gap in gaps} == {("a>b", 3, GapUnit.FRAMES)}


def test_where_no_frame_was_lost_nothing_is_claimed() -> None:
    outages, _ = make(StreamState.LIVE)
    assert outages.lost(Lost(1, 0, 100, 200, "parser", quarantined=True), 0) == []


@pytest.mark.parametrize(
    ("given", "unit", "size"),
    [
        ({}, GapUnit.UNKNOWN, None),
        ({"frames": 2}, GapUnit.FRAMES, 2),
        ({"ids": (5, 9)}, GapUnit.IDS, 5),
    ],
)
def test_a_gap_has_a_size_only_where_something_proves_it(
    given: dict[str, int], unit: GapUnit, size: int | None
) -> None:
    stream = BINANCE_SPOT.streams.stream("BTCUSDT", "kline:1m")
    gap = stream_gap(stream, GapCause.OVERFLOW, start=1, end=2, receive_time=3, ordinal=4, **given)
    assert (gap.unit, gap.size, gap.feed) == (unit, size, "binance/spot/BTCUSDT/kline:1m")
    assert (gap.first_id, gap.last_id) == given.get("ids", (None, None))
    assert (gap.start_time, gap.end_time, gap.receive_time, gap.ordinal) == (1, 2, 3, 4)
    assert not gap.repaired
