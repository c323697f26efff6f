"""Numbers as text: what is read, exactly or as floats, and what is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.entities import BookUpdate, Level, MarkPrice
from farm.exchanges.numbers import (
    MS,
    US,
    Id,
    Micros,
    Millis,
    ParserContext,
    UnknownValues,
    exactly,
    number_of,
    number_type,
    signed_type,
)
from farm.types import NumberMode
from tests.exchanges.feeding import BINANCE_SPOT, BINANCE_USDM, T0, Drive, binance_diff, combined

STREAM = BINANCE_SPOT.streams.stream("BTCUSDT", "book")


@given(st.decimals(0, 10**12, places=12, allow_nan=False))
def test_the_text_of_a_number_is_read_exactly_and_as_its_nearest_float(value: Decimal) -> None:
    text = f"{value:f}"
    for raw in (f'"{text}"', text):  # venues send text; a bare number is the same number
        exact = msgspec.json.decode(raw, type=number_type(NumberMode.DECIMAL), strict=False)
        assert exact == value
        assert msgspec.json.decode(raw, type=number_type(NumberMode.FLOAT), strict=False) == float(
            text
        )
    assert str(msgspec.json.decode(f'"{text}"', type=Decimal)) == str(Decimal(text))


@pytest.mark.parametrize("raw", ['"NaN"', '"inf"', '"-Infinity"', '"-1"', '"1e301"', '""', "true"])
def test_a_float_cannot_be(raw: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw, type=number_type(NumberMode.FLOAT), strict=False)


def test_what_is_signed_may_be_negative() -> None:
    for mode in NumberMode:
        kind = signed_type(mode)
        assert msgspec.json.decode(b'"-0.00000573"', type=kind, strict=False) < 0
    for raw in ('"NaN"', '"-inf"', '"-1e301"', '"1e301"'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(raw, type=signed_type(NumberMode.FLOAT), strict=False)


modes = pytest.mark.parametrize("mode", list(NumberMode))


@modes
def test_an_empty_text_is_no_number_and_any_other_is_read_as_it_stands(mode: NumberMode) -> None:
    assert number_of(mode, "") is None
    value = number_of(mode, "83786.17543766")
    assert value == (float if mode is NumberMode.FLOAT else Decimal)("83786.17543766")
    assert number_of(mode, "-0.00000573", signed=True) < 0


@modes
@pytest.mark.parametrize("text", ["x", "0x1", "None", "True", "[]", " ", "--1", "1,5"])
def test_a_text_that_is_no_number_is_refused(mode: NumberMode, text: str) -> None:
    with pytest.raises(ValueError, match=r"number|convert"):
        number_of(mode, text)


@modes
@pytest.mark.parametrize("text", ["NaN", "nan", "inf", "-Infinity", "1e301", "-1e301"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_number_out_of_range_is_refused(mode: NumberMode, text: str, signed: bool) -> None:
    with pytest.raises(ValueError, match="not a number that"):
        number_of(mode, text, signed=signed)


@modes
@pytest.mark.parametrize("text", ["-1", "-1e-300", "-0.00000001"])
def test_a_negative_number_is_refused_unless_it_may_be(mode: NumberMode, text: str) -> None:
    with pytest.raises(ValueError, match="not a number that"):
        number_of(mode, text)
    assert number_of(mode, text, signed=True) < 0


@pytest.mark.parametrize(
    "raw", ["-1", "9223372036854775808", '"9223372036854775808"', "1.5", "1e30"]
)
def test_an_id_fits_a_column(raw: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw, type=Id, strict=False)
    assert msgspec.json.decode("9223372036854775807", type=Id) == 2**63 - 1


def test_a_time_fits_a_column_in_nanoseconds() -> None:
    last = (2**63 - 1) // MS
    assert msgspec.json.decode(str(last), type=Millis) * MS < 2**63
    for raw in (str(last + 1), "-1"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(raw, type=Millis)


def test_the_unit_of_a_time_shows_in_its_size() -> None:
    millis, micros = b"1790000000123", b"1790000000123456"
    assert msgspec.json.decode(micros, type=Micros) * US == 1790000000123456_000
    assert msgspec.json.decode(millis, type=Millis) * MS == 1790000000123_000_000
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(millis, type=Micros)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(micros, type=Millis)
    last = (2**63 - 1) // US
    assert msgspec.json.decode(str(last), type=Micros) * US < 2**63
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(str(last + 1), type=Micros)


# ---------------------------------------------------------------------------------------- exactly
BAD = ["NaN", "sNaN", "Infinity", "-0.1", "1e301", "1e99999999"]


def context(mode: NumberMode = NumberMode.DECIMAL) -> ParserContext:
    return ParserContext(mode)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", ["price", "quantity"])
def test_exactly_takes_back_the_rows_of_a_bad_frame_and_no_others(bad: str, place: str) -> None:
    good = Level(Decimal(1), Decimal(2))
    level = Level(Decimal(bad), Decimal(1)) if place == "price" else Level(Decimal(1), Decimal(bad))
    update = _update([good, level])
    it = context()

    def parse(raw: bytes, stream: Any, time: int, ordinal: int, rows: list[Any]) -> None:
        rows.extend([_update([good]), update])
        it.extras.append(_mark("1"))

    rows: list[Any] = ["of the frame before"]
    it.extras.append("of the frame before")
    with pytest.raises(ValueError, match="ask_levels"):
        exactly(it, parse)(b"", STREAM, T0, 0, rows)
    assert rows == it.extras == ["of the frame before"]


def test_exactly_looks_at_events_of_other_kinds_as_well() -> None:
    it = context()

    def parse(raw: bytes, stream: Any, time: int, ordinal: int, rows: list[Any]) -> None:
        rows.append(_mark("1"))
        it.extras.append(_mark(raw.decode()))

    rows: list[Any] = []
    exactly(it, parse)(b"0", STREAM, T0, 0, rows)
    assert (len(rows), len(it.extras)) == (1, 1)
    with pytest.raises(ValueError, match="mark_price"):
        exactly(it, parse)(b"NaN", STREAM, T0, 0, rows)
    assert (len(rows), len(it.extras)) == (1, 1)


def test_floats_are_checked_where_they_are_decoded() -> None:
    def parse(raw: bytes, stream: Any, time: int, ordinal: int, rows: list[Any]) -> None: ...

    assert exactly(context(NumberMode.FLOAT), parse) is parse


def _update(levels: list[Level[Decimal]]) -> BookUpdate:
    drive = Drive(BINANCE_SPOT, ["book"], numbers=NumberMode.DECIMAL)
    drive.open()
    (update,) = drive.read(binance_diff(1, 2, json.loads('[["1","1"]]'))).only(BookUpdate)
    update.ask_levels = levels
    return update


def _mark(price: str) -> MarkPrice:
    drive = Drive(BINANCE_USDM, ["mark_price"], numbers=NumberMode.DECIMAL)
    drive.open()
    data = {"e": "markPriceUpdate", "E": 1, "s": "BTCUSDT", "p": "1", "r": "-0.1", "T": 0}
    (mark,) = drive.read(combined("btcusdt@markPrice@1s", data)).only(MarkPrice)
    mark.mark_price = Decimal(price)
    return mark


def test_unknown_values_fill_no_memory() -> None:
    unknown = UnknownValues()
    for number in range(3000):
        unknown.note("trade.X", f"{number}:{'x' * 10_000}")
    unknown.note("trade.X", "0:" + "x" * 10_000)
    assert len(unknown) == 1001
    assert unknown["trade.X=(other)"] == 2000
    assert unknown.total() == 3001
    assert unknown["trade.X=0:" + "x" * 98] == 2
