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

from importlib import import_module

TYPE_CHECKING = False  # what type checkers take for true; the import of typing takes 9 ms

if TYPE_CHECKING:
    from farm.api.farm import Farm, open_farm
    from farm.api.subscription import Subscription
    from farm.batch import Batch, concat
    from farm.config import (
        ClusterConfig,
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
        ShardError,
        UnknownFeed,
        UnknownSymbol,
    )
    from farm.monitor.stats import (
        BookStats,
        ConnectionStats,
        ContinuityStats,
        EdgeStats,
        FarmStats,
        FeedStats,
        ProcessStats,
        Totals,
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
    "ClusterConfig",
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
    "EdgeStats",
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
    "ProcessStats",
    "Quote",
    "RecordingError",
    "RestartsExceeded",
    "ShardError",
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

_HOMES = {
    name: module
    for module, names in {
        "farm.api.farm": "Farm open_farm",
        "farm.api.subscription": "Subscription",
        "farm.batch": "Batch concat",
        "farm.config": (
            "ClusterConfig CollectorConfig ConfigErrors Endpoints FarmConfig InstrumentsConfig "
            "load_config"
        ),
        "farm.entities": (
            "AggTrade BookUpdate ContinuousKline ContractInfo Gap Instrument Kline "
            "Liquidation MarkPrice MiniTicker OpenInterest OrderBook OrderBookLevel Quote "
            "SpentIds Ticker Trade"
        ),
        "farm.errors": (
            "AmbiguousSymbol ConfigError DataDirectoryError FarmError LocalProtocolError "
            "NumberRangeError RecordingError RestartsExceeded ShardError UnknownFeed UnknownSymbol"
        ),
        "farm.monitor.stats": (
            "BookStats ConnectionStats ContinuityStats EdgeStats FarmStats FeedStats ProcessStats "
            "Totals"
        ),
        "farm.types": (
            "BookVerdict CollectorStatus Completeness DataType Exchange GapCause GapUnit "
            "Market NumberMode OrderType Side TimeFrame"
        ),
    }.items()
    for name in names.split()
}
"""Where each public name is defined: it is imported when it is first asked for, since all of them
together take most of a second."""

if not TYPE_CHECKING:  # a checker would let every name pass

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _be_silent()
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _be_silent() -> None:
    """The library says nothing unless its host configures logging."""
    import logging

    logger = logging.getLogger(__name__)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
