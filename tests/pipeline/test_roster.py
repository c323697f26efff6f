"""What a collector collects: looked up at the start, changed while it runs, following the venue."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from farm import (
    ConfigErrors,
    Farm,
    Gap,
    Instrument,
    Kline,
    LocalProtocolError,
    Trade,
    UnknownFeed,
    UnknownSymbol,
    open_farm,
)
from farm.actors.connection import ConnectionActor
from farm.exchanges.registry import rules_of
from farm.exchanges.share import Share
from farm.storage.reader import read_batches
from farm.testing import FakeExchange, MarketSimulator, Push, Recorded, open_fake
from farm.types import Exchange, Market
from tests.farms import collector, fake_of, feed, market_of, until

ODD = ["1INCHUSDT", "TUSDT", "币安人生USDT"]


def live(
    name: str, symbols: list[str], listed: list[str] | None = None, **options: Any
) -> FakeExchange:
    exchange, market = market_of(name)
    source = MarketSimulator(exchange, market, symbols, seed=3, rate=60)
    pace = Recorded(speed=2.0)
    return fake_of(exchange, market, source, pace=pace, symbols=listed or symbols, **options)


def config_of(
    name: str, symbols: list[str], streams: list[str], fake: FakeExchange, **changes: Any
) -> dict[str, Any]:
    exchange, market = name.split("/")
    one = collector(exchange, market, symbols, streams, fake) | changes
    return {"collectors": [one], "supervision": {"backoff_initial": 0.05}}


def feeds(farm: Farm, state: str = "") -> set[str]:
    """Symbol and spec of every feed that is collected now (in a state)."""
    return {
        "/".join(f.feed.split("/")[2:])
        for f in farm.stats().feeds
        if f.state not in ("", "ended") and state in ("", f.state)
    }


def books_of(farm: Farm) -> list[Any]:
    return [book for line in farm._pipeline.lines for book in line.keeper.books]


# ------------------------------------------------------------------------------------- the start
@pytest.mark.parametrize("name", ["binance/spot", "binance/usdm", "bybit/linear"])
async def test_unknown_symbols_are_refused_with_near_matches(name: str) -> None:
    async with open_fake(live(name, ["BTCUSDT", "ETHUSDT"])) as fake:
        config = config_of(name, ["BTCUSDT", "ETHUSD", "*EUR"], ["trade"], fake)
        with pytest.raises(ConfigErrors) as info:
            async with open_farm(config):
                pass
    assert [error.path for error in info.value.errors] == [
        "collectors[0].symbols[1]",
        "collectors[0].symbols[2]",
    ]
    first, second = (error.message for error in info.value.errors)
    assert first.startswith(f"'ETHUSD' is not listed on {name}; did you mean 'ETHUSDT'")
    assert second == f"'*EUR' matches no symbol that trades on {name}"
    assert fake.connections_accepted == 0


@pytest.mark.parametrize("name", ["binance/spot", "binance/usdm"])
async def test_a_pattern_means_every_symbol_that_matches(name: str) -> None:
    symbols = ["BTCUSDT", *ODD, "ETHBTC"]
    async with (
        open_fake(live(name, symbols)) as fake,
        open_farm(config_of(name, ["*USDT"], ["trade", "book"], fake)) as farm,
    ):
        matching = {symbol for symbol in symbols if symbol.endswith("USDT")}
        assert {item.partition("/")[0] for item in feeds(farm)} == matching
        await until(lambda: len(feeds(farm, "live")) == 2 * len(matching))
        assert farm.book("币安人生USDT", depth=1).symbol == "币安人生USDT"


async def test_odd_symbols_work_down_to_the_files(tmp_path: Any) -> None:
    async with open_fake(live("binance/spot", ODD)) as fake:
        config = config_of("binance/spot", ODD, ["trade", "book"], fake)
        async with open_farm(config | {"data": str(tmp_path)}) as farm:
            await until(lambda: len(feeds(farm, "live")) == 6)
    for symbol in ODD:
        stored = [row for batch in read_batches(tmp_path, Trade, symbol=symbol) for row in batch]
        assert {row.symbol for row in stored} == {symbol}
        (terms,) = [
            row for batch in read_batches(tmp_path, Instrument, symbol=symbol) for row in batch
        ]
        assert (terms.symbol, terms.trading, terms.valid_from > 0) == (symbol, True, True)
        assert terms.tick_size is not None


async def test_two_collectors_of_one_feed_are_refused_where_a_pattern_hides_it() -> None:
    async with open_fake(live("binance/spot", ["BTCUSDT", "ETHUSDT"])) as fake:
        first = collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)
        second = collector("binance", "spot", ["*USDT"], ["quote", "trade"], fake)
        with pytest.raises(ConfigErrors, match="collected by collectors\\[0\\] already") as info:
            async with open_farm({"collectors": [first, second]}):
                pass
        assert info.value.path == "collectors[1].symbols"


async def test_without_a_list_the_start_is_late_and_what_was_wrong_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The REST side comes up after the start: unknown symbols are let go then, with a reason."""
    async with open_fake(live("binance/spot", ["BTCUSDT", "ETHUSDT"])) as fake:
        fake._rest.stop()
        config = config_of("binance/spot", ["BTCUSDT", "BTCUSD", "ETH*"], ["trade"], fake)
        config["instruments"] = {"start_seconds": 0.2}
        caplog.set_level(logging.ERROR)
        async with open_farm(config) as farm:
            assert feeds(farm) == {"BTCUSDT/trade", "BTCUSD/trade"}
            assert fake._nursery is not None
            await fake._nursery.start(fake._rest.serve, fake._nursery)
            await until(lambda: feeds(farm) == {"BTCUSDT/trade", "ETHUSDT/trade"})
            gone = feed(farm.stats(), "binance/spot/BTCUSD/trade")
            assert (gone.state, "did you mean 'BTCUSDT'" in gone.reason) == ("ended", True)
    assert "'BTCUSD' is not listed on binance/spot" in caplog.text


