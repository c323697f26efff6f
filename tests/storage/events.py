"""Events for the tests of storage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import hypothesis.strategies as st

from farm.batch import Batch, Origin
from farm.bundle import UnparsedFrame
from farm.entities import Quote, Trade
from farm.types import Exchange, Market, NumberMode, Side
from tests.strategies import batches

DAY = 86_400_000_000_000
NOON = int(datetime(2024, 8, 8, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
ORIGIN = Origin(Exchange.BINANCE, Market.SPOT, "c", 1)


def trade(ordinal: int = 0, *, symbol: str = "BTCUSDT", **more: Any) -> Trade:
    fields: dict[str, Any] = {
        "exchange": Exchange.BINANCE,
        "market": Market.SPOT,
        "symbol": symbol,
        "id": str(ordinal),
        "price": 10.5,
        "quantity": 2.0,
        "side": Side.BUY,
        "exchange_time": NOON - 1,
        "event_time": None,
        "receive_time": NOON + ordinal,
        "ordinal": ordinal,
    }
    return Trade(**fields | more)


def trades(ordinals: Sequence[int] = (0,), **more: Any) -> Batch[Trade]:
    rows = [trade(ordinal, **more) for ordinal in ordinals]
    origin = attrs.evolve(ORIGIN, exchange=rows[0].exchange, market=rows[0].market)
    exact = isinstance(rows[0].price, Decimal)
    numbers = NumberMode.DECIMAL if exact else NumberMode.FLOAT
    return Batch(Trade, rows=rows, origins=[(origin, len(rows))], numbers=numbers)


def quote(ordinal: int = 0) -> Quote:
    return Quote(
        Exchange.BINANCE, Market.SPOT, "BTCUSDT", 1.0, 2.0, None, None, ordinal, NOON, NOON,
        NOON + ordinal, ordinal,
    )  # fmt: skip


def frame(ordinal: int = 0, raw: bytes = b"{}", **more: Any) -> UnparsedFrame:
    fields: dict[str, Any] = {"origin": ORIGIN, "kind": "malformed", "reason": "why"}
    return UnparsedFrame(time=NOON + ordinal, ordinal=ordinal, raw=raw, **fields | more)


def columnar(batch: Batch[Any]) -> Batch[Any]:
    """The same batch as a producer of columns would have made it."""
    columns = {name: batch.columns[name] for name in batch.column_names}
    return Batch(
        batch.kind,
        columns=columns,
        origins=batch.origins,
        numbers=batch.numbers,
        nbytes=batch.nbytes,
    )


@st.composite
def stored_batches(draw: st.DrawFn, numbers: NumberMode) -> Batch[Any]:
    """A batch of any kind whose rows share few symbols and dates, as rows or as columns."""
    batch = draw(batches(mode=numbers))
    symbols = st.sampled_from(["BTCUSDT", "币安人生USDT", "a/../b=c%\\ \x00*", "1000", ""])
    times = st.sampled_from([NOON, NOON + 1, NOON + DAY, -1, 0, -(2**62)])
    for row in batch.rows:
        row.symbol, row.receive_time = draw(symbols), draw(times)
    return columnar(batch) if draw(st.booleans()) else batch
