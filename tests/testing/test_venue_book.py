from __future__ import annotations

import json
from typing import Any

from farm.testing.venue_book import DepthShape, DiffBook, TopicBook, TopicTicker

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


def test_a_snapshot_has_the_keys_of_the_last_message_in_its_order() -> None:
    book = TopicBook()
    text = message("snapshot", 5, [["9", "2"]]).replace("{", '{"id":"币-1",', 1)
    book.take(text)
    assert book.snapshot() == text.replace(": ", ":").replace(", ", ",")
    book.take(message("delta", 6, [["9", "0"]]))
    found = json.loads(book.snapshot())
    assert list(found) == ["topic", "type", "ts", "data", "cts"]
    assert (found["type"], found["data"]["b"], found["data"]["u"]) == ("snapshot", [], 6)


def test_a_rest_answer_seeds_a_topic_that_has_deltas_alone() -> None:
    book = TopicBook()
    result = {"s": "X", "b": [["9", "1"]], "a": [], "u": 4, "seq": 8, "ts": 3, "cts": 2}
    book.take_reply(json.dumps({"retCode": 0, "result": result}))
    assert json.loads(book.reply()) == result
    book.take(message("delta", 5, [["9", "0"], ["8", "1"]]))
    assert json.loads(book.reply()) == {
        "s": "X", "b": [["8", "1"]], "a": [["11", "1"]], "u": 5, "seq": 10, "ts": 7, "cts": 6
    }  # fmt: skip


def test_futures_replies_have_the_times_of_what_came_last_and_names() -> None:
    book = DiffBook(DepthShape(timed=True, names='"symbol":"X","pair":"Y",'))
    book.take_snapshot(
        '{"lastUpdateId":10,"E":5,"T":4,"bids":[["9","1"],["8","1"]],"asks":[["11","1"]]}'
    )
    times = {"lastUpdateId": 10, "E": 5, "T": 4}
    shape = {"symbol": "X", "pair": "Y", "bids": [["9", "1"]], "asks": [["11", "1"]]}
    assert list(json.loads(book.snapshot(1)).items()) == [*times.items(), *shape.items()]
    changes: dict[str, Any] = {"U": 20, "u": 30, "pu": 10, "b": [["9", "0"]], "a": []}
    book.take_diff(json.dumps({"E": 9, "T": 8, **changes}))
    later = json.loads(book.snapshot(5))
    assert (later["lastUpdateId"], later["E"], later["T"]) == (30, 9, 8)
    assert later["bids"] == [["8", "1"]]


def test_a_ticker_is_its_snapshot_with_the_changes_since() -> None:
    ticker = TopicTicker()
    assert ticker.snapshot() is None
    ticker.take('{"type":"delta","data":{"a":"9"},"cs":1}')
    assert ticker.snapshot() is None
    ticker.take('{"topic":"t","type":"snapshot","data":{"s":"币","a":"1","b":"2"},"cs":2}')
    ticker.take('{"topic":"t","type":"delta","data":{"s":"币","b":"3"},"cs":4}')
    assert ticker.snapshot() == (
        '{"topic":"t","type":"snapshot","data":{"s":"币","a":"1","b":"3"},"cs":4}'
    )