async def test_a_late_start_takes_nothing_that_another_collects(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_fake(live("binance/spot", ["BTCUSDT", "ETHUSDT"])) as fake:
        fake._rest.stop()
        first = collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)
        second = collector("binance", "spot", ["*USDT"], ["trade"], fake)
        config = {"collectors": [first, second], "instruments": {"start_seconds": 0.2}}
        async with (
            open_farm(config | {"supervision": {"backoff_initial": 0.05}}) as farm,
            farm.subscribe(Trade, max_bytes=10**9) as batches,
        ):
            assert fake._nursery is not None
            await fake._nursery.start(fake._rest.serve, fake._nursery)
            await until(lambda: len(feeds(farm, "live")) == 2)
            mark = farm.stats().totals.events
            await until(lambda: farm.stats().totals.events > mark + 100)
            farm.stop()
            rows = [(row.symbol, row.id) async for batch in batches for row in batch]
    assert {symbol for symbol, _ in rows} == {"BTCUSDT", "ETHUSDT"}
    assert len(rows) == len(set(rows))
    assert "collectors[1]: BTCUSDT is collected by collectors[0]" in caplog.text


async def test_the_check_can_be_left_out() -> None:
    async with open_fake(live("binance/spot", ["BTCUSDT"])) as fake:
        config = config_of("binance/spot", ["NOSUCHUSDT"], ["trade"], fake)
        async with open_farm(config | {"instruments": {"check": False}}) as farm:
            await until(lambda: feeds(farm, "acknowledged") == {"NOSUCHUSDT/trade"})
        assert fake.rest_log == []


# ----------------------------------------------------------------------------------- the venue
async def test_listings_and_delistings_are_followed() -> None:
    name, symbols = "binance/usdm", ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    async with open_fake(live(name, symbols, listed=["BTCUSDT", "ETHUSDT"])) as fake:
        config = config_of(name, ["*USDT"], ["trade"], fake)
        config["instruments"] = {"refresh_seconds": 0.2}
        async with (
            open_farm(config) as farm,
            farm.subscribe(Instrument) as instruments,
        ):
            await until(lambda: len(feeds(farm, "live")) == 2)
            fake.list_symbol("SOLUSDT")
            await until(lambda: "SOLUSDT/trade" in feeds(farm, "live"))
            fake.delist_symbol("ETHUSDT")
            await until(lambda: "ETHUSDT/trade" not in feeds(farm))
            gone = feed(farm.stats(), "binance/usdm/ETHUSDT/trade")
            assert (gone.state, gone.reason) == ("ended", "the venue lists it no longer")
            farm.stop()
            terms = [row async for batch in instruments for row in batch]
        assert farm.stats().totals.reconnects == 0
    last = {item.symbol: item for item in terms}
    assert [item.symbol for item in terms[:2]] == ["BTCUSDT", "ETHUSDT"]
    assert (last["SOLUSDT"].status, last["SOLUSDT"].trading) == ("TRADING", True)
    assert (last["ETHUSDT"].status, last["ETHUSDT"].trading) == ("delisted", False)
    assert last["ETHUSDT"].valid_from > terms[1].valid_from


