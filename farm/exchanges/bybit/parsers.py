"""Which parser a Bybit topic's messages go to."""

from __future__ import annotations

from farm.exchanges.bybit import books, prices, trades
from farm.exchanges.numbers import Parser, ParserContext, exactly
from farm.exchanges.streams import Scope, Stream
from farm.types import DataType

__all__ = ["parser_of"]

_MAKE = {
    DataType.TRADE: trades.trades,
    DataType.LIQUIDATION: trades.liquidations,
    DataType.QUOTE: books.quotes,
    DataType.BOOK: books.books,
    DataType.KLINE: prices.klines,
    DataType.TICKER: prices.tickers,
}


def parser_of(stream: Stream, context: ParserContext) -> Parser:
    """The parser of one stream's frames."""
    make = trades.option_trades if stream.scope is Scope.BASE else _MAKE[stream.data_type]
    return exactly(context, make(context))
