"""Every line of the samples is an event here, field by field, or there is a reason why not.

The samples are single messages: of the venues' documentation, whose values are invented and some
of whose messages are incomplete, and of live sockets, old and new. Each line of each file stands
in one of the tables below, by its number; a line that stands in none fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from farm.entities import Ticker
from farm.exchanges.rules import MarketRules
from farm.types import Exchange, NumberMode
from tests.exchanges.binance.reading import interest_reading, readings, snapshot_reading
from tests.exchanges.bybit.reading import Reader
from tests.exchanges.feeding import (
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_INVERSE,
    BYBIT_LINEAR,
    BYBIT_OPTION,
    BYBIT_SPOT,
    Drive,
    check_events,
    check_numbers,
    number_of,
    text,
)
from tests.recordings import payload_file

modes = pytest.mark.parametrize("mode", list(NumberMode))


# ----------------------------------------------------------------------------- what a line may be
@attrs.frozen
class Taken:
    """Events of a stream. `stream` is the venue's name of it, where the line does not say."""

    rules: MarketRules
    stream: str = ""


@attrs.frozen
class Foreign(Taken):
    """Rows that are marked as the other futures market's (`st`), so they are left out and counted;
    with our mark they are events. See `DOCUMENTED_ST`."""


@attrs.frozen
class Snapshot(Taken):
    """The answer to a REST request for a depth snapshot of the symbol `stream`."""


@attrs.frozen
class Interest(Taken):
    """The answer to a REST request for open interest."""


@attrs.frozen
class Change(Taken):
    """A change of a ticker, of which the snapshot is another line's."""

    snapshot: tuple[str, int] = ("", 0)


@attrs.frozen
class Control(Taken):
    """A message that the session understands, and that gives nothing."""


@attrs.frozen
class Incomplete(Taken):
    """The documentation leaves fields out that no live message lacks: quarantined.

    No field is made optional for such a line: a message without its price is no event.
    """

    lacks: str = ""


@attrs.frozen
class NotCollected(Taken):
    """A stream that farm does not offer: kept unparsed, by its name."""

    reason: str = ""


@attrs.frozen
class NoMessage:
    """Nothing that comes on a socket of ours."""

    reason: str


Line = Taken | NoMessage

DOCUMENTED_ST = """
The documentation prints `"st":1` (USD-M) in COIN-M's whole-market messages too, copied from
USD-M's page. Live messages of COIN-M carry `"st":2` (`live_frames_2026`, lines 1, 3 and 4), and so
does one line of the documentation (11). What 1 and 2 mean is said by both pages alike, so rows
marked 1 are left out on COIN-M's sockets. Streams of one symbol are not filtered: their name says
whose they are.
"""

NO_PRICES = "p and q"
REST = NoMessage("a REST answer of an endpoint that farm does not use")
LISTING = NoMessage("instruments-info, which test_listing reads")
REQUEST = NoMessage("a request, which we send")
OTHER_VENUE = NoMessage("of a venue that farm does not speak")
OPTION = NoMessage("of Binance's options, which farm does not speak")

SPOT, USDM, COINM = BINANCE_SPOT, BINANCE_USDM, BINANCE_COINM
LINEAR, INVERSE = BYBIT_LINEAR, BYBIT_INVERSE


