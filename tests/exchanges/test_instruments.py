"""Finding symbols by name, and what changed between two listings."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.entities import Instrument
from farm.exchanges.instruments import (
    DELISTED,
    Changes,
    UnknownName,
    compare_listings,
    is_pattern,
    other_names,
    parse_listing,
    resolve_symbols,
)
from farm.exchanges.registry import MARKETS, rules_of
from farm.types import Exchange, Market, NumberMode
from tests.exchanges.listings import T0, body, instrument, listing_of, recorded_listings

LISTING = listing_of(
    *(
        instrument(symbol)
        for symbol in ("ETHUSDT", "BTCUSDT", "1INCHUSDT", "T", "币安人生USDT", "BTCEUR", "[X]USDT")
    ),
    instrument("OLDUSDT", trading=False, status="BREAK"),
)


def resolve(*patterns: str, also: Any = ()) -> list[str]:
    resolution = resolve_symbols(patterns, LISTING, also)
    assert resolution.unknown == []
    return resolution.symbols


def unknown(*patterns: str, also: Any = ()) -> list[UnknownName]:
    return resolve_symbols(patterns, LISTING, also).unknown


# ----------------------------------------------------------------------------------- resolution
def test_names_come_in_the_order_asked_for_and_once() -> None:
    assert resolve("ETHUSDT", "BTCUSDT", "ETHUSDT") == ["ETHUSDT", "BTCUSDT"]
    assert resolve("T", "币安人生USDT", "1INCHUSDT") == ["T", "币安人生USDT", "1INCHUSDT"]
    assert resolve() == []


def test_patterns_mean_what_trades_sorted() -> None:
    assert resolve("*USDT") == ["1INCHUSDT", "BTCUSDT", "ETHUSDT", "[X]USDT", "币安人生USDT"]
    assert resolve("???USDT") == ["BTCUSDT", "ETHUSDT", "[X]USDT"]
    assert resolve("?") == ["T"]
    assert resolve("BTC*", "*USDT")[:3] == ["BTCEUR", "BTCUSDT", "1INCHUSDT"]
    assert resolve("币安*") == ["币安人生USDT"]


def test_a_listed_symbol_that_does_not_trade_can_be_named_but_is_not_found_by_patterns() -> None:
    assert resolve("OLDUSDT") == ["OLDUSDT"]
    assert "OLDUSDT" not in resolve("*")
    assert unknown("OLD*") == [UnknownName("OLD*", 0, [])]


def test_a_bracket_is_a_letter() -> None:
    assert resolve("[X]*") == ["[X]USDT"]
    assert unknown("[BE]*") == [UnknownName("[BE]*", 0, [])]


def test_unknown_names_are_named_with_their_place_and_near_ones() -> None:
    assert unknown("BTCUSDT", "BTCEUT", "QQQQQQQQ", "*GBP", "", "t") == [
        UnknownName("BTCEUT", 1, ["BTCEUR", "BTCUSDT"]),
        UnknownName("QQQQQQQQ", 2, []),
        UnknownName("*GBP", 3, []),
        UnknownName("", 4, []),
        UnknownName("t", 5, ["T"]),
    ]


def test_the_right_case_comes_first_and_no_more_than_three() -> None:
    listing = listing_of(*(instrument(f"BTCUSD{letter}") for letter in "ABCDEFT"))
    ((name,)) = resolve_symbols(["btcusdt"], listing).unknown
    assert (name.near[0], len(name.near)) == ("BTCUSDT", 3)
    also = ("AAAA", "AAAa", "AAaA", "AaAA")
    assert unknown("aaaa", also=also)[0].near == ["AAAA", "AAAa", "AAaA"]


def test_what_else_may_be_named() -> None:
    assert resolve("BTC", "BTCUSDT", also=frozenset({"BTC"})) == ["BTC", "BTCUSDT"]
    assert unknown("btc", also={"BTC"})[0].near[0] == "BTC"
    assert "BTC" not in resolve("*", also={"BTC"})  # patterns mean symbols


SYMBOLS = st.text("ABC[]!币1", min_size=1, max_size=4)


def listings(symbols: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Instrument]]:
    return st.dictionaries(symbols, st.booleans(), max_size=12).map(
        lambda trading: listing_of(*(instrument(s, trading=t) for s, t in trading.items()))
    )


LISTINGS = listings(SYMBOLS)
FEW = listings(st.sampled_from("ABCDEF"))
PATTERNS = st.text("ABC[]!币1*?", max_size=5)


def reference(pattern: str, symbol: str) -> bool:
    """Whether a pattern matches, by another way than the code's."""
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), symbol) is not None


