"""The parsers of all of Binance's streams: which there are, and what each of them refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.columns import ColumnKind, column_types
from farm.entities import EVENT_KINDS
from farm.exchanges.binance.parsers import EVENT_TYPES, parser_of
from farm.exchanges.numbers import ParserContext
from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import REST_ROUTE, Scope
from farm.types import DataType, NumberMode
from tests.exchanges.binance.reading import MS, US, interest_reading, readings
from tests.exchanges.binance.texts import ALL, Path, Sample, samples
from tests.exchanges.feeding import (
    BINANCE,
    BINANCE_SPOT,
    Drive,
    Outcome,
    check_events,
    check_numbers,
    number_of,
)

modes = pytest.mark.parametrize("mode", list(NumberMode))
each = pytest.mark.parametrize("sample", ALL, ids=lambda sample: sample.id)
of_spot = pytest.mark.parametrize("sample", samples(BINANCE_SPOT), ids=lambda sample: sample.id)


def drive_for(sample: Sample, mode: NumberMode = NumberMode.FLOAT, **options: Any) -> Drive:
    stream, symbols = sample.stream, [sample.stream.symbol]
    whole = stream.scope is Scope.MARKET
    spec = stream.spec
    if stream.data_type is DataType.BOOK and stream.depth is None:
        spec = "book"
    drive = Drive(
        sample.rules,
        () if whole else [spec],
        symbols,
        whole=[stream.spec] if whole else (),
        numbers=mode,
        books=False,
        **options,
    )
    drive.open()
    return drive


def expected(sample: Sample, mode: NumberMode, data: Any, unit: int = MS) -> list[Any]:
    market, number = sample.rules.market, number_of(mode)
    if sample.stream.route == REST_ROUTE:
        return [interest_reading(market, data, number)]
    return readings(market, sample.stream.name, data, number, unit)


def is_refused(sample: Sample, outcome: Outcome) -> bool:
    """Kept as it came, and nothing made of it."""
    return len(outcome.unparsed) == 1 and outcome.rows == outcome.gaps


# ----------------------------------------------------------------------------------- what there is
@modes
@each
def test_the_sample_of_each_stream_is_what_its_text_says(sample: Sample, mode: NumberMode) -> None:
    drive = drive_for(sample, mode)
    outcome = sample.read(drive)
    assert outcome.unparsed == []
    wanted = expected(sample, mode, sample.data)
    check_events(outcome.rows, wanted, time=drive.time, ordinal=drive.ordinal - 1)
    for event in outcome.rows:
        check_numbers(event, mode)


@pytest.mark.parametrize("rules", BINANCE, ids=lambda rules: rules.key)
def test_there_is_a_parser_and_a_sample_for_every_stream_of_the_market(rules: MarketRules) -> None:
    streams = [rules.streams.stream("BTCUSDT", spec) for spec in rules.streams.specs]
    streams += [rules.streams.market_stream(spec) for spec in rules.streams.market_specs]
    sampled = {(s.stream.data_type, s.stream.scope) for s in samples(rules)}
    assert {(stream.data_type, stream.scope) for stream in streams} == sampled
    for stream in streams:
        assert callable(parser_of(stream, ParserContext(universe=rules.universe)))


@each
def test_the_types_are_the_venues_words(sample: Sample) -> None:
    said = sample.data.get("e")
    polled = sample.stream.route == REST_ROUTE
    assert polled or said in (None, EVENT_TYPES[sample.stream.data_type])


@each
def test_every_number_of_an_event_stands_in_its_sample(sample: Sample) -> None:
    """So that what is said of the samples' numbers here is said of all."""
    (event,) = sample.read(drive_for(sample)).rows
    assert type(event) is EVENT_KINDS[sample.stream.data_type]
    columns = [c for c in column_types(type(event)) if c.kind is ColumnKind.NUMBER]
    filled = [c for c in columns if getattr(event, c.name) is not None]
    levels = [path for path in sample.numbers if len(path) > 2]
    assert len(sample.numbers) - len(levels) == len([c for c in filled if not c.signed])
    assert len(sample.signed) == len([c for c in filled if c.signed])
    assert bool(levels) == (sample.stream.data_type is DataType.BOOK)