def spot_documented() -> dict[int, Line]:
    """Most lines of this file leave the prices out."""
    window = "tickers of an hour are not offered"
    return {
        1: Incomplete(SPOT, "bnbbtc@aggTrade", NO_PRICES),
        2: NotCollected(SPOT, "!ticker_1h@arr", window),
        3: Incomplete(SPOT, "!miniTicker@arr", "c, o, h, l, v, q"),
        4: NotCollected(SPOT, "btcusdt@avgPrice", "average prices are not offered"),
        5: NotCollected(SPOT, "bnbbtc@blockTrade", "block trades are not offered"),
        6: Incomplete(SPOT, "bnbusdt@bookTicker", "b, B, a, A"),
        7: Taken(SPOT, "bnbbtc@depth@100ms"),
        8: Incomplete(SPOT, "bnbbtc@kline_1m", "o, c, h, l, v, q, V, Q"),
        9: NotCollected(SPOT, "bnbbtc@kline_1m@+08:00", "candles of other days are not offered"),
        10: Incomplete(SPOT, "bnbbtc@miniTicker", "c, o, h, l, v, q"),
        11: Taken(SPOT, "bnbbtc@depth20@100ms"),
        12: NotCollected(SPOT, "bazusd@referencePrice", "reference prices are not offered"),
        13: NotCollected(SPOT, "bnbbtc@ticker_1h", window),
        14: Incomplete(SPOT, "bnbbtc@ticker", "p, P, w, c, Q, b, B, a, A, o, h, l, v, q"),
        15: Incomplete(SPOT, "bnbbtc@trade", NO_PRICES),
    }


def usdm_documented() -> dict[int, Line]:
    return {
        1: Taken(USDM, "!bookTicker"),
        2: Taken(USDM, "bnbusdt@depth@100ms"),
        3: Taken(USDM, "bnbusdt@bookTicker"),
        4: Incomplete(USDM, "btcusdt@depth20@100ms", "the quantities of its levels"),
        5: NotCollected(USDM, "bnbusdt@rpiDepth@500ms", "books with RPI orders are not offered"),
        6: Taken(USDM, "bnbusdt@aggTrade"),
        7: Taken(USDM, "!forceOrder@arr"),
        8: Taken(USDM, "!miniTicker@arr"),
        9: Taken(USDM, "!ticker@arr"),
        10: NotCollected(USDM, "!assetIndex@arr", "asset indices are not offered"),
        11: NotCollected(USDM, "defiusdt@compositeIndex", "index components are not offered"),
        12: Taken(USDM, "btcusdt_perpetual@continuousKline_1m"),
        13: Taken(USDM, "!contractInfo"),
        14: Taken(USDM, "bnbusdt@miniTicker"),
        15: Taken(USDM, "bnbusdt@ticker"),
        16: Taken(USDM, "btcusdt@kline_1m"),
        17: Taken(USDM, "btcusdt@forceOrder"),
        18: Taken(USDM, "btcusdt@markPrice@1s"),
        19: Taken(USDM, "!markPrice@arr@1s"),
        20: NotCollected(USDM, "tradingSession", "trading sessions are not offered"),
    }


def coinm_documented() -> dict[int, Line]:
    index = "indices of pairs are not offered"
    return {
        1: Taken(COINM, "btcusd_200626@aggTrade"),
        2: Foreign(COINM, "!bookTicker"),
        3: Foreign(COINM, "!forceOrder@arr"),
        4: Foreign(COINM, "!miniTicker@arr"),
        5: Foreign(COINM, "!ticker@arr"),
        6: Taken(COINM, "btcusd_next_quarter@continuousKline_1m"),
        7: Foreign(COINM, "!contractInfo"),
        8: Taken(COINM, "btcusd_200626@depth@100ms"),
        9: NotCollected(COINM, "btcusd@indexPriceKline_1m", index),
        10: NotCollected(COINM, "btcusd@indexPrice@1s", index),
        11: Taken(COINM, "btcusd_200626@bookTicker"),
        12: Taken(COINM, "btcusd_200626@miniTicker"),
        13: Taken(COINM, "btcusd_200626@ticker"),
        14: Taken(COINM, "btcusd_200626@kline_1m"),
        15: NotCollected(COINM, "btcusd_200626@markPriceKline_1m", "candles of mark prices"),
        16: Incomplete(COINM, "btcusd@markPrice", "a list: all contracts of a pair, not offered"),
        17: Taken(COINM, "btcusd_201225@markPrice"),
        18: Taken(COINM, "btcusd_200925@forceOrder"),
        19: Incomplete(COINM, "btcusd_200626@depth20@100ms", "the quantities of its levels"),
    }


