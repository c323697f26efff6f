"""Connections that break, stall and go dumb, as a raw client sees them."""

from __future__ import annotations

import itertools

import pytest
import trio

from farm.testing import FaultScript, WallClock, open_fake
from farm.testing.faults import (
    ClockJump,
    Close,
    ConnectionFault,
    HalfOpen,
    Refuse,
    Reset,
    Restart,
    SlowReader,
    Stall,
    TlsFailure,
)
from farm.testing.faults.kinds import Fault
from tests.testing.clients import masked_frame
from tests.testing.faults.world import (
    LINEAR,
    PONG,
    World,
    everywhere,
    in_memory,
    orderbook,
    tell,
    until,
)

TOPIC = "orderbook.50.BTCUSDT"


@everywhere
async def test_a_reset_is_a_tcp_reset_of_everything(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        one, two = await world.ws(fake), await world.ws(fake)
        rest = await world.line(fake.rest_url)
        await until(lambda: bool(fake._rest_streams))
        fake.strike(Reset(0))
        for client in (one, two, rest):
            assert await client.read_to_end() == (b"", "reset")
        assert [event.connection for event in fake.fault_log] == ["c1", "c2"]
        assert (await world.get(fake, "/api/v3/ping")).status == 200


@everywhere
async def test_a_reset_may_concern_one_connection(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        one, two = await world.ws(fake), await world.ws(fake)
        fake.strike(Reset(0, connection="c1"))
        assert await one.read_to_end() == (b"", "reset")
        tell(fake, "x@trade", "1")
        assert await two.text() == "1"


@everywhere
async def test_a_close_is_clean_and_has_its_code(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        fake.strike(Close(0, code=1012))
        frame = await client.frame()
        assert frame.code == 1012
        await client.stream.send_all(masked_frame(0x8, frame.payload))
        assert await client.read_to_end() == (b"", "closed")


@everywhere
async def test_where_nothing_stands_nothing_is_hit_and_the_log_says_so(world: World) -> None:
    faults: list[ConnectionFault] = [Reset(0), HalfOpen(0), Close(0), Stall(0, seconds=1)]
    async with world.opened(world.binance()) as fake:
        for fault in faults:
            fake.strike(fault)
        assert [(event.fault, event.count) for event in fake.fault_log] == [
            (fault, 0) for fault in faults
        ]


# --- half open -----------------------------------------------------------------------------------


@everywhere
async def test_a_half_open_connection_hears_nothing_until_the_exchange_is_gone(
    world: World,
) -> None:
    async with open_fake(world.binance()) as fake:
        dead = await world.ws(fake)
        fake.strike(HalfOpen(0))
        await dead.ping()
        tell(fake, "x@trade", "1")
        fake.strike(Reset(0))
        fake.kill()
        await fake.revive()
        alive = await world.ws(fake)
        tell(fake, "x@trade", "2")
        assert await alive.text() == "2"
        assert [connection.name for connection in fake.connections] == ["c2"]
        fake.kill()
        assert (await alive.read_to_end())[1] == "reset"
    received, _ = await dead.read_to_end()
    assert received == b""
    await world.close_clients()


@in_memory
async def test_a_half_open_connection_is_not_read(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        fake.strike(HalfOpen(0))
        with trio.move_on_after(100_000) as sending:
            for _ in itertools.repeat(None, 10_000):
                await client.ping(b"x" * 100)
        assert sending.cancelled_caught
        assert await client.hears_nothing(100_000)


@in_memory
async def test_the_market_goes_on_without_half_open_clients(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        await world.ws(fake)
        assert list(fake.subscribed()) == ["x@trade"]
        fake.strike(HalfOpen(0))
        assert list(fake.subscribed()) == []


# --- slow lines ----------------------------------------------------------------------------------


@everywhere
async def test_a_stalled_connection_sends_what_gathered_when_it_is_over(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client, other = await world.ws(fake), await world.ws(fake)
        fake.strike(Stall(0, seconds=world.lasts, connection="c1"))
        tell(fake, "x@trade", *"12")
        await client.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        assert await other.texts(2) == ["1", "2"]
        assert await client.texts(2) == ["1", "2"]
        assert trio.current_time() >= fake.fault_log[0].time + world.lasts
        assert (await client.json())["result"] == ["x@trade"]
        assert fake.subscribe_log[0].time < fake.fault_log[0].time + world.lasts


@in_memory
async def test_stalls_that_overlap_last_until_the_end_of_the_longest(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        started = trio.current_time()
        fake.strike(Stall(0, seconds=5))
        tell(fake, "x@trade", "1")
        await trio.sleep(3)
        fake.strike(Stall(0, seconds=10))
        fake.strike(Stall(0, seconds=1))
        assert await client.text() == "1"
        assert trio.current_time() == pytest.approx(started + 13)


@everywhere
async def test_a_slow_reader_takes_requests_later_and_sends_on(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        fake.strike(SlowReader(0, seconds=world.lasts))
        await client.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        tell(fake, "x@trade", "1")
        assert await client.text() == "1"
        assert (await client.json())["id"] == 1
        assert fake.subscribe_log[0].time >= fake.fault_log[0].time + world.lasts


@in_memory
async def test_a_slow_reader_holds_up_a_client_that_sends_much(world: World) -> None:
    async with world.opened(world.bybit()) as fake:
        client = await world.ws(fake, LINEAR)
        started = trio.current_time()
        fake.strike(SlowReader(0, seconds=50))
        for _ in range(3_000):
            await client.stream.send_all(masked_frame(PONG, b"x" * 100))
        assert trio.current_time() >= started + 50


# --- ports ---------------------------------------------------------------------------------------


@everywhere
async def test_refused_connections_are_refused_so_long_and_the_rest_goes_on(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        addresses = fake.ws_url, fake.rest_url
        fake.strike(Refuse(0, seconds=world.lasts))
        assert await world.is_refused(fake.ws_url)
        assert await world.is_refused(fake.rest_url)
        tell(fake, "x@trade", "1")
        assert await client.text() == "1"
        await world.listens_again(fake.ws_url)
        assert trio.current_time() >= fake.fault_log[0].time + world.lasts
        assert (fake.ws_url, fake.rest_url) == addresses
        assert (await world.ws(fake)).answer.startswith(b"HTTP/1.1 101")


@in_memory
async def test_refusals_that_overlap_end_with_the_last(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        fake.strike(Refuse(0, seconds=10))
        await trio.sleep(2)
        fake.strike(Refuse(0, seconds=4))
        fake.strike(Restart(0, seconds=20))
        await trio.sleep(5)
        await fake.revive()
        await trio.sleep(14)
        assert await world.is_refused(fake.ws_url)
        await trio.sleep(2)
        assert not await world.is_refused(fake.ws_url)
        fake.strike(Refuse(0, seconds=1))
        fake.kill()
        await trio.sleep(2)
        assert await world.is_refused(fake.ws_url)
        await fake.revive()
        assert not await world.is_refused(fake.ws_url)


@everywhere
async def test_after_a_restart_ids_of_binance_go_on(world: World) -> None:
    async with world.opened(world.binance(empty_books=True)) as fake:
        client = await world.ws(fake)
        diff = '{"e":"depthUpdate","U":2,"u":7,"b":[["9","1"]],"a":[]}'
        tell(fake, "btcusdt@depth", diff)
        fake.strike(Restart(0, seconds=world.lasts))
        assert (await client.read_to_end())[1] == "reset"
        assert await world.is_refused(fake.ws_url)
        await world.listens_again(fake.rest_url)
        book = (await world.get(fake, "/api/v3/depth?symbol=BTCUSDT")).json()
        assert (book["lastUpdateId"], book["bids"]) == (7, [["9", "1"]])


@everywhere
async def test_after_a_restart_books_of_bybit_begin_at_1_for_the_first_who_comes(
    world: World,
) -> None:
    async with world.opened(world.bybit()) as fake:
        subscribe = {"op": "subscribe", "args": [TOPIC]}
        tell(fake, TOPIC, orderbook("snapshot", 500), orderbook("delta", 501))
        fake.strike(Restart(0, seconds=world.lasts))
        tell(fake, TOPIC, orderbook("delta", 502))  # while nobody is there
        await world.listens_again(fake.ws_url)
        client = await world.ws(fake, LINEAR)
        tell(fake, TOPIC, orderbook("delta", 503))  # nor now
        await client.send(subscribe)
        assert (await client.json())["success"] is True
        first = await client.json()
        assert (first["type"], first["data"]["u"], first["data"]["b"]) == (
            "snapshot", 1, [["9", "503"]]
        )  # fmt: skip
        tell(fake, TOPIC, orderbook("delta", 504), orderbook("delta", 505))
        texts = await client.texts(2)
        assert ['"u": 2' in texts[0], '"u": 3' in texts[1]] == [True, True]
        assert '"seq": 504' in texts[0]
        other = await world.ws(fake, LINEAR)
        await other.send(subscribe)
        await other.json()
        assert (await other.json())["data"]["u"] == 3
        tell(fake, TOPIC, orderbook("snapshot", 1), orderbook("delta", 2))  # by the source itself
        assert [(await client.json())["data"]["u"] for _ in range(2)] == [1, 2]


@everywhere
async def test_after_two_restarts_the_full_book_begins_at_1_again(world: World) -> None:
    full = "orderbook.full.BTCUSDT"
    target = "/v5/market/full_orderbook?category=linear&symbol=BTCUSDT"
    async with world.opened(world.bybit()) as fake:
        tell(fake, "/full_orderbook?symbol=BTCUSDT",
             '{"result":{"s":"BTCUSDT","b":[],"a":[],"u":70,"seq":7,"ts":1,"cts":1}}')  # fmt: skip
        for number in (71, 72):
            fake.begin_anew()
            assert (await world.get(fake, target)).json()["result"]["u"] == 1
            tell(fake, full, orderbook("delta", number, full))
            assert (await world.get(fake, target)).json()["result"]["u"] == 2


# --- the client's clock --------------------------------------------------------------------------


@everywhere
async def test_the_clients_clock_jumps(world: World) -> None:
    clock = WallClock(1_000_000_000_000)
    async with world.opened(world.binance(wall_clock=clock)) as fake:
        before = clock()
        fake.strike(ClockJump(0, seconds=-3600))
        assert clock() < before
        assert [jump.seconds for jump in clock.jumps] == [-3600]
        assert [event.fault for event in fake.fault_log] == [ClockJump(0, seconds=-3600)]


@pytest.mark.parametrize(
    ("fault", "missing"), [(ClockJump(1, seconds=5), "wall_clock"), (TlsFailure(1), "tls=True")]
)
async def test_a_script_that_an_exchange_cannot_play_does_not_start(
    fault: Fault, missing: str
) -> None:
    world = World(None, 1.0)
    fake = world.binance(faults=FaultScript([Reset(0), fault]))
    with pytest.raises(ValueError, match=missing):
        async with open_fake(fake):
            raise AssertionError("it has started")
    async with open_fake(world.binance()) as other:
        with pytest.raises(ValueError, match=missing):
            other.strike(fault)