# -------------------------------------------------------------------------------- what is refused
UNSIGNED = [(sample, path) for sample in ALL for path in sample.numbers]
SIGNED = [(sample, path) for sample in ALL for path in sample.signed]
TIMES = [(sample, path) for sample in ALL for path in sample.times]
IDS = [(sample, path) for sample in ALL for path in sample.ids]
NO_NUMBERS = st.sampled_from(
    ["NaN", "nan", "-NaN", "inf", "Inf", "-inf", "Infinity", "-Infinity", "1e301", "-1e301", "x"]
)
NEGATIVE = st.decimals("-1e20", "-1e-12", allow_nan=False).map(lambda value: f"{value:f}")
MODES = st.sampled_from(NumberMode)


@given(st.sampled_from(UNSIGNED), NO_NUMBERS | NEGATIVE, MODES)
def test_no_number_is_negative_or_infinite_or_none_at_all(
    field: tuple[Sample, Path], bad: str, mode: NumberMode
) -> None:
    sample, path = field
    assert is_refused(sample, sample.read(drive_for(sample, mode), (path, bad)))


@pytest.mark.parametrize("bad", ["NaN", "-inf", "-1"])
@modes
@pytest.mark.parametrize(
    ("sample", "path"), [pytest.param(s, p, id=f"{s.id} {p}") for s, p in UNSIGNED]
)
def test_each_number_is_checked(sample: Sample, path: Path, mode: NumberMode, bad: str) -> None:
    assert is_refused(sample, sample.read(drive_for(sample, mode), (path, bad)))


@given(st.sampled_from(SIGNED), NO_NUMBERS, MODES)
def test_a_signed_number_is_finite(field: tuple[Sample, Path], bad: str, mode: NumberMode) -> None:
    sample, path = field
    assert is_refused(sample, sample.read(drive_for(sample, mode), (path, bad)))


@given(st.sampled_from(SIGNED), NEGATIVE, MODES)
def test_a_signed_number_may_be_negative(
    field: tuple[Sample, Path], text: str, mode: NumberMode
) -> None:
    sample, path = field
    (event,) = sample.read(drive_for(sample, mode), (path, text)).rows
    values = [getattr(event, c.name) for c in column_types(type(event)) if c.signed]
    assert number_of(mode)(text) in values


@given(
    st.sampled_from(IDS),
    st.sampled_from([-2, 2**63, 10**30, 1.5, "x", None, [], {}, ""]),
    MODES,
)
def test_an_id_fits_a_column(field: tuple[Sample, Path], bad: Any, mode: NumberMode) -> None:
    sample, path = field
    assert is_refused(sample, sample.read(drive_for(sample, mode), (path, bad)))


@given(
    st.sampled_from(TIMES),
    st.sampled_from([-1, 2**63, 10**30, 1790000000123456, 1.5, "x", None, [], {}, ""]),
    MODES,
)
def test_a_time_fits_a_column_and_is_in_milliseconds(
    field: tuple[Sample, Path], bad: Any, mode: NumberMode
) -> None:
    sample, path = field
    assert is_refused(sample, sample.read(drive_for(sample, mode), (path, bad)))


@each
def test_a_time_of_each_kind_is_checked(sample: Sample) -> None:
    for path in sample.times:
        for bad in (1790000000123456, 2**63, -1):
            assert is_refused(sample, sample.read(drive_for(sample), (path, bad))), path


# ----------------------------------------------------------------------------------- microseconds
def in_microseconds(sample: Sample) -> dict[str, Any]:
    """The sample as a session gets it that asked for them: 16 digits where there were 13."""
    data: dict[str, Any] = json.loads(json.dumps(sample.data))
    for number, path in enumerate(sample.times):
        place = data
        for step in path[:-1]:
            place = place[step]  # type: ignore[index]
        place[path[-1]] = place[path[-1]] * 1000 + 456 + number  # type: ignore[index]
    return data


