"""Feeds of every kind as two connections carry them: the same events, in copies of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from farm.entities import (
    AggTrade,
    BookUpdate,
    ContractInfo,
    Kline,
    Liquidation,
    MarkPrice,
    MiniTicker,
    Quote,
    SpentIds,
    Ticker,
    Trade,
)
from farm.exchanges.registry import rules_of
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, Exchange, Market, Nanoseconds, Side, TimeFrame

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT

Place = tuple[Nanoseconds, int]
"""Receive time and ordinal."""

MS = 1_000_000


@attrs.frozen
class Copied:
    """One feed: ``make`` gives the copy of an event, by its number, that one lane (0, 1, ...) got;
    ``number`` finds the number again. ``greet`` is the state up to an event, which a subscription
    begins with; ``ordered``: events pass in their order even where lanes lose some."""

    name: str
    stream: Stream
    make: Callable[[int, int, Place], Any]
    number: Callable[[Any], int]
    greet: Callable[[int, int, Place], Any] | None = None
    ordered: bool = True
    keeps_all: bool = True

    def __str__(self) -> str:
        return self.name


def stream_of(exchange: Exchange, market: Market, spec: str, symbol: str = "BTCUSDT") -> Stream:
    table = rules_of(exchange, market).streams
    if symbol == "*":
        return table.market_stream(spec)
    return table.stream(symbol, spec)


def _times(n: int, lane: int, place: Place, restamped: bool = False) -> tuple[int, ...]:
    """Exchange, event and receive time, ordinal."""
    time = 1_000_000 * MS + n * 100 * MS
    return time, time + (lane + 1) * MS * restamped, *place


def _trade(n: int, lane: int, place: Place) -> Trade:
    times = _times(n, lane, place)
    return Trade(BINANCE, Market.SPOT, "BTCUSDT", str(n), 1.0, 2.0, Side.BUY, *times)


def _futures_trade(n: int, lane: int, place: Place) -> Trade | SpentIds:
    times = _times(n, lane, place)
    if n % 4 == 3:
        return SpentIds(BINANCE, Market.USDM, "BTCUSDT", n, n, *times)
    return Trade(BINANCE, Market.USDM, "BTCUSDT", str(n), 1.0, 2.0, Side.BUY, *times)


def _trade_number(row: Trade | SpentIds) -> int:
    return row.first_id if isinstance(row, SpentIds) else int(row.id)


def _agg_trade(n: int, lane: int, place: Place) -> AggTrade:
    times = _times(n, lane, place)
    fills = (3 * n, 3 * n + 2)
    return AggTrade(BINANCE, Market.SPOT, "BTCUSDT", str(n), 1.0, 2.0, Side.BUY, *fills, *times)


def _update(
    place: tuple[Exchange, Market, int | None],
    ids: tuple[int, int, int | None, int | None],
    times: tuple[int, ...],
    *,
    is_snapshot: bool = False,
) -> BookUpdate:
    exchange, market, depth = place
    head = (exchange, market, "BTCUSDT", depth, is_snapshot, [], [])
    return BookUpdate(*head, *ids, BookVerdict.SYNCING, *times)


def _spot_diff(n: int, lane: int, place: Place) -> BookUpdate:
    ids = (3 * n, 3 * n + 2, None, None)
    return _update((BINANCE, Market.SPOT, None), ids, _times(n, lane, place, restamped=True))


def _futures_diff(n: int, lane: int, place: Place) -> BookUpdate:
    ids = (10 * n + 4, 10 * n + 7, 10 * n - 3, None)
    return _update((BINANCE, Market.USDM, None), ids, _times(n, lane, place))


def _partial(n: int, lane: int, place: Place) -> BookUpdate:
    ids = (7 * n, 7 * n, None, None)
    times = _times(n, lane, place)
    return _update((BINANCE, Market.SPOT, 20), ids, times, is_snapshot=True)


def _delta(n: int, lane: int, place: Place) -> BookUpdate:
    return _update((BYBIT, Market.LINEAR, 50), (n, n, None, 5 * n), _times(n, lane, place))


def _snapshot(n: int, lane: int, place: Place) -> BookUpdate:
    return attrs.evolve(_delta(n, lane, place), is_snapshot=True)


def _full_delta(n: int, lane: int, place: Place) -> BookUpdate:
    return attrs.evolve(_delta(n, lane, place), market=Market.SPOT, depth=None)


def _quote(n: int, lane: int, place: Place) -> Quote:
    sides = (1.0, 1.0, 2.0, 1.0)
    return Quote(BINANCE, Market.SPOT, "BTCUSDT", *sides, 5 * n, None, None, *place)


def _bybit_quote(n: int, lane: int, place: Place) -> Quote:
    times = _times(n, lane, place)
    sides = (1.0, 1.0, 2.0, 1.0)
    return Quote(BYBIT, Market.LINEAR, "BTCUSDT", *sides, n, *times, 0, 3 * n)


def _bybit_trade(n: int, lane: int, place: Place) -> Trade:
    times = _times(n // 3, lane, place)
    uuid = f"5f0d-{n}"
    head = (BYBIT, Market.LINEAR, "BTCUSDT", uuid, 1.0, 2.0, Side.SELL)
    return Trade(*head, *times, n % 3, 100 + n // 3)


def _kline(market: Market) -> Callable[[int, int, Place], Kline]:
    def make(n: int, lane: int, place: Place) -> Kline:
        candle, push = divmod(n, 5)
        times = _times(n, lane, place, restamped=market is Market.SPOT)
        opened = candle * 60_000 * MS
        numbers = (1.0, 2.0, 1.0, 2.0, float(push), 1.0, 1.0, 1.0, push, 1, 1 + push, push == 4)
        head = (BINANCE, market, "BTCUSDT", TimeFrame.M1, opened, opened + 59_999 * MS)
        return Kline(*head, *numbers, *times)

    return make


def _kline_number(row: Kline) -> int:
    return row.open_time // (60_000 * MS) * 5 + (row.trade_count or 0)


def _by_time(row: Any) -> int:
    return int((row.exchange_time - 1_000_000 * MS) // (100 * MS))


def _mark_price(n: int, lane: int, place: Place) -> MarkPrice:
    prices = (100.0, 100.0, None, None, -0.0001, None)
    return MarkPrice(BINANCE, Market.USDM, "BTCUSDT", *prices, *_times(n, lane, place))


def _mini_ticker(n: int, lane: int, place: Place) -> MiniTicker:
    numbers = (float(n), 1.0, 1.0, 1.0, 1.0, 1.0)
    times = _times(n, lane, place, restamped=True)
    return MiniTicker(BINANCE, Market.SPOT, "BTCUSDT", *numbers, *times)


def _ticker(n: int, lane: int, place: Place) -> Ticker:
    nothing = (None,) * 18
    times = _times(n, lane, place)
    return Ticker(BYBIT, Market.LINEAR, "BTCUSDT", float(n), *nothing, *times, 0, 7 * n)


def _liquidation(n: int, lane: int, place: Place) -> Liquidation:
    sizes = (10.0, 1.0, None, None)
    times = _times(n, lane, place)
    return Liquidation(BYBIT, Market.LINEAR, "BTCUSDT", Side.SELL, *sizes, *times)


def _contract_info(n: int, lane: int, place: Place) -> ContractInfo:
    head = (BINANCE, Market.USDM, f"S{n % 2}USDT", None, "PERPETUAL", f"STATUS{n // 2}")
    return ContractInfo(*head, None, None, *_times(n, lane, place, restamped=True))


def _contract_number(row: ContractInfo) -> int:
    return int(row.status.removeprefix("STATUS")) * 2 + int(row.symbol[1])


SPOT_TRADES = Copied("trades", stream_of(BINANCE, Market.SPOT, "trade"), _trade, _trade_number)
USDM_TRADES = Copied(
    "futures trades", stream_of(BINANCE, Market.USDM, "trade"), _futures_trade, _trade_number
)
AGG_TRADES = Copied(
    "aggregate trades",
    stream_of(BINANCE, Market.SPOT, "agg_trade"),
    _agg_trade,
    lambda row: int(row.id),
)
SPOT_BOOK = Copied(
    "spot diffs", stream_of(BINANCE, Market.SPOT, "book"), _spot_diff, lambda row: row.first_id // 3
)
USDM_BOOK = Copied(
    "futures diffs",
    stream_of(BINANCE, Market.USDM, "book"),
    _futures_diff,
    lambda row: row.last_id // 10,
)
BYBIT_BOOK = Copied(
    "Bybit deltas",
    stream_of(BYBIT, Market.LINEAR, "book:50"),
    _delta,
    lambda row: row.last_id,
    greet=_snapshot,
)
FULL_BOOK = Copied(
    "Bybit full deltas",
    stream_of(BYBIT, Market.SPOT, "book:full"),
    _full_delta,
    lambda row: row.last_id,
)
QUOTES = Copied(
    "quotes",
    stream_of(BINANCE, Market.SPOT, "quote"),
    _quote,
    lambda row: row.update_id // 5,
    ordered=False,
)
BYBIT_QUOTES = Copied(
    "Bybit quotes",
    stream_of(BYBIT, Market.LINEAR, "quote"),
    _bybit_quote,
    lambda row: row.update_id,
    greet=_bybit_quote,
    ordered=False,
)
BYBIT_TRADES = Copied(
    "Bybit trades",
    stream_of(BYBIT, Market.LINEAR, "trade"),
    _bybit_trade,
    lambda row: int(row.id.rpartition("-")[2]),
    ordered=False,
)
LIQUIDATIONS = Copied(
    "liquidations",
    stream_of(BYBIT, Market.LINEAR, "liquidation"),
    _liquidation,
    _by_time,
    ordered=False,
)
PARTIAL_BOOK = Copied(
    "partial books",
    stream_of(BINANCE, Market.SPOT, "book:20"),
    _partial,
    lambda row: row.last_id // 7,
    keeps_all=False,
)
SPOT_KLINES = Copied(
    "spot candles",
    stream_of(BINANCE, Market.SPOT, "kline:1m"),
    _kline(Market.SPOT),
    _kline_number,
    keeps_all=False,
    ordered=False,
)
USDM_KLINES = Copied(
    "futures candles",
    stream_of(BINANCE, Market.USDM, "kline:1m"),
    _kline(Market.USDM),
    _kline_number,
    keeps_all=False,
    ordered=False,
)
MARK_PRICES = Copied(
    "mark prices",
    stream_of(BINANCE, Market.USDM, "mark_price", "*"),
    _mark_price,
    _by_time,
    keeps_all=False,
)
MINI_TICKERS = Copied(
    "mini tickers",
    stream_of(BINANCE, Market.SPOT, "mini_ticker"),
    _mini_ticker,
    _by_time,
    keeps_all=False,
)
TICKERS = Copied(
    "Bybit tickers",
    stream_of(BYBIT, Market.LINEAR, "ticker"),
    _ticker,
    _by_time,
    keeps_all=False,
)
CONTRACTS = Copied(
    "contracts",
    stream_of(BINANCE, Market.USDM, "contract_info", "*"),
    _contract_info,
    _contract_number,
)

CONTIGUOUS = [SPOT_TRADES, USDM_TRADES, AGG_TRADES, SPOT_BOOK, USDM_BOOK, BYBIT_BOOK, FULL_BOOK]
UNIQUE = [QUOTES, BYBIT_QUOTES, BYBIT_TRADES, LIQUIDATIONS]
NEWEST = [PARTIAL_BOOK, SPOT_KLINES, USDM_KLINES, MARK_PRICES, MINI_TICKERS, TICKERS]
EVERY = [*CONTIGUOUS, *UNIQUE, *NEWEST, CONTRACTS]
