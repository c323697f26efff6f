"""The Arrow schemas, written out: a change of them needs a new version."""

from __future__ import annotations

import pyarrow as pa
import pytest

from farm.arrow import SCHEMA_VERSION, arrow_schema
from farm.columns import ColumnKind, column_types
from farm.entities import EVENT_KINDS, BookUpdate, Trade
from farm.types import DataType, NumberMode

PLACE = "exchange_time event_time receive_time ordinal row"
CANDLE = (
    "interval open_time close_time open high low close base_volume quote_volume "
    "taker_buy_base_volume taker_buy_quote_volume trade_count first_trade_id last_trade_id closed"
)
NAMES = {
    DataType.TRADE: f"id price quantity side {PLACE} sequence block_trade rpi order_type "
    "mark_price index_price mark_iv iv",
    DataType.AGG_TRADE: f"id price quantity side first_trade_id last_trade_id {PLACE} "
    "non_rpi_quantity",
    DataType.QUOTE: f"bid_price bid_quantity ask_price ask_quantity update_id {PLACE} sequence",
    DataType.BOOK: "depth is_snapshot bid_levels ask_levels first_id last_id previous_id sequence "
    f"verdict {PLACE}",
    DataType.KLINE: f"{CANDLE} {PLACE}",
    DataType.CONTINUOUS_KLINE: f"{CANDLE} {PLACE} contract_type",
    DataType.MARK_PRICE: "mark_price index_price average_price settle_price funding_rate "
    f"next_funding_time {PLACE}",
    DataType.LIQUIDATION: f"side price quantity average_price filled_quantity {PLACE}",
    DataType.OPEN_INTEREST: f"open_interest value {PLACE}",
    DataType.MINI_TICKER: "last_price open_price high_price low_price base_volume quote_volume "
    f"{PLACE}",
    DataType.TICKER: "last_price open_price high_price low_price base_volume quote_volume "
    "price_change price_change_percent weighted_average_price last_quantity bid_price "
    "bid_quantity ask_price ask_quantity open_time close_time first_trade_id last_trade_id "
    f"trade_count {PLACE} sequence underlying_price bid_iv ask_iv mark_iv delta gamma vega theta",
    DataType.CONTRACT_INFO: f"pair contract_type status onboard_time delivery_time {PLACE}",
    DataType.INSTRUMENT: "base quote settle pair contract_type status trading tick_size lot_size "
    f"min_quantity min_notional contract_size launch_time delivery_time valid_from {PLACE}",
    DataType.SPENT_IDS: f"first_id last_id {PLACE}",
    DataType.GAP: "feed edge cause first_id last_id start_time end_time size unit repaired "
    "receive_time ordinal row",
}
VERSIONS = dict.fromkeys(DataType, 1) | {DataType.TRADE: 2, DataType.AGG_TRADE: 2}


@pytest.mark.parametrize("data_type", list(DataType))
def test_the_columns_of_each_version_are_these(data_type: DataType) -> None:
    """Whoever changes one of these lists changes the version too."""
    assert SCHEMA_VERSION[data_type] == VERSIONS[data_type]
    names = ["exchange", "market", "symbol", *NAMES[data_type].split(), "connection", "epoch"]
    for mode in NumberMode:
        schema = arrow_schema(EVENT_KINDS[data_type], mode)
        assert schema.names == names
        assert schema.metadata == {
            b"farm.kind": data_type.value.encode(),
            b"farm.schema_version": str(VERSIONS[data_type]).encode(),
            b"farm.numbers": mode.value.encode(),
        }


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


NULLABLE = {
    DataType.TRADE: "exchange_time event_time sequence block_trade rpi order_type mark_price "
    "index_price mark_iv iv",
    DataType.AGG_TRADE: "exchange_time event_time non_rpi_quantity",
    DataType.MARK_PRICE: "index_price average_price settle_price funding_rate next_funding_time "
    "exchange_time event_time",
    DataType.LIQUIDATION: "average_price filled_quantity exchange_time event_time",
    DataType.OPEN_INTEREST: "value exchange_time event_time",
    DataType.MINI_TICKER: "exchange_time event_time",
    DataType.CONTRACT_INFO: "pair onboard_time delivery_time exchange_time event_time",
    DataType.SPENT_IDS: "exchange_time event_time",
    DataType.CONTINUOUS_KLINE: "taker_buy_base_volume taker_buy_quote_volume trade_count "
    "first_trade_id last_trade_id exchange_time event_time",
}


@pytest.mark.parametrize("data_type", NULLABLE)
def test_only_these_may_be_null(data_type: DataType) -> None:
    schema = arrow_schema(EVENT_KINDS[data_type])
    assert [field.name for field in schema if field.nullable] == NULLABLE[data_type].split()


@pytest.mark.parametrize("data_type", list(DataType))
def test_numbers_are_of_the_mode_and_words_are_dictionaries(data_type: DataType) -> None:
    kind = EVENT_KINDS[data_type]
    exact, floating = (arrow_schema(kind, mode) for mode in (NumberMode.DECIMAL, NumberMode.FLOAT))
    for column in column_types(kind):
        if column.kind is ColumnKind.NUMBER:
            assert exact.field(column.name).type == pa.decimal128(38, 18)
            assert floating.field(column.name).type == pa.float64()
        elif column.enum is not None:
            assert floating.field(column.name).type == pa.dictionary(pa.int8(), pa.string())
    assert floating.field("symbol").type == pa.dictionary(pa.int32(), pa.string())