def live() -> dict[int, Line]:
    return {
        1: Taken(COINM),
        2: Taken(COINM),
        3: Taken(COINM),
        4: Taken(COINM),
        5: Taken(BYBIT_OPTION),
        6: Taken(BYBIT_OPTION),
        7: Control(BYBIT_OPTION),
        8: Taken(INVERSE),
        9: Taken(USDM),
        10: Taken(USDM, "!forceOrder@arr"),
        11: Change(LINEAR, "", ("bybit_documented.ndjson", 37)),
        12: Taken(USDM),
        13: OTHER_VENUE,
        14: Taken(USDM, "btcusdt@aggTrade"),
        15: Taken(USDM),
        16: Taken(USDM),
        17: Taken(SPOT),
        18: Taken(COINM, "btcusd_perp@aggTrade"),
        19: OTHER_VENUE,
        20: OTHER_VENUE,
    }


OF_2021 = {  # the lines of each market, as their file hints; by their number
    SPOT: [1, 11, 16, 27, 38],
    USDM: [3, 5, 9, 10, 13, 14, 18, 21, 24, 26, 31, 32, 35, 36, 40, 42],
    COINM: [2, 4, 7, 8, 12, 15, 17, 19, 20, 23, 25, 29, 30, 33, 34, 39, 41],
}


def of_2021() -> dict[int, Line]:
    lines: dict[int, Line] = {n: Taken(rules) for rules, ns in OF_2021.items() for n in ns}
    return lines | {
        6: OPTION,
        22: NotCollected(SPOT, "", "spot has no !bookTicker since 2022"),
        28: NotCollected(SPOT, "", "spot has no !ticker@arr since 2026"),
        37: OPTION,
        43: Snapshot(SPOT, "BTCUSDT"),
        44: Snapshot(COINM, "BTCUSD_220624"),
        45: Snapshot(USDM, "BTCUSDT_220624"),
        46: Snapshot(COINM, "BTCUSD_PERP"),
        47: Snapshot(USDM, "BTCUSDT"),
        48: Interest(COINM),
        49: Interest(USDM),
        50: Interest(COINM),
        51: Interest(USDM),
    }


def bybit_documented() -> dict[int, Line]:
    lines: dict[int, Line] = dict.fromkeys([*range(1, 7), *range(9, 25)], REST)
    return lines | {
        7: LISTING,
        8: LISTING,
        25: Taken(LINEAR),
        26: Taken(BYBIT_SPOT),
        27: REQUEST,
        28: NotCollected(LINEAR, "", "the insurance pool is not offered"),
        29: Taken(LINEAR),
        30: REQUEST,
        31: NotCollected(LINEAR, "", "price limits are not offered"),
        32: REQUEST,
        33: Control(BYBIT_SPOT),
        34: NotCollected(LINEAR, "", "books with RPI orders are not offered"),
        35: Taken(LINEAR),
        36: Taken(BYBIT_OPTION),
        37: Taken(BYBIT_SPOT),
        38: Taken(LINEAR),
        39: REQUEST,
        40: NotCollected(LINEAR, "", "the venue's own state has a socket of its own"),
        41: NotCollected(LINEAR, "", "an answer to what we never send: we have no account"),
        42: Control(BYBIT_SPOT),
        43: Control(LINEAR),
        44: Control(BYBIT_OPTION),
        45: Control(BYBIT_OPTION),
        46: REQUEST,
        47: Control(INVERSE),
        48: Control(BYBIT_SPOT),
        49: Control(LINEAR),
        50: Control(BYBIT_OPTION),
    }


TABLE: dict[str, dict[int, Line]] = {
    "binance_spot_documented.ndjson": spot_documented(),
    "binance_usdm_documented.ndjson": usdm_documented(),
    "binance_coinm_documented.ndjson": coinm_documented(),
    "live_frames_2026.ndjson": live(),
    "binance_2021.ndjson": of_2021(),
    "bybit_documented.ndjson": bybit_documented(),
}


def lines_of(kind: type) -> list[Any]:
    """Those of the table that are exactly of this kind, as parameters."""
    return [
        pytest.param(file, number, line, id=f"{file.removesuffix('.ndjson')}:{number}")
        for file, lines in TABLE.items()
        for number, line in sorted(lines.items())
        if type(line) is kind
    ]


