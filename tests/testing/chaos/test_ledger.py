"""Which trades are owed, and what counts as a record of their loss."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest

from farm import Exchange, Gap, GapCause, GapUnit, Market, Quote
from farm.testing.chaos.ledger import Account, Balance
from farm.testing.chaos.truth import TrueQuote, TrueTrade, Truth

FEED = "binance/spot/BTCUSDT/trade"
GAP = Gap(
    exchange=Exchange.BINANCE,
    market=Market.SPOT,
    symbol="BTCUSDT",
    feed=FEED,
    edge="venue",
    cause=GapCause.DISCONNECT,
    first_id=None,
    last_id=None,
    start_time=None,
    end_time=None,
    size=None,
    unit=GapUnit.UNKNOWN,
    repaired=False,
    receive_time=0,
    ordinal=0,
)


def account(
    delivered: str, *gaps: Gap, total: int = 6, eaten: str = "", unknown: bool = False, **more: Any
) -> Account:
    """Of trades (and quotes) 1 to `total`, told at 1, 2, … seconds, these were delivered (or
    `eaten`)."""
    truth = Truth({})
    numbers = list(map(str, range(1, total + 1)))
    truth.trades["BTCUSDT"] = {n: TrueTrade(n, 1.0, 1.0, float(n)) for n in numbers}
    truth.quotes["BTCUSDT"] = {n: TrueQuote(n, float(n)) for n in numbers}
    options: dict[str, Any] = {"slack": 0.0, "until": 100.0} | more
    return Account(
        truth,
        Counter(("BTCUSDT", number) for number in delivered),
        gaps,
        feeds={"BTCUSDT": {FEED}},
        unknown={"BTCUSDT"} if unknown else set(),
        eaten={("BTCUSDT", number) for number in eaten},
        moments=lambda time: [time / 1e9],
        **options,
    )


def balance(delivered: str, *gaps: Gap, **more: Any) -> Balance:
    return account(delivered, *gaps, **more).balance()


def gap(**changes: Any) -> Gap:
    return attrs.evolve(GAP, **changes)


def test_all_is_well_where_each_came_once() -> None:
    assert balance("123456") == Balance(6, 6, 0, 0, [])


def test_nothing_is_owed_before_the_first_that_came_or_after_the_end() -> None:
    assert balance("34", until=4.5) == Balance(2, 2, 0, 0, [])
    assert balance("") == Balance(0, 0, 0, 0, [])


def test_all_is_owed_since_it_was_promised() -> None:
    assert balance("56", since={"BTCUSDT": 3.0}).owed == 4
    assert balance("34", since={"BTCUSDT": 5.0}, until=4.5).owed == 2
    lost = balance("", since={"BTCUSDT": 2.5})
    (text,) = lost.violations
    assert (lost.owed, lost.delivered) == (4, 0)
    assert "neither delivered nor in a gap: 4 trades (3 at" in text


def test_a_trade_that_nobody_recorded_is_a_violation() -> None:
    (text,) = balance("1256").violations
    assert text == "BTCUSDT: neither delivered nor in a gap: 2 trades (3 at 3.000 s, 4 at 4.000 s)"


def test_a_trade_that_came_twice_is_a_violation() -> None:
    (text,) = balance("1233456").violations
    assert "more than once: 1 trades (3 at" in text


@pytest.mark.parametrize(
    ("changes", "recorded"),
    [
        ({"first_id": 3, "last_id": 4}, 2),
        ({"first_id": 3, "last_id": 3}, 1),
        ({"start_time": 3_000_000_000, "end_time": 3_500_000_000}, 1),
        ({"start_time": 2_500_000_000}, 2),
        ({"end_time": 3_000_000_000}, 1),
        ({"end_time": 9, "feed": "binance/spot/ETHUSDT/trade"}, 0),
        ({"feed": "binance/spot/ETHUSDT/trade"}, 0),
    ],
)
def test_a_gap_holds_ids_or_times_of_its_feed(changes: dict[str, Any], recorded: int) -> None:
    found = balance("1256", gap(**changes))
    assert (found.delivered, found.recorded) == (4, recorded)
    assert bool(found.violations) == (recorded < 2)


def test_what_the_venue_held_back_may_be_late_for_its_gap() -> None:
    held = gap(start_time=4_500_000_000, end_time=5_000_000_000)
    assert balance("1256", held).recorded == 0
    assert balance("1256", held, slack=1.5).recorded == 2


def test_what_was_swallowed_is_excused_only_where_farm_claims_to_know_nothing() -> None:
    assert balance("1256", eaten="34", unknown=True) == Balance(6, 4, 0, 2, [])
    assert balance("1256", eaten="34").violations != []
    assert balance("1256", unknown=True).violations != []


@pytest.mark.parametrize("eaten", ["1", "6"])
def test_ids_prove_nothing_of_what_was_swallowed_before_the_first_or_after_the_last(
    eaten: str,
) -> None:
    came = "123456".replace(eaten, "")
    found = balance(came, eaten=eaten, since={"BTCUSDT": 0.0}, complete={"BTCUSDT"})
    assert found == Balance(6, 5, 0, 1, [])


def test_what_is_called_complete_lacks_nothing_but_by_the_readers_own_fault() -> None:
    lost = gap(start_time=3_000_000_000, end_time=4_000_000_000)
    claim: dict[str, Any] = {"complete": {"BTCUSDT"}}
    assert balance("123456", **claim).violations == []
    (text,) = balance("1256", lost, **claim).violations
    assert text == "BTCUSDT: called complete without: 2 trades (3 at 3.000 s, 4 at 4.000 s)"
    assert balance("1256", lost, own={lost.edge}, **claim).violations == []
    assert len(balance("1256", **claim).violations) == 2


def test_gaps_of_time_in_which_nothing_is_missing_are_counted() -> None:
    quiet = gap(start_time=3_100_000_000, end_time=3_900_000_000)
    elsewhere = attrs.evolve(quiet, feed="binance/spot/BTCUSDT/quote")
    assert balance("123456", quiet, elsewhere) == Balance(6, 6, 0, 0, [], 1)
    found = balance("12456", gap(start_time=2_100_000_000, end_time=3_900_000_000), quiet)
    assert (found.recorded, found.quiet) == (1, 1)


def test_a_quote_may_be_told_again() -> None:
    assert balance("1233456", kind=Quote).violations == []
    (text,) = balance("1256", kind=Quote).violations
    assert "neither delivered nor in a gap: 2 quotes (3 at" in text


def test_the_last_quote_is_the_venues_last() -> None:
    def behind(*gaps: Gap, **more: Any) -> list[str]:
        return account("123456", *gaps, kind=Quote, **more).behind({"BTCUSDT": 4.0})

    (text,) = behind()
    assert text == (
        "BTCUSDT: the last one delivered is older than: 2 quotes (5 at 5.000 s, 6 at 6.000 s)"
    )
    assert behind(until=4.5) == behind(eaten="56") == behind(gap(start_time=4_500_000_000)) == []
