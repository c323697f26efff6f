"""The published limits, so that nobody loosens them by accident."""

from __future__ import annotations

from farm.testing import BINANCE_SPOT, BYBIT_RULES
from farm.types import Market


def test_binance_spot() -> None:
    rules = BINANCE_SPOT
    assert (rules.messages_per_second, rules.streams_per_connection) == (5, 1024)
    assert rules.connections_per_5_minutes == 300
    assert (rules.ping_interval, rules.pong_timeout) == (20, 60)
    assert rules.weight_per_minute == 6000
    assert dict(rules.depth_weights) == {100: 5, 500: 25, 1000: 50, 5000: 250}


def test_bybit() -> None:
    assert set(BYBIT_RULES) == {Market.SPOT, Market.LINEAR}
    assert [BYBIT_RULES[m].args_per_request for m in (Market.SPOT, Market.LINEAR)] == [10, None]
    for rules in BYBIT_RULES.values():
        assert (rules.args_length, rules.idle_timeout) == (21_000, 600)
        assert rules.depths == ("1", "50", "200", "1000")
