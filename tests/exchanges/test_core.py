"""What the cores of all venues share: every frame is parsed or kept, whatever it is."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from farm.entities import BookUpdate, Gap, MarkPrice, OpenInterest, Ticker, Trade
from farm.exchanges.core import MOST_CHARACTERS
from farm.exchanges.harvest import MALFORMED
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Frames, Opened, SnapshotReply, StreamState
from farm.exchanges.streams import REST_ROUTE
from farm.types import BookVerdict, DataType, GapCause, GapUnit, NumberMode, Side
from tests.effort import runs
from tests.exchanges.binance import texts as binance_texts
from tests.exchanges.bybit import texts as bybit_texts
from tests.exchanges.feeding import (
    ALL_RULES,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_LINEAR,
    Drive,
    binance_diff,
    binance_partial,
    binance_quote,
    binance_trade,
    bybit_book,
    bybit_trades,
    combined,
    text,
)

LEVELS = [["100.5", "1"], ["100.4", "2"]], [["100.6", "3"]]

# One message of every stream of every market.
GOOD: list[tuple[MarketRules, bytes]] = [
    *((sample.rules, sample.frame()) for sample in binance_texts.ALL if sample.data.get("e")),
    *((sample.rules, sample.frame()) for sample in bybit_texts.ALL),
]
IDS = [
    *(sample.id for sample in binance_texts.ALL if sample.data.get("e")),
    *(sample.id for sample in bybit_texts.ALL),
]
good = pytest.mark.parametrize(("rules", "frame"), GOOD, ids=IDS)
modes = pytest.mark.parametrize("mode", list(NumberMode))
markets = pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)


def drive(rules: MarketRules, mode: NumberMode = NumberMode.FLOAT, **options: Any) -> Drive:
    """Everything of this market's sample symbol is collected, but two books of one depth."""
    symbol = (binance_texts.SYMBOLS | bybit_texts.SYMBOLS)[rules.key]
    specs = {rules.streams.stream(symbol, s).feed: s for s in reversed(rules.streams.specs)}
    driven = Drive(
        rules,
        specs.values(),
        [symbol],
        whole=[spec for spec in rules.streams.market_specs if "@" not in spec],
        numbers=mode,
        **options,
    )
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
    else:
        shuffled["data"] = [dict(reversed(row.items())) | {"new": {}} for row in message["data"]]
    assert parsed(rules, text(shuffled | {"new": "x", "old": [1]})) == expected
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
    frames = [bybit_trades("a", "b"), bybit_trades("c"), text({"topic": "insurance.X", "ts": 1})]
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
        (42, 77, "insurance")
    ]
    assert (bundle.serial, bundle.receive_time, bundle.nbytes) == (5, 77, 1000)
    assert bundle.origin == batch.origins[0][0] == bundle.unparsed[0].origin
    assert (bundle.origin.connection, bundle.origin.epoch) == ("c", 1)