async def test_what_was_delisted_and_is_listed_again_is_collected_again() -> None:
    name, symbols = "binance/usdm", ["BTCUSDT", "ETHUSDT"]
    async with open_fake(live(name, symbols)) as fake:
        config = config_of(name, symbols, ["trade"], fake)
        config["instruments"] = {"refresh_seconds": 0.2}
        async with open_farm(config) as farm:
            await until(lambda: len(feeds(farm, "live")) == 2)
            fake.delist_symbol("ETHUSDT")
            await until(lambda: "ETHUSDT/trade" not in feeds(farm))
            fake.list_symbol("ETHUSDT")
            await until(lambda: "ETHUSDT/trade" in feeds(farm, "live"))
        assert farm.stats().totals.reconnects == 0


async def test_contract_news_have_the_list_looked_at_at_once() -> None:
    """Without the stream of contract news the list would be looked at in ten minutes."""
    name, symbols = "binance/usdm", ["BTCUSDT", "SOLUSDT"]
    async with open_fake(live(name, symbols, listed=["BTCUSDT"])) as fake:
        config = config_of(name, ["*USDT"], ["trade"], fake, market_streams=["contract_info"])
        async with open_farm(config) as farm:
            await until(lambda: "*/contract_info" in feeds(farm, "acknowledged"))
            (watcher,) = farm._pipeline.listings.watchers  # type: ignore[union-attr]
            asked = trio.Event()
            watcher.refresh_now = asked.set  # type: ignore[method-assign]
            fake.list_symbol("SOLUSDT")
            with trio.fail_after(10):
                await asked.wait()


