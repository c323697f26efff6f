"""A lane on a real socket: streams that are acknowledged and silent are found out and mended."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from farm import BookUpdate, Farm, Gap, GapCause, GapUnit, Trade, open_farm
from farm.exchanges import liveness
from farm.testing import FakeExchange, MarketSimulator, Push, Recorded, open_fake
from farm.testing.connection import Connection
from tests.farms import collector, fake_of, feed, market_of, until

BOOK = "binance/spot/BTCUSDT/book"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines of seconds in place of minutes."""
    monkeypatch.setattr(liveness, "FIRST_FRAME", 2.0)
    monkeypatch.setattr(liveness, "LIST_EVERY", 2.0)
    monkeypatch.setattr(liveness, "LIST_PAUSE", 1.0)


class Mute:
    """Keeps streams from some connections, though they are acknowledged."""

    def __init__(self, *streams: str) -> None:
        self.streams = set(streams)
        self.connections: set[str] | None = None  # None: all

    def __call__(self, connection: Connection, push: Push) -> bool:
        hit = self.connections is None or connection.name in self.connections
        return not (hit and push.stream in self.streams)


def live(name: str, mute: Mute) -> FakeExchange:
    exchange, market = market_of(name)
    source = MarketSimulator(exchange, market, ["BTCUSDT", "ETHUSDT"], seed=5, rate=80)
    return fake_of(exchange, market, source, pace=Recorded(), filter=mute)


def config_of(name: str, streams: list[str], fake: FakeExchange) -> dict[str, Any]:
    exchange, market = name.split("/")
    one = collector(exchange, market, ["BTCUSDT", "ETHUSDT"], streams, fake)
    return {"collectors": [one], "supervision": {"backoff_initial": 0.05}}


async def gather(farm: Farm, rows: list[Any], task_status: trio.TaskStatus[None]) -> None:
    async with farm.subscribe(BookUpdate, Trade, Gap, max_bytes=10**9) as batches:
        task_status.started()
        async for batch in batches:
            rows += batch.rows


async def test_a_stream_that_never_delivers_is_subscribed_again_then_its_connection_replaced(
    soon: None,
) -> None:
    mute = Mute("btcusdt@depth@100ms")
    mute.connections = {"c1"}
    rows: list[Any] = []
    async with (
        open_fake(live("binance/spot", mute)) as fake,
        trio.open_nursery() as nursery,
        open_farm(config_of("binance/spot", ["trade", "book"], fake)) as farm,
    ):
        await nursery.start(gather, farm, rows)
        await until(lambda: fake.connections_accepted == 2)
        texts = [m.text for m in fake.subscribe_log if m.connection == "c1"]
        again = [t for t in texts if "UNSUBSCRIBE" in t and "btcusdt@depth@100ms" in t]
        assert len(again) == 1
        await until(lambda: feed(farm.stats(), BOOK).events > 0)
        book = feed(farm.stats(), BOOK)
        await until(lambda: farm.book("BTCUSDT").verdict.value == "verified")
    (gap,) = [row for row in rows if type(row) is Gap and row.feed == BOOK]
    assert (gap.cause, gap.unit, gap.edge) == (GapCause.SILENCE, GapUnit.UNKNOWN, "venue")
    first = next(row for row in rows if type(row) is BookUpdate and row.symbol == "BTCUSDT")
    assert gap.start_time is not None
    assert gap.end_time == first.receive_time  # the acknowledgements in between ended nothing
    assert first.receive_time - gap.start_time > 2_000_000_000
    assert book.state == "live"


async def test_a_stream_that_falls_silent_leaves_no_book_that_looks_alive(soon: None) -> None:
    mute = Mute()
    async with open_fake(live("binance/spot", mute)) as fake:
        async with open_farm(config_of("binance/spot", ["trade", "book"], fake)) as farm:
            await until(lambda: farm.book("BTCUSDT").verdict.value == "verified")
            mute.streams = {"btcusdt@depth@100ms"}
            await until(lambda: farm.book("BTCUSDT").verdict.value == "stale")
            assert farm.book("ETHUSDT").verdict.value == "verified"
            mute.streams = set()
            await until(lambda: farm.book("BTCUSDT").verdict.value == "verified")
        assert fake.connections_accepted == 1  # to subscribe it again was enough


async def test_a_quiet_symbol_costs_no_connection(soon: None) -> None:
    """All streams of one symbol are silent, and the venue says that it holds them: quiet."""
    quiet = {"ethusdt@trade", "ethusdt@depth@100ms"}
    async with open_fake(live("binance/spot", Mute(*quiet))) as fake:
        async with open_farm(config_of("binance/spot", ["trade", "book"], fake)) as farm:
            await until(lambda: sum("LIST_SUB" in m.text for m in fake.subscribe_log) >= 2)
            stats = farm.stats()
        assert fake.connections_accepted == 1
        assert not any("UNSUBSCRIBE" in m.text for m in fake.subscribe_log)
    assert stats.totals.gaps == 0


async def test_a_silent_sparse_stream_that_the_venue_does_not_hold_is_found_by_its_list(
    soon: None,
) -> None:
    mute = Mute("ethusdt@trade")
    async with open_fake(live("binance/spot", mute)) as fake:
        async with open_farm(config_of("binance/spot", ["trade"], fake)) as farm:
            await until(lambda: feed(farm.stats(), "binance/spot/BTCUSDT/trade").state == "live")
            (connection,) = fake.connections
            fake.unsubscribe(connection, "ethusdt@trade")  # the venue forgot
            mute.streams = set()
            await until(lambda: feed(farm.stats(), "binance/spot/ETHUSDT/trade").events > 0)
            trades = feed(farm.stats(), "binance/spot/ETHUSDT/trade")
        assert fake.connections_accepted == 1
    assert trades.gaps == 1


async def test_what_no_replacement_helps_has_none_for_long_and_says_why(
    soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "FIRST_FRAME", 1.0)  # so that the next would be after 8 s
    name = "bybit/linear"
    mute = Mute("orderbook.200.ETHUSDT")
    async with (
        open_fake(live(name, mute)) as fake,
        open_farm(config_of(name, ["trade", "book"], fake)) as farm,
    ):
        await until(lambda: fake.connections_accepted == 2)
        deaf = "bybit/linear/ETHUSDT/book:200"
        await until(lambda: feed(farm.stats(), deaf).reason != "")
        mark = farm.stats().totals.events
        await until(lambda: farm.stats().totals.events > mark + 200)
        assert fake.connections_accepted == 2
        assert "nothing came for" in feed(farm.stats(), deaf).reason
        assert farm.book("BTCUSDT").verdict.value == "verified"
        assert farm.book("ETHUSDT").verdict.value != "verified"
