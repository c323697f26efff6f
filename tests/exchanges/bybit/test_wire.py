"""Every frame of Bybit's recording and samples, against an independent reading of its text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from farm.entities import BookUpdate, Kline, Quote, Trade
from farm.exchanges.registry import rules_of
from farm.exchanges.session import Frames, Opened
from farm.storage.capture import CaptureEvent, capture_market, read_capture
from farm.types import BookVerdict, Exchange, Market, NumberMode, Side, TimeFrame
from tests.exchanges.feeding import (
    BYBIT_LINEAR,
    Drive,
    as_read,
    bybit_book,
    bybit_trades,
    number_of,
    text,
)
from tests.recordings import payload_file, recording

modes = pytest.mark.parametrize("mode", list(NumberMode))
MS = 1_000_000
Number = Callable[[str], Any]


# ---------------------------------------------------------------------------- the second reading
def readings(
    market: Market, message: dict[str, Any], number: Number
) -> list[tuple[type, dict[str, Any]]]:
    """The events that a message means, field by field."""
    topic, data = message["topic"], message["data"]
    family, symbol = topic.split(".", 1)[0], topic.rsplit(".", 1)[1]
    same = {"exchange": Exchange.BYBIT, "market": market, "symbol": symbol}
    same |= {"event_time": int(message["ts"]) * MS}
    if family == "publicTrade":
        return [
            (
                Trade,
                same
                | {
                    "id": d["i"],
                    "price": number(d["p"]),
                    "quantity": number(d["v"]),
                    "side": {"Buy": Side.BUY, "Sell": Side.SELL}[d["S"]],
                    "exchange_time": d["T"] * MS,
                    "sequence": d.get("seq"),
                    "block_trade": d.get("BT"),
                    "rpi": d.get("RPI"),
                    "order_type": None,
                    "row": row,
                },
            )
            for row, d in enumerate(data)
        ]
    if family == "kline":
        return [
            (
                Kline,
                same
                | {
                    "interval": TimeFrame({"1": "1m", "5": "5m"}[d["interval"]]),
                    "open_time": d["start"] * MS,
                    "close_time": d["end"] * MS,
                    **{name: number(d[name]) for name in ("open", "high", "low", "close")},
                    "base_volume": number(d["volume"]),
                    "quote_volume": number(d["turnover"]),
                    "taker_buy_base_volume": None,
                    "taker_buy_quote_volume": None,
                    "trade_count": None,
                    "first_trade_id": None,
                    "last_trade_id": None,
                    "closed": d["confirm"],
                    "exchange_time": d["timestamp"] * MS,
                    "row": row,
                },
            )
            for row, d in enumerate(data)
        ]
    sides = {"bid_levels": data["b"], "ask_levels": data["a"]}
    book = {name: [(number(p), number(q)) for p, q in rows] for name, rows in sides.items()}
    return [
        (
            BookUpdate,
            same
            | book
            | {
                "depth": int(topic.split(".")[1]),
                "is_snapshot": message["type"] == "snapshot",
                "first_id": data["u"],
                "last_id": data["u"],
                "previous_id": None,
                "sequence": data["seq"],
                "verdict": BookVerdict.SYNCING,
                "exchange_time": message["cts"] * MS,
                "row": 0,
            },
        )
    ]


def check(
    events: list[Any], message: Any, market: Market, mode: NumberMode, time: int, ordinal: int
) -> None:
    expected = readings(market, message, number_of(mode))
    place = {"receive_time": time, "ordinal": ordinal}
    assert [(type(e), as_read(e)) for e in events] == [(k, f | place) for k, f in expected]


# ------------------------------------------------------------------------------------- recordings
@modes
def test_every_event_of_the_recording_is_what_its_text_says(mode: NumberMode) -> None:
    sessions: dict[str, Any] = {}
    seen: Counter[Any] = Counter()
    for ordinal, record in enumerate(read_capture(recording("session_bybit_20260809.jsonl.gz"))):
        if record.event is not CaptureEvent.RECEIVED:
            continue
        exchange, market = capture_market(record.url) or (None, None)
        assert exchange is Exchange.BYBIT
        if record.connection not in sessions:
            rules = rules_of(exchange, market)
            session = Drive(rules, numbers=mode, discover=True).session
            session.handle(Opened(1, 0, 0.0))
            sessions[record.connection] = session
        message = json.loads(record.text)
        bundle = sessions[record.connection].handle(
            Frames(1, record.time, ordinal, [record.text], len(record.text))
        )
        if "topic" not in message:
            assert (message["op"], bundle) == ("subscribe", None)
            seen["acks"] += 1
        elif message["topic"].startswith("tickers."):
            assert bundle.batches == []
            assert [(kept.kind, kept.raw) for kept in bundle.unparsed] == [("tickers", record.text)]
            seen["tickers"] += 1
        else:
            assert bundle.unparsed == []
            (batch,) = bundle.batches
            check(batch.rows, message, market, mode, record.time, ordinal)
            for event in batch:
                whole = isinstance(event, BookUpdate) and event.is_snapshot
                seen[market, type(event), whole] += 1
    linear, spot = Market.LINEAR, Market.SPOT
    assert seen.pop((linear, Kline, False)) + seen.pop((spot, Kline, False)) == 100
    assert seen == {
        "acks": 24,
        "tickers": 839,
        (linear, Trade, False): 327,
        (spot, Trade, False): 20,
        (linear, BookUpdate, True): 4,
        (spot, BookUpdate, True): 2,
        (linear, BookUpdate, False): 1_594,
        (spot, BookUpdate, False): 548,
    }


# ---------------------------------------------------------------------------------------- samples
NOT_OURS = {  # families, and why their samples are no events here; all else must be
    "allLiquidation": "no core knows liquidations yet",
    "insurance": "no core knows the insurance pool",
    "priceLimit": "no core knows price limits",
    "tickers": "no core knows tickers yet",
    "system": "a market of its own",
    "orderbook.full": "deltas only, with a procedure of its own",
    "orderbook.rpi": "rows of three, with the hidden size",
}


@modes
def test_every_sample_of_a_topic_that_is_known_is_what_its_text_says(mode: NumberMode) -> None:
    drive = Drive(BYBIT_LINEAR, numbers=mode, discover=True, books=False)
    drive.open()
    parsed: Counter[type] = Counter()
    unknown = set()
    lines = payload_file("bybit_documented.ndjson").read_text().splitlines()
    live = payload_file("live_frames_2026.ndjson").read_text().splitlines()
    lines += [line for line in live if json.loads(line)["venue"] in ("bybit-linear", "bybit-spot")]
    for line in lines:
        raw = json.loads(line)["raw"]
        message = json.loads(raw)
        if "topic" not in message:
            continue  # a request, a reply, or a REST answer
        outcome = drive.read(raw.encode())
        topic = message["topic"]
        reasons = {family for family in NOT_OURS if topic.startswith(family)}
        if reasons:
            assert outcome.rows == []
            assert len(outcome.unparsed) == 1
            unknown |= reasons
        else:
            time, ordinal = drive.time, drive.ordinal - 1
            assert outcome.unparsed == []
            check(outcome.rows, message, Market.LINEAR, mode, time, ordinal)
            parsed[type(outcome.rows[0])] += 1
    assert parsed == {Kline: 1, BookUpdate: 1, Trade: 1}
    assert unknown == set(NOT_OURS)


# -------------------------------------------------------------------------------------- particulars
def read(*frames: bytes, specs: tuple[str, ...] = ("trade", "quote", "book")) -> list[Any]:
    drive = Drive(BYBIT_LINEAR, specs, books=False)
    drive.open()
    outcome = drive.read(*frames)
    assert outcome.unparsed == []
    return outcome.rows


def test_every_trade_of_a_message_is_kept_up_to_the_largest() -> None:
    ids = [str(n) for n in range(1024)]
    trades = read(bybit_trades(*ids))
    assert [trade.id for trade in trades] == ids
    assert [trade.row for trade in trades] == list(range(1024))


def test_times_may_be_text_and_what_only_some_markets_give_may_be_missing() -> None:
    message = json.loads(bybit_trades("a"))
    for name in ("BT", "RPI", "seq", "L"):
        del message["data"][0][name]
    (trade,) = read(text(message | {"ts": "1790000000123"}))
    assert trade.event_time == 1790000000123 * MS
    assert (trade.block_trade, trade.rpi, trade.sequence) == (None, None, None)
    book = json.loads(bybit_book("snapshot", 5))
    del book["cts"]
    (update,) = read(text(book))
    assert update.exchange_time == update.event_time == 1790000000123 * MS


def test_u_1_replaces_the_book_whatever_its_type_says() -> None:
    updates = read(bybit_book("delta", 1), bybit_book("delta", 2), bybit_book("snapshot", 9))
    assert [update.is_snapshot for update in updates] == [True, False, True]


@pytest.mark.parametrize("kind", ["full", "", "Snapshot"])
def test_a_book_message_of_another_type_is_malformed(kind: str) -> None:
    drive = Drive(BYBIT_LINEAR, ["book", "quote"])
    drive.open()
    kept = drive.read(bybit_book(kind, 4), bybit_book("delta", 4, depth=1)).unparsed
    assert [frame.kind for frame in kept] == ["malformed"] * 2


def test_a_quote_is_the_top_level_and_an_empty_side_is_none() -> None:
    bids = [["10", "1"]]
    (quote, empty) = read(
        bybit_book("snapshot", 7, bids, [["11", "2"]], depth=1, seq=70),
        bybit_book("snapshot", 8, bids, [], depth=1),
    )
    assert isinstance(quote, Quote)
    assert (quote.bid_price, quote.bid_quantity) == (10.0, 1.0)
    assert (quote.ask_price, quote.ask_quantity) == (11.0, 2.0)
    assert (quote.update_id, quote.sequence) == (7, 70)
    assert quote.exchange_time == 1790000000120 * MS
    assert (empty.ask_price, empty.ask_quantity) == (None, None)


def test_a_repeated_quote_is_none_but_a_redelivered_one_is() -> None:
    drive = Drive(BYBIT_LINEAR, ["quote"], ["BTCUSDT", "ETHUSDT"])
    drive.open()
    frames = [
        bybit_book("snapshot", 7, depth=1, symbol=symbol) for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    assert len(drive.read(*frames).rows) == 2  # each symbol has its own ids
    assert drive.read(*frames).rows == []  # 3 s later
    item = Frames(1, drive.time, 90, [bybit_book("snapshot", 8, depth=1)], 9)
    first, again = drive.session.handle(item), drive.session.handle(item)  # after a crash
    assert first is not None
    assert again is not None
    assert first.batches == again.batches
