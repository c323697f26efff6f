"""Every frame of Binance's recordings and samples, against an independent reading of its text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from farm.entities import AggTrade, BookUpdate, Kline, Quote, Trade
from farm.exchanges.session import Frames, Opened, SnapshotReply
from farm.storage.capture import CaptureEvent, CaptureRecord, capture_market, read_capture
from farm.types import BookVerdict, Exchange, Market, NumberMode, Side, TimeFrame
from tests.exchanges.feeding import (
    BINANCE_SPOT,
    Drive,
    as_read,
    binance_quote,
    combined,
    number_of,
    text,
)
from tests.recordings import payload_file, recording

modes = pytest.mark.parametrize("mode", list(NumberMode))
MS = 1_000_000
Number = Callable[[str], Any]


# ---------------------------------------------------------------------------- the second reading
def levels(rows: list[list[str]], number: Number) -> list[tuple[Any, Any]]:
    return [(number(price), number(quantity)) for price, quantity in rows]


def reading(stream: str, d: dict[str, Any], number: Number) -> tuple[type, dict[str, Any]]:
    """The event that a payload means, field by field."""
    symbol, _, topic = stream.partition("@")
    same = {"exchange": Exchange.BINANCE, "market": Market.SPOT, "symbol": symbol.upper()}
    pushed = {"event_time": d["E"] * MS, "exchange_time": d["E"] * MS} if "E" in d else {}
    unpushed = {"event_time": None, "exchange_time": None}
    if topic in ("trade", "aggTrade"):
        same |= {"price": number(d["p"]), "quantity": number(d["q"])} | pushed
        same |= {"side": Side.SELL if d["m"] else Side.BUY, "exchange_time": d["T"] * MS}
        if topic == "trade":
            none = {"sequence": None, "block_trade": None, "rpi": None, "order_type": None}
            return Trade, same | none | {"id": str(d["t"])}
        return AggTrade, same | {
            "id": str(d["a"]),
            "first_trade_id": d["f"],
            "last_trade_id": d["l"],
        }
    if topic == "bookTicker":
        return Quote, same | unpushed | {
            "bid_price": number(d["b"]),
            "bid_quantity": number(d["B"]),
            "ask_price": number(d["a"]),
            "ask_quantity": number(d["A"]),
            "update_id": d["u"],
            "sequence": None,
        }
    if topic.startswith("kline_"):
        k = d["k"]
        return Kline, same | pushed | {
            "interval": TimeFrame(k["i"]),
            "open_time": k["t"] * MS,
            "close_time": k["T"] * MS,
            "open": number(k["o"]),
            "high": number(k["h"]),
            "low": number(k["l"]),
            "close": number(k["c"]),
            "base_volume": number(k["v"]),
            "quote_volume": number(k["q"]),
            "taker_buy_base_volume": number(k["V"]),
            "taker_buy_quote_volume": number(k["Q"]),
            "trade_count": k["n"],
            "first_trade_id": k["f"],
            "last_trade_id": k["L"],
            "closed": k["x"],
        }
    whole = "lastUpdateId" in d
    depth = topic.removeprefix("depth").partition("@")[0]
    return BookUpdate, same | (unpushed if whole else pushed) | {
        "depth": int(depth) if depth else None,
        "is_snapshot": whole,
        "bid_levels": levels(d["bids" if whole else "b"], number),
        "ask_levels": levels(d["asks" if whole else "a"], number),
        "first_id": d["lastUpdateId" if whole else "U"],
        "last_id": d["lastUpdateId" if whole else "u"],
        "previous_id": None,
        "sequence": None,
        "verdict": BookVerdict.SYNCING,
    }


def check(event: Any, stream: str, data: Any, number: Number, time: int, ordinal: int) -> None:
    kind, expected = reading(stream, data, number)
    assert type(event) is kind
    assert as_read(event) == expected | {"receive_time": time, "ordinal": ordinal, "row": 0}


# ------------------------------------------------------------------------------------- recordings
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (
            "binance_spot_btcusdt_20240808.log.gz",
            {Trade: 9_757, Quote: 28_040, BookUpdate: 3_451 + 1},
        ),
        (
            "session_binance_spot_20211012.jsonl.gz",
            {BookUpdate: 177 + 4, Quote: 84, AggTrade: 2, Kline: 2},
        ),
    ],
)
def test_every_event_of_a_recording_is_what_its_text_says(name: str, counts: Any) -> None:
    sessions = {}
    for mode in NumberMode:
        sessions[mode] = Drive(BINANCE_SPOT, numbers=mode, discover=True).session
        sessions[mode].handle(Opened(1, 0, 0.0))
    seen: Counter[type] = Counter()
    for ordinal, record in enumerate(read_capture(recording(name))):
        for mode, session in sessions.items():
            item = as_input(record, ordinal)
            if item is None:
                continue
            bundle = session.handle(item)
            assert bundle is not None
            assert bundle.unparsed == []
            ((event,),) = bundle.batches
            stream, data = content(record)
            check(event, stream, data, number_of(mode), record.time, ordinal)
            seen[type(event)] += mode is NumberMode.FLOAT
    assert seen == counts


def content(record: CaptureRecord) -> tuple[str, Any]:
    message = json.loads(record.text)
    if record.event is CaptureEvent.RECEIVED:
        return message["stream"], message["data"]
    symbol = record.url.partition("symbol=")[2].partition("&")[0] or "BTCUSDT"
    return f"{symbol.lower()}@depth", message


def as_input(record: CaptureRecord, ordinal: int) -> Frames | SnapshotReply | None:
    size = len(record.text)
    if record.event is CaptureEvent.RECEIVED and b'"stream"' in record.text:
        return Frames(1, record.time, ordinal, [record.text], size)
    if record.event is CaptureEvent.REPLY and b'"lastUpdateId"' in record.text:
        assert not record.url or capture_market(record.url) == (Exchange.BINANCE, Market.SPOT)
        symbol = content(record)[0].partition("@")[0].upper()
        stream = BINANCE_SPOT.streams.stream(symbol, "book")
        return SnapshotReply(1, record.time, ordinal, stream, record.text, size)
    return None


# ---------------------------------------------------------------------------------------- samples
STREAM_OF = {  # the documents show bare payloads
    "aggTrade": "aggTrade",
    "trade": "trade",
    "depthUpdate": "depth@100ms",
    "kline": "kline_1m",
}
NOT_OURS = {  # why a sample is no event here; all else must be one
    "1hTicker": "no core knows tickers yet",
    "24hrTicker": "no core knows tickers yet",
    "24hrMiniTicker": "no core knows tickers yet",
    "avgPrice": "no core knows average prices yet",
    "blockTrade": "no core knows block trades yet",
    "referencePrice": "no core knows reference prices yet",
    "ticker_all": "of an option market",
}
INCOMPLETE = {"aggTrade", "trade", "kline", "bookTicker"}  # the documents leave prices out


def samples() -> list[tuple[str, dict[str, Any], bool]]:
    """Stream, payload, and whether it is from the documents, of all samples of Binance spot."""
    found = []
    for line in payload_file("binance_spot_documented.ndjson").read_text().splitlines():
        data = json.loads(json.loads(line)["raw"])
        data = data[0] if isinstance(data, list) else data
        topic = STREAM_OF.get(data.get("e", ""), data.get("e"))
        topic = topic or ("bookTicker" if "u" in data else "depth20@100ms")
        found.append((f"bnbbtc@{topic}", data, True))
    for name, ours in [
        ("binance_2021.ndjson", lambda line: line["market_type_hint"] == "Spot"),
        ("live_frames_2026.ndjson", lambda line: line["venue"] == "binance-spot"),
    ]:
        for line in map(json.loads, payload_file(name).read_text().splitlines()):
            message = json.loads(line["raw"])
            if ours(line) and "stream" in message:
                data = message["data"]
                found.append(
                    (message["stream"], data[0] if isinstance(data, list) else data, False)
                )
    return found


@modes
def test_every_sample_of_a_stream_that_is_known_is_what_its_text_says(mode: NumberMode) -> None:
    drive = Drive(BINANCE_SPOT, numbers=mode, discover=True, books=False)
    drive.open()
    parsed: Counter[type] = Counter()
    for stream, data, documented in samples():
        # Depth at another speed has the same shape, and a quote of all symbols names its own.
        stream = stream if not stream.endswith(("depth20", "depth")) else f"{stream}@100ms"
        stream = stream.replace("!bookTicker", f"{data.get('s', '').lower()}@bookTicker")
        outcome = drive.read(combined(stream, data))
        kind = data.get("e") or stream.partition("@")[2]
        if kind in NOT_OURS or (documented and kind in INCOMPLETE):
            assert outcome.rows == outcome.gaps
            assert len(outcome.unparsed) == 1, stream
            continue
        assert outcome.unparsed == [], stream
        (event,) = outcome.rows
        check(event, stream, data, number_of(mode), drive.time, drive.ordinal - 1)
        parsed[type(event)] += 1
    assert parsed == {AggTrade: 2, BookUpdate: 4, Quote: 1, Kline: 1}


def test_another_project_reads_the_same() -> None:
    drive = Drive(BINANCE_SPOT, discover=True)
    drive.open()
    seen = Counter()
    for line in payload_file("normalised_pairs_binance.ndjson").read_text().splitlines():
        pair = json.loads(line)
        stream, data = pair["input"]["stream"], pair["input"]["data"]
        outcome = drive.read(combined(stream.replace("@depth", "@depth@100ms"), data))
        for other in pair["expected"]:
            if other["type"] == "trade":
                (ours,) = outcome.only(Trade)
                assert (ours.id, ours.price, ours.quantity, ours.side.value) == (
                    other["id"],
                    other["price"],
                    other["amount"],
                    other["side"],
                )
            elif other["type"] == "book_ticker":
                (ours,) = outcome.only(Quote)
                assert (ours.bid_price, ours.bid_quantity) == (
                    other["bidPrice"],
                    other["bidAmount"],
                )
                assert (ours.ask_price, ours.ask_quantity) == (
                    other["askPrice"],
                    other["askAmount"],
                )
            elif not other["isSnapshot"]:  # a snapshot is no frame of the venue's
                (ours,) = outcome.only(BookUpdate)
                for side in ("bids", "asks"):
                    got = [(level.price, level.quantity) for level in getattr(ours, side)]
                    assert got == [(level["price"], level["amount"]) for level in other[side]]
            else:
                continue
            seen[other["type"]] += 1
    assert seen == {"trade": 2, "book_ticker": 1, "book_change": 2}


# -------------------------------------------------------------------------------------- particulars
@modes
def test_an_empty_side_of_a_quote_is_none(mode: NumberMode) -> None:
    drive = Drive(BINANCE_SPOT, ["quote"], numbers=mode)
    drive.open()
    (quote,) = drive.read(binance_quote(1, ("0.00000000", "0.00000000"), ("2.5", "3"))).rows
    assert (quote.bid_price, quote.bid_quantity) == (None, None)
    assert (quote.ask_price, quote.ask_quantity) == (Decimal("2.5"), Decimal(3))


def test_a_candle_without_trades_has_no_trade_ids() -> None:
    drive = Drive(BINANCE_SPOT, ["kline:1s"])
    drive.open()
    zero = dict.fromkeys("ochlvqVQ", "0.0")
    candle = zero | {"t": 1000, "T": 1999, "f": -1, "L": -1, "n": 0, "x": True, "i": "1s"}
    data = {"e": "kline", "E": 2000, "s": "BTCUSDT", "k": candle}
    (kline,) = drive.read(text({"stream": "btcusdt@kline_1s", "data": data})).rows
    assert (kline.first_trade_id, kline.last_trade_id, kline.trade_count) == (None, None, 0)
    assert (kline.open_time, kline.close_time, kline.closed) == (1000 * MS, 1999 * MS, True)
