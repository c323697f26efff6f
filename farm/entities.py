"""What farm delivers: one attrs class per kind of event, and the order book.

Rules that hold for every class here:

* Times are int nanoseconds since the epoch, UTC. ``exchange_time`` is the matching engine's
  (Binance ``T``, Bybit ``cts`` or ``T``; where a payload has none, the push's), ``event_time`` the
  push's (Binance ``E``, Bybit ``ts``), ``receive_time`` ours: stamped once per socket read.
  Absent is ``None``.
* Prices are in the quote currency, quantities as the venue states them: base currency on spot,
  USD-M, linear and option markets, contracts on COIN-M, USD on Bybit inverse. Both are float, or
  exact Decimal where the collector is configured so. Only fields marked "signed" may be negative.
* ``ordinal`` is the number of the frame within its connection's epoch, ``row`` the place within
  the frame: (receive time, connection, epoch, ordinal, row) is the total order of all events.
* Instances are shared between subscribers and are not to be changed. They are not frozen because
  frozen ones cost 1.4 to 2 us more to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import attrs
import msgspec

from farm.types import (
    BookVerdict,
    DataType,
    Exchange,
    GapCause,
    GapUnit,
    Market,
    Nanoseconds,
    Number,
    OrderType,
    Side,
    Symbol,
    TimeFrame,
)

__all__ = [
    "EVENT_KINDS",
    "AggTrade",
    "BookUpdate",
    "ContinuousKline",
    "ContractInfo",
    "Event",
    "Gap",
    "Instrument",
    "Kline",
    "Level",
    "Liquidation",
    "MarkPrice",
    "MiniTicker",
    "OpenInterest",
    "OrderBook",
    "OrderBookLevel",
    "Quote",
    "SpentIds",
    "Ticker",
    "Trade",
    "data_type_of",
    "feed_of",
]

N = TypeVar("N")

_SIGNED = {"signed": True}
"""Metadata of fields that may be negative; all other numbers are refused if they are."""


class Level(msgspec.Struct, Generic[N], array_like=True, gc=False):
    """A book level as decoded: price, and absolute quantity (0 deletes the level)."""

    price: N
    quantity: N


AnyLevel: TypeAlias = Level[float | Number]


@attrs.define
class OrderBookLevel:
    """A level of a book as users read it; ``quantity`` is the total resting at ``price``.

    ``authoritative`` is False beyond the worst price of the snapshot that the book was built from:
    there only levels that changed since are known, so others may stand between them.
    """

    price: Number
    quantity: Number
    authoritative: bool = True


@attrs.define
class Trade:
    """One fill. ``side`` is the aggressor's (taker's).

    ``id`` is the venue's text: a number on Binance and Bybit spot, a UUID on Bybit derivatives.
    What only some venues give is None elsewhere: ``sequence`` (Bybit's cross sequence: orders, but
    is not contiguous), ``block_trade`` (printed off book), ``rpi`` (hit retail liquidity that the
    public book does not show), ``order_type`` (Binance futures ``X``: fills of the insurance fund
    print far off the market). On options ``mark_price``, ``index_price``, ``mark_iv`` and ``iv``
    (implied volatilities, 0.5 is 50 %) as of the trade.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    id: str
    price: Number
    quantity: Number
    side: Side
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0
    sequence: int | None = None
    block_trade: bool | None = None
    rpi: bool | None = None
    order_type: OrderType | None = None
    mark_price: Number | None = None
    index_price: Number | None = None
    mark_iv: Number | None = None
    iv: Number | None = None


@attrs.define
class AggTrade:
    """Fills of one taker order at one price (Binance spot), as one event.

    On Binance futures: the fills at one price and side within 100 ms, whoever the takers were.
    A kind of its own: summed with :class:`Trade` every volume would count twice.
    ``first_trade_id`` and ``last_trade_id`` are the ids of the fills it covers, inclusive.
    ``non_rpi_quantity`` leaves out fills against retail liquidity (USD-M ``nq``).
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    id: str
    price: Number
    quantity: Number
    side: Side
    first_trade_id: int
    last_trade_id: int
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0
    non_rpi_quantity: Number | None = None


@attrs.define
class Quote:
    """The top of the book (Binance ``bookTicker``, Bybit ``orderbook.1``).

    An empty side is None. ``update_id`` is the venue's book update id (Binance ``u``: the id space
    of the diffs; Bybit ``u``: private to depth 1), ``sequence`` Bybit's cross sequence.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    bid_price: Number | None
    bid_quantity: Number | None
    ask_price: Number | None
    ask_quantity: Number | None
    update_id: int
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0
    sequence: int | None = None


