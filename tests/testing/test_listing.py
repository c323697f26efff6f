from __future__ import annotations

import pytest

from farm.testing import MarketSimulator, losing
from farm.testing.listing import Listing
from farm.types import Exchange, Market

SPOT = (Exchange.BINANCE, Market.SPOT)


def names(listing: Listing, *seen: str) -> list[str]:
    return [item.symbol for item in listing.instruments(seen)]


def test_the_source_says_what_is_listed() -> None:
    source = MarketSimulator(*SPOT, ["TUSDT", "BTCUSDT"], seed=3)
    for told in (source, losing(source, lambda _: False)):
        listing = Listing(*SPOT, told, None)
        assert names(listing) == ["TUSDT", "BTCUSDT"]
        assert listing.instruments([]) == list(source.instruments)
        assert listing.trades("TUSDT")
        assert not listing.trades("ETHUSDT")
        assert listing.hidden == set()


def test_where_nobody_says_anything_is_traded() -> None:
    listing = Listing(*SPOT, [], None)
    assert listing.symbols is None
    assert listing.trades("WHATEVER")
    assert names(listing, "AUSDT") == ["AUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT"]
    listing.remove("BTCUSDT", None)
    listing.add("NEWUSDT")
    assert not listing.trades("BTCUSDT")
    assert names(listing, "AUSDT") == ["AUSDT", "ETHUSDT", "NEWUSDT", "SOLUSDT"]


def test_what_the_source_trades_and_the_venue_does_not_list_is_hidden() -> None:
    source = MarketSimulator(Exchange.BINANCE, Market.USDM, ["BTCUSDT", "ETHUSDT_260925"])
    listing = Listing(Exchange.BINANCE, Market.USDM, source, ["BTCUSDT", "SOLUSDT"])
    assert names(listing) == ["BTCUSDT", "SOLUSDT"]
    assert listing.hidden == {"ETHUSDT_260925", "ETHUSDT_CURRENT_QUARTER"}
    listing.add("ETHUSDT_260925")
    assert listing.hidden == set()
    assert names(listing) == ["BTCUSDT", "ETHUSDT_260925", "SOLUSDT"]
    assert list(listing.symbols or ()) == ["BTCUSDT", "SOLUSDT", "ETHUSDT_260925"]


@pytest.mark.parametrize(("status", "left"), [(None, ["AUSDT"]), ("BREAK", ["AUSDT", "BUSDT"])])
def test_a_delisted_symbol_leaves_the_list_or_stays_under_another_status(
    status: str | None, left: list[str]
) -> None:
    listing = Listing(*SPOT, [], ["AUSDT", "BUSDT"])
    listing.remove("BUSDT", status)
    assert names(listing) == left
    assert not listing.trades("BUSDT")
    assert listing.statuses.get("BUSDT") == status
    listing.add("BUSDT")
    assert (names(listing), listing.statuses, listing.hidden) == (["AUSDT", "BUSDT"], {}, set())