# --------------------------------------------------------------------------------- by the user
async def test_symbols_come_and_go_without_touching_the_others() -> None:
    name, symbols = "binance/spot", ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    async with open_fake(live(name, symbols)) as fake:
        config = config_of(name, ["BTCUSDT", "ETHUSDT"], ["trade", "book"], fake)
        async with (
            open_farm(config) as farm,
            farm.subscribe(Trade, Gap, max_bytes=10**9) as batches,
        ):
            await until(lambda: len(feeds(farm, "live")) == 4)
            assert await farm.add_symbols("SOLUSDT") == ["SOLUSDT"]
            assert await farm.add_symbols(["SOLUSDT", "BTC*"]) == []
            await until(lambda: len(feeds(farm, "live")) == 6)
            await until(lambda: farm.book("SOLUSDT").verdict.value == "verified")
            farm.remove_symbols(["ETHUSDT"])
            await until(lambda: "ethusdt@trade" not in fake.subscribed())
            mark = farm.stats().totals.events
            await until(lambda: farm.stats().totals.events > mark + 100)
            assert {book.stream.symbol for book in books_of(farm)} == {"BTCUSDT", "SOLUSDT"}
            with pytest.raises(UnknownSymbol, match="'ETHUSDT'"):
                farm.book("ETHUSDT")
            await farm.add_symbols("ETHUSDT")
            await until(lambda: len(feeds(farm, "live")) == 6)
            farm.stop()
            rows = [row async for batch in batches for row in batch]
        stats = farm.stats()
    (connection,) = stats.connections
    assert connection.connects == 1
    assert [row for row in rows if type(row) is Gap] == []
    ids = [int(row.id) for row in rows if type(row) is Trade and row.symbol == "BTCUSDT"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert stats.totals.quarantined == stats.totals.unknown == 0


async def test_streams_come_and_go_for_all_symbols() -> None:
    name, symbols = "bybit/linear", ["BTCUSDT", "ETHUSDT"]
    async with open_fake(live(name, symbols)) as fake:
        async with open_farm(config_of(name, symbols, ["trade"], fake)) as farm:
            await until(lambda: len(feeds(farm, "live")) == 2)
            with pytest.raises(UnknownFeed):
                farm.subscribe(Kline)
            await farm.add_streams(["kline:1m", "quote"])
            farm.subscribe(Kline)
            await until(lambda: len(feeds(farm, "live")) == 6)
            farm.remove_streams("trade")
            await until(lambda: "publicTrade.BTCUSDT" not in fake.subscribed())
            assert feeds(farm) == {f"{s}/{spec}" for s in symbols for spec in ("kline:1m", "quote")}
            with pytest.raises(ConfigErrors, match="no stream 'trades'"):
                await farm.add_streams("trades")
            with pytest.raises(UnknownFeed, match="'book' is not collected"):
                farm.remove_streams("book")
        stats = farm.stats()
    assert stats.totals.gaps == stats.totals.reconnects == 0


async def test_a_line_that_carries_nothing_is_closed_and_opened_anew() -> None:
    name = "binance/usdm"  # trades and mark prices take different routes
    async with open_fake(live(name, ["BTCUSDT"])) as fake:
        config = config_of(name, ["BTCUSDT"], ["trade", "mark_price"], fake)
        async with open_farm(config) as farm:
            await until(lambda: "BTCUSDT/mark_price" in feeds(farm, "live"))
            sources, (_, line) = farm._pipeline.sources, farm._pipeline.lines
            assert sources is not None
            sources.rotate_soon(line, line.lanes[0], "a test wants it")
            await until(lambda: farm.stats().totals.rotations == 1)
            farm.remove_streams("mark_price")
            await until(lambda: len(fake.connections) == 1)
            await until(lambda: line not in farm._pipeline.lines)
            assert [c.name for c in farm.stats().connections] == ["binance/usdm#1"]
            assert farm.stats().totals.rotations == 1  # what it saw still counts
            await farm.add_streams("mark_price")
            await until(lambda: "BTCUSDT/mark_price" in feeds(farm, "live"))
        assert farm.stats().totals.gaps == 0


@pytest.mark.parametrize("steps", [0, 1, 3, 30])
async def test_what_is_added_while_its_line_is_being_closed_is_collected(steps: int) -> None:
    name = "binance/usdm"
    async with open_fake(live(name, ["BTCUSDT"])) as fake:
        config = config_of(name, ["BTCUSDT"], ["trade", "mark_price"], fake)
        async with open_farm(config) as farm:
            await until(lambda: "BTCUSDT/mark_price" in feeds(farm, "live"))
            farm.remove_streams("mark_price")
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            await farm.add_streams("mark_price")
            await until(lambda: "binance/usdm#2" not in {c.name for c in farm.stats().connections})
            await until(lambda: "BTCUSDT/mark_price" in feeds(farm, "live"))
            assert len(fake.connections) == 2


async def test_what_does_not_fit_on_a_connection_gets_another() -> None:
    symbols = [f"C{i}USDT" for i in range(450)]
    fake = fake_of(Exchange.BINANCE, Market.USDM, list[Push](), symbols=symbols, empty_books=True)
    async with open_fake(fake):
        config = config_of("binance/usdm", symbols[:100], ["trade"], fake)
        async with open_farm(config) as farm:
            await until(lambda: len(feeds(farm, "acknowledged")) == 100)
            await farm.add_symbols(symbols[100:])
            await until(lambda: len(feeds(farm, "acknowledged")) == 450)
            carried = sorted(len(connection.streams) for connection in fake.connections)
        assert carried == [50, 200, 200]
        assert fake.connections_refused == 0


async def test_which_collector_is_meant_must_be_clear() -> None:
    async with (
        open_fake(live("binance/spot", ["BTCUSDT"])) as spot,
        open_fake(live("bybit/linear", ["BTCUSDT", "ETHUSDT"])) as linear,
    ):
        one = collector("binance", "spot", ["BTCUSDT"], ["trade"], spot)
        other = collector("bybit", "linear", ["BTCUSDT"], ["trade"], linear)
        async with open_farm({"collectors": [one, other]}) as farm:
            with pytest.raises(
                UnknownFeed, match="2 collectors match; name one by exchange=, market= or"
            ):
                await farm.add_symbols("ETHUSDT")
            with pytest.raises(UnknownSymbol, match="'ETHUSDT' is not listed on binance/spot"):
                await farm.add_symbols("ETHUSDT", exchange="binance")
            assert await farm.add_symbols("ETHUSDT", market="linear") == ["ETHUSDT"]
            assert farm.instrument("ETHUSDT").market is Market.LINEAR
            with pytest.raises(UnknownSymbol, match="no listing has 'XUSDT'"):
                farm.instrument("XUSDT")


async def test_options_of_one_coin_share_their_trades() -> None:
    calls = ["BTC-25JUN27-106000-C-USDT", "BTC-25JUN27-106000-P-USDT"]
    async with open_fake(live("bybit/option", calls)) as fake:
        config = config_of("bybit/option", ["BTC-*"], ["trade", "ticker"], fake)
        async with open_farm(config) as farm, farm.subscribe(Trade, symbols=calls[0]) as batches:
            assert feeds(farm) >= {"BTC/trade", f"{calls[0]}/ticker", f"{calls[1]}/ticker"}
            batch = await batches.receive()
            assert {trade.symbol for trade in batch} == {calls[0]}
            farm.remove_symbols(calls[1])
            await until(lambda: f"tickers.{calls[1]}" not in fake.subscribed())
            assert "publicTrade.BTC" in fake.subscribed()
            farm.remove_symbols(calls[0])
            await until(lambda: "publicTrade.BTC" not in fake.subscribed())


async def test_the_first_option_of_another_coin_is_looked_up_and_collected() -> None:
    """Bybit lists the options of one base coin at a time."""
    calls = ["BTC-25JUN27-106000-C-USDT", "ETH-25JUN27-4000-C-USDT"]
    async with open_fake(live("bybit/option", calls)) as fake:
        config = config_of("bybit/option", calls[:1], ["ticker"], fake)
        async with open_farm(config) as farm:
            await until(lambda: f"{calls[0]}/ticker" in feeds(farm, "live"))
            assert await farm.add_symbols(calls[1]) == [calls[1]]
            assert farm.instrument(calls[1]).base == "ETH"
            await until(lambda: f"{calls[1]}/ticker" in feeds(farm, "live"))


async def test_of_two_collectors_of_one_market_the_place_says_which() -> None:
    symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    async with open_fake(live("binance/spot", symbols)) as fake:
        one = collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)
        other = collector("binance", "spot", ["ETHUSDT"], ["quote"], fake)
        async with open_farm({"collectors": [one, other]}) as farm:
            with pytest.raises(UnknownFeed, match=r"collectors\[0\].*collectors\[1\]"):
                await farm.add_symbols("SOLUSDT", exchange="binance", market="spot")
            await farm.add_symbols("SOLUSDT", collector=1)
            one_more = {"BTCUSDT/trade", "ETHUSDT/quote", "SOLUSDT/quote"}
            await until(lambda: feeds(farm) == one_more)
            with pytest.raises(UnknownFeed, match="0 collectors match"):
                farm.remove_symbols("SOLUSDT", collector=2)
            assert await farm.add_symbols("BTCUSDT", collector=1) == ["BTCUSDT"]  # its quotes
            with pytest.raises(ConfigErrors, match=r"quote is collected by collectors\[1\]"):
                await farm.add_streams("quote", collector=0)
            with pytest.raises(ConfigErrors, match=r"trade is collected by collectors\[0\]"):
                await farm.add_streams("trade", collector=1)
            await farm.add_symbols("ETHUSDT", collector=0)
            quotes = {f"{symbol}/quote" for symbol in symbols}
            await until(lambda: feeds(farm) == {"BTCUSDT/trade", "ETHUSDT/trade", *quotes})


