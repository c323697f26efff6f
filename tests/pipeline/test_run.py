"""The whole line over real sockets: fake exchanges at one end, subscribers at the other."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from farm import (
    BookStats,
    BookUpdate,
    BookVerdict,
    Farm,
    FarmStats,
    Gap,
    GapCause,
    GapUnit,
    Instrument,
    Kline,
    Market,
    Quote,
    Trade,
    open_farm,
)
from farm.batch import Batch
from farm.entities import EVENT_KINDS
from farm.storage.parquet import read_batches
from farm.testing import (
    FakeBinance,
    FakeBybit,
    Flood,
    MarketSimulator,
    Push,
    Recorded,
    RecordingSource,
    losing,
    open_fake,
)
from farm.types import DataType, Exchange
from tests.effort import runs
from tests.farms import all_received, collector, feed, until
from tests.recordings import recording

SPOT_STREAMS = ["trade", "quote", "book"]
LINEAR = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"]


@attrs.define
class Kept:
    """What a subscriber got, in order."""

    rows: list[Any] = attrs.field(factory=list)

    def of(self, kind: type[Any]) -> list[Any]:
        return [row for row in self.rows if type(row) is kind]


async def keep(farm: Farm, kept: Kept, task_status: trio.TaskStatus[None]) -> None:
    specs = {feed.feed.split("/")[3].split(":")[0] for feed in farm.stats().feeds if feed.state}
    kinds = [EVENT_KINDS[DataType(spec)] for spec in specs]
    async with farm.subscribe(*kinds, Gap) as batches:
        task_status.started()
        async for batch in batches:
            kept.rows += batch.rows
    assert batches.dropped == 0


async def collect(
    config: dict[str, Any], fakes: list[Any]
) -> tuple[Kept, FarmStats, dict[tuple[str, str], BookVerdict]]:
    """Run a farm until everything that the fakes sent is in; what came, and how it stood then."""
    kept = Kept()
    async with trio.open_nursery() as nursery:
        async with open_farm(config) as farm:
            await nursery.start(keep, farm, kept)
            for fake in fakes:
                await fake.finished.wait()
            expected = sum(sum(fake.sent.values()) for fake in fakes)
            await until(lambda: farm.stats().totals.frames >= expected)
            await until(lambda: all(settled(f.book) for f in farm.stats().feeds))
            verdicts = {
                (f.feed.split("/")[1], f.feed.split("/")[2]): BookVerdict(f.book.verdict)
                for f in farm.stats().feeds
                if f.book is not None
            }
        stats = farm.stats()
    return kept, stats, verdicts


def settled(book: BookStats | None) -> bool:
    return book is None or book.verdict == BookVerdict.VERIFIED.value


async def test_the_spot_recording_through_a_socket() -> None:
    source = RecordingSource(recording("binance_spot_btcusdt_20240808.log.gz"))
    async with open_fake(FakeBinance(source, pace=Flood(start_after=3))) as fake:
        config = {"collectors": [collector("binance", "spot", ["BTCUSDT"], SPOT_STREAMS, fake)]}
        kept, stats, verdicts = await collect(config, [fake])
    assert stats.totals.gaps == stats.totals.quarantined == stats.totals.unknown == 0
    assert stats.totals.frames == 41_248 + 1  # and an acknowledgement
    book = feed(stats, "binance/spot/BTCUSDT/book").book
    assert book is not None
    assert (book.diffs, book.compared, book.wrong) == (3_451, 564, 0)
    assert verdicts == {("spot", "BTCUSDT"): BookVerdict.VERIFIED}
    counts = Counter(type(row) for row in kept.rows)
    assert (counts[Trade], counts[Quote], counts[Gap]) == (9_757, 28_040, 0)
    assert [int(t.id) for t in kept.of(Trade)] == list(range(3735683259, 3735683259 + 9_757))
    assert_total_order(kept)


async def test_the_bybit_session_through_sockets() -> None:
    path = recording("session_bybit_20260809.jsonl.gz")
    pace = Flood(start_after=12)
    linear = FakeBybit(RecordingSource(path, Market.LINEAR), market=Market.LINEAR, pace=pace)
    spot = FakeBybit(
        RecordingSource(path, Market.SPOT), market=Market.SPOT, pace=Flood(start_after=6)
    )
    streams = ["trade", "book", "kline:1m"]
    async with open_fake(linear), open_fake(spot):
        config = {
            "collectors": [
                collector("bybit", "linear", LINEAR, streams, linear),
                collector("bybit", "spot", LINEAR[:2], streams, spot),
            ]
        }
        kept, stats, verdicts = await collect(config, [linear, spot])
    counts = Counter(type(row) for row in kept.rows)
    updates = Counter(update.is_snapshot for update in kept.of(BookUpdate))
    assert (counts[Trade], counts[Kline], counts[Gap]) == (347, 100, 0)
    assert updates == {True: 6, False: 2_142}
    assert stats.totals.gaps == stats.totals.quarantined == 0
    assert len(verdicts) == 6
    assert set(verdicts.values()) == {BookVerdict.VERIFIED}
    assert_total_order(kept)


def assert_total_order(kept: Kept) -> None:
    """Each kind comes in the order of its ordinals, and rows within a frame in theirs."""
    places: dict[tuple[Any, ...], tuple[int, int]] = {}
    for row in kept.rows:
        key = (type(row), row.exchange, row.market)
        place = (row.ordinal, row.row)
        assert place > places.get(key, (-1, -1)) or isinstance(row, Gap)
        places[key] = place


async def test_a_lost_diff_is_one_gap_and_the_book_is_mended() -> None:
    source = RecordingSource(recording("binance_spot_btcusdt_20240808.log.gz"))
    lost = nth_push(source, "btcusdt@depth@100ms", 1_700)
    pace = Recorded(speed=60.0, start_after=3)  # the market goes on while the book is mended
    fake = FakeBinance(losing(source, lambda push: push == lost), pace=pace)
    async with open_fake(fake):
        config = {"collectors": [collector("binance", "spot", ["BTCUSDT"], SPOT_STREAMS, fake)]}
        kept, stats, verdicts = await collect(config, [fake])
    missing = json.loads(lost.text)
    (gap,) = kept.of(Gap)
    assert gap.cause is GapCause.SEQUENCE_BREAK
    assert (gap.first_id, gap.last_id) == (missing["U"], missing["u"])
    assert (gap.size, gap.unit) == (missing["u"] - missing["U"] + 1, GapUnit.IDS)
    assert gap.feed == "binance/spot/BTCUSDT/book"
    said = [update.verdict for update in kept.of(BookUpdate) if not update.is_snapshot]
    assert BookVerdict.STALE in said
    assert verdicts == {("spot", "BTCUSDT"): BookVerdict.VERIFIED}
    book = feed(stats, "binance/spot/BTCUSDT/book").book
    assert book is not None
    assert book.snapshots == 2
    assert book.wrong == 0
    assert book.compared > 500  # of 564; few come while it is stale


async def test_a_lost_delta_resyncs_that_topic_alone() -> None:
    source = RecordingSource(recording("session_bybit_20260809.jsonl.gz"), Market.LINEAR)
    lost = nth_push(source, "orderbook.200.ETHUSDT", 100)
    fake = FakeBybit(
        losing(source, lambda push: push == lost), market=Market.LINEAR, pace=Flood(start_after=8)
    )
    async with open_fake(fake):
        config = {"collectors": [collector("bybit", "linear", LINEAR, ["trade", "book"], fake)]}
        kept, stats, verdicts = await collect(config, [fake])
    gap, rest = kept.of(Gap)
    for one in (gap, rest):
        assert (one.symbol, one.cause) == ("ETHUSDT", GapCause.SEQUENCE_BREAK)
    assert gap.first_id == gap.last_id == json.loads(lost.text)["data"]["u"]
    assert rest.unit is GapUnit.UNKNOWN  # what came between the break and the new snapshot
    assert rest.start_time == gap.end_time
    others = [u for u in kept.of(BookUpdate) if u.symbol != "ETHUSDT"]
    assert {update.verdict for update in others} == {BookVerdict.VERIFIED}
    assert set(verdicts.values()) == {BookVerdict.VERIFIED}
    assert len(kept.of(Trade)) == 327
    asked = [json.loads(message.text) for message in fake.subscribe_log]
    again = [m["args"] for m in asked if m["op"] == "unsubscribe"]
    assert again == [["orderbook.200.ETHUSDT"]]
    resynced = feed(stats, "bybit/linear/ETHUSDT/book:200").book
    assert resynced is not None
    assert resynced.snapshots == 2


def nth_push(source: RecordingSource, stream: str, n: int) -> Push:
    return [push for push in source if push.stream == stream][n]


async def test_the_server_dies_and_comes_back() -> None:
    """Everything is subscribed again, the break is recorded, and no event comes twice."""
    for seed in range(runs(3)):
        market = MarketSimulator(
            Exchange.BINANCE, Market.SPOT, ["BTCUSDT", "ETHUSDT"], seed=seed, rate=300
        )
        kept = Kept()
        fake = FakeBinance(market, pace=Recorded(speed=2.0))
        async with open_fake(fake), trio.open_nursery() as nursery:
            one = collector("binance", "spot", ["BTCUSDT", "ETHUSDT"], SPOT_STREAMS, fake)
            config = {"collectors": [one], "supervision": {"backoff_initial": 0.05}}
            async with open_farm(config) as farm:
                await nursery.start(keep, farm, kept)
                await until(lambda farm=farm: books_verified(farm, 2))
                fake.kill()
                await until(lambda farm=farm: farm.stats().connections[0].failures >= 3)
                assert farm.book("BTCUSDT").verdict is BookVerdict.STALE
                await fake.revive()
                await until(lambda farm=farm: books_verified(farm, 2))
                await until(lambda farm=farm: farm.stats().totals.gaps >= 6)
                count = len(kept.of(Trade))
                await until(lambda kept=kept, count=count: len(kept.of(Trade)) > count + 20)
            assert farm.stats().totals.reconnects == 1
        gaps = kept.of(Gap)
        assert Counter(gap.cause for gap in gaps) == {GapCause.DISCONNECT: 6}
        assert len({gap.feed for gap in gaps}) == 6
        for symbol in ("BTCUSDT", "ETHUSDT"):
            assert_loss_lies_in_the_gap(kept, symbol)


def books_verified(farm: Farm, count: int) -> bool:
    books = [feed.book.verdict for feed in farm.stats().feeds if feed.book is not None]
    return books == ["verified"] * count


def assert_loss_lies_in_the_gap(kept: Kept, symbol: str) -> None:
    trades = [trade for trade in kept.of(Trade) if trade.symbol == symbol]
    ids = [int(trade.id) for trade in trades]
    assert ids == sorted(set(ids))
    breaks = [(a, b) for a, b in pairwise(trades) if int(b.id) > int(a.id) + 1]
    (gap,) = [g for g in kept.of(Gap) if g.symbol == symbol and g.feed.endswith("/trade")]
    assert len(breaks) <= 1
    for before, after in breaks:
        assert before.receive_time <= gap.start_time <= gap.end_time <= after.receive_time


def trade_text(trade_id: int, **changes: Any) -> str:
    payload = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": trade_id, "p": "1.5", "q": "2", "T": 1}
    payload |= {"m": True, "M": True} | changes
    return json.dumps({"stream": "btcusdt@trade", "data": payload}, separators=(",", ":"))


async def test_odd_frames_are_kept_and_the_connection_stays(tmp_path: Path) -> None:
    odd = [
        '{"stream":"btcusdt@trade","data":{"e":"trade","E":1,',  # malformed
        trade_text(2, e="tradeOfTomorrow"),  # a type that is unknown
        '{"e":"somethingElse","E":1}',  # another, of no stream
    ]
    fine = [trade_text(1), trade_text(3, X="NEW_VALUE", added="field")]

    def quiet() -> Iterator[Push]:
        yield Push(1, "btcusdt@trade", json.dumps({"never": "sent"}), True)

    fake = FakeBinance(list(quiet()), symbols=["BTCUSDT"])
    kept = Kept()
    async with open_fake(fake), trio.open_nursery() as nursery:
        one = collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)
        async with open_farm({"collectors": [one], "data": str(tmp_path)}) as farm:
            await nursery.start(keep, farm, kept)
            name = "binance/spot/BTCUSDT/trade"
            await until(lambda: feed(farm.stats(), name).state == "acknowledged")
            for text in [fine[0], *odd, fine[1]]:
                fake.inject("btcusdt@trade", text)
            await until(lambda: len(kept.of(Trade)) == 2)
            stats = farm.stats()
        assert fake.connections_accepted == 1
    assert [trade.id for trade in kept.of(Trade)] == ["1", "3"]
    assert stats.totals.quarantined == 1
    assert stats.unparsed == {
        "binance/spot malformed": 1,
        "binance/spot tradeOfTomorrow": 1,
        "binance/spot somethingElse": 1,
    }
    gap, hole = kept.of(Gap)  # the malformed frame may have been a trade, and one is missing
    assert (gap.cause, gap.size, gap.unit) == (GapCause.QUARANTINE, 1, GapUnit.FRAMES)
    assert (hole.cause, hole.first_id, hole.last_id) == (GapCause.SEQUENCE_BREAK, 2, 2)
    files = list((tmp_path / "_unparsed").rglob("*.jsonl"))
    texts = [json.loads(line)["raw"] for file in files for line in file.read_text().splitlines()]
    assert texts == odd


async def test_tls_end_to_end(tmp_path: Path) -> None:
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=1, seconds=5)
    fake = FakeBinance(market, pace=Flood(start_after=3), tls=True)
    async with open_fake(fake):
        assert fake.ssl_context is not None
        authorities = fake.ssl_context.get_ca_certs(binary_form=True)
        bundle = tmp_path / "ca.pem"
        bundle.write_text("".join(map(pem, authorities)))
        one = collector("binance", "spot", ["BTCUSDT"], SPOT_STREAMS, fake)
        one["endpoints"]["ca_file"] = str(bundle)
        async with open_farm({"collectors": [one]}) as farm:
            await all_received(farm, fake)
            await until(lambda: farm.book("BTCUSDT").verdict is BookVerdict.VERIFIED)


def pem(certificate: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(certificate)


async def test_a_server_under_an_unknown_authority_is_weather() -> None:
    fake = FakeBinance([], symbols=["BTCUSDT"], tls=True)
    async with open_fake(fake):
        one = collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)
        async with open_farm({"collectors": [one]}) as farm:
            await until(lambda: farm.stats().connections[0].failures > 0)
            (connection,) = farm.stats().connections
            assert "certificate" in connection.last_error.lower()
            assert connection.connects == 0


async def test_a_refused_stream_is_recorded_and_the_others_go_on() -> None:
    market = MarketSimulator(Exchange.BYBIT, Market.LINEAR, ["BTCUSDT", "ETHUSDT"], seed=2)
    fake = FakeBybit(market, market=Market.LINEAR, pace=Recorded(speed=1.0))
    fake.refuse_subscription("publicTrade.ETHUSDT")
    kept = Kept()
    async with open_fake(fake), trio.open_nursery() as nursery:
        one = collector("bybit", "linear", ["BTCUSDT", "ETHUSDT"], ["trade", "quote"], fake)
        async with open_farm({"collectors": [one]}) as farm:
            await nursery.start(keep, farm, kept)
            await until(lambda: live(farm) == 3)
            await until(lambda: bool(kept.of(Gap)))
            refused = feed(farm.stats(), "bybit/linear/ETHUSDT/trade")
            assert (refused.state, refused.events) == ("failed", 0)
            assert "publicTrade.ETHUSDT" in refused.reason
    (gap,) = kept.of(Gap)
    assert (gap.cause, gap.feed, gap.end_time) == (GapCause.REFUSED, refused.feed, None)


def live(farm: Farm) -> int:
    return sum(feed.state == "live" for feed in farm.stats().feeds)


async def test_a_slow_subscriber_loses_alone_and_its_loss_is_a_gap() -> None:
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=3, seconds=30)
    fake = FakeBinance(market, pace=Flood(start_after=1))
    async with open_fake(fake):
        one = collector("binance", "spot", ["BTCUSDT"], ["trade"], fake)
        async with open_farm({"collectors": [one]}) as farm:
            slow = farm.subscribe(Trade, max_bytes=20_000)
            quick = Kept()
            async with slow, trio.open_nursery() as nursery:
                await nursery.start(keep, farm, quick)
                await all_received(farm, fake)
                await until(lambda: len(quick.of(Trade)) == fake.sent["btcusdt@trade"])
                farm.stop()
                batches: list[Batch[Trade]] = [batch async for batch in slow]
    got = [trade for batch in batches for trade in batch]
    assert quick.of(Gap) == []
    (gap,) = slow.gaps
    assert gap.cause is GapCause.OVERFLOW
    assert gap.edge.startswith("aggregator>subscriber")
    assert gap.size == len(quick.of(Trade)) - len(got) > 0
    assert got == quick.of(Trade)[gap.size :]  # the oldest went


@pytest.mark.parametrize("numbers", ["float", "decimal"])
async def test_stored_rows_are_the_published_ones(tmp_path: Path, numbers: str) -> None:
    market = MarketSimulator(Exchange.BYBIT, Market.LINEAR, ["BTCUSDT"], seed=4, seconds=20)
    fake = FakeBybit(market, market=Market.LINEAR, pace=Flood(start_after=4))
    kept = Kept()
    async with open_fake(fake), trio.open_nursery() as nursery:
        streams = ["trade", "quote", "book", "kline:1m"]
        one = collector("bybit", "linear", ["BTCUSDT"], streams, fake)
        config = {"collectors": [one], "data": str(tmp_path), "numbers": numbers}
        async with open_farm(config) as farm:
            await nursery.start(keep, farm, kept)
            await fake.finished.wait()
            sent = sum(fake.sent.values())
            await until(lambda: farm.stats().totals.frames >= sent)
    for kind in (Trade, Quote, BookUpdate, Kline):
        stored = [row for batch in read_batches(tmp_path, kind) for row in batch]
        assert stored == kept.of(kind)
        assert stored
    terms = [row for batch in read_batches(tmp_path, Instrument) for row in batch]
    assert [(row.symbol, row.valid_from > 0) for row in terms] == [("BTCUSDT", True)]
    assert farm.stats().rows_written == len(kept.rows) + len(terms)
