"""Every stream of every market, from the fake exchange to events: none is malformed or unknown."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from farm import (
    BookVerdict,
    Farm,
    Gap,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Side,
    Ticker,
    Trade,
    open_farm,
)
from farm.entities import EVENT_KINDS
from farm.exchanges.registry import rules_of
from farm.testing import FakeExchange, MarketSimulator, Recorded, open_fake
from farm.types import DataType, Exchange, Market
from tests.farms import MARKET_NAMES, SYMBOLS, collector, fake_of, market_of, until

# One word of each family, and every kind of book.
STREAMS = {
    "binance/spot": "trade agg_trade quote book book:5 book:20 kline:1s ticker mini_ticker",
    "binance/usdm": "trade agg_trade quote book book:10 book:20@500ms kline:1m mark_price "
    "continuous_kline:perpetual:1m liquidation ticker mini_ticker open_interest",
    "binance/coinm": "trade agg_trade quote book@500ms book:5 kline:1m mark_price@3s "
    "continuous_kline:perpetual:1m liquidation ticker mini_ticker open_interest",
    "bybit/spot": "trade quote book book:50 book:1000 book:full kline:1m ticker",
    "bybit/linear": "trade quote book book:50 book:1000 book:full kline:1m ticker liquidation",
    "bybit/inverse": "trade quote book book:50 book:1000 kline:1m ticker liquidation",
    "bybit/option": "trade book book:25 ticker",
}
MARKET_STREAMS = {
    "binance/spot": ["mini_ticker"],
    "binance/usdm": ["quote", "mark_price", "mini_ticker", "ticker", "liquidation"],
    "binance/coinm": ["quote", "mark_price@3s", "mini_ticker", "ticker", "liquidation"],
}


def live(name: str, **options: Any) -> FakeExchange:
    exchange, market = market_of(name)
    source = MarketSimulator(exchange, market, SYMBOLS[market], seed=11, rate=60)
    return fake_of(exchange, market, source, pace=Recorded(speed=4.0), **options)


def config_of(name: str, fake: FakeExchange, streams: list[str], **more: Any) -> dict[str, Any]:
    exchange, market = market_of(name)
    one = collector(exchange.value, market.value, SYMBOLS[market], streams, fake) | more
    return {"collectors": [one]}


def silent(farm: Farm) -> list[str]:
    """Feeds that have given nothing yet."""
    return [f.feed for f in farm.stats().feeds if f.state and not f.events]


def assert_all_was_understood(farm: Farm) -> None:
    stats = farm.stats()
    assert stats.unparsed == {}
    assert stats.unknown_values == {}
    assert stats.totals.gaps == stats.totals.reconnects == 0


@pytest.mark.parametrize("name", MARKET_NAMES)
async def test_every_stream_of_a_symbol_delivers(name: str) -> None:
    streams = STREAMS[name].split()
    more: dict[str, Any] = {"poll_seconds": 1.0} if "open_interest" in streams else {}
    rare = {"liquidation"}  # a market makes one when it likes to; trades of options are by coin
    async with (
        open_fake(live(name)) as fake,
        open_farm(config_of(name, fake, streams, **more)) as farm,
    ):
        await until(
            lambda: all(f.split("/")[3] in rare or f.endswith("/BTC/trade") for f in silent(farm))
        )
        await until(lambda: books_stand(farm))
        assert_all_was_understood(farm)
        kinds = {DataType(f.feed.split("/")[3].split(":")[0]) for f in farm.stats().feeds}
    wanted = {rules_of(*market_of(name)).streams.stream("X-Y", spec).data_type for spec in streams}
    assert wanted <= kinds


def books_stand(farm: Farm) -> bool:
    books = [f for f in farm.stats().feeds if f.book is not None]
    partial = {"book:5", "book:10", "book:20"}
    return all(
        f.book is not None
        and f.book.wrong == 0
        and f.book.verdict
        == (
            BookVerdict.UNVERIFIABLE.value
            if f.feed.startswith("binance") and f.feed.split("/")[3] in partial
            else BookVerdict.VERIFIED.value
        )
        for f in books
    )


@pytest.mark.parametrize("name", MARKET_STREAMS)
async def test_whole_market_streams_give_the_own_markets_rows_alone(name: str) -> None:
    exchange, market = market_of(name)
    specs = MARKET_STREAMS[name]
    async with open_fake(live(name)) as fake:
        one = collector(exchange.value, market.value, [], ["trade"], fake)
        config = {"collectors": [one | {"market_streams": specs}]}
        async with open_farm(config) as farm:
            wanted = {
                f"{name}/{symbol}/{spec.partition('@')[0]}"
                for symbol in SYMBOLS[market]
                for spec in specs
                if spec != "liquidation"
            }
            await until(lambda: wanted <= {f.feed for f in farm.stats().feeds if f.events})
            if market is not Market.SPOT:
                await until(lambda: sum(farm.stats().foreign.values()) > 20)
            assert_all_was_understood(farm)
            stats = farm.stats()
    symbols = {f.feed.split("/")[2] for f in stats.feeds if f.events}
    assert symbols == set(SYMBOLS[market])
    assert {f.state for f in stats.feeds if f.feed in wanted} == {"live"}


@pytest.mark.parametrize(("name", "positions"), [("binance/usdm", False), ("bybit/linear", True)])
async def test_the_side_of_a_liquidation_is_the_orders_on_both_venues(
    name: str, positions: bool
) -> None:
    texts: list[tuple[str, str]] = []

    def note(_connection: Any, push: Any) -> bool:
        if "forceOrder" in push.stream or "allLiquidation" in push.stream:
            texts.append((push.stream, push.text))
        return True

    async with open_fake(live(name, filter=note)) as fake:
        config = config_of(name, fake, ["liquidation"])
        async with open_farm(config) as farm, farm.subscribe(Liquidation) as batches:
            with trio.fail_after(60):
                batch = await batches.receive()
            first = batch.rows[0]
    said = texts[0][1]
    buys = '"S":"Buy"' in said or '"S":"BUY"' in said
    assert first.side is (Side.SELL if buys == positions else Side.BUY)


async def test_a_bybit_ticker_brings_mark_price_and_open_interest() -> None:
    name = "bybit/linear"
    async with (
        open_fake(live(name)) as fake,
        open_farm(config_of(name, fake, ["ticker"])) as farm,
        farm.subscribe(Ticker, MarkPrice, OpenInterest, symbols="BTCUSDT") as batches,
    ):
        seen: dict[type, Any] = {}
        with trio.fail_after(60):
            while len(seen) < 3:
                batch = await batches.receive()
                seen[batch.kind] = batch.rows[-1]
    assert seen[MarkPrice].funding_rate is not None
    assert seen[MarkPrice].next_funding_time > 0
    assert seen[OpenInterest].open_interest > 0
    assert seen[Ticker].bid_price < seen[Ticker].ask_price


async def test_microseconds_are_microseconds() -> None:
    async with open_fake(live("binance/spot")) as fake:
        config = config_of("binance/spot", fake, ["trade", "kline:1s"], time_unit="microsecond")
        async with open_farm(config) as farm, farm.subscribe(Trade) as batches:
            trades: list[Trade] = []
            while len(trades) < 50:
                trades += (await batches.receive()).rows
            assert fake.connections[0].microseconds
            assert_all_was_understood(farm)
    times = [trade.exchange_time for trade in trades]
    assert all(abs(time - fake.clock.now) < 120_000_000_000 for time in times if time is not None)
    assert any(time % 1_000_000 for time in times if time is not None)


async def test_usdm_takes_two_sockets_and_nothing_is_silent_on_a_wrong_route() -> None:
    name = "binance/usdm"
    async with (
        open_fake(live(name)) as fake,
        open_farm(config_of(name, fake, ["trade", "mark_price"])) as farm,
    ):
        await until(lambda: silent(farm) == [])
        targets = {connection.target for connection in fake.connections}
    assert targets == {"/public/stream", "/market/stream"}


async def test_futures_share_one_weight_and_the_fakes_see_it_kept() -> None:
    from farm.testing import BINANCE_COINM, BINANCE_USDM, FakeBinance, WeightWindow

    weights = WeightWindow(2400)
    fakes = [
        FakeBinance(
            MarketSimulator(Exchange.BINANCE, rules.market, SYMBOLS[rules.market], seed=2),
            rules=rules,
            weights=weights,
            pace=Recorded(),
        )
        for rules in (BINANCE_USDM, BINANCE_COINM)
    ]
    async with open_fake(fakes[0]) as usdm, open_fake(fakes[1]) as coinm:
        collectors = [
            collector("binance", f.rules.market.value, SYMBOLS[f.rules.market], ["book"], f)
            for f in (usdm, coinm)
        ]
        async with open_farm({"collectors": collectors}) as farm:
            await until(lambda: books_stand(farm))
            budgets = {id(c.budget) for c in clients(farm)}
    assert len(budgets) == 1
    assert weights.used <= 2400
    assert {call.status for f in (usdm, coinm) for call in f.rest_log} == {200}


def clients(farm: Farm) -> list[Any]:
    return [
        lane.source._wiring.fetcher._client  # type: ignore[union-attr]
        for line in farm._pipeline.lines
        for lane in line.lanes
    ]


def test_every_family_of_streams_is_collected_here() -> None:
    for name in MARKET_NAMES:
        table = rules_of(*market_of(name)).streams
        families = {spec.replace("@", ":").split(":")[0] for spec in table.specs}
        assert families == {s.replace("@", ":").split(":")[0] for s in STREAMS[name].split()}
        whole = {spec.partition("@")[0] for spec in table.market_specs} - {"contract_info"}
        assert whole == {s.partition("@")[0] for s in MARKET_STREAMS.get(name, ())}
    assert set(EVENT_KINDS.values()) >= {Gap, Trade}
