"""What all fakes share: the script, backpressure, and that nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection

from farm.testing import (
    BINANCE_SPOT,
    FakeBinance,
    FakeBybit,
    Flood,
    MarketSimulator,
    Push,
    Recorded,
    RecordingSource,
    open_fake,
)
from farm.testing.faults import Delay, Drop, Refuse, Reject, RestStatus
from farm.types import Exchange, Market
from tests.testing.clients import (
    PATIENCE,
    ask,
    connect,
    get,
    open_ws,
    read_to_end,
    shake_hands,
    text,
    texts,
)

NEVER = Flood(start_after=10_000)
PATH = "/ws/btcusdt@trade"


def simulator(seconds: float | None = None) -> MarketSimulator:
    return MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seconds=seconds)


def big_pushes(count: int, size: int = 10_000) -> list[Push]:
    return [Push(number, "x@trade", f"{number:0{size}d}") for number in range(count)]


async def lost(ws: WebSocketConnection) -> None:
    """Reads until the connection is gone, however it went."""

    async def read_on() -> None:
        while True:
            await ws.get_message()

    with trio.fail_after(PATIENCE), pytest.raises(ConnectionClosed):
        await read_on()


async def is_refused(url: str) -> bool:
    try:
        await (await connect(url)).aclose()
    except OSError:
        return True
    return False


# --- the script ----------------------------------------------------------------------------------


async def test_a_killed_exchange_comes_back_on_its_ports_and_the_market_went_nowhere() -> None:
    fake = FakeBinance(simulator(), pace=Flood(outbox_limit=1))
    async with open_fake(fake):
        addresses = fake.ws_url, fake.rest_url
        async with open_ws(fake.ws_url + PATH) as ws:
            await texts(ws, 10)
            fake.kill()
            assert await is_refused(fake.ws_url)
            assert await is_refused(fake.rest_url)
            await lost(ws)
        await wait_all_tasks_blocked()
        stands_at = fake.clock.now
        await fake.revive()
        assert (fake.ws_url, fake.rest_url) == addresses
        assert (await get(fake.rest_url + "/api/v3/time")).json() == {
            "serverTime": stands_at // 1_000_000
        }
        assert fake.connections == []
        async with open_ws(fake.ws_url + PATH) as ws:
            assert json.loads(await text(ws))["E"] >= stands_at // 1_000_000
        assert fake.connections_accepted == 2


async def test_at_recorded_pace_the_market_goes_on_without_the_server() -> None:
    fake = FakeBinance([Push(n * 10**7, "x@trade", str(n)) for n in range(20)], pace=Recorded())
    async with open_fake(fake), open_ws(fake.ws_url + "/ws/x@trade") as ws:
        fake.kill()
        await lost(ws)
        with trio.fail_after(PATIENCE):
            await fake.finished.wait()


async def test_killing_twice_and_breaking_nothing_are_harmless() -> None:
    async with open_fake(FakeBinance(simulator(), pace=NEVER)) as fake:
        fake.break_connections()
        fake.kill()
        fake.kill()
        await fake.revive()
        assert (await get(fake.rest_url + "/api/v3/ping")).status == 200


async def test_broken_connections_can_be_opened_again_at_once() -> None:
    async with open_fake(FakeBinance(simulator(), pace=NEVER)) as fake:
        async with open_ws(fake.ws_url + PATH) as ws:
            fake.break_connections()
            await lost(ws)
        async with open_ws(fake.ws_url + PATH):
            [connection] = fake.connections
            assert list(connection.streams) == ["btcusdt@trade"]


async def test_a_reset_is_a_reset() -> None:
    async with open_fake(FakeBinance(simulator(), pace=NEVER)) as fake:
        stream, _ = await shake_hands(fake.ws_url + "/ws")
        async with stream:
            fake.break_connections()
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(PATIENCE):
                await stream.receive_some()


async def test_injected_frames_reach_the_subscribers_or_everyone() -> None:
    async with (
        open_fake(FakeBinance(simulator(), pace=NEVER)) as fake,
        open_ws(fake.ws_url + "/ws/a") as a,
        open_ws(fake.ws_url + "/ws/b") as b,
    ):
        fake.inject("a", '{"broken":')
        fake.inject("nobody", "x")
        fake.inject(None, "all")
        assert await texts(a, 2) == ['{"broken":', "all"]
        assert await text(b) == "all"


# --- backpressure --------------------------------------------------------------------------------


async def test_flood_waits_for_the_slowest_reader_and_loses_nothing() -> None:
    pushes = big_pushes(3_000)
    fake = FakeBinance(pushes, pace=Flood(start_after=1, outbox_limit=50_000))
    async with open_fake(fake), open_ws(fake.ws_url + "/ws/x@trade") as ws:
        await wait_all_tasks_blocked(0.05)
        assert not fake.finished.is_set()
        assert fake.sent["x@trade"] < len(pushes)
        assert await texts(ws, len(pushes)) == [push.text for push in pushes]


@pytest.mark.parametrize(
    "pace", [Flood(2, outbox_limit=50_000, patience=0.1), Recorded(1e9, 2, outbox_limit=2_000_000)]
)
async def test_a_client_that_takes_nothing_is_cut_and_the_others_get_everything(
    pace: Flood | Recorded,
) -> None:
    pushes = big_pushes(3_000)
    source = [push for p in pushes for push in (p, Push(p.time, "y@trade", f"{p.time}"))]
    fake = FakeBinance(source, pace=pace)
    async with open_fake(fake):
        dead, _ = await shake_hands(fake.ws_url + "/ws/x@trade")
        async with dead, open_ws(fake.ws_url + "/ws/y@trade") as ws:
            assert await texts(ws, len(pushes)) == [str(push.time) for push in pushes]
            assert len(fake.connections) == 1
            received = await read_to_end(dead)
    assert 0 < len(received) < 3_000 * 10_000


# --- the end -------------------------------------------------------------------------------------


async def test_nothing_is_left_behind() -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    fake = FakeBinance(simulator(), pace=Flood())
    async with open_fake(fake):
        ws_url, rest_url = fake.ws_url, fake.rest_url
        idle = await connect(rest_url)
        stream, _ = await shake_hands(ws_url + PATH)
    async with idle, stream:
        await read_to_end(idle)
        await read_to_end(stream)
    assert await is_refused(ws_url)
    assert await is_refused(rest_url)
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_killed_exchange_gives_its_ports_back_too() -> None:
    async with open_fake(FakeBinance(simulator(), pace=NEVER)) as fake:
        fake.kill()
        number = int(fake.ws_url.rpartition(":")[2])
    [listener] = await trio.open_tcp_listeners(number, host="127.0.0.1")
    await listener.aclose()


async def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    cause = KeyError("cause")
    with pytest.raises(ZeroDivisionError) as caught:
        async with open_fake(FakeBinance(simulator(), pace=NEVER)):
            raise ZeroDivisionError from cause
    assert caught.value.__cause__ is cause


async def test_an_error_of_the_source_comes_out() -> None:
    def source() -> object:
        yield Push(1, "a", "1")
        raise ValueError("bad source")

    with pytest.raises(ValueError, match="bad source"), trio.fail_after(PATIENCE):
        async with open_fake(FakeBinance(source(), pace=Recorded())):  # type: ignore[arg-type]
            await trio.sleep_forever()


async def test_cancellation_ends_it_promptly() -> None:
    with trio.move_on_after(0.05) as scope:
        fake = FakeBinance(simulator(), pace=Flood())
        async with open_fake(fake), open_ws(fake.ws_url + PATH) as ws:
            while True:
                await ws.get_message()
    assert scope.cancelled_caught
    assert await is_refused(fake.ws_url)


# --- opened again --------------------------------------------------------------------------------


async def test_an_exchange_opens_again_on_its_ports_and_its_market_begins_anew() -> None:
    fake = FakeBinance(simulator(5), pace=Flood())
    addresses, told, ends = set(), [], []
    for _ in range(2):
        async with open_fake(fake):
            assert not fake.finished.is_set()
            addresses.add((fake.ws_url, fake.rest_url))
            async with open_ws(fake.ws_url + PATH) as ws:
                told.append(await text(ws))
                with trio.fail_after(PATIENCE):
                    await fake.finished.wait()
            ends.append(fake.clock.now)
    assert [len(addresses), len(set(told)), len(set(ends))] == [1, 1, 1]
    assert fake.connections_accepted == 2


async def test_books_begin_anew_too() -> None:
    fake = FakeBinance(simulator(), pace=Flood(outbox_limit=1))
    books = []
    for _ in range(2):
        async with open_fake(fake):
            await wait_all_tasks_blocked()
            books.append((await get(fake.rest_url + "/api/v3/depth?symbol=BTCUSDT")).json())
            async with open_ws(fake.ws_url + "/ws/btcusdt@depth@100ms") as ws:
                await texts(ws, 20)
            later = (await get(fake.rest_url + "/api/v3/depth?symbol=BTCUSDT")).json()
    assert books[0] == books[1] != later


async def test_books_of_topics_begin_anew_too() -> None:
    source = MarketSimulator(Exchange.BYBIT, Market.LINEAR, ["BTCUSDT"])
    fake = FakeBybit(source, pace=Flood(outbox_limit=1))
    snapshots = []
    for _ in range(2):
        async with open_fake(fake):
            await wait_all_tasks_blocked()
            async with open_ws(fake.ws_url + "/v5/public/linear") as ws:
                await ask(ws, {"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]})
                snapshots.append((await texts(ws, 20))[0])
    assert '"type":"snapshot"' in snapshots[0]
    assert snapshots[0] == snapshots[1]


async def test_what_was_shut_killed_or_at_work_is_not_when_it_opens_again() -> None:
    source = [Push(1, "x@trade", "text")]
    fake = FakeBinance(source, pace=Flood())
    async with open_fake(fake):
        fake.strike(Refuse(0, seconds=10_000))
        fake.strike(Drop(0, "x@trade", count=100))
        fake.strike(Delay(0, "x@trade", seconds=10_000))
        fake.strike(Reject(0, count=100))
        fake.strike(RestStatus(0, count=100))
        fake.kill()
    async with open_fake(fake), open_ws(fake.ws_url + "/ws/x@trade") as ws:
        assert await text(ws) == "text"
        assert (await get(fake.rest_url + "/api/v3/ping")).status == 200


# --- whose market it is --------------------------------------------------------------------------


def test_a_source_of_another_market_is_refused() -> None:
    usdm = MarketSimulator(Exchange.BINANCE, Market.USDM, ["BTCUSDT"])
    with pytest.raises(ValueError, match="of binance/usdm, and this exchange is binance/spot"):
        FakeBinance(usdm)
    spot = MarketSimulator(Exchange.BYBIT, Market.SPOT, ["BTCUSDT"])
    with pytest.raises(ValueError, match="of bybit/spot, and this exchange is binance/spot"):
        FakeBinance(spot)
    with pytest.raises(ValueError, match="of bybit/spot, and this exchange is bybit/linear"):
        FakeBybit(spot)
    with pytest.raises(ValueError, match="of bybit/spot, and this exchange is bybit/linear"):
        FakeBybit(RecordingSource(Path("x"), Market.SPOT))


def test_a_text_is_one_symbol() -> None:
    for fake in (FakeBinance([], symbols="BTCUSDT"), FakeBybit([], symbols="BTCUSDT")):
        assert list(fake.symbols or ()) == ["BTCUSDT"]


async def test_two_fakes_stand_side_by_side() -> None:
    rules = attrs.evolve(BINANCE_SPOT, ping_interval=1.0)
    async with (
        open_fake(FakeBinance(simulator(), pace=NEVER)) as one,
        open_fake(FakeBinance(simulator(), pace=NEVER, rules=rules)) as other,
    ):
        assert len({one.ws_url, other.ws_url, one.rest_url, other.rest_url}) == 4
        one.kill()
        assert (await get(other.rest_url + "/api/v3/ping")).status == 200
