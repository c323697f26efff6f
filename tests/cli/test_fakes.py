from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import trio

from farm.cli.fakes import fake_exchanges
from farm.cli.farming import Interruption
from farm.errors import FarmError


async def test_the_fakes_are_there_as_long_as_the_block_lasts() -> None:
    symbols = {"binance/spot": ["BTCUSDT"], "bybit/linear": ["BTCUSDT"]}
    async with fake_exchanges(symbols, 7, 10.0, Interruption()) as endpoints:
        assert set(endpoints) == set(symbols)
        ports = [urlsplit(url).port for urls in endpoints.values() for url in urls.values()]
        for port in ports:
            assert port is not None
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
    for port in ports:
        assert port is not None
        with pytest.raises(OSError, match=r"refused|all attempts"):
            await trio.open_tcp_stream("127.0.0.1", port)


async def test_fakes_that_do_not_start_are_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FarmError, match="did not start"):
        async with fake_exchanges({"binance/nothing": ["A"]}, 7, 10.0, Interruption()):
            pass
    assert "binance/nothing" in capfd.readouterr().err