async def test_a_farm_that_ends_is_not_changed() -> None:
    async with open_fake(live("binance/spot", ["BTCUSDT", "ETHUSDT"])) as fake:
        async with open_farm(config_of("binance/spot", ["BTCUSDT"], ["trade"], fake)) as farm:
            await until(lambda: len(feeds(farm, "live")) == 1)
            farm.stop()
            with pytest.raises(LocalProtocolError, match="the farm is ending"):
                await farm.add_symbols("ETHUSDT")
            with pytest.raises(LocalProtocolError, match="the farm is ending"):
                farm.remove_symbols("BTCUSDT")
            with pytest.raises(LocalProtocolError, match="the farm is ending"):
                await farm.add_streams("quote")
            with pytest.raises(LocalProtocolError, match="the farm is ending"):
                farm.remove_streams("trade")
            await farm.wait()
        assert farm.stats().totals.gaps == 0


async def test_the_snapshot_of_a_symbol_that_went_is_given_up() -> None:
    symbols = ["BTCUSDT", "ETHUSDT"]
    async with (
        open_fake(live("binance/spot", symbols)) as fake,
        open_farm(config_of("binance/spot", symbols, ["book"], fake)) as farm,
    ):
        await until(lambda: all(b.verdict.value == "verified" for b in books_of(farm)))
        (line,) = farm._pipeline.lines
        (gone,) = (book for book in line.keeper.books if book.stream.symbol == "ETHUSDT")
        fake.delist_symbol("ETHUSDT")  # so that there is no answer to what is asked now
        asked = len(fake.rest_log)
        line.resync(gone.stream, 1)
        line.pass_commands()
        await until(lambda: len(fake.rest_log) > asked)
        farm.remove_symbols("ETHUSDT")
        (lane,) = line.lanes
        source = lane.source
        assert isinstance(source, ConnectionActor)
        await until(lambda: gone.stream.name not in lane.session.statuses)
        await until(lambda: not source._fetching)
        assert feeds(farm, "live") == {"BTCUSDT/book"}