@given(PATTERNS.filter(is_pattern), LISTINGS)
def test_patterns_against_the_reference(pattern: str, listing: dict[str, Instrument]) -> None:
    resolution = resolve_symbols([pattern], listing)
    trading = [symbol for symbol, item in listing.items() if item.trading]
    assert resolution.symbols == sorted(s for s in trading if reference(pattern, s))
    assert bool(resolution.symbols) != bool(resolution.unknown)
    if "[" not in pattern:
        assert resolution.symbols == sorted(s for s in trading if fnmatch.fnmatchcase(s, pattern))


@given(st.lists(PATTERNS, max_size=5), LISTINGS, st.frozensets(SYMBOLS, max_size=2))
def test_every_name_is_found_or_unknown(
    patterns: list[str], listing: dict[str, Instrument], also: frozenset[str]
) -> None:
    resolution = resolve_symbols(patterns, listing, also)
    assert len(set(resolution.symbols)) == len(resolution.symbols)
    assert set(resolution.symbols) <= {*listing, *also}
    indices = [name.index for name in resolution.unknown]
    assert indices == sorted(set(indices))
    for index, pattern in enumerate(patterns):
        alone = resolve_symbols([pattern], listing, also)
        assert set(alone.symbols) <= set(resolution.symbols)
        assert (index in indices) == (not alone.symbols)
    for name in resolution.unknown:
        assert name.pattern == patterns[name.index]
        assert set(name.near) <= {*listing, *also}
        assert len(set(name.near)) == len(name.near) <= 3


def test_pairs_name_continuous_klines_and_coins_the_trades_of_options() -> None:
    coinm = rules_of(Exchange.BINANCE, Market.COINM)
    futures = listing_of(
        instrument("BTCUSD_PERP", pair="BTCUSD", base="BTC"),
        instrument("BTCUSD_261225", pair="BTCUSD", base="BTC"),
        instrument("ODD", base="ODD"),
    )
    klines = "continuous_kline:perpetual:1m"
    assert other_names(coinm, [klines], futures) == {"BTCUSD"}
    assert other_names(coinm, [klines, klines.replace("1m", "1h")], futures) == {"BTCUSD"}
    assert other_names(coinm, [klines, "trade"], futures) == frozenset()
    assert other_names(coinm, ["trade"], futures) == frozenset()
    assert other_names(coinm, [], futures) == frozenset()
    option = rules_of(Exchange.BYBIT, Market.OPTION)
    options = listing_of(instrument("BTC-25JUN27-106000-C-USDT", base="BTC"))
    assert other_names(option, ["trade"], options) == {"BTC"}
    assert other_names(option, ["trade", "ticker"], options) == frozenset()
    with pytest.raises(KeyError):
        other_names(option, ["trade", "no such stream"], options)


# ----------------------------------------------------------------------------------- comparison
TERMS: dict[str, Any] = {
    "base": "ETH",
    "quote": "USDC",
    "settle": "USDC",
    "pair": "ETHUSDT",
    "contract_type": "PERPETUAL",
    "status": "BREAK",
    "trading": False,
    "tick_size": 0.02,
    "lot_size": None,
    "min_quantity": 1.0,
    "min_notional": 6.0,
    "contract_size": 10.0,
    "launch_time": T0,
    "delivery_time": T0,
}
SEEN: dict[str, Any] = dict.fromkeys(
    ("valid_from", "exchange_time", "event_time", "receive_time", "ordinal", "row"), T0 + 1
)


