"""Real-time market data from crypto exchanges: verified, and nothing lost without a record of it.

::

    import trio
    from farm import Trade, open_farm

    async def main():
        config = {"collectors": [{"exchange": "binance", "market": "spot",
                                  "symbols": ["BTCUSDT"], "streams": ["trade", "quote", "book"]}]}
        async with open_farm(config) as farm:
            async with farm.subscribe(Trade) as batches:
                async for batch in batches:
                    print(batch.columns["price"].mean(), farm.book("BTCUSDT", depth=5).verdict)

    trio.run(main)
"""

from __future__ import annotations

import logging

from farm.api.farm import Farm, open_farm
from farm.api.stats import (
    BookStats,
    ConnectionStats,
    ContinuityStats,
    FarmStats,
    FeedStats,
    Totals,
)
from farm.api.subscription import Subscription
from farm.batch import Batch, concat
from farm.config import (
    CollectorConfig,
    ConfigErrors,
    Endpoints,
    FarmConfig,
    InstrumentsConfig,
    load_config,
)
from farm.entities import (
    AggTrade,
    BookUpdate,
    ContinuousKline,
    ContractInfo,
    Gap,
    Instrument,
    Kline,
    Liquidation,
    MarkPrice,
    MiniTicker,
    OpenInterest,
    OrderBook,
    OrderBookLevel,
    Quote,
    SpentIds,
    Ticker,
    Trade,
)
from farm.errors import (
    AmbiguousSymbol,
    ConfigError,
    DataDirectoryError,
    FarmError,
    LocalProtocolError,
    NumberRangeError,
    RecordingError,
    RestartsExceeded,
    UnknownFeed,
    UnknownSymbol,
)
from farm.types import (
    BookVerdict,
    CollectorStatus,
    Completeness,
    DataType,
    Exchange,
    GapCause,
    GapUnit,
    Market,
    NumberMode,
    OrderType,
    Side,
    TimeFrame,
)

__all__ = [
    "AggTrade",
    "AmbiguousSymbol",
    "Batch",
    "BookStats",
    "BookUpdate",
    "BookVerdict",
    "CollectorConfig",
    "CollectorStatus",
    "Completeness",
    "ConfigError",
    "ConfigErrors",
    "ConnectionStats",
    "ContinuityStats",
    "ContinuousKline",
    "ContractInfo",
    "DataDirectoryError",
    "DataType",
    "Endpoints",
    "Exchange",
    "Farm",
    "FarmConfig",
    "FarmError",
    "FarmStats",
    "FeedStats",
    "Gap",
    "GapCause",
    "GapUnit",
    "Instrument",
    "InstrumentsConfig",
    "Kline",
    "Liquidation",
    "LocalProtocolError",
    "MarkPrice",
    "Market",
    "MiniTicker",
    "NumberMode",
    "NumberRangeError",
    "OpenInterest",
    "OrderBook",
    "OrderBookLevel",
    "OrderType",
    "Quote",
    "RecordingError",
    "RestartsExceeded",
    "Side",
    "SpentIds",
    "Subscription",
    "Ticker",
    "TimeFrame",
    "Totals",
    "Trade",
    "UnknownFeed",
    "UnknownSymbol",
    "concat",
    "load_config",
    "open_farm",
]

__version__ = "0.1.0"

# The library is silent unless its host configures logging.
logging.getLogger("farm").addHandler(logging.NullHandler())