def raw_of(file: str, number: int) -> str:
    lines = payload_file(file).read_text().splitlines()
    raw: str = json.loads(lines[number - 1])["raw"]
    return raw


def message_of(file: str, number: int, line: Taken) -> dict[str, Any]:
    """The message as it comes on a socket: Binance's in the combined envelope."""
    message = json.loads(raw_of(file, number))
    if line.rules.exchange is Exchange.BYBIT or "stream" in message:
        return dict(message)
    return {"stream": line.stream, "data": message}


def listening(line: Taken, mode: NumberMode = NumberMode.FLOAT) -> Drive:
    drive = Drive(line.rules, numbers=mode, discover=True, books=False)
    drive.open()
    return drive


def expected(line: Taken, message: dict[str, Any], mode: NumberMode) -> list[Any]:
    number, market = number_of(mode), line.rules.market
    if line.rules.exchange is Exchange.BYBIT:
        return Reader(market, number).readings(message)
    return readings(market, message["stream"], message["data"], number)


# ------------------------------------------------------------------------------------------- lines
@pytest.mark.parametrize("file", TABLE)
def test_every_line_stands_in_the_table(file: str) -> None:
    lines = payload_file(file).read_text().splitlines()
    assert sorted(TABLE[file]) == list(range(1, len(lines) + 1))


def test_every_file_stands_in_the_table() -> None:
    files = {path.name for path in payload_file("bybit_documented.ndjson").parent.iterdir()}
    pairs = {name for name in files if name.startswith("normalised_pairs")}  # another test's
    assert files - pairs == set(TABLE)


@modes
@pytest.mark.parametrize(("file", "number", "line"), lines_of(Taken))
def test_a_message_is_what_its_text_says(
    file: str, number: int, line: Taken, mode: NumberMode
) -> None:
    message = message_of(file, number, line)
    drive = listening(line, mode)
    outcome = drive.read(text(message))
    assert outcome.unparsed == []
    assert outcome.rows
    wanted = expected(line, message, mode)
    check_events(outcome.rows, wanted, time=drive.time, ordinal=drive.ordinal - 1)
    for event in outcome.rows:
        check_numbers(event, mode)
    assert not drive.session.foreign
    assert not drive.session.unknown_values


@modes
@pytest.mark.parametrize(("file", "number", "line"), lines_of(Foreign))
def test_rows_of_the_other_futures_market_are_left_out_and_counted(
    file: str, number: int, line: Foreign, mode: NumberMode
) -> None:
    message = message_of(file, number, line)
    drive = listening(line, mode)
    outcome = drive.read(text(message))
    assert (outcome.rows, outcome.unparsed) == ([], [])
    assert drive.session.foreign == {line.stream: 1}

    ours = json.loads(json.dumps(message).replace('"st": 1', '"st": 2'))
    outcome = drive.read(text(ours))
    wanted = expected(line, ours, mode)
    assert wanted
    check_events(outcome.rows, wanted, time=drive.time, ordinal=drive.ordinal - 1)
    assert drive.session.foreign == {line.stream: 1}


def test_the_documentation_marks_coinm_as_usdm_and_live_messages_do_not() -> None:
    """See `DOCUMENTED_ST`."""
    documented = [json.loads(raw_of("binance_coinm_documented.ndjson", n)) for n in range(1, 20)]
    flat = [row for data in documented for row in (data if isinstance(data, list) else [data])]
    assert {row["st"] for row in flat if "st" in row} == {1, 2}
    assert [n for n, row in enumerate(flat, 1) if row.get("st") == 2] == [11]
    live_ones = [json.loads(raw_of("live_frames_2026.ndjson", n))["data"] for n in (1, 3, 4)]
    assert {row["st"] for row in live_ones} == {2}


