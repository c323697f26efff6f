from __future__ import annotations

import json

from farm.exchanges.registry import MARKETS
from farm.types import Exchange
from tests.cli.processes import farm


def test_streams_prints_what_markets_offer() -> None:
    result = farm("streams", "--exchange", "binance", "--market", "usdm")
    assert result.returncode == 0
    for text in ("wss://fstream.binance.com", "<symbol>@markPrice@1s", "200 streams", "ids step"):
        assert text in result.stdout
    assert "bybit" not in result.stdout
    everything = json.loads(farm("streams", "--json").stdout)["markets"]
    assert [market["market"] for market in everything] == [r.key for r in MARKETS.values()]
    only = json.loads(farm("streams", "--exchange", "bybit", "--json").stdout)["markets"]
    assert [market["market"] for market in only] == [
        r.key for r in MARKETS.values() if r.exchange is Exchange.BYBIT
    ]
    wrong = farm("streams", "--market", "futures")
    assert wrong.returncode == 2
    assert "binance/usdm" in wrong.stderr
