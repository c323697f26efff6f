"""The Arrow schemas, written out: a change of them needs a new version."""

from __future__ import annotations

import pyarrow as pa
import pytest

from farm.arrow import SCHEMA_VERSION, arrow_schema
from farm.entities import EVENT_KINDS, BookUpdate, Trade
from farm.types import DataType, NumberMode

NAMES = {
    DataType.TRADE: "exchange market symbol id price quantity side exchange_time event_time "
    "receive_time ordinal row sequence block_trade rpi order_type connection epoch",
    DataType.AGG_TRADE: "exchange market symbol id price quantity side first_trade_id "
    "last_trade_id exchange_time event_time receive_time ordinal row connection epoch",
    DataType.QUOTE: "exchange market symbol bid_price bid_quantity ask_price ask_quantity "
    "update_id exchange_time event_time receive_time ordinal row sequence connection epoch",
    DataType.BOOK: "exchange market symbol depth is_snapshot bid_levels ask_levels first_id "
    "last_id previous_id sequence verdict exchange_time event_time receive_time ordinal row "
    "connection epoch",
    DataType.KLINE: "exchange market symbol interval open_time close_time open high low close "
    "base_volume quote_volume taker_buy_base_volume taker_buy_quote_volume trade_count "
    "first_trade_id last_trade_id closed exchange_time event_time receive_time ordinal row "
    "connection epoch",
    DataType.GAP: "exchange market symbol feed edge cause first_id last_id start_time end_time "
    "size unit repaired receive_time ordinal row connection epoch",
}


@pytest.mark.parametrize("data_type", list(DataType))
def test_the_columns_of_version_1_are_these(data_type: DataType) -> None:
    assert SCHEMA_VERSION[data_type] == 1
    assert arrow_schema(EVENT_KINDS[data_type]).names == NAMES[data_type].split()


def test_types_and_nulls() -> None:
    schema = arrow_schema(Trade)
    assert schema.field("price").type == pa.float64()
    assert not schema.field("price").nullable
    assert schema.field("receive_time").type == pa.int64()
    assert schema.field("event_time").nullable
    assert schema.field("side").type == pa.dictionary(pa.int8(), pa.string())
    exact = arrow_schema(BookUpdate, NumberMode.DECIMAL)
    (price, quantity) = exact.field("bid_levels").type.value_type
    assert price.type == quantity.type == pa.decimal128(38, 18)
    assert exact.metadata[b"farm.numbers"] == b"decimal"
