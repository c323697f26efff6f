"""Recordings with a message taken out: one gap, one resync, and the true book again."""

from __future__ import annotations

import json
import random
from typing import Any

import attrs

from farm.entities import BookUpdate, Gap
from farm.exchanges.session import StreamState
from farm.types import GapCause, GapUnit, NumberMode
from tests.books.feeding import STALE, VERIFIED
from tests.books.recorded import (
    BYBIT_SESSION,
    SNAPSHOT,
    SPOT_LOG,
    Log,
    logs,
    messages,
    session_drives,
)
from tests.books.text_book import TextBook
from tests.effort import runs
from tests.exchanges.feeding import (
    BYBIT_LINEAR,
    SECOND,
    Drive,
    bybit_reply,
    combined,
    depth_body,
    text,
)


@attrs.define
class Cut:
    """A stretch of a recording, the book before it, and the book somewhat after the hole."""

    messages: list[tuple[str, Any, bytes]]
    hole: int  # which of the stretch's diffs is taken out
    before: bytes
    later: bytes
    end: TextBook = attrs.field(factory=TextBook)


BEFORE, LATER, AFTER = 3, 4, 30  # diffs before the hole, until the snapshot, until the end


def cuts(log: Log, count: int) -> list[Cut]:
    found = list(messages(log))
    at = [n for n, (topic, *_) in enumerate(found) if topic == log.topic]
    dice = random.Random(7)
    chosen = sorted(dice.sample(range(30, len(at) - AFTER - 1), count))
    start = next(data for topic, data, _ in found if topic == SNAPSHOT)
    made = []
    bodies: dict[int, bytes] = {}
    ends: dict[int, TextBook] = {}
    wanted = {n + k for n in chosen for k in (-BEFORE - 1, LATER)}
    truth = TextBook(start["bids"], start["asks"])
    for n, position in enumerate(at):
        data = found[position][1]
        if data["u"] > start["lastUpdateId"]:
            truth.apply(data["b"], data["a"])
        if n in wanted:
            bodies[n] = truth.depth_body(data["u"])
        if n - AFTER in chosen:
            ends[n - AFTER] = TextBook(*truth.rows())
    for n in chosen:
        stretch = found[at[n - BEFORE] : at[n + AFTER] + 1]
        made.append(Cut(stretch, BEFORE, bodies[n - BEFORE - 1], bodies[n + LATER], ends[n]))
    return made


def other_diff(log: Log, symbol: str, n: int) -> bytes:
    """A diff of another symbol on the same connection."""
    data = {"e": "depthUpdate", "E": 1, "T": 1, "s": symbol, "U": n, "u": n, "pu": n - 1}
    return combined(f"{symbol.lower()}@{log.topic}", data | {"b": [["1", "3"]], "a": []})


@logs
def test_a_diff_taken_out_anywhere_is_one_gap_and_the_book_heals(log: Log) -> None:
    compared = 0
    count = max(8, runs(40 if log is SPOT_LOG else 15))  # of few it is chance what is compared
    ether = log.symbol.replace("BTC", "ETH")
    for cut in cuts(log, count):
        drive = Drive(log.rules, [log.spec, "quote", "trade"], [log.symbol, ether])
        drive.step = SECOND // 1000
        drive.open()
        drive.snapshot(cut.before, log.spec, log.symbol)
        drive.snapshot(depth_body(10, [["1", "1"]], [["2", "1"]]), log.spec, ether)
        gaps: list[Gap] = []
        diffs, last, other_id = 0, 0, 10
        expected: tuple[int, int] | None = None
        good: int | None = None
        for topic, data, raw in cut.messages:
            other_id += 1
            other = drive.read(other_diff(log, ether, other_id))
            assert [row.verdict for row in other.rows] == [VERIFIED]
            if topic == log.topic:
                diffs += 1
                if diffs == cut.hole + 1:
                    expected = last + 1, data["u"]
                    continue
                last = data["u"]
            outcome = drive.read(raw)
            gaps += outcome.gaps
            if topic != log.topic:
                continue
            if diffs <= cut.hole:
                good = drive.time
            elif diffs == cut.hole + 2:  # the first after the hole shows it
                (gap,) = outcome.gaps
                assert gap.feed == drive.stream(log.spec, log.symbol).feed
                assert (gap.start_time, gap.end_time) == (good, drive.time)
                (fetch,) = drive.fetches()
                assert fetch.stream.symbol == log.symbol
            verdict = outcome.only(BookUpdate)[0].verdict
            healed = not cut.hole + 1 < diffs <= cut.hole + 1 + LATER
            assert verdict is (VERIFIED if healed else STALE)
            if diffs == cut.hole + 1 + LATER:
                gaps += drive.snapshot(cut.later, log.spec, log.symbol).gaps
                before = drive.book(log.spec, log.symbol).check.compared
        assert [(g.first_id, g.last_id, g.unit, g.cause) for g in gaps] == [
            (*(expected or ()), GapUnit.IDS, GapCause.SEQUENCE_BREAK)
        ]
        book = drive.book(log.spec, log.symbol)
        assert cut.end.is_shown_by(book.book(), float)
        assert book.check.wrong == 0
        assert drive.commands == []
        compared += book.check.compared - before
    assert compared > count / 2  # quotes have confirmed the books that healed