def test_events_of_other_kinds_are_in_batches_of_their_own_in_order() -> None:
    driven = Drive(BYBIT_LINEAR, ["ticker"], ["A", "B"], books=False)
    driven.open()
    data = {"lastPrice": "1", "markPrice": "2", "openInterest": "3"}
    frames = [
        text({"topic": f"tickers.{symbol}", "type": "snapshot", "ts": 1, "data": data})
        for symbol in "ABA"
    ]
    bundle = driven.session.handle(Frames(1, 77, 40, frames, 900))
    assert bundle is not None
    assert [batch.kind for batch in bundle.batches] == [MarkPrice, OpenInterest, Ticker]
    for batch in bundle.batches:
        assert [(row.symbol, row.ordinal) for row in batch] == [("A", 40), ("B", 41), ("A", 42)]
        assert batch.nbytes == 300


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
@markets
@pytest.mark.parametrize("raw", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_what_is_no_message_is_kept_as_it_came(
    rules: MarketRules, raw: bytes, mode: NumberMode
) -> None:
    driven = drive(rules, mode)
    good = next(frame for known, frame in GOOD if known is rules)
    outcome = driven.read(raw, good)
    assert [kept.raw for kept in outcome.unparsed] == [raw]
    assert len(outcome.only(Trade)) > 0


@markets
def test_frames_of_which_no_stream_can_be_told_are_a_gap_on_each_that_shows_no_holes(
    rules: MarketRules,
) -> None:
    driven = drive(rules)
    outcome = driven.read(
        b"garbage", b"\xff", next(frame for known, frame in GOOD if known is rules)
    )
    streams = [status.stream for status in driven.session.statuses.values()]
    asked = [s for s in streams if s.route != REST_ROUTE and not s.shows_holes]
    feeds = [feed for stream in asked for feed in stream.feeds]
    assert [gap.feed for gap in outcome.gaps] == feeds
    assert {(gap.cause, gap.size, gap.edge) for gap in outcome.gaps} == {
        (GapCause.QUARANTINE, 2, "parser")
    }
    assert driven.read(next(frame for known, frame in GOOD if known is rules)).gaps == []


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
        (BINANCE_SPOT, b'{"stream":"btcusdt@avgPrice","data":{"e":"avgPrice"}}', "avgPrice"),
        (BINANCE_SPOT, b'{"stream":"ethusdt@depth5","data":{"lastUpdateId":1}}', "ethusdt@depth5"),
        (
            BINANCE_USDM,
            b'{"stream":"!assetIndex@arr","data":[{"e":"assetIndexUpdate"}]}',
            "assetIndexUpdate",
        ),
        (BINANCE_USDM, b'{"stream":"!ticker@arr","data":[{"e":"24hrTickerV2"}]}', "24hrTickerV2"),
        (BYBIT_LINEAR, b'{"topic":"insurance.USDT","data":{}}', "insurance"),
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
    """Parsed or kept, never both nor neither, and whatever was parsed fits the columns."""
    session = Drive(rules, numbers=mode, discover=True, books=False).session
    session.handle(Opened(1, 0, 0.0))
    bundle = session.handle(Frames(1, 1, 0, [raw], len(raw)))
    kept = bundle.unparsed if bundle is not None else []
    batches = bundle.batches if bundle is not None else []
    rows = [row for batch in batches for row in batch if not isinstance(row, Gap)]
    taken = sum(status.frames for status in session.statuses.values())
    if kept:
        assert [(frame.raw, taken, rows) for frame in kept] == [(raw, 0, [])]
    elif not taken:  # an answer to something, or a notice, and understood
        message = json.loads(raw)
        assert rows == []
        assert message.keys() & {"id", "op", "type", "e"} or message["stream"] == "!serverShutdown"
    if mode is NumberMode.FLOAT:  # an exact number may be too long for a column, and is refused
        for batch in batches:
            assert len(batch.to_arrow()) == len(batch)


@modes
@markets
@settings(max_examples=runs(150))
@given(raw=st.binary(max_size=60))
def test_any_bytes_at_all_are_kept(rules: MarketRules, mode: NumberMode, raw: bytes) -> None:
    check_one(rules, mode, raw)


KEYS = ["stream", "data", "e", "id", "result", "error", "code", "topic", "op", "success", "ts", "x"]
KEYS += ["type", "st", "s", "o", "E"]
NAMES = ["btcusdt@trade", "publicTrade.BTCUSDT", "orderbook.1.BTCUSDT", "ethusdt@depth5@100ms"]
NAMES += ["!markPrice@arr", "!forceOrder@arr", "!serverShutdown", "tickers.BTCUSDT"]
WORDS = ["trade", "pong", "subscribe", "COMMAND_RESP", "snapshot", "delta", "forceOrder"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS | st.sampled_from([*NAMES, *WORDS]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
)


@modes
@markets
@settings(max_examples=runs(150))
@given(value=VALUES)
@example(value={"topic": "orderbook.1.BTCUSDT", "ts": 10**400})
@example(value={"id": 10**30, "result": None})
@example(value={"stream": "!markPrice@arr", "data": []})
@example(value={"topic": "tickers.BTCUSDT", "ts": 1, "data": {"nextFundingTime": [1]}})
@example(value={"topic": "tickers.BTCUSDT", "ts": 1, "data": {"lastPrice": {"a": 1}}})
def test_any_json_is_parsed_or_kept(rules: MarketRules, mode: NumberMode, value: Any) -> None:
    check_one(rules, mode, json.dumps(value).encode())


@modes
@good
def test_a_damaged_message_is_parsed_or_kept(
    rules: MarketRules, frame: bytes, mode: NumberMode
) -> None:
    dice = random.Random(frame)
    for _ in range(runs(60)):
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
        bybit_trades("a"), bybit_book("snapshot", 4, *LEVELS, depth=50), b'{"topic":"insurance.X"}'
    )
    assert [type(row) for row in outcome.rows] == [Trade, BookUpdate]
    assert [kept.kind for kept in outcome.unparsed] == ["insurance"]
    assert list(driven.session.statuses) == ["publicTrade.BTCUSDT", "orderbook.50.BTCUSDT"]
    assert {status.state for status in driven.session.statuses.values()} == {StreamState.LIVE}
    assert driven.book("book:50").verdict is BookVerdict.VERIFIED
    asked = Drive(BYBIT_LINEAR, ["quote"])
    asked.open()
    assert [kept.kind for kept in asked.read(bybit_trades("a")).unparsed] == ["publicTrade"]


def test_a_feed_is_discovered_once_though_it_has_two_speeds() -> None:
    driven = Drive(BINANCE_USDM, discover=True, books=False)
    driven.open()
    data = {"e": "markPriceUpdate", "E": 1, "s": "X", "p": "1", "T": 0}
    frames = [combined(f"btcusdt@markPrice{speed}", data) for speed in ("@1s", "", "@1s")]
    outcome = driven.read(*frames)
    assert len(outcome.only(MarkPrice)) == 2
    assert [kept.kind for kept in outcome.unparsed] == ["btcusdt@markPrice"]
    assert "another stream of binance/usdm/BTCUSDT/mark_price" in outcome.unparsed[0].reason


@pytest.mark.parametrize(
    ("rules", "spec", "body"),
    [
        (BINANCE_SPOT, "book", b'{"lastUpdateId":7,"bids":[["1","2"]],"asks":[]}'),
        (BINANCE_USDM, "book", b'{"lastUpdateId":7,"E":1,"T":1,"bids":[["1","2"]],"asks":[]}'),
        (
            BYBIT_LINEAR,
            "book:full",
            b'{"retCode":0,"result":{"s":"X","b":[["1","2"]],"a":[],"ts":1,"u":7,"seq":1}}',
        ),
    ],
)
def test_a_snapshot_names_its_stream_and_a_broken_one_is_kept(
    rules: MarketRules, spec: str, body: bytes
) -> None:
    session = Drive(rules, discover=True, books=False).session
    stream = rules.streams.stream("BTCUSDT", spec)
    broken = b'{"code":-1003,"msg":"banned"}'
    good, bad = (session.handle(SnapshotReply(0, 5, 9, stream, b, len(b))) for b in (body, broken))
    assert good is not None
    assert bad is not None
    ((update,),) = good.batches
    assert (update.is_snapshot, update.last_id, update.ordinal) == (True, 7, 9)
    assert [(kept.kind, kept.raw) for kept in bad.unparsed] == [(MALFORMED, broken)]
    assert session.take_commands() == []  # a recording has nobody to ask again
    elsewhere = Drive(rules, books=False).session  # it is collected no longer
    assert elsewhere.handle(SnapshotReply(0, 5, 9, stream, body, len(body))) is None


def test_the_payload_is_shared_out_among_the_batches_of_a_bundle() -> None:
    session = drive(BINANCE_SPOT).session
    frames = [binance_trade(1), binance_trade(2), binance_quote(1, ("1", "1"), ("2", "2"))]
    bundle = session.handle(Frames(1, 1, 50, frames, 900))
    assert bundle is not None
    assert {batch.data_type: batch.nbytes for batch in bundle.batches} == {
        DataType.TRADE: 600,
        DataType.QUOTE: 300,
    }


@markets
def test_a_read_that_gives_nothing_makes_no_bundle(rules: MarketRules) -> None:
    driven = Drive(rules, ["trade"])
    driven.open(answered=False)
    assert driven.session.handle(Frames(1, 1, 1, [], 0)) is None
    (request,) = driven.sent()
    reply = driven.granted(request)
    bundle = driven.session.handle(Frames(1, 1, 0, [reply], len(reply)))
    assert bundle is not None
    assert (bundle.batches, bundle.unparsed, bundle.ended) == ([], [], None)
    assert len(bundle.up) == 1
    assert driven.session.handle(Frames(1, 1, 0, [reply], len(reply))) is None
    assert driven.session.handle(Frames(1, 1, 1, [], 0)) is None


def test_what_a_frame_is_called_is_not_as_long_as_the_frame() -> None:
    name = "x" * 100_000
    drive = Drive(BINANCE_SPOT, ["trade"])
    drive.open()
    outcome = drive.read(combined(name, {}), text({"e": name}))
    assert len(outcome.unparsed) == 2
    assert {len(kept.kind) for kept in outcome.unparsed} == {MOST_CHARACTERS}
    assert max(len(kept.reason) for kept in outcome.unparsed) <= MOST_CHARACTERS