@modes
@pytest.mark.parametrize(("file", "number", "line"), lines_of(Change))
def test_a_change_is_merged_into_its_snapshot_and_is_nothing_without(
    file: str, number: int, line: Change, mode: NumberMode
) -> None:
    change, snapshot = message_of(file, number, line), message_of(*line.snapshot, line)
    drive = listening(line, mode)
    outcome = drive.read(text(change))
    assert (outcome.rows, outcome.unparsed) == ([], [])
    assert drive.session.unknown_values == {"tickers: a delta before its snapshot": 1}

    reader = Reader(line.rules.market, number_of(mode))
    reader.readings(snapshot)
    drive.read(text(snapshot))
    outcome = drive.read(text(change))
    assert outcome.unparsed == []
    wanted = reader.readings(change)
    assert [kind for kind, _ in wanted] == [Ticker]
    check_events(outcome.rows, wanted, time=drive.time, ordinal=drive.ordinal - 1)


@modes
@pytest.mark.parametrize(("file", "number", "line"), lines_of(Snapshot))
def test_a_snapshot_by_rest_is_what_its_text_says(
    file: str, number: int, line: Snapshot, mode: NumberMode
) -> None:
    drive = Drive(line.rules, ["book"], [line.stream], numbers=mode, books=False)
    drive.open()
    raw = raw_of(file, number)
    outcome = drive.snapshot(raw.encode(), "book", line.stream)
    assert outcome.unparsed == []
    wanted = snapshot_reading(line.rules.market, line.stream, json.loads(raw), number_of(mode))
    check_events(outcome.rows, [wanted], time=drive.time, ordinal=drive.ordinal - 1)
    check_numbers(outcome.rows[0], mode)


@modes
@pytest.mark.parametrize(("file", "number", "line"), lines_of(Interest))
def test_an_open_interest_is_what_its_text_says(
    file: str, number: int, line: Interest, mode: NumberMode
) -> None:
    raw = raw_of(file, number)
    d = json.loads(raw)
    drive = Drive(line.rules, ["open_interest"], [d["symbol"]], numbers=mode, books=False)
    drive.open()
    outcome = drive.snapshot(raw.encode(), "open_interest", d["symbol"])
    assert outcome.unparsed == []
    wanted = interest_reading(line.rules.market, d, number_of(mode))
    check_events(outcome.rows, [wanted], time=drive.time, ordinal=drive.ordinal - 1)
    check_numbers(outcome.rows[0], mode)


@pytest.mark.parametrize(("file", "number", "line"), lines_of(Control))
def test_a_control_message_is_understood_and_gives_nothing(
    file: str, number: int, line: Control
) -> None:
    drive = listening(line)
    outcome = drive.read(raw_of(file, number).encode())
    assert (outcome.rows, outcome.unparsed) == ([], [])


@modes
@pytest.mark.parametrize(("file", "number", "line"), lines_of(Incomplete))
def test_an_incomplete_message_of_the_documentation_is_quarantined(
    file: str, number: int, line: Incomplete, mode: NumberMode
) -> None:
    assert line.lacks
    raw = text(message_of(file, number, line))
    outcome = listening(line, mode).read(raw)
    assert [(kept.kind, kept.raw) for kept in outcome.unparsed] == [("malformed", raw)]
    assert outcome.rows == outcome.gaps


@pytest.mark.parametrize(("file", "number", "line"), lines_of(NotCollected))
def test_a_message_of_a_stream_that_is_not_offered_is_kept_by_a_name(
    file: str, number: int, line: NotCollected
) -> None:
    assert line.reason
    message = message_of(file, number, line)
    outcome = listening(line).read(text(message))
    (kept,) = outcome.unparsed
    assert (kept.raw, outcome.rows) == (text(message), [])
    assert kept.kind in names_of(message)


def names_of(message: dict[str, Any]) -> Iterator[str]:
    """What a message may be called by: the type in it, its stream, its topic's family, its op."""
    data = message.get("data")
    first = data[0] if isinstance(data, list) else data
    if "stream" in message:
        yield from (message["stream"], first.get("e", ""))
    else:
        yield from (message.get("topic", "").split(".")[0], message.get("op", ""))
