"""REST requests that fail, as a raw client sees them."""

from __future__ import annotations

import json

import pytest
import trio

from farm.testing import Push, depth_reply
from farm.testing.faults import (
    RestGarbage,
    RestReset,
    RestStatus,
    RestTimeout,
    SnapshotTooOld,
)
from farm.testing.faults.rest_kinds import RestFault
from tests.testing.faults.world import World, everywhere, in_memory

PING = "/api/v3/ping"
DEPTH = "/api/v3/depth?symbol=BTCUSDT"
SNAPSHOT = '{"lastUpdateId":5000000,"bids":[["9","1"]],"asks":[]}'


@everywhere
async def test_a_status_comes_so_often_with_its_retry_after(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        fake.strike(RestStatus(0, status=418, count=2, retry_after=7))
        fake.strike(RestStatus(0, status=503))
        answers = [await world.get(fake, PING) for _ in range(4)]
        assert [answer.status for answer in answers] == [418, 418, 503, 200]
        assert [answer.headers.get("retry-after") for answer in answers] == ["7", "7", None, None]
        assert [event.stream for event in fake.fault_log] == [PING] * 3
        assert [call.status for call in fake.rest_log] == [418, 418, 503, 200]


@everywhere
async def test_requests_are_chosen_by_their_path(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        fake.strike(RestStatus(0, path="*/time"))
        assert (await world.get(fake, PING)).status == 200
        assert (await world.get(fake, "/api/v3/time?x=1")).status == 429
        assert [event.stream for event in fake.fault_log] == ["/api/v3/time?x=1"]


@everywhere
async def test_an_answer_that_times_out_never_comes(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        fake.strike(RestTimeout(0, seconds=world.lasts))
        client = await world.ask(fake, PING)
        assert await client.read_to_end() == (b"", "closed")
        assert trio.current_time() >= fake.fault_log[0].time + world.lasts
        assert fake.rest_log == []
        assert (await world.get(fake, PING)).status == 200


@everywhere
async def test_a_reset_comes_in_place_of_an_answer(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        fake.strike(RestReset(0))
        client = await world.ask(fake, PING)
        assert await client.read_to_end() == (b"", "reset")
        assert (await world.get(fake, PING)).status == 200


@everywhere
async def test_garbage_comes_with_status_200(world: World) -> None:
    async with world.opened(world.bybit()) as fake:
        target = "/v5/market/time"
        whole = (await world.get(fake, target)).body
        for fault in (
            RestGarbage(0),
            RestGarbage(0, how="truncated"),
            RestGarbage(0, how="empty"),
        ):
            fake.strike(fault)
        html, truncated, empty = [await world.get(fake, target) for _ in range(3)]
        assert {answer.status for answer in (html, truncated, empty)} == {200}
        assert html.headers["content-type"].startswith("text/html")
        assert html.body.startswith(b"<!DOCTYPE html>")
        with pytest.raises(ValueError):
            json.loads(truncated.body)
        assert whole[:20] == truncated.body[:20]
        assert empty.body == b""


@everywhere
async def test_depth_has_an_id_from_long_ago(world: World) -> None:
    async with world.opened(world.binance(symbols=["BTCUSDT"])) as fake:
        fake.take(Push(1, depth_reply("BTCUSDT"), SNAPSHOT))
        fake.strike(SnapshotTooOld(0))
        assert (await world.get(fake, PING)).status == 200
        missing = await world.get(fake, "/api/v3/depth?symbol=NONE")
        assert missing.status == 400
        books = [(await world.get(fake, DEPTH)).json() for _ in range(2)]
        assert [book["lastUpdateId"] for book in books] == [4_000_000, 5_000_000]
        assert books[0]["bids"] == [["9", "1"]]
        assert [event.stream for event in fake.fault_log] == [DEPTH]


@everywhere
async def test_a_full_book_has_ids_from_long_ago_which_do_not_say_that_it_begins_anew(
    world: World,
) -> None:
    target = "/v5/market/full_orderbook?category=linear&symbol=BTCUSDT"
    async with world.opened(world.bybit()) as fake:
        book = '{"result":{"s":"BTCUSDT","b":[],"a":[],"u":70,"seq":3000000,"ts":1,"cts":1}}'
        fake.take(Push(1, "/full_orderbook?symbol=BTCUSDT", book))
        fake.strike(SnapshotTooOld(0))
        results = [(await world.get(fake, target)).json()["result"] for _ in range(2)]
        assert [(result["u"], result["seq"]) for result in results] == [
            (2, 2_000_000), (70, 3_000_000)
        ]  # fmt: skip


@in_memory
async def test_an_exchange_ends_while_answers_are_withheld(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        fake.strike(RestTimeout(0, seconds=10_000))
        client = await world.ask(fake, PING)
        assert await client.hears_nothing(100)


@pytest.mark.parametrize("kind", [RestStatus, RestGarbage, RestReset])
def test_a_fault_concerns_one_request_of_any_path_unless_told_otherwise(
    kind: type[RestFault],
) -> None:
    fault = kind(0)
    assert (fault.count, fault.path) == (1, "*")
