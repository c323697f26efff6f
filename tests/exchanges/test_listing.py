"""Numbers and times as they stand in listings, in both number modes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.entities import Instrument
from farm.exchanges.listing import Envelope, ListingFormat, ListingPage, Terms, read_page
from farm.exchanges.registry import rules_of
from farm.types import Exchange, Market, NumberMode
from tests.exchanges.listings import MS, NUMBER, T0

RULES = rules_of(Exchange.BINANCE, Market.SPOT)


def page_of(mode: NumberMode, **terms: Any) -> ListingPage:
    """A page with one entry of these terms."""
    whole = Terms("BTCUSDT", "BTC", "USDT", "TRADING", trading=True, **terms)
    form = ListingFormat(lambda _: Envelope([msgspec.Raw(b"{}")]), lambda _: whole)
    return read_page(form, RULES, b"", T0, mode, 0)


def read(mode: NumberMode, **terms: Any) -> Instrument:
    page = page_of(mode, **terms)
    assert page.malformed == []
    return page.instruments[0]


@given(st.decimals(min_value=0, max_value=10**15, places=12), st.sampled_from(list(NumberMode)))
def test_a_number_is_what_its_text_says(value: Decimal, mode: NumberMode) -> None:
    item = read(mode, min_quantity=f"{value:f}")
    assert item.min_quantity == NUMBER[mode](f"{value:f}")
    assert type(item.min_quantity) is type(NUMBER[mode]("0"))


@pytest.mark.parametrize(("stated", "text"), [(100, "100"), (0.1, "0.1"), (1e-8, "0.00000001")])
@pytest.mark.parametrize("mode", list(NumberMode))
def test_a_number_may_be_written_without_quotes(mode: NumberMode, stated: float, text: str) -> None:
    assert read(mode, contract_size=stated).contract_size == NUMBER[mode](text)


@pytest.mark.parametrize("stated", ["NaN", "-0.1", "inf", "Infinity", "1e301", "ten", "0x1", -1])
@pytest.mark.parametrize("mode", list(NumberMode))
def test_what_no_price_can_be_is_refused(mode: NumberMode, stated: str | int) -> None:
    page = page_of(mode, tick_size=stated)
    assert page.instruments == []
    assert page.malformed[0].startswith(f"entry 0: tick_size is {stated!r}")


@pytest.mark.parametrize("mode", list(NumberMode))
def test_no_number_is_none(mode: NumberMode) -> None:
    item = read(mode, tick_size="", lot_size=None, min_quantity="0", min_notional="")
    assert (item.tick_size, item.lot_size, item.min_notional) == (None, None, None)
    assert item.min_quantity == 0


@pytest.mark.parametrize(
    ("stated", "time"),
    [
        (1_790_000_000_000, T0),
        ("1790000000000", T0),
        (1, MS),
        ("0", None),
        (0, None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_milliseconds_and_0_is_none(stated: Any, time: int | None) -> None:
    item = read(NumberMode.FLOAT, launch_time=stated, delivery_time=stated)
    assert (item.launch_time, item.delivery_time) == (time, time)


@pytest.mark.parametrize("stated", [-1, "-1", 2**63 // MS + 1, "1.5", "tomorrow"])
def test_times_that_no_column_holds_are_refused(stated: Any) -> None:
    page = page_of(NumberMode.FLOAT, launch_time=stated)
    assert page.malformed[0].startswith(f"entry 0: launch_time is {stated!r}")
