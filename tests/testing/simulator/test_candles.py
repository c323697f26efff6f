from __future__ import annotations

import pytest

from farm.testing.simulator.candles import MINUTE, Candle, series
from farm.testing.simulator.matching import Fill


def test_a_candle_sums_its_trades() -> None:
    candles = series(MINUTE, 5 * MINUTE + 7, 100, opens_at_first_trade=True)
    for number, (price, lots, buys) in enumerate([(103, 2, True), (99, 5, False), (101, 1, True)]):
        candles.add(Fill(price, lots), 70 + number, buys)
    assert candles.changed
    assert candles.current == Candle(
        start=5 * MINUTE,
        open=103,
        high=103,
        low=99,
        close=101,
        volume=8,
        turnover=103 * 2 + 99 * 5 + 101,
        taker_volume=3,
        taker_turnover=103 * 2 + 101,
        first_id=70,
        last_id=72,
        trades=3,
    )


@pytest.mark.parametrize(
    ("opens_at_first_trade", "opened", "low"), [(True, 90, 90), (False, 100, 90)]
)
def test_where_a_candle_opens(opens_at_first_trade: bool, opened: int, low: int) -> None:
    candles = series(MINUTE, 0, 100, opens_at_first_trade=opens_at_first_trade)
    candles.add(Fill(90, 1), 1, taker_buys=True)
    assert (candles.current.open, candles.current.low) == (opened, low)


def test_turnover_counts_as_the_series_is_told() -> None:
    candles = series(
        MINUTE, 0, 1, opens_at_first_trade=True, worth=lambda price, lots: lots * 1000 // price
    )
    candles.add(Fill(400, 3), 1, taker_buys=True)
    candles.add(Fill(300, 2), 2, taker_buys=False)
    assert (candles.current.turnover, candles.current.taker_turnover) == (7 + 6, 7)


def test_rolling_closes_and_opens_at_the_close() -> None:
    candles = series(MINUTE, 0, 100, opens_at_first_trade=True)
    candles.add(Fill(90, 1), 1, taker_buys=True)
    assert candles.roll().close == 90
    assert not candles.changed
    assert candles.current == Candle(MINUTE, 90, 90, 90, 90)
    assert (candles.current.first_id, candles.current.last_id) == (-1, -1)
    assert candles.end == 2 * MINUTE
