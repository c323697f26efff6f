"""Numbers as text: what is read, exactly or as floats, and what is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.entities import BookUpdate, Level
from farm.exchanges.numbers import MS, Id, Millis, exactly, number_type
from farm.types import NumberMode
from tests.exchanges.feeding import BINANCE_SPOT, T0, Drive, binance_diff

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


@pytest.mark.parametrize("bad", ["NaN", "sNaN", "Infinity", "-0.1", "1e301", "1e99999999"])
@pytest.mark.parametrize("place", ["price", "quantity"])
def test_exactly_takes_back_the_rows_of_a_bad_frame_and_no_others(bad: str, place: str) -> None:
    good = Level(Decimal(1), Decimal(2))
    level = Level(Decimal(bad), Decimal(1)) if place == "price" else Level(Decimal(1), Decimal(bad))
    update = _update([good, level])

    def parse(raw: bytes, stream: Any, time: int, ordinal: int, rows: list[Any]) -> None:
        rows.extend([_update([good]), update])

    rows: list[Any] = ["of the frame before"]
    with pytest.raises(ValueError, match=place):
        exactly(NumberMode.DECIMAL, BookUpdate, parse)(b"", STREAM, T0, 0, rows)
    assert rows == ["of the frame before"]
    assert exactly(NumberMode.FLOAT, BookUpdate, parse) is parse


def _update(levels: list[Level[Decimal]]) -> BookUpdate:
    drive = Drive(BINANCE_SPOT, ["book"], numbers=NumberMode.DECIMAL)
    drive.open()
    (update,) = drive.read(binance_diff(1, 2, json.loads('[["1","1"]]'))).only(BookUpdate)
    update.ask_levels = levels
    return update
