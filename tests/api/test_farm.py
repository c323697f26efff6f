"""The farm as users hold it: what it refuses, what it tells, and how it ends."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import trio

import farm as package
from farm import (
    AmbiguousSymbol,
    BookUpdate,
    BookVerdict,
    ConfigError,
    DataDirectoryError,
    Gap,
    Instrument,
    Kline,
    OrderBook,
    Quote,
    Trade,
    UnknownFeed,
    UnknownSymbol,
    open_farm,
)
from farm.actors.parser import ParserActor
from farm.errors import LocalProtocolError, RestartsExceeded
from farm.testing import FakeBinance, FakeBybit, MarketSimulator, Recorded, open_fake
from farm.types import Exchange, Market
from tests.effort import runs
from tests.farms import collector, until

NOWHERE = {"ws": "ws://127.0.0.1:9", "rest": "http://127.0.0.1:9"}


def idle(**changes: Any) -> dict[str, Any]:
    """A farm whose venues are out of reach: enough for everything that needs no data."""
    binance = {"exchange": "binance", "market": "spot", "symbols": ["BTCUSDT", "ETHUSDT"]}
    bybit = {"exchange": "bybit", "market": "linear", "symbols": ["BTCUSDT", "SOLUSDT"]}
    return {
        "collectors": [
            {**binance, "streams": ["trade", "quote"], "endpoints": NOWHERE},
            {**bybit, "streams": ["trade", "book", "book:50"], "endpoints": NOWHERE},
        ],
        "instruments": {"start_seconds": 0},
        **changes,
    }


async def test_an_ambiguous_symbol_lists_its_candidates() -> None:
    async with open_farm(idle()) as farm:
        with pytest.raises(AmbiguousSymbol, match=r"'BTCUSDT'.*binance/spot, bybit/linear") as info:
            farm.book("BTCUSDT")
        assert info.value.candidates == ["binance/spot", "bybit/linear"]
        with pytest.raises(AmbiguousSymbol):
            farm.subscribe(Trade, symbols=["BTCUSDT"])
        farm.subscribe(Trade, symbols="BTCUSDT", exchange="bybit")
        farm.subscribe(Trade, symbols=["BTCUSDT"], market=Market.SPOT)
        assert isinstance(farm.book("BTCUSDT", market="linear"), OrderBook)
        assert isinstance(farm.book("SOLUSDT"), OrderBook)


async def test_what_is_not_collected_is_an_error_that_says_what_is() -> None:
    async with open_farm(idle()) as farm:
        with pytest.raises(UnknownSymbol, match=r"'XRPUSDT'.*BTCUSDT, ETHUSDT, SOLUSDT"):
            farm.subscribe(Trade, symbols=["XRPUSDT"])
        with pytest.raises(UnknownSymbol, match=r"on bybit; these are: BTCUSDT, SOLUSDT"):
            farm.book("ETHUSDT", exchange="bybit")
        with pytest.raises(UnknownFeed, match=r"no book of 'ETHUSDT'"):
            farm.book("ETHUSDT")
        with pytest.raises(UnknownFeed, match=r"any symbol gives Kline; collected: book:200"):
            farm.subscribe(Kline)
        with pytest.raises(UnknownFeed, match=r"SOLUSDT gives Quote"):
            farm.subscribe(Quote, symbols=["SOLUSDT"])
        with pytest.raises(TypeError, match="subscribe to what"):
            farm.subscribe()
        with pytest.raises(TypeError, match="OrderBook"):
            farm.subscribe(OrderBook)
        with pytest.raises(ValueError, match="'mars' is no exchange; these are: 'binance'"):
            farm.book("SOLUSDT", exchange="mars")
        with pytest.raises(ValueError, match="depth must be a whole number of 1 or more, not 0"):
            farm.book("SOLUSDT", depth=0)
        with pytest.raises(ValueError, match="not '5'"):
            farm.book("SOLUSDT", depth="5")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="leave symbols out"):
            farm.subscribe(Trade, symbols=[])
        with pytest.raises(TypeError, match="a symbol is text, not None"):
            farm.subscribe(Trade, symbols=[None])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="max_bytes must be 1 or more, not 0"):
            farm.subscribe(Trade, max_bytes=0)


@pytest.mark.parametrize(
    ("kinds", "more", "message"),
    [
        ([Trade], {}, r"Trade can't be conflated: each one counts.*MarkPrice.*BookUpdate of books"),
        ([Quote, Trade], {}, r"Trade can't be conflated"),
        ([BookUpdate], {"symbols": "SOLUSDT"}, r"orderbook.200.SOLUSDT can't be conflated"),
        ([BookUpdate], {"market": "spot"}, r"btcusdt@depth can't be conflated: it carries changes"),
        ([BookUpdate], {}, r"can't be conflated"),
        ([Instrument], {}, r"Instrument can't be conflated"),
        ([Quote], {"max_bytes": 10}, r"max_bytes has no meaning with conflate"),
    ],
)
async def test_what_can_not_be_conflated_says_why(
    kinds: list[type[Any]], more: dict[str, Any], message: str
) -> None:
    config = idle()
    config["collectors"][0]["streams"] += ["book@1000ms", "book:20"]
    async with open_farm(config) as farm:
        with pytest.raises(ValueError, match=message):
            farm.subscribe(*kinds, conflate=True, **more)
        farm.subscribe(Quote, Gap, conflate=True)


async def test_books_that_come_whole_can_be_conflated_and_others_that_join_them_are_left_out() -> (
    None
):
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=1, rate=500)
    async with open_fake(FakeBinance(market, pace=Recorded())) as fake:
        one = collector("binance", "spot", ["BTCUSDT"], ["book:5"], fake)
        async with (
            open_farm({"collectors": [one]}) as farm,
            farm.subscribe(BookUpdate, conflate=True) as books,
            farm.subscribe(BookUpdate) as every,
        ):
            assert (await books.receive())[0].depth == 5
            await farm.add_streams("book")
            depths = set()
            while depths != {5, None}:
                depths |= {update.depth for update in await every.receive()}
            await until(lambda: books.dropped > 10)
            farm.stop()
            rows = [row for batch in [b async for b in books] for row in batch]
            assert {row.depth for row in rows} == {5}
            assert len(rows) <= 2  # what came with a gap, and the newest


async def test_a_book_without_data_says_so() -> None:
    async with open_farm(idle()) as farm:
        book = farm.book("SOLUSDT")
        assert book.verdict is BookVerdict.SYNCING
        assert book.bids == book.asks == []


async def test_the_deepest_book_is_read() -> None:
    market = MarketSimulator(Exchange.BYBIT, Market.LINEAR, ["BTCUSDT"], seed=1, levels=120)
    async with open_fake(FakeBybit(market, market=Market.LINEAR, pace=Recorded())) as fake:
        one = collector("bybit", "linear", ["BTCUSDT"], ["book:50", "book"], fake)
        async with open_farm({"collectors": [one]}) as farm:
            await until(lambda: len(farm.book("BTCUSDT").bids) > 50)
            top = farm.book("BTCUSDT", depth=3)
            assert len(top.bids) == len(top.asks) == 3
            assert top.bids[0].price > top.bids[1].price > top.bids[2].price
            assert top.asks[0].price < top.asks[1].price < top.asks[2].price


class Mine(Exception):
    pass


@pytest.mark.parametrize("error", [Mine(), KeyboardInterrupt(), ExceptionGroup("mine", [Mine()])])
async def test_errors_of_the_body_come_out_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as info:
        async with open_farm(idle()):
            raise error
    if not isinstance(error, ExceptionGroup):
        assert info.value is error


async def test_an_ended_farm_says_so() -> None:
    async with open_farm(idle()) as farm:
        pass
    with pytest.raises(LocalProtocolError, match="has ended"):
        farm.book("SOLUSDT")
    with pytest.raises(LocalProtocolError, match="has ended"):
        farm.subscribe(Trade)
    assert farm.stats().totals.events == 0
    with trio.fail_after(1):
        await farm.wait()


async def test_stop_ends_subscriptions_and_abort_ends_everything() -> None:
    for end in ("stop", "abort"):
        market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=1)
        async with open_fake(FakeBinance(market, pace=Recorded())) as fake:
            one = collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)
            async with open_farm({"collectors": [one]}) as farm:
                async with farm.subscribe(Trade) as batches:
                    await batches.receive()
                    getattr(farm, end)()
                    if end == "stop":
                        async for _ in batches:
                            pass
                with trio.fail_after(10):
                    await farm.wait()


async def test_configuration_and_directory_errors_come_out_plainly(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"collectors\[0\].market"):
        async with open_farm({"collectors": [{"exchange": "binance", "market": "linear",
                                              "symbols": ["A"]}]}):  # fmt: skip
            pass
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(DataDirectoryError, match="file"):
        async with open_farm(idle(data=str(tmp_path / "file"))):
            pass


async def test_an_actor_that_crashes_too_often_ends_the_farm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def crash(self: ParserActor, health: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ParserActor, "run", crash)
    quick = {"intensity": 2, "backoff_initial": 0.01}
    with pytest.raises(RestartsExceeded, match="more than 2 times") as info:
        async with open_farm(idle(supervision=quick)):
            await trio.sleep_forever()
    assert isinstance(info.value.__cause__, ZeroDivisionError)


async def test_a_parked_actor_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = ParserActor.run

    async def crash(self: ParserActor, health: Any) -> None:
        if self.name.startswith("bybit"):
            raise ZeroDivisionError
        await ordinary(self, health)

    monkeypatch.setattr(ParserActor, "run", crash)
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT", "ETHUSDT"], seed=1)
    async with open_fake(FakeBinance(market, pace=Recorded())) as fake:
        config = idle(supervision={"intensity": 1, "backoff_initial": 0.01, "escalate": "park",
                                   "drain_seconds": 0.2})  # fmt: skip
        config["collectors"][0]["endpoints"] = {"ws": fake.ws_url, "rest": fake.rest_url}
        async with open_farm(config) as farm:
            await until(
                lambda: any("bybit" in c.name and c.crashes for c in farm.stats().connections)
            )
            async with farm.subscribe(Trade) as batches:
                assert await batches.receive()


async def test_cancelled_at_any_moment_it_ends_cleanly(tmp_path: Path) -> None:
    """At start, run and shutdown a cancellation from outside neither hangs nor leaves rubbish."""
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=1, rate=500)
    async with open_fake(FakeBinance(market, pace=Recorded())) as fake:
        one = collector("binance", "spot", ["BTCUSDT"], ["trade", "book"], fake)
        for attempt in range(runs(25)):
            with trio.fail_after(30), trio.move_on_after(attempt * 0.004):
                async with open_farm({"collectors": [one], "data": str(tmp_path)}):
                    await trio.sleep_forever()
        await until(lambda: not fake.connections)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]  # noqa: ASYNC240


def test_the_package_shows_its_use() -> None:
    assert "open_farm" in (inspect.getdoc(package) or "")
