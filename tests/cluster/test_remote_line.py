"""A line as the parent has it: what is known of it, and what is lost when its shard fails."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from farm.bundle import Bundle
from farm.cluster.messages import LineReport
from farm.cluster.remote_line import LANES_UNTOLD, RemoteLine
from farm.config import CollectorConfig
from farm.entities import Gap
from farm.types import GapCause, GapUnit, NumberMode

SPOT = CollectorConfig("binance", "spot", ["BTCUSDT"], ["trade", "book", "quote"])
TRADE, BOOK, QUOTE = (stream.name for stream in SPOT.streams_of())
NAME = "binance/spot#1"


def remote_line(**given: Any) -> RemoteLine:
    planned = {stream.name: stream for stream in SPOT.streams_of()}
    return RemoteLine(NAME, SPOT, planned, NumberMode.FLOAT, 1, **given)


def report(*up: str, next_lane: int = 2, **down: int) -> LineReport:
    """`down` by what a stream is called here: trade, book, quote."""
    names = {"trade": TRADE, "book": BOOK, "quote": QUOTE}
    since = {names[name]: time for name, time in down.items()}
    return LineReport(NAME, next_lane, list(up), since, 10, {})


async def rest_of(line: RemoteLine, now: int = 500) -> list[Bundle]:
    published: list[Bundle] = []

    async def publish(bundle: Bundle) -> None:
        published.append(bundle)

    await line.publish_rest(publish, lambda: now)
    return published


def gaps(bundles: list[Bundle]) -> dict[str, tuple[int | None, int | None]]:
    """The times that are lost, by feed."""
    rows = [row for bundle in bundles for batch in bundle.batches for row in batch.rows]
    assert all(type(row) is Gap for row in rows)
    assert len({row.feed for row in rows}) == len(rows)
    return {row.feed.rpartition("/")[2]: (row.start_time, row.end_time) for row in rows}


# ------------------------------------------------------------------------------------- how it opens
def test_it_opens_as_it_was_planned() -> None:
    opening = remote_line().opening()
    assert (opening.line, opening.collector, opening.first_lane) == (NAME, SPOT, 1)
    assert [stream.name for stream in opening.streams] == [TRADE, BOOK, QUOTE]
    assert (opening.down_since, opening.held) == ({}, False)


def test_it_opens_with_what_was_lost_of_what_it_still_carries() -> None:
    line = remote_line()
    line.take(report(TRADE, BOOK, QUOTE), 90)
    line.lost(100)
    del line.planned[QUOTE]
    assert line.opening().down_since == {TRADE: 100, BOOK: 100}


def test_where_it_moves_to_nothing_was_lost() -> None:
    """The process before hands its state over; what it lacked then is in that."""
    line = remote_line(down_since={TRADE: 5})
    opening = line.opening(held=True, first_lane=7)
    assert (opening.held, opening.first_lane, opening.down_since) == (True, 7, {})


def test_lanes_of_a_process_that_is_gone_are_never_named_again() -> None:
    line = remote_line()
    line.take(report(next_lane=4), 90)
    line.take(report(next_lane=3), 91)
    assert line.opening().first_lane == 4
    line.lost(100)
    assert line.opening().first_lane == 4 + LANES_UNTOLD
    line.lost(200)  # before it said anything
    assert line.opening().first_lane == 4 + 2 * LANES_UNTOLD


def test_nothing_waits_here() -> None:
    assert remote_line().left == 0
    assert remote_line().rules is SPOT.rules


# ------------------------------------------------------------------------------------ what is lost
async def test_nothing_is_lost_where_no_shard_fails() -> None:
    line = remote_line()
    line.take(report(TRADE, BOOK, QUOTE), 90)
    line.is_safe(100)
    assert line.down_since == {}
    assert await rest_of(line) == []


def test_what_was_down_before_is_down_since_then() -> None:
    line = remote_line()
    line.take(report(TRADE, book=40, quote=300), 90)
    line.lost(100)
    assert line.down_since == {TRADE: 100, BOOK: 40, QUOTE: 100}
    assert line.report is None


def test_what_came_up_since_the_last_report_is_lost_too() -> None:
    """And so is all of a line that its shard never told of."""
    line = remote_line()
    line.lost(100)
    assert line.down_since == {TRADE: 100, BOOK: 100, QUOTE: 100}


def test_a_shard_that_fails_again_before_its_streams_are_back_makes_one_loss() -> None:
    line = remote_line()
    line.take(report(TRADE, BOOK, QUOTE), 90)
    line.lost(100)
    line.take(report(trade=100, book=100, quote=100), 190)
    line.lost(200)
    assert line.down_since == {TRADE: 100, BOOK: 100, QUOTE: 100}


def test_what_is_back_is_lost_no_longer_when_the_record_of_it_is_safe() -> None:
    line = remote_line(down_since={TRADE: 100, BOOK: 100})
    line.take(report(TRADE, book=100), 190)
    line.is_safe(190)  # the record of it is of that time at the latest
    assert line.down_since == {TRADE: 100, BOOK: 100}
    line.is_safe(191)
    assert line.down_since == {BOOK: 100}
    line.lost(300)
    assert line.down_since == {TRADE: 300, BOOK: 100, QUOTE: 300}


def test_what_is_back_and_not_safe_when_its_shard_fails_is_lost_since_it_was_first() -> None:
    line = remote_line(down_since={TRADE: 100})
    line.take(report(TRADE), 190)
    line.lost(180)
    assert line.down_since[TRADE] == 100
    line.is_safe(1000)  # a beat of the next process, of which nothing came back yet
    assert line.down_since[TRADE] == 100


def test_a_stream_is_back_when_that_is_told_first() -> None:
    line = remote_line(down_since={TRADE: 100})
    for time in (190, 195, 199):
        line.take(report(TRADE), time)
    line.is_safe(192)
    assert line.down_since == {}


def test_where_its_shard_ended_as_it_should_all_is_on_record() -> None:
    line = remote_line(down_since={TRADE: 100})
    line.take(report(TRADE), 190)
    line.ended()
    line.is_safe(1000)
    assert line.down_since == {}


def test_what_is_lost_and_not_back_is_untold() -> None:
    line = remote_line(down_since={TRADE: 100, BOOK: 110, "of a stream that was removed": 120})
    assert line.untold == {TRADE: 100, BOOK: 110}
    line.take(report(BOOK, trade=100), 190)
    assert line.untold == {TRADE: 100}, "the other's record is on the way"
    line.lost(150)
    assert line.untold == {TRADE: 100, BOOK: 110, QUOTE: 150}, "and went with the process"


# -------------------------------------------------------------------------------------- at the end
async def test_at_the_end_there_is_a_gap_for_each_feed_that_is_lost_still() -> None:
    line = remote_line(down_since={TRADE: 100, BOOK: 200})
    line.take(report(BOOK), 300)
    (bundle,) = await rest_of(line)
    assert gaps([bundle]) == {"trade": (100, 500)}, "the book's was recorded where it came back"
    (gap,) = bundle.batches[0].rows
    assert (gap.edge, gap.cause, gap.unit, gap.size) == (
        "shard", GapCause.CRASH, GapUnit.UNKNOWN, None,
    )  # fmt: skip
    assert (gap.symbol, gap.receive_time, gap.repaired) == ("BTCUSDT", 500, False)
    assert bundle.batches[0].origins == [(bundle.origin, 1)]
    assert bundle.receive_time == 500


async def test_it_is_said_once() -> None:
    line = remote_line(down_since={TRADE: 100})
    assert len(await rest_of(line)) == 1
    assert await rest_of(line) == []


async def test_gaps_at_the_end_have_an_order_and_a_connection_of_their_own() -> None:
    lines = [remote_line(down_since={TRADE: 100, BOOK: 200}) for _ in range(2)]
    (one,), (other,) = [await rest_of(line) for line in lines]
    assert [gap.row for gap in one.batches[0].rows] == [0, 1]
    assert one.serial != other.serial
    assert one.origin.connection not in {NAME, *(f"{NAME}~{n}" for n in range(9))}


async def test_what_is_collected_no_longer_is_not_missed() -> None:
    line = remote_line(down_since={TRADE: 100, BOOK: 200})
    del line.planned[TRADE]
    assert gaps(await rest_of(line)) == {"book": (200, 500)}


@pytest.mark.parametrize("spec", ["ticker"])
async def test_every_feed_that_a_stream_carries_is_missing(spec: str) -> None:
    linear = CollectorConfig("bybit", "linear", ["BTCUSDT"], [spec])
    (stream,) = linear.streams_of()
    line = attrs.evolve(
        remote_line(), collector=linear, planned={stream.name: stream}, down_since={stream.name: 1}
    )
    found = gaps(await rest_of(line))
    assert len(stream.feeds) > 1
    assert set(found) == {feed.rpartition("/")[2] for feed in stream.feeds}


async def test_where_the_record_is_not_taken_it_is_still_to_be_said() -> None:
    line = remote_line(down_since={TRADE: 100})

    async def refuse(_: Bundle) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        await line.publish_rest(refuse, lambda: 500)
    assert gaps(await rest_of(line)) == {"trade": (100, 500)}
