"""Names of streams and what symbol they are of. Only ASCII letters change case on a venue."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase

__all__ = ["lower", "stream_symbol", "topic_symbol", "upper"]

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_UPPER = str.maketrans(ascii_lowercase, ascii_uppercase)

# Kinds of Bybit topics that have a setting between kind and symbol.
_SET = ("orderbook", "kline")


def lower(symbol: str) -> str:
    """A symbol as it stands in the names of Binance's streams."""
    return symbol.translate(_LOWER)


def upper(name: str) -> str:
    """A symbol out of the name of a Binance stream."""
    return name.translate(_UPPER)


def stream_symbol(stream: str) -> str:
    """``btcusdt@depth@100ms`` is of BTCUSDT; "" for a stream of the whole market (``!ticker@arr``).

    A stream of a continuous contract is named by its pair and type: BTCUSDT_PERPETUAL.
    """
    name, _, _ = stream.partition("@")
    return "" if stream.startswith("!") else upper(name)


def topic_symbol(topic: str) -> str:
    """``orderbook.50.BTCUSDT`` and ``tickers.BTCUSDT`` are of BTCUSDT; options trade by coin, so
    ``publicTrade.BTC`` is of BTC. A symbol may hold a point (``XRP-30OCT26-0.4-P-USDT``)."""
    kind, _, rest = topic.partition(".")
    return rest.partition(".")[2] if kind in _SET else rest
