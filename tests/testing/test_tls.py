from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest
import trio

from farm.errors import MissingExtra
from farm.testing import FakeBinance, FakeBybit, Flood, MarketSimulator, open_fake
from farm.types import Exchange, Market
from tests.testing.clients import connect, get, open_ws, texts


def simulator() -> MarketSimulator:
    return MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"])


async def test_both_sides_speak_tls_under_the_fakes_authority() -> None:
    async with open_fake(FakeBinance(simulator(), tls=True)) as fake:
        assert fake.ws_url.startswith("wss://")
        assert fake.rest_url.startswith("https://")
        url = fake.ws_url + "/ws/btcusdt@trade"
        async with open_ws(url, fake.ssl_context) as ws:
            assert len(await texts(ws, 100)) == 100
        answer = await get(fake.rest_url + "/api/v3/ping", fake.ssl_context)
        assert answer.json() == {}


async def test_a_client_that_does_not_know_the_authority_refuses() -> None:
    async with open_fake(FakeBinance(simulator(), tls=True)) as fake:
        stream = await connect(fake.rest_url, ssl.create_default_context())
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.send_all(b"x")
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        await trio.aclose_forcefully(stream)
        assert (await get(fake.rest_url + "/api/v3/ping", fake.ssl_context)).status == 200


async def test_the_authority_may_be_had_as_a_file(tmp_path: Path) -> None:
    async with open_fake(FakeBinance(simulator(), tls=True)) as fake:
        assert fake.authority is not None
        (tmp_path / "authority.pem").write_bytes(fake.authority)
        context = ssl.create_default_context(cafile=tmp_path / "authority.pem")
        assert (await get(fake.rest_url + "/api/v3/ping", context)).status == 200


async def test_without_tls_there_is_no_context() -> None:
    fake = FakeBybit([], pace=Flood())
    assert (fake.ssl_context, fake.authority) == (None, None)


def test_without_trustme_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(MissingExtra, match=r"collector-farm\[test\]"):
        FakeBinance([], tls=True)
