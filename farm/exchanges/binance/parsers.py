"""Which parser a Binance stream's frames go to."""

from __future__ import annotations

from collections.abc import Callable

from farm.exchanges.binance import books, prices, trades
from farm.exchanges.numbers import Parser, ParserContext, exactly
from farm.exchanges.streams import REST_ROUTE, BookProcedure, Scope, Stream
from farm.types import DataType, Market

__all__ = ["EVENT_TYPES", "parser_of"]

Make = Callable[[ParserContext], Parser]

# What has another shape on spot than on futures: kind, or procedure of a book, to (spot, futures).
_BY_MARKET: dict[DataType | BookProcedure, tuple[Make, Make]] = {
    DataType.TRADE: (trades.trades, trades.futures_trades),
    DataType.AGG_TRADE: (trades.agg_trades, trades.agg_trades),
    DataType.QUOTE: (books.quotes, books.futures_quotes),
    DataType.KLINE: (prices.klines, prices.klines),
    DataType.CONTINUOUS_KLINE: (prices.continuous_klines, prices.continuous_klines),
    BookProcedure.DIFFS_BY_FIRST_ID: (books.diffs, books.diffs),
    BookProcedure.DIFFS_BY_PREVIOUS_ID: (books.futures_diffs, books.futures_diffs),
    BookProcedure.WHOLE_EVERY_TIME: (books.partial_books, books.futures_partial_books),
}

EVENT_TYPES = {
    DataType.TRADE: "trade",
    DataType.AGG_TRADE: "aggTrade",
    DataType.QUOTE: "bookTicker",
    DataType.BOOK: "depthUpdate",
    DataType.KLINE: "kline",
    DataType.CONTINUOUS_KLINE: "continuous_kline",
    DataType.MARK_PRICE: "markPriceUpdate",
    DataType.LIQUIDATION: "forceOrder",
    DataType.MINI_TICKER: "24hrMiniTicker",
    DataType.TICKER: "24hrTicker",
    DataType.CONTRACT_INFO: "contractInfo",
}
"""The venue's word for each kind, in the payloads' field ``e``."""


def parser_of(stream: Stream, context: ParserContext) -> Parser:
    """The parser of one stream's frames; of a polled feed, of the answers."""
    if stream.route == REST_ROUTE:
        return prices.poll_parser(context)
    return exactly(context, _parser(stream, context))


def _parser(stream: Stream, context: ParserContext) -> Parser:
    if stream.scope is Scope.MARKET:
        if stream.data_type is DataType.QUOTE:
            return books.market_quotes(context)
        return prices.of_market(prices.MADE[stream.data_type], context)
    made = prices.MADE.get(stream.data_type)
    if made is not None:
        return prices.of_symbol(made, context)
    spot, futures = _BY_MARKET[stream.procedure or stream.data_type]
    return (spot if stream.market is Market.SPOT else futures)(context)
