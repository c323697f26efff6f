"""The fakes in a process of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from farm.testing.serve import PASSING_FAULTS, main
from tests.testing.clients import PATIENCE, ask, get, open_ws, texts

COMMAND = [sys.executable, "-m", "farm.testing.serve"]
SPECS = ["binance/spot:BTCUSDT,ETHUSDT", "bybit/linear:BTCUSDT", "--seed", "7", "--rate", "500"]


@asynccontextmanager
async def served(*arguments: str) -> AsyncIterator[tuple[trio.Process, dict[str, Any]]]:
    """A serving process and its endpoints; it must have ended by the end of the block."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = b""
        with trio.fail_after(PATIENCE):
            while not line.endswith(b"\n"):
                chunk = await process.stdout.receive_some()
                assert chunk, "ended before it was ready"
                line += bytes(chunk)
        yield process, json.loads(line)["endpoints"]
        assert process.stderr is not None
        with trio.fail_after(PATIENCE):
            assert await process.wait() == 0
            assert bytes(await process.stderr.receive_some()) == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                await pipe.aclose()


async def test_markets_are_served_until_stdin_ends() -> None:
    async with served(*SPECS) as (process, endpoints):
        assert set(endpoints) == {"binance/spot", "bybit/linear"}
        url = endpoints["binance/spot"]["ws"] + "/stream?streams=btcusdt@trade/ethusdt@trade"
        async with open_ws(url) as ws:
            streams = {json.loads(text)["stream"] for text in await texts(ws, 200)}
        assert streams == {"btcusdt@trade", "ethusdt@trade"}
        info = await get(endpoints["binance/spot"]["rest"] + "/api/v3/exchangeInfo")
        assert [row["symbol"] for row in info.json()["symbols"]] == ["BTCUSDT", "ETHUSDT"]
        async with open_ws(endpoints["bybit/linear"]["ws"] + "/v5/public/linear") as ws:
            await ask(ws, {"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]})
            kinds = [json.loads(text)["type"] for text in await texts(ws, 20)]
        assert kinds == ["snapshot"] + ["delta"] * 19
        assert process.stdin is not None
        await process.stdin.send_all(b"what is written there is ignored\n")
        assert process.returncode is None
        await process.stdin.aclose()


SEVEN = {
    "binance/spot": ("TUSDT,币安人生USDT", "/ws/tusdt@trade", "/api/v3/exchangeInfo"),
    "binance/usdm": ("BTCUSDT,BTCUSDT_260925", "/market/ws/btcusdt@aggTrade", "/fapi/v1/time"),
    "binance/coinm": ("BTCUSD_PERP", "/ws/btcusd_perp@trade", "/dapi/v1/exchangeInfo"),
    "bybit/spot": ("BTCUSDT", "publicTrade.BTCUSDT", "/v5/market/time"),
    "bybit/linear": ("BTCUSDT-26SEP25", "publicTrade.BTCUSDT-26SEP25", "/v5/market/time"),
    "bybit/inverse": ("BTCUSD", "publicTrade.BTCUSD", "/v5/market/time"),
    "bybit/option": ("XRP-30OCT26-0.4-P-USDT", "publicTrade.XRP", "/v5/market/time"),
}


async def test_all_seven_markets_are_served_and_futures_share_their_weight() -> None:
    specs = [f"{name}:{symbols}" for name, (symbols, _, _) in SEVEN.items()]
    async with served(*specs, "--rate", "500") as (process, endpoints):
        assert list(endpoints) == list(SEVEN)
        for name, (_, stream, path) in SEVEN.items():
            venue, _, market = name.partition("/")
            assert (await get(endpoints[name]["rest"] + path)).status == 200
            url = stream if venue == "binance" else f"/v5/public/{market}"
            async with open_ws(endpoints[name]["ws"] + url) as ws:
                if venue == "bybit":
                    await ask(ws, {"op": "subscribe", "args": [stream]})
                assert len(await texts(ws, 3)) == 3
        answer = await get(endpoints["binance/usdm"]["rest"] + "/fapi/v1/ping")
        assert answer.headers["x-mbx-used-weight-1m"] == "3"
        assert process.stdin is not None
        await process.stdin.aclose()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    async with served("bybit/spot:BTCUSDT") as (process, endpoints):
        url = endpoints["bybit/spot"]["ws"] + "/v5/public/spot"
        async with open_ws(url) as ws:
            await ask(ws, {"op": "subscribe", "args": ["publicTrade.BTCUSDT"]})
            process.send_signal(number)
            with trio.fail_after(PATIENCE):
                await process.wait()


async def test_faults_strike_again_and_again_and_are_told() -> None:
    command = [*COMMAND, "binance/spot:BTCUSDT", "bybit/linear:BTCUSDT", "--fault-every", "0.05"]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stderr is not None
    told = b""
    with trio.fail_after(PATIENCE):
        while told.count(b"\n") < 40:
            told += bytes(await process.stderr.receive_some())
        await process.stdin.aclose()
        assert await process.wait() == 0
    faults = [line.split(": ") for line in told.decode().splitlines()[:40]]
    assert {market for market, _ in faults} == {"binance/spot", "bybit/linear"}
    assert {word for _, word in faults} <= set(PASSING_FAULTS)
    assert len({word for _, word in faults}) > 5


def test_a_parent_that_has_gone_before_they_are_ready_is_not_mourned() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*COMMAND, "binance/spot:BTCUSDT"],
            stdin=subprocess.PIPE,
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "SPEC"),
        (["kraken/spot:BTCUSDT"], "'kraken/spot' is none of binance/spot"),
        (["binance/spot"], "names no symbols, as in binance/spot:BTCUSDT,ETHUSDT"),
        (["binance/spot:"], "names no symbols"),
        (["binance/spot:BTCUSDT,"], "names no symbols"),
        (["binance/spot:btcusdt"], "'btcusdt' is no symbol in capitals"),
        (["binance/spot:BTC/USDT"], "'BTC/USDT' is no symbol"),
        (["binance/spot:AUSDT,AUSDT"], "AUSDT stands twice"),
        (["binance/spot:AUSDT", "binance/spot:BUSDT"], "binance/spot stands twice"),
        (["binance/spot:AUSDT", "--rate", "0"], "'0' is not a positive number"),
        (["binance/spot:AUSDT", "--rate", "fast"], "'fast' is not a positive number"),
        (["binance/spot:AUSDT", "--seed", "x"], "--seed"),
    ],
)
def test_wrong_arguments_are_explained(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