def test_all_fields_are_terms_or_tell_when_they_were_seen() -> None:
    fields = {field.name for field in attrs.fields(Instrument)}
    assert fields == {*TERMS, *SEEN, "exchange", "market", "symbol"}


@pytest.mark.parametrize("name", TERMS)
def test_any_other_term_is_a_change(name: str) -> None:
    old = instrument("BTCUSDT")
    new = attrs.evolve(old, **{name: TERMS[name]})
    assert compare_listings({"BTCUSDT": old}, {"BTCUSDT": new}, T0) == Changes(changed=[new])


def test_when_it_was_seen_is_no_change() -> None:
    old = instrument("BTCUSDT")
    new = attrs.evolve(old, **SEEN)
    changes = compare_listings({"BTCUSDT": old}, {"BTCUSDT": new}, T0)
    assert changes == Changes()
    assert not changes


def test_what_is_gone_was_delisted_then() -> None:
    items = [instrument(symbol, row=row) for row, symbol in enumerate(("A", "B", "C"))]
    kept = attrs.evolve(items[1], ordinal=4)
    changes = compare_listings(listing_of(*items), listing_of(kept), T0 + 9)
    gone: dict[str, Any] = {
        "status": DELISTED,
        "trading": False,
        "valid_from": T0 + 9,
        "receive_time": T0 + 9,
    }
    assert changes == Changes(
        delisted=[
            attrs.evolve(items[0], **gone, ordinal=5, row=0),
            attrs.evolve(items[2], **gone, ordinal=5, row=1),
        ]
    )
    assert items[0].status == "TRADING"  # events are shared and are never changed


@given(FEW, FEW)
def test_changes_lead_from_one_listing_to_the_other(
    old: dict[str, Instrument], new: dict[str, Instrument]
) -> None:
    new = {s: attrs.evolve(item, ordinal=1, row=row) for row, (s, item) in enumerate(new.items())}
    changes = compare_listings(old, new, T0)
    reached = dict(old)
    for item in changes.instruments:
        reached[item.symbol] = item
    reached = {s: item for s, item in reached.items() if item.status != DELISTED}
    assert {s: item.trading for s, item in reached.items()} == {
        s: item.trading for s, item in new.items()
    }
    places = [(item.receive_time, item.ordinal, item.row) for item in changes.instruments]
    assert places == sorted(set(places))
    assert bool(changes) == bool(changes.instruments)
    assert {item.symbol for item in changes.listed} == new.keys() - old.keys()
    assert {item.symbol for item in changes.delisted} == old.keys() - new.keys()


def test_a_recorded_listing_does_not_differ_from_itself() -> None:
    for rules, record in recorded_listings("session_bybit_20260809.jsonl.gz"):
        old, new = (
            {item.symbol: item for item in page.instruments}
            for page in (
                parse_listing(rules, record.text, T0, NumberMode.DECIMAL),
                parse_listing(rules, record.text, T0 + 1, NumberMode.DECIMAL),
            )
        )
        assert not compare_listings(old, new, T0 + 1)


@pytest.mark.parametrize("key", MARKETS, ids=lambda key: f"{key[0].value}-{key[1].value}")
def test_every_market_has_a_format(key: tuple[Exchange, Market]) -> None:
    rules = MARKETS[key]
    empty = {
        Exchange.BINANCE: {"symbols": []},
        Exchange.BYBIT: {"retCode": 0, "result": {"list": []}},
    }
    page = parse_listing(rules, body(empty[rules.exchange]), T0, NumberMode.FLOAT)
    assert page.instruments == []
