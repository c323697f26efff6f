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
from tests.books.recorded import BYBIT_SESSION, session_drives, spot_messages
from tests.books.text_book import TextBook
from tests.effort import runs
from tests.exchanges.feeding import (
    BINANCE_SPOT,
    BYBIT_LINEAR,
    SECOND,
    Drive,
    binance_diff,
    bybit_reply,
    depth_body,
    text,
)


@attrs.define
class Cut:
    """A stretch of the spot recording, the book before it, and the book somewhat after the hole."""

    messages: list[tuple[str, Any, bytes]]
    hole: int  # which of the stretch's diffs is taken out
    before: bytes
    later: bytes
    end: TextBook = attrs.field(factory=TextBook)


BEFORE, LATER, AFTER = 3, 4, 30  # diffs before the hole, until the snapshot, until the end


def cuts(count: int) -> list[Cut]:
    messages = list(spot_messages())
    at = [n for n, (topic, *_) in enumerate(messages) if topic == "depth@100ms"]
    dice = random.Random(7)
    chosen = sorted(dice.sample(range(20, len(at) - AFTER - 1), count))
    start = next(data for topic, data, _ in messages if topic == "snapshot")
    truth, made = TextBook(), []
    bodies: dict[int, bytes] = {}
    ends: dict[int, TextBook] = {}
    wanted = {n + k for n in chosen for k in (-BEFORE - 1, LATER)}
    truth = TextBook(start["bids"], start["asks"])
    for n, position in enumerate(at):
        data = messages[position][1]
        if data["u"] > start["lastUpdateId"]:
            truth.apply(data["b"], data["a"])
        if n in wanted:
            bodies[n] = truth.depth_body(data["u"])
        if n - AFTER in chosen:
            ends[n - AFTER] = TextBook(*truth.rows())
    for n in chosen:
        stretch = messages[at[n - BEFORE] : at[n + AFTER] + 1]
        made.append(Cut(stretch, BEFORE, bodies[n - BEFORE - 1], bodies[n + LATER], ends[n]))
    return made


def test_a_diff_taken_out_anywhere_is_one_gap_and_the_book_heals() -> None:
    compared = 0
    for cut in cuts(runs(40)):
        drive = Drive(BINANCE_SPOT, ["book", "quote", "trade"], ["BTCUSDT", "ETHUSDT"])
        drive.step = SECOND // 1000
        drive.open()
        drive.snapshot(cut.before)
        drive.snapshot(depth_body(10, [["1", "1"]], [["2", "1"]]), symbol="ETHUSDT")
        gaps: list[Gap] = []
        diffs, ether = 0, 10
        expected: tuple[int, int] | None = None
        good: int | None = None
        for topic, data, raw in cut.messages:
            ether += 1
            other = drive.read(binance_diff(ether, ether, [["1", "3"]], symbol="ETHUSDT"))
            assert [row.verdict for row in other.rows] == [VERIFIED]
            if topic == "depth@100ms":
                diffs += 1
                if diffs == cut.hole + 1:
                    expected = data["U"], data["u"]
                    continue
            outcome = drive.read(raw)
            gaps += outcome.gaps
            if topic != "depth@100ms":
                continue
            if diffs <= cut.hole:
                good = drive.time
            elif diffs == cut.hole + 2:  # the first after the hole shows it
                (gap,) = outcome.gaps
                assert gap.feed == "binance/spot/BTCUSDT/book"
                assert (gap.start_time, gap.end_time) == (good, drive.time)
                (fetch,) = drive.fetches()
                assert fetch.stream.symbol == "BTCUSDT"
            verdict = outcome.only(BookUpdate)[0].verdict
            healed = not cut.hole + 1 < diffs <= cut.hole + 1 + LATER
            assert verdict is (VERIFIED if healed else STALE)
            if diffs == cut.hole + 1 + LATER:
                gaps += drive.snapshot(cut.later).gaps
                before = drive.book().check.compared
        assert [(g.first_id, g.last_id, g.unit, g.cause) for g in gaps] == [
            (*(expected or ()), GapUnit.IDS, GapCause.SEQUENCE_BREAK)
        ]
        assert cut.end.is_shown_by(drive.book().book(), float)
        assert drive.book().check.wrong == 0
        assert drive.commands == []
        compared += drive.book().check.compared - before
    assert compared > 2 * runs(40)  # quotes have confirmed the books that healed


def test_a_delta_taken_out_anywhere_is_one_gap_and_one_topic_subscribed_again() -> None:
    messages = [
        (json.loads(record.text), record.text)
        for drive, record, _ in session_drives(BYBIT_SESSION, NumberMode.FLOAT)
        if drive.rules is BYBIT_LINEAR and b'"orderbook.' in record.text
    ]
    symbols = sorted({message["data"]["s"] for message, _ in messages})
    dice = random.Random(3)
    for hole in dice.sample(range(40, len(messages) - 100), runs(12)):
        symbol = messages[hole][0]["data"]["s"]
        update_id = messages[hole][0]["data"]["u"]
        drive = Drive(BYBIT_LINEAR, ["book"], symbols)
        drive.step = SECOND // 1000
        drive.open()
        books: dict[str, TextBook] = {}
        gaps: list[Gap] = []
        pending: list[dict[str, Any]] = []
        silent = 0  # messages until the venue answers
        for n, (message, raw) in enumerate(messages):
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
        assert [(g.symbol, g.first_id, g.last_id, g.cause) for g in gaps] == [
            (symbol, update_id, update_id, GapCause.SEQUENCE_BREAK)
        ]
        assert silent >= 5
        for book in drive.keeper.books:
            assert book.verdict is VERIFIED
            assert books[book.stream.symbol].is_shown_by(book.book(), float)
        assert {s.state for s in drive.session.statuses.values()} == {StreamState.LIVE}