@attrs.define
class BookUpdate:
    """A change of an order book: a diff, or a snapshot that replaces it.

    ``depth`` is None for the full book and else the number of levels a side that the feed carries
    (``book:20``). ``bid_levels`` and ``ask_levels`` are kept as decoded, in the venue's order;
    ``bids`` and ``asks`` make :class:`OrderBookLevel` objects of them on access. Ids: ``first_id``
    to ``last_id`` are covered by this update (equal on Bybit and for snapshots), ``previous_id``
    is the last id of the update before, where the venue names it; ``sequence`` is Bybit's cross
    sequence. ``verdict`` is what was known of the book just after this update was applied.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    depth: int | None
    is_snapshot: bool
    bid_levels: Sequence[AnyLevel]
    ask_levels: Sequence[AnyLevel]
    first_id: int
    last_id: int
    previous_id: int | None
    sequence: int | None
    verdict: BookVerdict
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0

    @property
    def bids(self) -> list[OrderBookLevel]:
        """The bid levels as objects."""
        return [OrderBookLevel(level.price, level.quantity) for level in self.bid_levels]

    @property
    def asks(self) -> list[OrderBookLevel]:
        """The ask levels as objects."""
        return [OrderBookLevel(level.price, level.quantity) for level in self.ask_levels]


@attrs.define
class Kline:
    """A candle as the venue pushed it; open ones are pushed many times, ``closed`` ones once.

    ``open_time`` is its first instant, ``close_time`` its last millisecond, as venues state it.
    Volumes: ``base_volume`` in the base, ``quote_volume`` in the quote currency; on COIN-M and
    Bybit inverse as the venue states them, contracts (USD) and base coin. Taker buy volumes, trade
    count and trade ids are None where the venue gives none (Bybit).
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    interval: TimeFrame
    open_time: Nanoseconds
    close_time: Nanoseconds
    open: Number
    high: Number
    low: Number
    close: Number
    base_volume: Number
    quote_volume: Number
    taker_buy_base_volume: Number | None
    taker_buy_quote_volume: Number | None
    trade_count: int | None
    first_trade_id: int | None
    last_trade_id: int | None
    closed: bool
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0


@attrs.define
class ContinuousKline(Kline):
    """A candle of whatever contract of a pair is the current one of its type (Binance futures).

    ``symbol`` is the pair; ``contract_type`` is ``perpetual``, ``current_quarter`` or
    ``next_quarter``. A kind of its own, since it covers the same trades as :class:`Kline`.
    """

    contract_type: str = ""


@attrs.define
class MarkPrice:
    """Mark price and funding of a derivative (Binance ``markPrice``, Bybit ``tickers``).

    ``funding_rate`` (signed; 0.0001 is 1 basis point) is due at ``next_funding_time``; both None
    on dated contracts. ``average_price`` is Binance's moving average of the mark price,
    ``settle_price`` its estimate of the settlement price.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    mark_price: Number
    index_price: Number | None
    average_price: Number | None
    settle_price: Number | None
    funding_rate: Number | None = attrs.field(metadata=_SIGNED)
    next_funding_time: Nanoseconds | None
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0


@attrs.define
class Liquidation:
    """A forced order. ``side`` is the *order's*: SELL closes a long.

    Binance states the order's side, Bybit the side of the position; both come out as the order's.
    ``price`` is the order's limit (Binance) or the bankruptcy price (Bybit), ``quantity`` its size;
    ``average_price`` and ``filled_quantity`` are what was done of it (Binance). Binance sends at
    most one a symbol and second: the feed is lossy by design.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    side: Side
    price: Number
    quantity: Number
    average_price: Number | None
    filled_quantity: Number | None
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0


