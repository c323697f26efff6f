from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.testing.simulator.decimals import fixed, signed, trimmed


@pytest.mark.parametrize(
    ("units", "decimals", "whole", "short"),
    [
        (8120, 2, "81.20", "81.2"),
        (8100, 2, "81.00", "81"),
        (5, 3, "0.005", "0.005"),
        (0, 2, "0.00", "0"),
        (1200, 0, "1200", "1200"),
    ],
)
def test_spelling(units: int, decimals: int, whole: str, short: str) -> None:
    assert (fixed(units, decimals), trimmed(units, decimals)) == (whole, short)


@given(st.integers(0, 10**20), st.integers(0, 12))
def test_both_spellings_are_the_number(units: int, decimals: int) -> None:
    number = Decimal(units).scaleb(-decimals)
    assert Decimal(fixed(units, decimals)) == Decimal(trimmed(units, decimals)) == number
    assert len(fixed(units, decimals).partition(".")[2]) == decimals


@given(st.integers(-(10**20), 10**20), st.integers(0, 12))
def test_signed_numbers(units: int, decimals: int) -> None:
    assert Decimal(signed(units, decimals)) == Decimal(units).scaleb(-decimals)
    assert signed(abs(units), decimals) == fixed(abs(units), decimals)