# -------------------------------------------------------------------------------------- in shares
def holder(name: str, symbol: str, spec: str = "trade") -> int:
    """The half, 1 or 2, that collects a stream."""
    stream = rules_of(*market_of(name)).streams.stream(symbol, spec)
    return 1 if Share(1, 2).has(stream) else 2


async def open_halves(stack: AsyncExitStack, config: dict[str, Any]) -> dict[int, Farm]:
    """Both farms of one configuration; neither knows of the other."""
    return {
        half: await stack.enter_async_context(open_farm(config | {"shard": f"{half}/2"}))
        for half in (1, 2)
    }


def symbols_of(farm: Farm) -> set[str]:
    return {symbol for roster in farm._pipeline.rosters for symbol in roster.symbols}


def carried(farm: Farm) -> set[str]:
    """Symbol and spec of every stream that its lines are to carry."""
    streams = [stream for line in farm._pipeline.lines for stream in line.planned.values()]
    return {f"{stream.symbol}/{stream.spec}" for stream in streams}


async def test_each_feed_is_collected_by_the_farm_whose_share_it_is_in() -> None:
    name, symbols = "binance/usdm", [f"C{i}USDT" for i in range(8)]
    everything = {f"{symbol}/{spec}" for symbol in symbols for spec in ("trade", "book")}
    everything |= {"*/mini_ticker", "*/liquidation"}
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(open_fake(live(name, symbols)))
        market_streams = ["mini_ticker", "liquidation"]
        config = config_of(name, ["*USDT"], ["trade", "book"], fake, market_streams=market_streams)
        halves = await open_halves(stack, config)
        readers = {
            half: await stack.enter_async_context(farm.subscribe(Instrument))
            for half, farm in halves.items()
        }
        collected = {half: carried(farm) for half, farm in halves.items()}
        assert collected[1] | collected[2] == everything
        assert not collected[1] & collected[2]
        for half, farm in halves.items():
            ours = {symbol for symbol in symbols if holder(name, symbol) == half}
            assert symbols_of(farm) == ours
            assert {f"{s}/{spec}" for s in ours for spec in ("trade", "book")} <= collected[half]
            farm.stop()
            terms = [row.symbol async for batch in readers[half] for row in batch]
            assert sorted(terms) == sorted(ours)


async def test_what_comes_and_goes_does_so_in_its_own_share() -> None:
    name = "binance/spot"
    first, second = (
        [f"C{i}USDT" for i in range(20) if holder(name, f"C{i}USDT") == half][:3] for half in (1, 2)
    )
    symbols = [*first, *second]
    listed = [first[0], second[0]]
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(open_fake(live(name, symbols, listed=listed)))
        config = config_of(name, ["*USDT"], ["trade"], fake)
        config["instruments"] = {"refresh_seconds": 0.2}
        one, two = (await open_halves(stack, config)).values()
        for symbol in (first[1], second[1]):
            fake.list_symbol(symbol)
        await until(lambda: symbols_of(one) == set(first[:2]))
        await until(lambda: symbols_of(two) == set(second[:2]))
        for symbol in (first[0], second[0]):
            fake.delist_symbol(symbol)
        await until(lambda: symbols_of(one) == {first[1]})
        await until(lambda: symbols_of(two) == {second[1]})
        for symbol in (first[0], second[0]):  # listed again
            fake.list_symbol(symbol)
        await until(lambda: carried(one) == {f"{symbol}/trade" for symbol in first[:2]})
        await until(lambda: carried(two) == {f"{symbol}/trade" for symbol in second[:2]})