@attrs.define
class OpenInterest:
    """Open contracts of a derivative: polled by REST on Binance, from ``tickers`` on Bybit.

    ``open_interest`` in the venue's unit (base currency; contracts on COIN-M, USD on Bybit
    inverse); ``value`` in the quote (inverse: base) currency where the venue states it.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    open_interest: Number
    value: Number | None
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0


@attrs.define
class MiniTicker:
    """The last 24 hours in short (Binance ``miniTicker``)."""

    exchange: Exchange
    market: Market
    symbol: Symbol
    last_price: Number
    open_price: Number
    high_price: Number
    low_price: Number
    base_volume: Number
    quote_volume: Number
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0


@attrs.define
class Ticker:
    """The last 24 hours (Binance ``ticker``, Bybit ``tickers``, whose changes are merged: each
    event is whole). What a venue or market does not give is None.

    ``open_price`` is the price 24 hours ago; ``price_change`` and ``price_change_percent``
    (signed) are Binance's. Best bid and ask: Binance spot and Bybit derivatives. On options the
    greeks (signed), implied volatilities (0.5 is 50 %) and the ``underlying_price``. ``sequence``
    is Bybit's cross sequence.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    last_price: Number
    open_price: Number | None
    high_price: Number | None
    low_price: Number | None
    base_volume: Number | None
    quote_volume: Number | None
    price_change: Number | None = attrs.field(metadata=_SIGNED)
    price_change_percent: Number | None = attrs.field(metadata=_SIGNED)
    weighted_average_price: Number | None
    last_quantity: Number | None
    bid_price: Number | None
    bid_quantity: Number | None
    ask_price: Number | None
    ask_quantity: Number | None
    open_time: Nanoseconds | None
    close_time: Nanoseconds | None
    first_trade_id: int | None
    last_trade_id: int | None
    trade_count: int | None
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0
    sequence: int | None = None
    underlying_price: Number | None = None
    bid_iv: Number | None = None
    ask_iv: Number | None = None
    mark_iv: Number | None = None
    delta: Number | None = attrs.field(default=None, metadata=_SIGNED)
    gamma: Number | None = attrs.field(default=None, metadata=_SIGNED)
    vega: Number | None = attrs.field(default=None, metadata=_SIGNED)
    theta: Number | None = attrs.field(default=None, metadata=_SIGNED)


@attrs.define
class ContractInfo:
    """A contract was listed, delisted or changed its status (Binance futures ``!contractInfo``).

    ``contract_type`` and ``status`` are the venue's words (``PERPETUAL``, ``TRADING``).
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    pair: str | None
    contract_type: str
    status: str
    onboard_time: Nanoseconds | None
    delivery_time: Nanoseconds | None
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0


@attrs.define
class Instrument:
    """The terms of a symbol, as they hold from ``valid_from`` (when we first saw them so) until
    the next event of the same symbol.

    ``tick_size`` is the step of prices, ``lot_size`` that of quantities; ``contract_size`` what one
    contract is worth (COIN-M: in USD), None where quantities are currency. ``status`` is the
    venue's word, ``trading`` whether it means that the symbol trades; a symbol that the venue no
    longer lists has the status ``delisted``. ``pair``, ``contract_type`` and ``delivery_time`` are
    of derivatives.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    base: str
    quote: str
    settle: str | None
    pair: str | None
    contract_type: str | None
    status: str
    trading: bool
    tick_size: Number | None
    lot_size: Number | None
    min_quantity: Number | None
    min_notional: Number | None
    contract_size: Number | None
    launch_time: Nanoseconds | None
    delivery_time: Nanoseconds | None
    valid_from: Nanoseconds
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0


@attrs.define
class SpentIds:
    """Trade ids that the venue used up without publishing a fill (Binance futures, ``X: NA``).

    They are no trades, and no loss either: they count for the continuity of trade ids.
    ``first_id`` to ``last_id``, inclusive.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    first_id: int
    last_id: int
    exchange_time: Nanoseconds | None
    event_time: Nanoseconds | None
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0


@attrs.define
class Gap:
    """The record of a loss: something that should have been delivered was not.

    ``feed`` names what was hit (``binance/spot/BTCUSDT/trade``), ``edge`` where it was lost
    (``venue``: before it reached us; else the queue or stage within farm). Bounds are ids
    (``first_id`` to ``last_id``, inclusive) or receive times, or both. ``start_time`` and
    ``end_time``: on the edge ``venue`` the last instant known good and the first good one again,
    within farm the first and the last that was lost. ``size`` counts ``unit``; None with UNKNOWN
    where the venue proves nothing. ``repaired`` is set once the rows were filled in.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    feed: str
    edge: str
    cause: GapCause
    first_id: int | None
    last_id: int | None
    start_time: Nanoseconds | None
    end_time: Nanoseconds | None
    size: int | None
    unit: GapUnit
    repaired: bool
    receive_time: Nanoseconds
    ordinal: int
    row: int = 0


