"""What makes two events of two connections copies of one event: a rule for each kind, as data.

Sources: Binance: github.com/binance/binance-spot-api-docs, ``web-socket-streams.md``, and the
WebSocket pages of developers.binance.com; that copies on futures are the same to the byte, and that
spot stamps ``E`` on each connection by itself, is measured. Bybit: github.com/bybit-exchange/docs,
``v5/websocket/public``.

=====================  ==================================  =====================================
kind                   Binance                             Bybit
=====================  ==================================  =====================================
trade                  ``t``, contiguous                   ``i``, unique
aggregate trade        ``a``, contiguous
quote                  ``u``, unique                       ``u`` with ``seq``, unique
book                   ``U``, ``u``, ``pu``, contiguous    ``u`` with ``seq``, contiguous
partial book           ``lastUpdateId``, newest
candle                 open time and newest content        open time and newest content
mark price, tickers    newest ``E``                        newest ``ts`` (tickers: with ``cs``)
liquidation            ``T``, side, price, sizes, and the number of equal ones in one message
anything else          by a cut: one connection's up to an instant, another's after it
=====================  ==================================  =====================================
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum
from operator import attrgetter
from typing import Any, TypeAlias

import attrs

from farm.entities import (
    EVENT_KINDS,
    AggTrade,
    BookUpdate,
    ContinuousKline,
    Event,
    Kline,
    Quote,
    SpentIds,
    Ticker,
    Trade,
)
from farm.exchanges.streams import BookProcedure
from farm.types import DataType, Exchange, Market

__all__ = ["Rule", "Way", "content_of", "key_of", "rule_of"]

Span: TypeAlias = Callable[[Any], tuple[int, int]]


class Way(Enum):
    """How copies are told apart.

    CONTIGUOUS: ids step, so an event passes if it follows the last one. UNIQUE: an event passes if
    its identity was not seen. NEWEST: it passes if it is newer than the last one. CUT: nothing
    tells, so one lane's events pass and no other's.
    """

    CONTIGUOUS = "contiguous"
    UNIQUE = "unique"
    NEWEST = "newest"
    CUT = "cut"


@attrs.frozen
class Rule:
    """The rule of one kind. Of contiguous ones:

    ``span``: the ids that an event covers, first and last; it follows what ends just before them.
    ``sequenced``: a second number, ``sequence``, rises for ever, also where ids start over, and
    snapshots come in the stream. ``late``: an event that comes after others overtook it is of use.

    Of unique ones: ``identity``; ``numbered``: equal ones of one message are several events;
    ``greets``: a subscription begins with the present state, which is no event, and identities
    rise. Of newest ones: ``rank``; ``group``: what has a newest event of its own; ``restamped``:
    the venue stamps each copy by itself, so the same content is the same event whatever its time.
    """

    way: Way
    span: Span | None = None
    sequenced: bool = False
    late: bool = False
    identity: Callable[[Any], Hashable] | None = None
    numbered: bool = False
    greets: bool = False
    rank: Callable[[Any], Any] | None = None
    group: Callable[[Any], Any] | None = None
    restamped: bool = False


# --------------------------------------------------------------------------------- ids and ranks
def _number(row: AggTrade) -> tuple[int, int]:
    number = int(row.id)
    return number, number


def _trade_ids(row: Trade | SpentIds) -> tuple[int, int]:
    if isinstance(row, SpentIds):
        return row.first_id, row.last_id
    number = int(row.id)
    return number, number


def _after_previous(row: BookUpdate) -> tuple[int, int]:
    """Futures: ``U`` need not adjoin the ``u`` before, but ``pu`` is it."""
    return (row.first_id if row.previous_id is None else row.previous_id + 1), row.last_id


def _sequence_and_update_id(row: Quote) -> tuple[int, int]:
    return -1 if row.sequence is None else row.sequence, row.update_id


def _time(row: Any) -> int:
    """The time of a state: the push's, where the payload has none the engine's, then ours."""
    if row.event_time is not None:
        return int(row.event_time)
    return int(row.receive_time if row.exchange_time is None else row.exchange_time)


def _ticker_rank(row: Ticker) -> tuple[int, int]:
    return _time(row), -1 if row.sequence is None else row.sequence


def _candle_rank(row: Kline) -> tuple[bool, int, Any, int]:
    trades = -1 if row.trade_count is None else row.trade_count
    return row.closed, trades, row.base_volume, _time(row)


_BY_NUMBER = Rule(Way.CONTIGUOUS, span=_number, late=True)
_BY_TRADE_ID = Rule(Way.CONTIGUOUS, span=_trade_ids, late=True)
_LIQUIDATION = attrgetter("exchange_time", "side", "price", "quantity", "filled_quantity")
_CANDLES = Rule(Way.NEWEST, rank=_candle_rank, group=attrgetter("open_time"))
_STATES = Rule(Way.NEWEST, rank=_time)
_CUT = Rule(Way.CUT)

_RULES: dict[tuple[Exchange, DataType], Rule] = {
    (Exchange.BINANCE, DataType.TRADE): _BY_TRADE_ID,
    (Exchange.BINANCE, DataType.SPENT_IDS): _BY_TRADE_ID,
    (Exchange.BINANCE, DataType.AGG_TRADE): _BY_NUMBER,
    (Exchange.BINANCE, DataType.QUOTE): Rule(Way.UNIQUE, identity=attrgetter("update_id")),
    (Exchange.BYBIT, DataType.TRADE): Rule(Way.UNIQUE, identity=attrgetter("id")),
    (Exchange.BYBIT, DataType.QUOTE): Rule(
        Way.UNIQUE, identity=_sequence_and_update_id, greets=True
    ),
} | {
    (exchange, kind): rule
    for exchange in Exchange
    for kind, rule in {
        DataType.LIQUIDATION: Rule(Way.UNIQUE, identity=_LIQUIDATION, numbered=True),
        DataType.KLINE: _CANDLES,
        DataType.CONTINUOUS_KLINE: _CANDLES,
        DataType.MARK_PRICE: _STATES,
        DataType.OPEN_INTEREST: _STATES,
        DataType.MINI_TICKER: _STATES,
        DataType.TICKER: Rule(Way.NEWEST, rank=_ticker_rank),
    }.items()
}

_FIRST_TO_LAST: Span = attrgetter("first_id", "last_id")
_STEPS = Rule(Way.CONTIGUOUS, span=_FIRST_TO_LAST, sequenced=True)
_BOOKS: dict[BookProcedure, Rule] = {
    BookProcedure.DIFFS_BY_FIRST_ID: Rule(Way.CONTIGUOUS, span=_FIRST_TO_LAST),
    BookProcedure.DIFFS_BY_PREVIOUS_ID: Rule(Way.CONTIGUOUS, span=_after_previous),
    BookProcedure.FULL_BY_REST: _STEPS,
    BookProcedure.SNAPSHOT_IN_STREAM: _STEPS,
    BookProcedure.WHOLE_EVERY_TIME: Rule(Way.NEWEST, rank=attrgetter("last_id")),
}

_RESTAMPED = {(Exchange.BINANCE, Market.SPOT)}


def rule_of(
    exchange: Exchange, market: Market, kind: DataType, procedure: BookProcedure | None = None
) -> Rule:
    """The rule of a kind on a market; `procedure` is of book streams."""
    if kind is DataType.BOOK:
        return _CUT if procedure is None else _BOOKS[procedure]
    rule = _RULES.get((exchange, kind), _CUT)
    if rule.way is Way.NEWEST and (exchange, market) in _RESTAMPED:
        return attrs.evolve(rule, restamped=True)
    return rule


# ------------------------------------------------------------------------------ keys and content
# What tells the feeds of a kind apart; for the kinds that aren't here it is the symbol.
_KEYS: dict[type[Event], Callable[[Any], Hashable]] = {
    BookUpdate: attrgetter("symbol", "depth"),
    Kline: attrgetter("symbol", "interval"),
    ContinuousKline: attrgetter("symbol", "contract_type", "interval"),
}
_SYMBOL = attrgetter("symbol")

# What differs between two copies: where and when they came, and the bounds of a rolling day.
_OF_THE_COPY = {"event_time", "exchange_time", "receive_time", "ordinal", "row", "verdict"}
_ROLLING = {"open_time", "close_time"}


def key_of(kind: type[Event]) -> Callable[[Any], Hashable]:
    """What tells the feeds of a kind apart on one market."""
    return _KEYS.get(kind, _SYMBOL)


def content_of(kind: type[Event]) -> Callable[[Any], tuple[Any, ...]]:
    """What an event says, apart from when and where it came."""
    return _CONTENTS[kind]


def _content_getter(kind: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    left_out = _OF_THE_COPY | (_ROLLING if kind is Ticker else set())
    return attrgetter(*(f.name for f in attrs.fields(kind) if f.name not in left_out))


_CONTENTS = {kind: _content_getter(kind) for kind in EVENT_KINDS.values()}
