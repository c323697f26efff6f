"""Stored rows are read as they lie there, and compared with what happened."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from farm.testing.chaos.stored import stored_trades, wrongly_stored
from farm.testing.chaos.truth import TrueTrade, Truth


def test_a_row_is_right_in_id_price_and_quantity(tmp_path: Path) -> None:
    folder = tmp_path / "exchange=binance/market=spot/kind=trade/symbol=BTCUSDT/date=2026-08-10"
    folder.mkdir(parents=True)
    rows = {"id": ["1", "2", "3", "4"], "price": [1.5, 1.5, 1.0, 1.0], "quantity": [2.0, 1.0, 2, 2]}
    pq.write_table(pa.table(rows), folder / "part.parquet")
    truth = Truth({})
    truth.trades["BTCUSDT"] = {n: TrueTrade(n, 1.5, 2.0, 0.0) for n in "123"}
    assert stored_trades(tmp_path) == [("BTCUSDT", n) for n in "1234"]
    assert wrongly_stored(tmp_path, truth) == [
        "BTCUSDT trade 2 is stored as 1.5 x 1.0, not 1.5 x 2.0",
        "BTCUSDT trade 3 is stored as 1.0 x 2.0, not 1.5 x 2.0",
        "BTCUSDT trade 4 is stored and never happened",
    ]