Event: TypeAlias = (
    Trade
    | AggTrade
    | Quote
    | BookUpdate
    | Kline
    | ContinuousKline
    | MarkPrice
    | Liquidation
    | OpenInterest
    | MiniTicker
    | Ticker
    | ContractInfo
    | Instrument
    | SpentIds
    | Gap
)

EVENT_KINDS: dict[DataType, type[Event]] = {
    DataType.TRADE: Trade,
    DataType.AGG_TRADE: AggTrade,
    DataType.QUOTE: Quote,
    DataType.BOOK: BookUpdate,
    DataType.KLINE: Kline,
    DataType.CONTINUOUS_KLINE: ContinuousKline,
    DataType.MARK_PRICE: MarkPrice,
    DataType.LIQUIDATION: Liquidation,
    DataType.OPEN_INTEREST: OpenInterest,
    DataType.MINI_TICKER: MiniTicker,
    DataType.TICKER: Ticker,
    DataType.CONTRACT_INFO: ContractInfo,
    DataType.INSTRUMENT: Instrument,
    DataType.SPENT_IDS: SpentIds,
    DataType.GAP: Gap,
}
"""The class of each kind of event."""

_DATA_TYPES: dict[type[Event], DataType] = {cls: kind for kind, cls in EVENT_KINDS.items()}


def data_type_of(kind: type[Any]) -> DataType:
    """The :class:`DataType` of an event class; TypeError for anything else."""
    try:
        return _DATA_TYPES[kind]
    except (KeyError, TypeError):
        names = ", ".join(cls.__name__ for cls in _DATA_TYPES)
        raise TypeError(f"{kind!r} is not a kind of event; the kinds are {names}") from None


def feed_of(row: Event) -> str:
    """The feed that an event belongs to: ``binance/spot/BTCUSDT/kline:1m``."""
    if isinstance(row, Gap):
        return row.feed
    kind = _DATA_TYPES[type(row)].value
    if isinstance(row, ContinuousKline):
        kind += f":{row.contract_type}:{row.interval.value}"
    elif isinstance(row, Kline):
        kind += f":{row.interval.value}"
    elif isinstance(row, BookUpdate) and row.depth is not None:
        kind += f":{row.depth}"
    return f"{row.exchange.value}/{row.market.value}/{row.symbol}/{kind}"


@attrs.define
class OrderBook:
    """A copy of a book at an instant: bids and asks best first.

    ``verdict`` says how far to trust it. ``update_id`` is the last id applied, ``sequence`` the
    venue's cross sequence where there is one. Figures are None where a side they need is empty.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    bids: list[OrderBookLevel]
    asks: list[OrderBookLevel]
    verdict: BookVerdict
    update_id: int | None
    sequence: int | None
    exchange_time: Nanoseconds | None
    receive_time: Nanoseconds | None

    @property
    def best_bid(self) -> OrderBookLevel | None:
        """The highest bid."""
        return self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> OrderBookLevel | None:
        """The lowest ask."""
        return self.asks[0] if self.asks else None

    @property
    def spread(self) -> Number | None:
        """Best ask less best bid."""
        if not self.bids or not self.asks:
            return None
        return self.asks[0].price - self.bids[0].price

    @property
    def mid_price(self) -> Number | None:
        """Half way between best bid and best ask."""
        if not self.bids or not self.asks:
            return None
        return (self.asks[0].price + self.bids[0].price) / 2

    @property
    def micro_price(self) -> Number | None:
        """The mid price weighted by the *opposite* side's quantity: it leans to the thin side."""
        if not self.bids or not self.asks:
            return None
        bid, ask = self.bids[0], self.asks[0]
        total = bid.quantity + ask.quantity
        weighted = bid.price * ask.quantity + ask.price * bid.quantity
        return weighted / total if total else None

    def imbalance(self, depth: int = 1) -> Number | None:
        """(bid quantity less ask quantity) over their sum, of the best `depth` levels a side.

        From -1 (asks only) to 1 (bids only); None for an empty book. ValueError if depth < 1.
        """
        if depth < 1:
            raise ValueError(f"depth must be 1 or more, not {depth!r}")
        bids = sum(level.quantity for level in self.bids[:depth])
        asks = sum(level.quantity for level in self.asks[:depth])
        total = bids + asks
        return (bids - asks) / total if total else None
