"""What the cores of all venues share: every frame is parsed or kept, whatever it is."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from farm.entities import BookUpdate, Gap, Trade
from farm.exchanges.core import MALFORMED
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Frames, Opened, SnapshotReply, StreamState
from farm.types import BookVerdict, DataType, GapCause, GapUnit, NumberMode, Side
from tests.effort import runs
from tests.exchanges.feeding import (
    ALL_RULES,
    BINANCE_SPOT,
    BYBIT_LINEAR,
    Drive,
    binance_diff,
    binance_partial,
    binance_quote,
    binance_trade,
    bybit_book,
    bybit_trades,
    text,
)

SPECS = {
    BINANCE_SPOT: ["trade", "agg_trade", "quote", "book", "book:20", "kline:1m"],
    BYBIT_LINEAR: ["trade", "quote", "book", "book:50", "kline:1m"],
}
LEVELS = [["100.5", "1"], ["100.4", "2"]], [["100.6", "3"]]
GOOD: list[tuple[MarketRules, bytes]] = [
    (BINANCE_SPOT, binance_trade(1)),
    (BINANCE_SPOT, binance_quote(7, ("1", "2"), ("3", "4"))),
    (BINANCE_SPOT, binance_diff(5, 9, *LEVELS)),
    (BINANCE_SPOT, binance_partial(9, *LEVELS)),
    (BYBIT_LINEAR, bybit_trades("a", "b", "c")),
    (BYBIT_LINEAR, bybit_book("snapshot", 4, *LEVELS)),
    (BYBIT_LINEAR, bybit_book("delta", 5, *LEVELS, depth=50)),
    (BYBIT_LINEAR, bybit_book("snapshot", 6, *LEVELS, depth=1)),
]
IDS = ["trade", "quote", "diff", "partial", "trades", "snapshot", "delta", "depth1"]
good = pytest.mark.parametrize(("rules", "frame"), GOOD, ids=IDS)
modes = pytest.mark.parametrize("mode", list(NumberMode))


def drive(rules: MarketRules, mode: NumberMode = NumberMode.FLOAT, **options: Any) -> Drive:
    driven = Drive(rules, SPECS[rules], numbers=mode, **options)
    driven.open()
    return driven


def parsed(rules: MarketRules, frame: bytes) -> list[Any]:
    outcome = drive(rules).read(frame)
    assert not outcome.unparsed
    return outcome.rows


# ------------------------------------------------------------------------------- what loses nothing
@good
def test_an_added_field_and_another_key_order_change_nothing(
    rules: MarketRules, frame: bytes
) -> None:
    expected = parsed(rules, frame)
    assert expected
    message = json.loads(frame)
    shuffled = dict(reversed(message.items()))
    if isinstance(message["data"], dict):
        shuffled["data"] = dict(reversed(message["data"].items())) | {"new": [{"x": None}]}
    assert parsed(rules, text(shuffled | {"ps": "BTCUSDT", "st": 1})) == expected
    assert parsed(rules, json.dumps(message, indent=1).encode()) == expected
    escaped = frame.replace(b"@", b"\\u0040").replace(b'"orderbook.', b'"orderbook\\u002e')
    assert parsed(rules, escaped) == expected


def test_an_unknown_enum_value_is_counted_and_loses_nothing() -> None:
    driven = drive(BYBIT_LINEAR)
    outcome = driven.read(bybit_trades("a", "b", S="Foo"))
    assert [(t.id, t.side) for t in outcome.rows] == [("a", Side.UNKNOWN), ("b", Side.UNKNOWN)]
    assert outcome.unparsed == []
    assert driven.session.unknown_values == {"publicTrade.S=Foo": 2}


def test_every_row_has_its_frames_place_and_every_bundle_its_origin() -> None:
    driven = drive(BYBIT_LINEAR)
    frames = [bybit_trades("a", "b"), bybit_trades("c"), text({"topic": "tickers.X", "ts": 1})]
    item = Frames(1, 77, 40, frames, 1000, serial=5)
    bundle = driven.session.handle(item)
    assert bundle is not None
    (batch,) = bundle.batches
    assert [(t.id, t.ordinal, t.row, t.receive_time) for t in batch] == [
        ("a", 40, 0, 77),
        ("b", 40, 1, 77),
        ("c", 41, 0, 77),
    ]
    assert [(frame.ordinal, frame.time, frame.kind) for frame in bundle.unparsed] == [
        (42, 77, "tickers")
    ]
    assert (bundle.serial, bundle.receive_time, bundle.nbytes) == (5, 77, 1000)
    assert bundle.origin == batch.origins[0][0] == bundle.unparsed[0].origin
    assert (bundle.origin.connection, bundle.origin.epoch) == ("c", 1)


# ------------------------------------------------------------------------------------ what is kept
@modes
@pytest.mark.parametrize("field", ["p", "q", "t", "T", "E", "m"])
@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-1", "", None, [], {}, "x", "1e400", 10**400], ids=repr
)
def test_a_trade_with_an_impossible_value_is_quarantined(
    mode: NumberMode, field: str, value: Any
) -> None:
    driven = drive(BINANCE_SPOT, mode)
    outcome = driven.read(
        binance_trade(1), binance_trade(2, **{field: value}), binance_trade(3), binance_diff(1, 1)
    )
    ids = [trade.id for trade in outcome.only(Trade)]
    assert ids == ["1", "3"]
    (kept,) = outcome.unparsed
    assert (kept.kind, kept.ordinal) == (MALFORMED, driven.ordinal - 3)
    assert json.loads(kept.raw)["data"][field] == value
    (gap,) = outcome.gaps
    assert (gap.feed, gap.cause) == ("binance/spot/BTCUSDT/trade", GapCause.QUARANTINE)
    assert (gap.size, gap.unit, gap.ordinal) == (1, GapUnit.FRAMES, kept.ordinal)
    assert driven.session.statuses["btcusdt@trade"].state is StreamState.LIVE


@modes
@pytest.mark.parametrize("bad", ["NaN", "-1", None, True, "", "1e400"], ids=repr)
def test_one_impossible_level_or_row_quarantines_its_whole_frame(
    mode: NumberMode, bad: Any
) -> None:
    driven = drive(BYBIT_LINEAR, mode)
    rows = [json.loads(bybit_trades("a"))["data"][0] | change for change in ({}, {"v": bad})]
    message = json.loads(bybit_trades()) | {"data": rows}
    outcome = driven.read(text(message), bybit_book("snapshot", 3, [["1", "1"], ["2", bad]]))
    assert [kept.kind for kept in outcome.unparsed] == [MALFORMED] * 2
    assert [gap.feed for gap in outcome.gaps] == ["bybit/linear/BTCUSDT/trade"]
    assert outcome.rows == outcome.gaps


def test_a_malformed_book_message_shows_in_the_ids_unless_it_has_none() -> None:
    driven = drive(BINANCE_SPOT)
    driven.read(binance_diff(1, 5))
    kept = driven.read(binance_diff(6, 8, [["x", "1"]]))
    assert (len(kept.unparsed), kept.gaps) == (1, [])
    (gap,) = driven.read(binance_diff(9, 9)).gaps
    assert (gap.cause, gap.first_id, gap.last_id) == (GapCause.SEQUENCE_BREAK, 6, 8)

    driven.read(binance_partial(9, *LEVELS))
    assert driven.book("book:20").verdict is BookVerdict.UNVERIFIABLE
    kept = driven.read(binance_partial(10, [["x", "1"]], []))
    assert [(gap.feed, gap.cause) for gap in kept.gaps] == [
        ("binance/spot/BTCUSDT/book:20", GapCause.QUARANTINE)
    ]
    assert driven.book("book:20").verdict is BookVerdict.STALE


BAD_FRAMES = {
    "empty": b"",
    "object": b"{}",
    "array": b"[]",
    "number": b"5",
    "string": b'"x"',
    "null": b"null",
    "nested": b"[" * 100_000,
    "nested in a field nobody reads": b'{"x":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
    "two messages": b"{}{}",
    "nul": b"\0",
    "not UTF-8": b'{"stream":"\xff@trade","topic":"\xff.x"}',
    "not UTF-8, escaped path": b'{ "stream":"\xff@trade","topic":"\xff.x"}',
    "surrogate": b'{"stream":"\\ud800@trade","topic":"\\udfff.x"}',
    "surrogate in a type": b'{"e":"\\ud800","op":"\\ud800","id":null}',
    "stream of no name": b'{"stream":"","data":{},"topic":""}',
    "stream of another type": b'{"stream":5,"topic":5}',
    "null stream": b'{"stream":null,"topic":null}',
    "endless name": b'{"stream":"btcusdt@trade',
    "endless topic": b'{"topic":"publicTrade.BTCUSDT',
    "reply of other types": b'{"id":[],"error":7,"op":{},"success":"x"}',
}


@modes
@pytest.mark.parametrize("rules", SPECS, ids=lambda rules: rules.key)
@pytest.mark.parametrize("raw", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_what_is_no_message_is_kept_as_it_came(
    rules: MarketRules, raw: bytes, mode: NumberMode
) -> None:
    driven = drive(rules, mode)
    good = next(frame for known, frame in GOOD if known is rules)
    outcome = driven.read(raw, good)
    assert [kept.raw for kept in outcome.unparsed] == [raw]
    assert len(outcome.only(Trade)) > 0


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"btcusdt@trade","data":{"e":"tra',
        b'{"stream":"btcusdt@trade"}',
        b'{"stream":"btcusdt@trade","data":null}',
        b'{"stream":"btcusdt@trade","data":' + b"[" * 100_000,
        binance_trade(1)[:-2],
    ],
)
def test_a_broken_frame_that_names_its_stream_is_a_gap_there(raw: bytes) -> None:
    outcome = drive(BINANCE_SPOT).read(raw)
    assert [kept.kind for kept in outcome.unparsed] == [MALFORMED]
    assert [gap.feed for gap in outcome.gaps] == ["binance/spot/BTCUSDT/trade"]


@pytest.mark.parametrize(
    ("rules", "raw", "kind"),
    [
        (BINANCE_SPOT, b'{"stream":"btcusdt@trade","data":{"e":"tradeV2","E":1}}', "tradeV2"),
        (BINANCE_SPOT, b'{"stream":"btcusdt@ticker","data":{"e":"24hrTicker"}}', "24hrTicker"),
        (BINANCE_SPOT, b'{"stream":"ethusdt@depth5","data":{"lastUpdateId":1}}', "ethusdt@depth5"),
        (BINANCE_SPOT, b'{"e":"serverShutdown","E":1}', "serverShutdown"),
        (BYBIT_LINEAR, b'{"topic":"tickers.BTCUSDT","data":{}}', "tickers"),
        (BYBIT_LINEAR, b'{"topic":"allLiquidation.X","data":[]}', "allLiquidation"),
        (BYBIT_LINEAR, b'{"op":"auth","success":true}', "auth"),
    ],
)
def test_a_type_that_is_unknown_is_counted_by_its_name_and_is_no_gap(
    rules: MarketRules, raw: bytes, kind: str
) -> None:
    outcome = drive(rules).read(raw)
    assert [(kept.kind, kept.raw) for kept in outcome.unparsed] == [(kind, raw)]
    assert outcome.rows == []


def check_one(rules: MarketRules, mode: NumberMode, raw: bytes) -> None:
    """Parsed or kept, and whatever was parsed fits the columns."""
    session = Drive(rules, SPECS[rules], numbers=mode, discover=True).session
    session.handle(Opened(1, 0, 0.0))
    bundle = session.handle(Frames(1, 1, 0, [raw], len(raw)))
    if bundle is None:  # an answer to something, and understood; or a message of no rows
        message = json.loads(raw)
        assert "id" in message or "op" in message or message["data"] == []
        return
    rows = [row for batch in bundle.batches for row in batch if not isinstance(row, Gap)]
    assert bool(rows) != bool(bundle.unparsed)
    assert all(kept.raw == raw for kept in bundle.unparsed)
    if mode is NumberMode.FLOAT:  # an exact number may be too long for a column, and is refused
        for batch in bundle.batches:
            assert len(batch.to_arrow()) == len(batch)


@modes
@pytest.mark.parametrize("rules", SPECS, ids=lambda rules: rules.key)
@settings(max_examples=runs(150))
@given(raw=st.binary(max_size=60))
def test_any_bytes_at_all_are_kept(rules: MarketRules, mode: NumberMode, raw: bytes) -> None:
    check_one(rules, mode, raw)


KEYS = ["stream", "data", "e", "id", "result", "error", "code", "topic", "op", "success", "ts", "x"]
NAMES = ["btcusdt@trade", "publicTrade.BTCUSDT", "orderbook.1.BTCUSDT", "ethusdt@depth5@100ms"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS | st.sampled_from([*NAMES, "trade", "pong", "subscribe"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
)


@modes
@pytest.mark.parametrize("rules", SPECS, ids=lambda rules: rules.key)
@settings(max_examples=runs(150))
@given(value=VALUES)
@example(value={"topic": "orderbook.1.BTCUSDT", "ts": 10**400})
@example(value={"id": 10**30, "result": None})
def test_any_json_is_parsed_or_kept(rules: MarketRules, mode: NumberMode, value: Any) -> None:
    check_one(rules, mode, json.dumps(value).encode())


@modes
@good
def test_a_damaged_message_is_parsed_or_kept(
    rules: MarketRules, frame: bytes, mode: NumberMode
) -> None:
    dice = random.Random(frame)
    for _ in range(runs(200)):
        raw = bytearray(frame)
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(raw))
            if dice.random() < 0.6:
                raw[at] = dice.choice(b'0123456789eE.-+"\\[]{},:aN\xff\x00 ')
            else:
                del raw[at : at + dice.randint(1, 12)]
        check_one(rules, mode, bytes(raw))


# ------------------------------------------------------------------------------------- recordings
def test_discovery_makes_a_route_for_every_stream_of_the_market_that_a_frame_names() -> None:
    driven = Drive(BYBIT_LINEAR, discover=True)
    driven.open()
    outcome = driven.read(
        bybit_trades("a"), bybit_book("snapshot", 4, *LEVELS, depth=50), b'{"topic":"tickers.X"}'
    )
    assert [type(row) for row in outcome.rows] == [Trade, BookUpdate]
    assert [kept.kind for kept in outcome.unparsed] == ["tickers"]
    assert list(driven.session.statuses) == ["publicTrade.BTCUSDT", "orderbook.50.BTCUSDT"]
    assert {status.state for status in driven.session.statuses.values()} == {StreamState.LIVE}
    assert driven.book("book:50").verdict is BookVerdict.VERIFIED
    asked = Drive(BYBIT_LINEAR, ["quote"])
    asked.open()
    assert [kept.kind for kept in asked.read(bybit_trades("a")).unparsed] == ["publicTrade"]


def test_a_snapshot_names_its_stream_and_a_broken_one_is_kept() -> None:
    session = Drive(BINANCE_SPOT, discover=True).session
    stream = BINANCE_SPOT.streams.stream("BTCUSDT", "book")
    bodies = [b'{"lastUpdateId":7,"bids":[["1","2"]],"asks":[]}', b'{"code":-1003,"msg":"banned"}']
    good, bad = (session.handle(SnapshotReply(0, 5, 9, stream, b, len(b))) for b in bodies)
    assert good is not None
    assert bad is not None
    ((update,),) = good.batches
    assert (update.is_snapshot, update.last_id, update.ordinal) == (True, 7, 9)
    assert [(kept.kind, kept.raw) for kept in bad.unparsed] == [(MALFORMED, bodies[1])]
    linear = BYBIT_LINEAR.streams.stream("BTCUSDT", "book")
    other = Drive(BYBIT_LINEAR).session.handle(SnapshotReply(0, 5, 9, linear, b"{}", 2))
    assert other is not None
    assert [kept.kind for kept in other.unparsed] == [MALFORMED]


def test_the_payload_is_shared_out_among_the_batches_of_a_bundle() -> None:
    session = drive(BINANCE_SPOT).session
    frames = [binance_trade(1), binance_trade(2), binance_quote(1, ("1", "1"), ("2", "2"))]
    bundle = session.handle(Frames(1, 1, 50, frames, 900))
    assert bundle is not None
    assert {batch.data_type: batch.nbytes for batch in bundle.batches} == {
        DataType.TRADE: 600,
        DataType.QUOTE: 300,
    }


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)
def test_a_read_that_gives_nothing_makes_no_bundle(rules: MarketRules) -> None:
    driven = Drive(rules, ["trade"])
    driven.open(answered=False)
    (request,) = driven.sent()
    reply = driven.granted(request)
    assert driven.session.handle(Frames(1, 1, 0, [reply], len(reply))) is None
    assert driven.session.handle(Frames(1, 1, 1, [], 0)) is None
