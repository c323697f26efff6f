"""The parsers of all of Bybit's topics: which there are, and what each of them refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.columns import column_types
from farm.entities import EVENT_KINDS
from farm.exchanges.bybit.parsers import parser_of
from farm.exchanges.numbers import ParserContext
from farm.exchanges.rules import MarketRules
from farm.types import NumberMode
from tests.exchanges.bybit.reading import Reader
from tests.exchanges.bybit.texts import ALL, Path, Sample, samples
from tests.exchanges.feeding import (
    BYBIT,
    Drive,
    Outcome,
    check_events,
    check_numbers,
    number_of,
)

modes = pytest.mark.parametrize("mode", list(NumberMode))
each = pytest.mark.parametrize("sample", ALL, ids=lambda sample: sample.id)


def drive_for(sample: Sample, mode: NumberMode = NumberMode.FLOAT) -> Drive:
    drive = Drive(sample.rules, [sample.spec], [sample.symbol], numbers=mode, books=False)
    drive.open()
    return drive


def is_refused(outcome: Outcome) -> bool:
    """Kept as it came, and nothing made of it."""
    return len(outcome.unparsed) == 1 and outcome.rows == outcome.gaps


@modes
@each
def test_the_sample_of_each_topic_is_what_its_text_says(sample: Sample, mode: NumberMode) -> None:
    drive = drive_for(sample, mode)
    outcome = drive.read(sample.frame())
    assert outcome.unparsed == []
    wanted = Reader(sample.rules.market, number_of(mode)).readings(sample.message)
    check_events(outcome.rows, wanted, time=drive.time, ordinal=drive.ordinal - 1)
    for event in outcome.rows:
        check_numbers(event, mode)
    kinds = {type(event) for event in outcome.rows}
    stream = sample.stream
    assert kinds == {EVENT_KINDS[kind] for kind in (stream.data_type, *stream.also)}


@pytest.mark.parametrize("rules", BYBIT, ids=lambda rules: rules.key)
def test_there_is_a_parser_and_a_sample_for_every_topic_of_the_market(rules: MarketRules) -> None:
    streams = [rules.streams.stream("BTCUSDT", spec) for spec in rules.streams.specs]
    sampled = {(s.stream.data_type, s.stream.procedure) for s in samples(rules)}
    assert {(stream.data_type, stream.procedure) for stream in streams} == sampled
    for stream in streams:
        assert callable(parser_of(stream, ParserContext()))


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
    assert is_refused(drive_for(sample, mode).read(sample.frame((path, bad))))


@pytest.mark.parametrize("bad", ["NaN", "-inf", "-1"])
@modes
@pytest.mark.parametrize(
    ("sample", "path"), [pytest.param(s, p, id=f"{s.id} {p}") for s, p in UNSIGNED]
)
def test_each_number_is_checked(sample: Sample, path: Path, mode: NumberMode, bad: str) -> None:
    assert is_refused(drive_for(sample, mode).read(sample.frame((path, bad))))


@given(st.sampled_from(SIGNED), NO_NUMBERS, MODES)
def test_a_signed_number_is_finite(field: tuple[Sample, Path], bad: str, mode: NumberMode) -> None:
    sample, path = field
    assert is_refused(drive_for(sample, mode).read(sample.frame((path, bad))))


@given(st.sampled_from(SIGNED), NEGATIVE, MODES)
def test_a_signed_number_may_be_negative(
    field: tuple[Sample, Path], text: str, mode: NumberMode
) -> None:
    sample, path = field
    rows = drive_for(sample, mode).read(sample.frame((path, text))).rows
    values = [getattr(e, c.name) for e in rows for c in column_types(type(e)) if c.signed]
    assert number_of(mode)(text) in values


@given(
    st.sampled_from(IDS),
    st.sampled_from([-2, 2**63, 10**30, 1.5, "x", [], {}, ""]),
    MODES,
)
def test_an_id_fits_a_column(field: tuple[Sample, Path], bad: Any, mode: NumberMode) -> None:
    sample, path = field
    assert is_refused(drive_for(sample, mode).read(sample.frame((path, bad))))


@given(
    st.sampled_from(TIMES),
    st.sampled_from([-1, 2**63, 10**30, 1790000000123456, 1.5, "x", [], {}, [1], {"a": 1}, True]),
    MODES,
)
def test_a_time_fits_a_column_and_is_in_milliseconds(
    field: tuple[Sample, Path], bad: Any, mode: NumberMode
) -> None:
    sample, path = field
    assert is_refused(drive_for(sample, mode).read(sample.frame((path, bad))))


@each
def test_a_time_of_each_kind_is_checked(sample: Sample) -> None:
    for path in sample.times:
        for bad in (1790000000123456, 2**63, -1, "1790000000123456", [1]):
            assert is_refused(drive_for(sample).read(sample.frame((path, bad)))), (path, bad)


@each
def test_a_time_may_be_text(sample: Sample) -> None:
    """The documents print numbers in one place and text in another."""
    number = drive_for(sample).read(sample.frame()).rows
    changes = [(path, str(_at(sample.message, path))) for path in sample.times]
    assert drive_for(sample).read(sample.frame(*changes)).rows == number


def _at(message: Any, path: Path) -> Any:
    for step in path:
        message = message[step]
    return message