@modes
@of_spot
def test_times_of_every_kind_may_be_microseconds(sample: Sample, mode: NumberMode) -> None:
    drive = drive_for(sample, mode, microseconds=True)
    data = in_microseconds(sample)
    outcome = sample.read(drive, *((path, _at(data, path)) for path in sample.times))
    assert outcome.unparsed == []
    wanted = expected(sample, mode, data, US)
    check_events(outcome.rows, wanted, time=drive.time, ordinal=drive.ordinal - 1)


@of_spot
def test_neither_unit_is_taken_for_the_other(sample: Sample) -> None:
    micros = in_microseconds(sample)
    for path in sample.times:
        drive = drive_for(sample, microseconds=True)
        millis = [(p, _at(sample.data if p == path else micros, p)) for p in sample.times]
        assert is_refused(sample, sample.read(drive, *millis)), path
        drive = drive_for(sample)
        assert is_refused(sample, sample.read(drive, (path, _at(micros, path)))), path


def test_what_has_no_time_is_the_same_in_either_unit() -> None:
    timeless = [sample for sample in samples(BINANCE_SPOT) if not sample.times]
    assert [sample.stream.spec for sample in timeless] == ["quote", "book:20"]


def test_a_microsecond_of_every_kind_by_hand() -> None:
    """Written out once more, without the second reading."""
    drive = Drive(
        BINANCE_SPOT,
        ["trade", "agg_trade", "book", "kline:1m", "mini_ticker", "ticker"],
        books=False,
        microseconds=True,
    )
    drive.open()
    micros = {
        "trade": b'"e":"trade","E":1790000000123457,"T":1790000000122001,"t":1,"p":"1","q":"1",'
        b'"m":true',
        "aggTrade": b'"e":"aggTrade","E":1790000000123457,"T":1790000000122001,"a":1,"p":"1",'
        b'"q":"1","f":1,"l":1,"m":true',
        "depth@100ms": b'"e":"depthUpdate","E":1790000000123457,"U":1,"u":2,"b":[],"a":[]',
        "kline_1m": b'"e":"kline","E":1790000000123457,"k":{"t":1789999980000000,'
        b'"T":1790000039999999,"f":1,"L":1,"o":"1","c":"1","h":"1","l":"1","v":"1","n":1,'
        b'"x":false,"q":"1","V":"1","Q":"1"}',
        "miniTicker": b'"e":"24hrMiniTicker","E":1790000000123457,"s":"BTCUSDT","c":"1","o":"1",'
        b'"h":"1","l":"1","v":"1","q":"1"',
        "ticker": b'"e":"24hrTicker","E":1790000000123457,"s":"BTCUSDT","p":"1","P":"1","w":"1",'
        b'"c":"1","Q":"1","o":"1","h":"1","l":"1","v":"1","q":"1","O":1789913600123001,'
        b'"C":1790000000111002,"F":1,"L":1,"n":1',
    }
    frames = [
        b'{"stream":"btcusdt@' + topic.encode() + b'","data":{' + data + b"}}"
        for topic, data in micros.items()
    ]
    rows = {type(row).__name__: row for row in drive.read(*frames).rows}
    pushed = 1790000000123457_000
    engine = 1790000000122001_000
    assert {(row.event_time, row.exchange_time) for row in rows.values()} == {
        (pushed, engine),
        (pushed, pushed),
    }
    assert rows["Trade"].exchange_time == rows["AggTrade"].exchange_time == engine
    assert rows["Kline"].open_time == 1789999980000000_000
    assert rows["Kline"].close_time == 1790000039999999_000
    assert rows["Ticker"].open_time == 1789913600123001_000
    assert rows["Ticker"].close_time == 1790000000111002_000


def test_a_snapshot_by_rest_has_milliseconds_even_where_the_socket_has_not() -> None:
    """Its request asks for no unit; spot's has no time at all."""
    drive = Drive(BINANCE_SPOT, ["book"], books=False, microseconds=True)
    drive.open()
    body = b'{"lastUpdateId":7,"E":1790000000123,"T":1790000000122,"bids":[],"asks":[]}'
    (update,) = drive.snapshot(body).rows
    assert (update.event_time, update.exchange_time) == (
        1790000000123_000_000,
        1790000000122_000_000,
    )


def _at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data
