"""Following a listing: a real REST client over memory streams on a mock clock, and the fakes."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from farm.actors.instruments import LEAST_PAUSE
from farm.actors.supervisor import Lifecycle
from farm.errors import BudgetExceeded, ConnectionLost
from farm.exchanges.instruments import DELISTED
from farm.exchanges.registry import MARKETS
from farm.exchanges.rules import MarketRules
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.testing import BINANCE_RULES, FakeBinance, FakeBybit, FakeExchange, open_fake
from farm.threads import in_thread
from farm.types import Exchange, Market, NumberMode
from tests.actors.watching import (
    BINANCE,
    LINEAR,
    REFRESH,
    SECOND,
    Rig,
    Venue,
    linear,
    spot,
    watching,
)
from tests.effort import moments
from tests.exchanges.listings import T0
from tests.farms import until
from tests.net.test_rest import Answer


# ------------------------------------------------------------------------------------- following
async def test_the_first_listing_is_told_whole(autojump_clock: MockClock) -> None:
    venue, budget = Venue(spot("BTCUSDT", "1INCHUSDT", "币安人生USDT")), Budget(100, 60.0, "weight")
    async with watching(venue, budget=budget) as rig:
        assert not rig.watcher.first.is_set()
        await rig.watcher.first.wait()
        assert budget.used == BINANCE.instruments.weight == 20
        assert venue.paths == {BINANCE.instruments.path}
        assert venue.queries == [dict(BINANCE.instruments.params)]
        assert rig.said == [(["BTCUSDT", "1INCHUSDT", "币安人生USDT"], [], [])]
        assert rig.symbols == ["BTCUSDT", "1INCHUSDT", "币安人生USDT"]
        bitcoin = rig.watcher.listing["BTCUSDT"]
        assert (bitcoin.valid_from, bitcoin.exchange_time, bitcoin.tick_size) == (T0, T0, 0.01)
        await trio.sleep(1)
        assert Lifecycle.HEALTHY in [event.what for event in rig.life]


async def test_what_does_not_change_is_not_told_again(autojump_clock: MockClock) -> None:
    venue = Venue(spot("A", "B"))
    async with watching(venue) as rig:
        await trio.sleep(3.5 * REFRESH)
        assert venue.times == [0, REFRESH, 2 * REFRESH, 3 * REFRESH]
        assert len(rig.told) == 1
        assert rig.watcher.listing["A"].valid_from == T0


async def test_changes_are_told_with_the_time_from_which_they_hold(
    autojump_clock: MockClock,
) -> None:
    """What is missing is believed the second time, and looked for soon."""
    late = spot("A", "B", tick="0.1")
    venue = Venue(spot("A", "B", "C"), spot("A", "B", "D"), spot("A", "B", "D"), late, late)
    async with watching(venue) as rig:
        await trio.sleep(2.5 * REFRESH)
    second, fourth = REFRESH + LEAST_PAUSE, 2 * REFRESH + 2 * LEAST_PAUSE
    assert [time for time, _ in rig.told] == [0, REFRESH, second, fourth - LEAST_PAUSE, fourth]
    assert rig.said[1:] == [
        (["D"], [], []),
        ([], ["C"], []),
        ([], [], ["A", "B"]),
        ([], ["D"], []),
    ]
    (_, listed), (_, gone), (_, changed), _ = rig.told[1:]
    assert listed.listed[0].valid_from == T0 + int(REFRESH) * SECOND
    assert gone.delisted[0].valid_from == T0 + int(second) * SECOND
    assert (gone.delisted[0].status, gone.delisted[0].trading) == (DELISTED, False)
    assert [item.tick_size for item in changed.changed] == [0.1, 0.1]
    since = T0 + int(fourth - LEAST_PAUSE) * SECOND
    assert {item.valid_from for item in rig.watcher.listing.values()} == {since}


async def test_a_symbol_that_is_missing_once_keeps_its_terms(autojump_clock: MockClock) -> None:
    venue = Venue(spot("A", "B", "C"), spot("A", "B"), spot("A", "B", "C"), spot("A", "B", "C"))
    async with watching(venue) as rig:
        await trio.sleep(3 * REFRESH)
    assert rig.said == [(["A", "B", "C"], [], [])]
    assert venue.times[:3] == [0, REFRESH, REFRESH + LEAST_PAUSE]


async def test_what_did_not_change_keeps_its_time_beside_what_did(
    autojump_clock: MockClock,
) -> None:
    async with watching(Venue(spot("A"), spot("A", "B"))) as rig:
        await trio.sleep(1.5 * REFRESH)
    held = {symbol: item.valid_from - T0 for symbol, item in rig.watcher.listing.items()}
    assert held == {"A": 0, "B": 300 * SECOND}


async def test_the_number_mode_is_kept(autojump_clock: MockClock) -> None:
    async with watching(Venue(spot("A", tick="0.10")), numbers=NumberMode.DECIMAL) as rig:
        await rig.watcher.first.wait()
    assert str(rig.watcher.listing["A"].tick_size) == "0.10"


# ------------------------------------------------------------------------------------- waking
async def test_it_can_be_woken_but_not_driven(autojump_clock: MockClock) -> None:
    venue = Venue(spot("A"))
    async with watching(venue) as rig:
        await trio.sleep(100)
        rig.watcher.refresh_now()
        await trio.sleep(1)
        for _ in range(5):
            rig.watcher.refresh_now()
            await trio.sleep(1)
        await trio.sleep(2 * LEAST_PAUSE)
        assert venue.times == [0, 100, 100 + LEAST_PAUSE]
        await trio.sleep(REFRESH)
        assert venue.times[3:] == [100 + LEAST_PAUSE + REFRESH]


async def test_what_changes_while_a_listing_is_fetched_is_fetched_after_it(
    autojump_clock: MockClock,
) -> None:
    rigs: list[Rig] = []

    def woken() -> Answer:
        rigs[0].watcher.refresh_now()
        return spot("A")

    venue = Venue(woken, spot("A", "B"))
    async with watching(venue) as rig:
        rigs.append(rig)
        await trio.sleep(1.5 * LEAST_PAUSE)
    assert venue.times == [0, LEAST_PAUSE]
    assert rig.symbols == ["A", "B"]


# -------------------------------------------------------------------------------------- pages
async def test_all_pages_are_one_listing(autojump_clock: MockClock) -> None:
    first = "first%3DA%26last%3DB"  # a cursor as Bybit writes them: it is sent as it came
    venue = Venue(linear("A", "B", cursor=first), linear("C", cursor="2"), linear("D"))
    async with watching(venue, LINEAR) as rig:
        await rig.watcher.first.wait()
        assert rig.said == [(["A", "B", "C", "D"], [], [])]
        places = [(item.ordinal, item.row) for item in rig.watcher.listing.values()]
        assert places == [(0, 0), (0, 1), (1, 0), (2, 0)]
    asked = {"category": "linear", "limit": "1000"}
    assert venue.queries == [asked, asked | {"cursor": first}, asked | {"cursor": "2"}]


async def test_a_page_after_the_last_may_be_named_and_is_empty(autojump_clock: MockClock) -> None:
    venue = Venue(linear("A", cursor="1"), linear(cursor="2"))
    async with watching(venue, LINEAR) as rig:
        await rig.watcher.first.wait()
    assert len(venue.asked) == 2
    assert rig.symbols == ["A"]


async def test_a_listing_that_misses_a_page_is_none(autojump_clock: MockClock) -> None:
    venue = Venue(
        linear("A", cursor="1"),
        linear("B"),
        linear("A", cursor="1"),
        Answer(500),
        linear("A", cursor="1"),
        linear("B", "C"),
    )
    async with watching(venue, LINEAR) as rig:
        await trio.sleep(REFRESH + 30)
        assert rig.failures() == [
            "no listing: GET http://a.test/v5/market/instruments-info: HTTP 500: {}"
        ]
        assert rig.said == [(["A", "B"], [], []), (["C"], [], [])]
        # The next try begins anew.
        assert [query.get("cursor") for query in venue.queries] == [None, "1"] * 3


async def test_pages_in_a_circle_are_not_followed_for_ever(autojump_clock: MockClock) -> None:
    venue = Venue(linear("A", cursor="1"), linear("B", cursor="2"), linear("C", cursor="1"))
    async with watching(venue, LINEAR, supervised=False) as rig:
        with pytest.raises(ConnectionLost, match="in a circle, by the cursor '1'"):
            await rig.run()
    assert len(venue.asked) == 3
    assert (rig.symbols, rig.told) == ([], [])


async def test_listings_that_come_apart_are_united(autojump_clock: MockClock) -> None:
    venue = Venue(
        linear("BTC-1", cursor="1"), linear("BTC-2"), linear(), linear("ETH-1", "BTC-2"), linear()
    )
    extra: list[dict[str, str | int]] = [{"baseCoin": c} for c in ("BTC", "SOL", "ETH")]
    async with watching(venue, LINEAR, extra_params=extra) as rig:
        await rig.watcher.first.wait()
        assert rig.said == [(["BTC-1", "BTC-2", "ETH-1"], [], [])]
        places = {(item.ordinal, item.row) for item in rig.watcher.listing.values()}
        assert len(places) == 3
    coins = [(query["baseCoin"], query.get("cursor")) for query in venue.queries]
    assert coins == [("BTC", None), ("BTC", "1"), ("SOL", None), ("ETH", None)]
    assert all(query["category"] == "linear" for query in venue.queries)


# -------------------------------------------------------------------------------------- weather
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(500, b"down"), "no listing: .*HTTP 500: down"),
        (Answer(429, b"slow", [("Retry-After", "5")]), "no listing: .*HTTP 429: slow"),
        (Answer(body=b"xx", cut=True), "no listing: "),
        (Answer(body=b"xx", stall=True), "no listing: .*no whole answer in 10 s"),
        (Answer(body=b"<html>"), "the listing cannot be read: JSON is malformed"),
        (
            Answer(body=b'{"retCode":10016,"retMsg":"busy","result":{}}'),
            "the listing cannot be read: retCode 10016: busy",
        ),
    ],
)
async def test_trouble_is_weather_and_the_listing_is_kept(
    autojump_clock: MockClock, answer: Answer, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    venue = Venue(linear("A", "B"), answer, answer, linear("A", "B", "C"))
    kept: list[list[str]] = []
    async with watching(venue, LINEAR) as rig:
        await trio.sleep(REFRESH - 1)
        before = rig.watcher.listing
        while len(rig.failures()) < 2:
            kept.append(rig.symbols)
            await trio.sleep(0.5)
        await trio.sleep(60)
    assert kept
    assert kept == [["A", "B"]] * len(kept)
    assert before.keys() == {"A", "B"}
    assert rig.said == [(["A", "B"], [], []), (["C"], [], [])]
    assert len(rig.failures()) == 2
    for failure in rig.failures():
        assert re.search(reason, failure)
    assert rig.failures(Lifecycle.CRASHED) == []
    unreadable = [r for r in caplog.records if r.name == "farm.instruments"]
    assert [r.levelno for r in unreadable] == (
        [logging.ERROR] * 2 if reason.startswith("the listing") else []
    )


async def test_what_is_our_fault_is_a_crash(autojump_clock: MockClock) -> None:
    async with watching(Venue(spot("A")), budget=Budget(19, 1.0, "w"), supervised=False) as rig:
        with pytest.raises(BudgetExceeded):
            await rig.run()


async def test_changes_that_were_not_told_come_again(autojump_clock: MockClock) -> None:
    venue = Venue(spot("A"), spot("A", "B"))
    async with watching(venue) as rig:
        rig.failing = 1
        await trio.sleep(1)
        assert rig.failures(Lifecycle.CRASHED) == ["a reader with a fault"]
        assert rig.said == [(["A", "B"], [], [])]  # the listing that came after it
        assert rig.watcher.first.is_set()


async def test_an_error_of_the_reader_leaves_the_listing_as_it_was_told(
    autojump_clock: MockClock,
) -> None:
    async with watching(Venue(spot("A"), spot("A", "B")), supervised=False) as rig:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.run)
            await rig.watcher.first.wait()
            nursery.cancel_scope.cancel()
        rig.failing = 1
        with pytest.raises(RuntimeError):
            await rig.run()
        assert rig.symbols == ["A"]


# -------------------------------------------------------------------------------------- doubt
async def test_a_listing_that_is_suddenly_empty_is_not_believed(autojump_clock: MockClock) -> None:
    venue = Venue(spot("A", "B"), spot(), spot("A", "B", "C"))
    async with watching(venue) as rig:
        await trio.sleep(REFRESH + 1)
        assert rig.symbols == ["A", "B"]
        await trio.sleep(LEAST_PAUSE)
    assert venue.times == [0, REFRESH, REFRESH + LEAST_PAUSE]  # asked again soon
    assert rig.said == [(["A", "B"], [], []), (["C"], [], [])]
    assert rig.failures() == []


async def test_it_is_believed_when_it_is_seen_twice(autojump_clock: MockClock) -> None:
    venue = Venue(spot("A", "B", "C"), spot("C"), spot("C"))
    async with watching(venue) as rig:
        await trio.sleep(REFRESH + LEAST_PAUSE + 1)
    assert rig.said == [(["A", "B", "C"], [], []), ([], ["A", "B"], [])]
    assert rig.symbols == ["C"]
    assert rig.told[1][0] == REFRESH + LEAST_PAUSE


async def test_half_of_it_may_go(autojump_clock: MockClock) -> None:
    async with watching(Venue(spot("A", "B", "C", "D"), spot("A", "B"))) as rig:
        await trio.sleep(REFRESH + LEAST_PAUSE + 1)
    assert rig.said[1:] == [([], ["C", "D"], [])]


async def test_a_venue_that_comes_up_bit_by_bit_is_not_believed(autojump_clock: MockClock) -> None:
    whole = ["A", "B", "C", "D", "E"]
    venue = Venue(spot(*whole), spot(), spot("A"), spot("A", "B"), spot(*whole))
    async with watching(venue) as rig:
        await trio.sleep(2 * REFRESH)
    assert rig.said == [(whole, [], [])]
    assert venue.times == [0, *(REFRESH + n * LEAST_PAUSE for n in range(4))]


async def test_doubt_outlasts_a_failure_but_not_a_sound_listing(autojump_clock: MockClock) -> None:
    sound = spot("A", "B", "C")
    venue = Venue(sound, spot("A"), sound, spot("A"), Answer(500), spot("A"))
    async with watching(venue) as rig:
        await trio.sleep(2 * REFRESH + LEAST_PAUSE + 1)
        assert rig.said == [(["A", "B", "C"], [], [])]
        await trio.sleep(2 * LEAST_PAUSE)
    assert rig.said[1:] == [([], ["B", "C"], [])]
    assert len(rig.failures()) == 1


async def test_a_first_listing_that_is_empty_is_not_believed_either(
    autojump_clock: MockClock,
) -> None:
    async with watching(Venue(spot(), spot("A"))) as rig:
        await trio.sleep(1)
        assert not rig.watcher.first.is_set()
        await rig.watcher.first.wait()
    assert rig.said == [(["A"], [], [])]
    async with watching(Venue(spot())) as rig:
        await rig.watcher.first.wait()
        await trio.sleep(2 * REFRESH)
    assert rig.said == [([], [], [])]


# ------------------------------------------------------------------------------------- malformed
async def test_a_symbol_that_cannot_be_read_keeps_its_terms(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    venue = Venue(
        spot("A", "B"), spot("A", "B?", "C?"), spot("A", "B?", "C?"), spot("A", tick="0.1")
    )
    async with watching(venue) as rig:
        await trio.sleep(2.5 * REFRESH)
        missing = "Object missing required field `quoteAsset`"
        assert rig.watcher.malformed == [f"B: {missing}", f"C: {missing}"]
        assert rig.symbols == ["A", "B"]
        logged = [r.getMessage() for r in caplog.records if r.name == "farm.instruments"]
        assert len(logged) == 2  # once, not with each listing
        assert all("cannot be read" in line for line in logged)
        await trio.sleep(REFRESH)
    assert rig.watcher.malformed == []
    assert rig.said == [(["A", "B"], [], []), ([], [], ["A"]), ([], ["B"], [])]


async def test_a_listing_of_which_nothing_can_be_read_is_none(autojump_clock: MockClock) -> None:
    async with watching(Venue(spot("A", "B"), spot("A?", "B?")), supervised=False) as rig:
        with pytest.raises(ConnectionLost, match="none of its entries can be: A: Object missing"):
            await rig.run()
    assert rig.symbols == ["A", "B"]


# ------------------------------------------------------------------------------------ cancelled
async def test_cancelled_at_any_moment_it_leaves_a_whole_listing(
    autojump_clock: MockClock,
) -> None:
    venue = Venue(linear("A", cursor="1"))

    def answers() -> list[Answer | Callable[[], Answer]]:
        return [linear("A", cursor="1"), linear("B", cursor="2"), linear("C")]

    async with watching(venue, LINEAR, supervised=False) as rig:
        for steps in moments(150):
            venue.answers = answers()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rig.run)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert rig.symbols in ([], ["A", "B", "C"])
        venue.answers = answers()
        with trio.move_on_after(1):
            await rig.run()
    assert rig.said == [(["A", "B", "C"], [], [])]


# ------------------------------------------------------------------------- fakes on loopback
SYMBOLS = {
    Market.SPOT: ["1INCHUSDT", "BTCUSDT", "TUSDT", "币安人生USDT"],
    Market.USDM: ["1000SHIBUSDT", "BTCUSDT", "BTCUSDT_260925", "币安人生USDT"],
    Market.COINM: ["BTCUSD_260925", "BTCUSD_PERP", "ETHUSD_PERP", "XRPUSD_PERP"],
    Market.LINEAR: ["0GUSDT", "1000PEPEUSDT", "BTCPERP", "BTCUSDT-26SEP25"],
    Market.INVERSE: ["BTCUSD", "BTCUSDZ26", "ETHUSD", "XRPUSD"],
    Market.OPTION: [f"BTC-25JUN27-{strike}-C-USDT" for strike in (100000, 110000, 120000, 130000)],
}


def fake_of(rules: MarketRules, symbols: list[str]) -> FakeExchange:
    if rules.exchange is Exchange.BYBIT:
        return FakeBybit([], rules.market, symbols=symbols)
    return FakeBinance([], rules=BINANCE_RULES[rules.market], symbols=symbols)


@asynccontextmanager
async def watching_fake(fake: FakeExchange, rules: MarketRules) -> AsyncIterator[Rig]:
    """A watcher that asks again and again, and parses in a thread, as it does in earnest."""
    async with open_fake(fake), RestClient(fake.rest_url, budget=Budget(9999, 1.0, "w")) as client:
        rig = Rig(client, rules, refresh=0.05, run_sync=in_thread)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.supervise)
            yield rig
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("key", MARKETS, ids=lambda key: f"{key[0].value}-{key[1].value}")
async def test_listings_and_delistings_of_every_market_are_followed(
    key: tuple[Exchange, Market],
) -> None:
    rules = MARKETS[key]
    *early, late = SYMBOLS[rules.market]
    fake = fake_of(rules, early)
    async with watching_fake(fake, rules) as rig:
        await until(lambda: len(rig.told) == 1)
        assert sorted(rig.symbols) == early
        for item in rig.watcher.listing.values():
            assert item.trading
            assert item.tick_size
            assert item.lot_size
        fake.list_symbol(late)
        await until(lambda: len(rig.told) == 2)
        assert rig.said[1] == ([late], [], [])
        fake.delist_symbol(early[0])
        await until(lambda: len(rig.told) == 3)
        assert rig.said[2] == ([], [early[0]], [])
        assert sorted(rig.symbols) == sorted([*early[1:], late])
        assert rig.failures() == []


async def test_a_change_of_status_is_followed() -> None:
    fake = fake_of(BINANCE, ["BTCUSDT", "ETHUSDT"])
    async with watching_fake(fake, BINANCE) as rig:
        await until(lambda: len(rig.told) == 1)
        fake.delist_symbol("ETHUSDT", "BREAK")
        await until(lambda: len(rig.told) == 2)
        assert rig.said[1] == ([], [], ["ETHUSDT"])
        assert rig.watcher.listing["ETHUSDT"].status == "BREAK"
        assert not rig.watcher.listing["ETHUSDT"].trading


async def test_pages_of_a_fake_are_followed() -> None:
    params = (("category", "linear"), ("limit", 2))
    rules = attrs.evolve(LINEAR, instruments=attrs.evolve(LINEAR.instruments, params=params))
    symbols = sorted([*SYMBOLS[Market.LINEAR], "TUSDT"])
    fake = fake_of(rules, symbols)
    async with watching_fake(fake, rules) as rig:
        await until(lambda: len(rig.told) == 1)
        assert sorted(rig.symbols) == symbols
        assert sorted({item.ordinal for item in rig.watcher.listing.values()}) == [0, 1, 2]
