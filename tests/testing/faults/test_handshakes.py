"""Handshakes that fail and answers that never come, as a raw client sees them."""

from __future__ import annotations

import ssl

import pytest
import trio

from farm.testing.faults import AcceptThenClose, NoAck, NoPong, Reject, TlsFailure
from tests.testing.clients import PATIENCE
from tests.testing.faults.world import LINEAR, PONG, World, everywhere, in_memory, tell


@everywhere
async def test_rejected_handshakes_get_a_status(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        fake.strike(Reject(0, status=418, count=2))
        fake.strike(Reject(0, status=503))
        answers = [(await world.ws(fake)).answer for _ in range(4)]
        assert [answer.split()[1] for answer in answers] == [b"418", b"418", b"503", b"101"]
        assert [event.connection for event in fake.fault_log] == ["c1", "c2", "c3"]
        assert (fake.connections_accepted, fake.connections_refused) == (1, 3)


@everywhere
async def test_accepted_connections_are_closed_at_once(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        fake.strike(AcceptThenClose(0, count=2))
        for _ in range(2):
            client = await world.ws(fake)
            assert client.answer.startswith(b"HTTP/1.1 101")
            tell(fake, "x@trade", "unheard")
            assert (await client.frame()).code == 1001
        alive = await world.ws(fake)
        tell(fake, "x@trade", "1")
        assert await alive.text() == "1"
        assert [event.connection for event in fake.fault_log] == ["c1", "c2"]


@everywhere
async def test_accepted_connections_are_reset_at_once(world: World) -> None:
    async with world.opened(world.bybit()) as fake:
        fake.strike(AcceptThenClose(0, how="reset"))
        client = await world.ws(fake, LINEAR)
        assert client.answer.startswith(b"HTTP/1.1 101")
        assert await client.read_to_end() == (b"", "reset")
        assert (await world.ws(fake, LINEAR)).answer.startswith(b"HTTP/1.1 101")


# --- TLS -----------------------------------------------------------------------------------------


@everywhere
async def test_a_strange_authority_is_not_trusted(world: World) -> None:
    async with world.opened(world.binance(tls=True)) as fake:
        fake.strike(TlsFailure(0, count=2))
        for url in (fake.ws_url, fake.rest_url):
            client = await world.line(url, fake.ssl_context)
            with pytest.raises(trio.BrokenResourceError) as caught, trio.fail_after(PATIENCE):
                await client.stream.send_all(b"x")
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert len(fake.fault_log) == 2
        assert (await world.ws(fake)).answer.startswith(b"HTTP/1.1 101")
        assert (await world.get(fake, "/api/v3/ping")).status == 200


@everywhere
async def test_garbage_is_no_tls(world: World) -> None:
    async with world.opened(world.binance(tls=True)) as fake:
        fake.strike(TlsFailure(0, how="garbage"))
        client = await world.line(fake.ws_url, fake.ssl_context)
        with pytest.raises(trio.BrokenResourceError) as caught, trio.fail_after(PATIENCE):
            await client.stream.send_all(b"x")
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        fake.strike(TlsFailure(0, how="garbage"))
        plain = await world.line(fake.rest_url)
        await plain.stream.send_all(b"hello")
        received, _ = await plain.read_to_end()
        assert len(received) == 64
        assert (await world.ws(fake)).answer.startswith(b"HTTP/1.1 101")


@in_memory
async def test_garbage_does_not_wait_for_ever_for_a_client_that_says_nothing(world: World) -> None:
    async with world.opened(world.binance(tls=True)) as fake:
        fake.strike(TlsFailure(0, how="garbage"))
        silent = await world.line(fake.ws_url)
        assert await silent.read_to_end() == (b"", "closed")


# --- answers -------------------------------------------------------------------------------------


@in_memory
async def test_pings_are_not_answered_so_long(world: World) -> None:
    async with world.opened(world.bybit()) as fake:
        client = await world.ws(fake, LINEAR)
        fake.strike(NoPong(0, seconds=5))
        await client.ping()
        await client.send({"op": "ping"})
        assert await client.hears_nothing(4)
        await trio.sleep(1.5)
        await client.ping(b"again")
        frame = await client.frame()
        assert (frame.opcode, frame.payload) == (PONG, b"again")
        await client.send({"op": "ping"})
        assert (await client.json())["ret_msg"] == "pong"
        assert [event.connection for event in fake.fault_log] == ["c1", "c1"]


@everywhere
async def test_what_is_no_ping_is_answered_while_pings_are_not(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        fake.strike(NoPong(0, seconds=1_000))
        await client.ping()
        await client.send({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        assert await client.json() == {"result": ["x@trade"], "id": 3}


@everywhere
async def test_requests_are_done_but_not_acknowledged(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake, "/ws")
        fake.strike(NoAck(0))
        await client.send({"method": "SUBSCRIBE", "params": ["x@trade"], "id": 1})
        await client.send({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert await client.json() == {"result": ["x@trade"], "id": 2}
        tell(fake, "x@trade", "1")
        assert await client.text() == "1"
        assert [event.connection for event in fake.fault_log] == ["c1"]


@everywhere
async def test_on_bybit_a_first_snapshot_comes_without_acknowledgement_and_pings_do_not_count(
    world: World,
) -> None:
    async with world.opened(world.bybit(empty_books=True)) as fake:
        client = await world.ws(fake, LINEAR)
        fake.strike(NoAck(0))
        await client.send({"op": "ping"})
        assert (await client.json())["ret_msg"] == "pong"
        request = {"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]}
        await client.send(request)
        assert (await client.json())["type"] == "snapshot"
        await client.send(request)
        assert (await client.json())["success"] is False