async def test_one_script_changes_the_farms_of_all_shares() -> None:
    name, symbols = "binance/spot", [f"C{i}USDT" for i in range(8)]
    ours, theirs = (
        [symbol for symbol in symbols if holder(name, symbol) == half] for half in (1, 2)
    )
    async with open_fake(live(name, symbols)) as fake:
        config = config_of(name, [ours[0]], ["trade"], fake) | {"shard": "1/2"}
        async with open_farm(config) as farm:
            assert await farm.add_symbols("*USDT") == ours[1:]
            assert await farm.add_symbols(theirs) == []
            await farm.add_streams("quote")
            assert carried(farm) == {f"{s}/{spec}" for s in ours for spec in ("trade", "quote")}
            farm.remove_symbols([ours[0], theirs[0]])
            with pytest.raises(UnknownSymbol, match=f"'{theirs[0]}' is not collected"):
                farm.remove_symbols(theirs[0])
            assert carried(farm) == {f"{s}/{spec}" for s in ours[1:] for spec in ("trade", "quote")}
            farm.remove_streams(["trade", "quote"])
            assert carried(farm) == set()
            await farm.add_streams("trade")
            assert carried(farm) == {f"{s}/trade" for s in ours[1:]}
            assert await farm.add_symbols([ours[0], theirs[0]]) == [ours[0]]


async def test_an_option_comes_to_a_share_with_the_trades_of_its_coin() -> None:
    """They are one stream of the coin, and collected where that is, apart from what has a stream of
    its own."""
    name = "bybit/option"
    calls = [f"BTC-25JUN27-{strike}-C-USDT" for strike in range(100_000, 112_000, 2_000)]
    trading = holder(name, calls[0])
    own = {call for call in calls if holder(name, call, "ticker") == trading}
    assert own
    assert own < set(calls)
    async with open_fake(live(name, calls)) as fake:
        config = config_of(name, calls, ["ticker"], fake) | {"shard": f"{trading}/2"}
        async with open_farm(config) as farm:
            (roster,) = farm._pipeline.rosters
            assert symbols_of(farm) == own
            assert set(await roster.add_streams(["trade"])) == set(calls) - own
            assert symbols_of(farm) == set(calls)
            assert carried(farm) == {"BTC/trade", *(f"{call}/ticker" for call in own)}
            farm.remove_streams("trade")
            assert symbols_of(farm) == own
            assert carried(farm) == {f"{call}/ticker" for call in own}


@pytest.mark.parametrize("half", [1, 2])
async def test_what_two_collectors_have_is_refused_in_every_share(half: int) -> None:
    async with open_fake(live("binance/spot", ["BTCUSDT", "ETHUSDT"])) as fake:
        first = collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)
        second = collector("binance", "spot", ["*USDT"], ["quote", "trade"], fake)
        with pytest.raises(ConfigErrors, match="collected by collectors\\[0\\] already"):
            async with open_farm({"collectors": [first, second], "shard": f"{half}/2"}):
                pass


async def test_a_share_of_nothing_waits_for_something(caplog: pytest.LogCaptureFixture) -> None:
    """A container that ended would be started again and again."""
    name, symbols = "binance/spot", [f"C{i}USDT" for i in range(8)]
    ours, theirs = (
        [symbol for symbol in symbols if holder(name, symbol) == half] for half in (1, 2)
    )
    async with open_fake(live(name, symbols)) as fake:
        config = config_of(name, theirs, ["trade"], fake) | {"shard": "1/2"}
        async with open_farm(config) as farm:
            assert "share 1/2 has nothing to collect so far; it waits" in caplog.text
            assert carried(farm) == set()
            assert await farm.add_symbols(ours) == ours
            await until(lambda: feeds(farm, "live") == {f"{symbol}/trade" for symbol in ours})
        caplog.clear()
        async with open_farm(config | {"shard": "2/2"}):
            assert "nothing to collect" not in caplog.text
