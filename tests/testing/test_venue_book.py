from __future__ import annotations

import json

from farm.testing.venue_book import DiffBook, TopicBook

SNAPSHOT = '{"lastUpdateId":10,"bids":[["9","1"],["8","2"]],"asks":[["11","1"],["12","2"]]}'


def diff(first: int, last: int, bids: list[list[str]], asks: list[list[str]]) -> str:
    return json.dumps({"U": first, "u": last, "b": bids, "a": asks})


def test_the_recorded_text_is_the_answer_while_it_is_the_book() -> None:
    book = DiffBook()
    assert book.update_id is None
    book.take_snapshot(SNAPSHOT)
    book.take_diff(diff(8, 10, [["9", "7"]], []))  # older than the snapshot
    assert book.snapshot(1000) == SNAPSHOT
    assert book.snapshot(1) == '{"lastUpdateId":10,"bids":[["9","1"]],"asks":[["11","1"]]}'


def test_diffs_change_the_book() -> None:
    book = DiffBook()
    book.take_snapshot(SNAPSHOT)
    book.take_diff(diff(11, 13, [["9", "0.00"], ["10", "4"]], [["100", "5"]]))
    assert json.loads(book.snapshot(5)) == {
        "lastUpdateId": 13,
        "bids": [["10", "4"], ["8", "2"]],
        "asks": [["11", "1"], ["12", "2"], ["100", "5"]],
    }


def test_diffs_that_came_before_the_snapshot_are_joined_to_it() -> None:
    book = DiffBook()
    book.take_diff(diff(5, 9, [["9", "9"]], []))
    book.take_diff(diff(10, 12, [["8", "3"]], []))
    book.take_snapshot(SNAPSHOT)
    assert book.update_id == 12
    assert book.snapshot(5) == SNAPSHOT, "the exact answer until the next diff"
    book.take_diff(diff(13, 13, [], [["11", "4"]]))
    assert json.loads(book.snapshot(5)) == {
        "lastUpdateId": 13,
        "bids": [["9", "1"], ["8", "3"]],
        "asks": [["11", "4"], ["12", "2"]],
    }


def test_a_slower_diff_does_not_turn_back_the_book() -> None:
    book = DiffBook()
    book.take_snapshot(SNAPSHOT)
    book.take_diff(diff(11, 11, [["9", "5"]], []))
    book.take_diff(diff(12, 12, [["9", "6"]], []))
    before = book.snapshot(5)
    book.take_diff(diff(11, 12, [["9", "6"]], []))
    assert book.snapshot(5) == before


def message(kind: str, update_id: int, bids: list[list[str]], ts: object = 7) -> str:
    return json.dumps(
        {
            "topic": "orderbook.50.X",
            "type": kind,
            "ts": ts,
            "data": {"s": "X", "b": bids, "a": [["11", "1"]], "u": update_id, "seq": update_id * 2},
            "cts": 6,
        }
    )


def test_a_topic_book_follows_snapshots_and_deltas() -> None:
    book = TopicBook()
    book.take(message("delta", 4, [["9", "1"]]))
    assert book.update_id is None, "a delta before the snapshot"
    book.take(message("snapshot", 5, [["8.5", "1"], ["9", "2"]]))
    book.take(message("delta", 6, [["9", "0"], ["10", "3"]], ts="8"))
    assert json.loads(book.data()) == {
        "s": "X",
        "b": [["10", "3"], ["8.5", "1"]],
        "a": [["11", "1"]],
        "u": 6,
        "seq": 12,
    }
    assert (book.ts, book.cts) == (8, 6)
    book.take(message("snapshot", 1, [["7", "1"]]))
    assert json.loads(book.data())["b"] == [["7", "1"]]
