"""Every message of Bybit's recording, against an independent reading of its text."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import pytest

from farm.entities import BookUpdate, Kline, MarkPrice, OpenInterest, Ticker, Trade
from farm.exchanges.registry import rules_of
from farm.exchanges.session import Frames, Opened
from farm.storage.capture import CaptureEvent, CaptureRecord, capture_market, read_capture
from farm.types import Exchange, Market, NumberMode
from tests.exchanges.bybit.reading import Reader
from tests.exchanges.feeding import Drive, check_events, check_numbers, number_of
from tests.recordings import recording

modes = pytest.mark.parametrize("mode", list(NumberMode))
LINEAR, SPOT = Market.LINEAR, Market.SPOT


class Socket:
    """One connection of the recording: a core of ours, and the second reader."""

    def __init__(self, record: CaptureRecord, mode: NumberMode) -> None:
        exchange, market = capture_market(record.url) or (None, None)
        assert exchange is Exchange.BYBIT
        assert market is not None
        rules = rules_of(exchange, market)
        self.market = market
        self.reader = Reader(market, number_of(mode))
        self.session = Drive(rules, numbers=mode, discover=True, books=False).session
        self.session.handle(Opened(1, 0, 0.0))

    def read(self, record: CaptureRecord, ordinal: int) -> list[Any] | None:
        """The events of a message; None for an answer."""
        raw = record.text
        bundle = self.session.handle(Frames(1, record.time, ordinal, [raw], len(raw)))
        if bundle is None:
            return None
        assert bundle.unparsed == []
        return [event for batch in bundle.batches for event in batch.rows]


def played(mode: NumberMode) -> Any:
    """Each message that was received: its socket, record, place, text and events."""
    sockets: dict[str, Socket] = {}
    for ordinal, record in enumerate(read_capture(recording("session_bybit_20260809.jsonl.gz"))):
        if record.event is not CaptureEvent.RECEIVED:
            continue
        socket = sockets.get(record.connection) or Socket(record, mode)
        sockets[record.connection] = socket
        message = json.loads(record.text)
        yield socket, record, ordinal, message, socket.read(record, ordinal)


@modes
def test_every_event_of_the_recording_is_what_its_text_says(mode: NumberMode) -> None:
    messages: Counter[str] = Counter()
    seen: Counter[Any] = Counter()
    for socket, record, ordinal, message, events in played(mode):
        if "topic" not in message:
            assert (message["op"], events) == ("subscribe", None)
            messages["acks"] += 1
            continue
        messages[message["topic"].partition(".")[0]] += 1
        wanted = socket.reader.readings(message)
        check_events(events, wanted, time=record.time, ordinal=ordinal)
        for event in events:
            check_numbers(event, mode)
            whole = isinstance(event, BookUpdate) and event.is_snapshot
            seen[socket.market, type(event), whole] += 1
        assert not socket.session.unknown_values
    assert messages == {
        "acks": 24,
        "publicTrade": 120,
        "orderbook": 6 + 2_142,
        "kline": 96,
        "tickers": 839,
    }
    assert seen[LINEAR, Kline, False] + seen[SPOT, Kline, False] == 100
    assert seen[LINEAR, Ticker, False] + seen[SPOT, Ticker, False] == 839
    assert seen[SPOT, MarkPrice, False] == seen[SPOT, OpenInterest, False] == 0
    others = {key: n for key, n in seen.items() if key[1] in (Trade, BookUpdate)}
    assert others == {
        (LINEAR, Trade, False): 327,
        (SPOT, Trade, False): 20,
        (LINEAR, BookUpdate, True): 4,
        (SPOT, BookUpdate, True): 2,
        (LINEAR, BookUpdate, False): 1_594,
        (SPOT, BookUpdate, False): 548,
    }


def test_events_come_out_of_a_ticker_exactly_where_their_fields_were_in_the_message() -> None:
    mark = {"markPrice", "indexPrice", "fundingRate", "nextFundingTime", "predictedDeliveryPrice"}
    interest = {"openInterest", "openInterestValue"}
    counts: Counter[type] = Counter()
    for socket, _, _, message, events in played(NumberMode.FLOAT):
        if not message.get("topic", "").startswith("tickers."):
            continue
        changed = message["data"].keys()
        linear = socket.market is LINEAR
        kinds = [type(event) for event in events]
        assert (MarkPrice in kinds) == (linear and bool(changed & mark))
        assert (OpenInterest in kinds) == (linear and bool(changed & interest))
        counts.update(kinds)
    assert counts[MarkPrice] > 100
    assert counts[OpenInterest] > 10


def test_no_delta_is_missing_in_the_recording() -> None:
    """`u` steps by one and `seq` rises, within each topic; `cts` is never after `ts`."""
    books: dict[Any, BookUpdate] = {}
    steps = 0
    for socket, _, _, _, events in played(NumberMode.FLOAT):
        for update in events or ():
            if not isinstance(update, BookUpdate):
                continue
            before = books.get((socket.market, update.symbol))
            if not update.is_snapshot:
                assert before is not None
                assert update.last_id == before.last_id + 1
                assert (update.sequence or 0) > (before.sequence or 0)
                steps += 1
            assert (update.exchange_time or 0) <= (update.event_time or 0)
            books[socket.market, update.symbol] = update
    assert (steps, len(books)) == (2_142, 6)


def test_a_candle_that_closes_comes_with_the_one_after_it() -> None:
    rows = defaultdict(list)
    for _, _, ordinal, _, events in played(NumberMode.FLOAT):
        for event in events or ():
            if isinstance(event, Kline):
                rows[ordinal].append(event)
    pairs = [klines for klines in rows.values() if len(klines) == 2]
    assert len(pairs) == 4  # 96 messages, 100 candles
    for old, new in pairs:
        assert (old.closed, new.closed, old.row, new.row) == (True, False, 0, 1)
        assert new.open_time == old.close_time + 1_000_000
        assert new.open == old.close  # Bybit's candles open at the close before