def test_a_delta_taken_out_anywhere_is_one_gap_and_one_topic_subscribed_again() -> None:
    found = [
        (json.loads(record.text), record.text)
        for drive, record, _ in session_drives(BYBIT_SESSION, NumberMode.FLOAT)
        if drive.rules is BYBIT_LINEAR and b'"orderbook.' in record.text
    ]
    symbols = sorted({message["data"]["s"] for message, _ in found})
    dice = random.Random(3)
    for hole in dice.sample(range(40, len(found) - 100), runs(12)):
        symbol = found[hole][0]["data"]["s"]
        update_id = found[hole][0]["data"]["u"]
        drive = Drive(BYBIT_LINEAR, ["book"], symbols)
        drive.step = SECOND // 1000
        drive.open()
        books: dict[str, TextBook] = {}
        gaps: list[Gap] = []
        pending: list[dict[str, Any]] = []
        silent = 0  # messages until the venue answers
        for n, (message, raw) in enumerate(found):
            data = message["data"]
            if message["type"] == "snapshot":
                books[data["s"]] = TextBook()
            books[data["s"]].apply(data["b"], data["a"])
            if n == hole:
                continue
            if pending and data["s"] == symbol:
                silent += 1
                if silent < 5:  # what was under way before the request was heard
                    outcome = drive.read(raw)
                    assert [row.verdict for row in outcome.rows] == [STALE]
                    continue
                replies = [bybit_reply(r["req_id"], r["op"]) for r in pending]
                whole = data | dict(zip("ba", books[symbol].rows(), strict=True))
                snapshot = text(message | {"type": "snapshot", "data": whole})
                outcome = drive.read(*replies, snapshot)
                assert outcome.unparsed == []
                pending = []
            else:
                outcome = drive.read(raw)
            gaps += outcome.gaps
            if requests := drive.sent():
                assert [(r["op"], r["args"]) for r in requests] == [
                    (op, [f"orderbook.200.{symbol}"]) for op in ("unsubscribe", "subscribe")
                ]
                assert [row.verdict for row in outcome.only(BookUpdate)] == [STALE]
                pending = requests
            elif n != hole:
                assert [row.verdict for row in outcome.only(BookUpdate)] == [VERIFIED]
        assert {(g.symbol, g.cause) for g in gaps} == {(symbol, GapCause.SEQUENCE_BREAK)}
        assert [(g.first_id, g.last_id, g.unit) for g in gaps] == [
            (update_id, update_id, GapUnit.IDS),
            (None, None, GapUnit.UNKNOWN),  # what came between the two subscriptions
        ]
        assert gaps[0].end_time == gaps[1].start_time
        assert silent >= 5
        for book in drive.keeper.books:
            assert book.verdict is VERIFIED
            assert books[book.stream.symbol].is_shown_by(book.book(), float)
        assert {s.state for s in drive.session.statuses.values()} == {StreamState.LIVE}
