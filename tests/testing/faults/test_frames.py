"""Frames that get lost, doubled, mixed up and held, as a raw client sees them."""

from __future__ import annotations

import json

import pytest
import trio

from farm.testing import Push, depth_reply
from farm.testing.faults import (
    Delay,
    Drop,
    Duplicate,
    FaultScript,
    FrameFault,
    NoData,
    Reorder,
    SequenceBreak,
)
from tests.testing.faults.world import LINEAR, World, X, everywhere, in_memory, orderbook, tell

Y = "/ws/y@trade"


@everywhere
async def test_dropped_frames_reach_nobody_and_are_in_the_log(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        one, two = await world.ws(fake), await world.ws(fake)
        fake.strike(Drop(0, "x@trade", count=2))
        pushes = tell(fake, "x@trade", *"1234")
        assert await one.texts(2) == await two.texts(2) == ["3", "4"]
        assert [(event.connection, event.push) for event in fake.fault_log] == [
            (name, push) for push in pushes[:2] for name in ("c1", "c2")
        ]
        assert {event.stream for event in fake.fault_log} == {"x@trade"}


@everywhere
async def test_a_fault_may_concern_one_connection(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        one, two = await world.ws(fake), await world.ws(fake)
        fake.strike(Drop(0, "x@trade", count=2, connection="c2"))
        tell(fake, "x@trade", *"1234")
        assert await one.texts(4) == ["1", "2", "3", "4"]
        assert await two.texts(2) == ["3", "4"]


@everywhere
async def test_streams_are_chosen_by_name_or_pattern(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake, "/stream?streams=x@trade/y@trade/y@kline_1m")
        fake.strike(Drop(0, "y@*", count=2))
        for stream in ("x@trade", "y@trade", "y@kline_1m", "y@trade"):
            tell(fake, stream, '"text"')
        assert [(await client.json())["stream"] for _ in range(2)] == ["x@trade", "y@trade"]


@everywhere
async def test_duplicated_frames_come_twice(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        fake.strike(Duplicate(0, "x@trade", count=2))
        tell(fake, "x@trade", *"123")
        assert await client.texts(5) == ["1", "1", "2", "2", "3"]


@everywhere
async def test_reordered_frames_follow_the_next_ones_of_their_connection(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake, "/ws/x@trade/y@trade")
        other = await world.ws(fake, Y)
        fake.strike(Reorder(0, "x@trade", count=2, by=3))
        tell(fake, "x@trade", *"12")
        tell(fake, "y@trade", *"abc")
        tell(fake, "x@trade", "3")
        assert await client.texts(6) == ["a", "b", "c", "1", "2", "3"]
        assert await other.texts(3) == ["a", "b", "c"]
        tell(fake, "x@trade", "4")
        assert await client.text() == "4"


@everywhere
async def test_what_a_connection_that_ends_held_back_is_forgotten(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        fake.strike(Reorder(0, "x@trade"))
        [push] = tell(fake, "x@trade", "1")
        fake.break_connections()
        assert await client.read_to_end() == (b"", "reset")
        again = await world.ws(fake)
        tell(fake, "x@trade", *"23")
        assert await again.texts(2) == ["2", "3"]
        assert [event.push for event in fake.fault_log] == [push]


@everywhere
async def test_delayed_frames_come_late_and_in_their_order(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake, "/ws/x@trade/y@trade")
        struck = trio.current_time()
        fake.strike(Delay(0, "x@trade", seconds=world.lasts))
        tell(fake, "x@trade", *"12")
        tell(fake, "y@trade", "a")
        tell(fake, "x@trade", "3")
        assert await client.texts(4) == ["a", "1", "2", "3"]
        assert trio.current_time() >= struck + world.lasts
        tell(fake, "x@trade", "4")
        assert await client.text() == "4"
        assert [event.push.text for event in fake.fault_log if event.push] == ["1", "2", "3"]


@in_memory
async def test_a_delay_is_as_long_as_it_says(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        struck = trio.current_time()
        fake.strike(Delay(0, "x@trade", seconds=5))
        tell(fake, "x@trade", "1")
        await trio.sleep(2)
        tell(fake, "x@trade", "2")
        assert await client.texts(2) == ["1", "2"]
        assert trio.current_time() == pytest.approx(struck + 5)


@in_memory
async def test_a_stream_without_data_is_acknowledged_and_silent(world: World) -> None:
    async with world.opened(world.bybit(empty_books=True)) as fake:
        client = await world.ws(fake, LINEAR)
        topics = ["orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"]
        fake.strike(NoData(0, "*.BTCUSDT", seconds=5))
        await client.send({"op": "subscribe", "args": topics})
        assert (await client.json())["success"] is True
        [push] = tell(fake, topics[1], '{"topic":"publicTrade.BTCUSDT"}')
        assert await client.hears_nothing(4)
        await trio.sleep(1.5)
        tell(fake, topics[1], '{"later":1}')
        assert await client.json() == {"later": 1}
        assert [event.stream for event in fake.fault_log] == topics
        assert fake.fault_log[1].push == push


@everywhere
async def test_one_fault_of_content_and_one_of_time_hit_a_frame(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        for fault in (Drop(0, "x@trade"), Duplicate(0, "x@trade"), Reorder(0, "*")):
            fake.strike(fault)
        tell(fake, "x@trade", *"1234")
        assert await client.texts(4) == ["3", "2", "2", "4"]
        assert [type(event.fault) for event in fake.fault_log] == [Drop, Duplicate, Reorder]


@everywhere
async def test_without_faults_at_work_frames_take_the_short_way(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        assert not fake._faults.active
        fake.strike(Drop(0, "x@trade"))
        assert fake._faults.active
        tell(fake, "x@trade", *"12")
        assert not fake._faults.active
        assert await client.text() == "2"


@in_memory
async def test_a_script_acts_at_its_moments_in_whatever_order_it_stands(world: World) -> None:
    script = FaultScript().drop("x@trade", at=7.5).duplicate("x@trade", at=2.5)
    fake = world.binance(faults=script)
    async with world.opened(fake):
        client = await world.ws(fake)
        for text in "0123456789":
            tell(fake, "x@trade", text)
            await trio.sleep(1)
        assert await client.texts(10) == list("0123345679")
        assert [event.fault for event in fake.fault_log] == [script[1], script[0]]


# --- books ---------------------------------------------------------------------------------------


def diff(number: int) -> str:
    return json.dumps(
        {"e": "depthUpdate", "s": "BTCUSDT", "U": number, "u": number, "b": [["9", f"{number}"]],
         "a": []}
    )  # fmt: skip


@everywhere
async def test_a_sequence_breaks_for_everyone_but_the_venues_own_book(world: World) -> None:
    async with world.opened(world.binance(symbols=["BTCUSDT"])) as fake:
        fake.take(Push(1, depth_reply("BTCUSDT"), '{"lastUpdateId":10,"bids":[],"asks":[]}'))
        path = "/ws/btcusdt@depth@100ms/btcusdt@trade"
        one, two = await world.ws(fake, path), await world.ws(fake, path)
        fake.strike(SequenceBreak(0, "btcusdt@*", count=2))
        tell(fake, "btcusdt@trade", "{}")
        pushes = tell(fake, "btcusdt@depth@100ms", *map(diff, (11, 12, 13)))
        for client in (one, two):
            assert await client.json() == {}
            assert (await client.json())["u"] == 13
        assert [event.push for event in fake.fault_log] == pushes[:2]
        assert [event.connection for event in fake.fault_log] == ["", ""]
        book = (await world.get(fake, "/api/v3/depth?symbol=BTCUSDT")).json()
        assert (book["lastUpdateId"], book["bids"]) == (13, [["9", "13"]])


@everywhere
async def test_a_first_snapshot_is_no_diff_that_can_be_lost(world: World) -> None:
    async with world.opened(world.bybit()) as fake:
        topic = "orderbook.50.BTCUSDT"
        fake.take(Push(1, topic, orderbook("snapshot", 5)))
        fake.strike(SequenceBreak(0, topic))
        client = await world.ws(fake, LINEAR)
        await client.send({"op": "subscribe", "args": [topic]})
        assert (await client.json())["success"] is True
        assert (await client.json())["data"]["u"] == 5
        tell(fake, topic, orderbook("snapshot", 6), orderbook("delta", 7), orderbook("delta", 8))
        assert [(await client.json())["data"]["u"] for _ in range(2)] == [6, 8]
        await client.send({"op": "unsubscribe", "args": [topic]})
        await client.json()
        await client.send({"op": "subscribe", "args": [topic]})
        await client.json()
        assert (await client.json())["data"]["b"] == [["9", "8"]]


@pytest.mark.parametrize("kind", [Drop, Duplicate])
def test_a_frame_fault_counts_one_frame_unless_told_otherwise(kind: type[FrameFault]) -> None:
    fault = kind(0, X)
    assert (fault.count, fault.connection) == (1, None)
