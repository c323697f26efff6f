"""The vocabulary: enumerations and aliases that every other module speaks in."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

__all__ = [
    "BookVerdict",
    "CollectorStatus",
    "Completeness",
    "DataType",
    "Exchange",
    "GapCause",
    "GapUnit",
    "Market",
    "Nanoseconds",
    "Number",
    "NumberMode",
    "OrderType",
    "Side",
    "Symbol",
    "TimeFrame",
    "Word",
]

Symbol: TypeAlias = str
"""A venue's own name of an instrument, as it stands in payloads (``BTCUSDT``)."""

if TYPE_CHECKING:
    # Arithmetic on a union of float and Decimal does not type-check, and no batch mixes the two.
    Number: TypeAlias = float
else:
    Number = float | Decimal
    """A price or a quantity: float by default, exact Decimal by setting; one mode per batch."""

Nanoseconds: TypeAlias = int
"""Nanoseconds since the epoch, UTC."""


class Word(Enum):
    """An enumeration whose members are cheap to look up: each is one object, so its address will
    do for a hash, where Enum's own hashes the name in Python code (0.15 us)."""

    __hash__ = object.__hash__


class Exchange(Word):
    """A venue."""

    BINANCE = "binance"
    BYBIT = "bybit"


class Market(Word):
    """A market of a venue; symbols are unique only within one."""

    SPOT = "spot"
    USDM = "usdm"
    COINM = "coinm"
    LINEAR = "linear"
    INVERSE = "inverse"
    OPTION = "option"


class Side(Word):
    """The aggressor's side of a trade: BUY lifted the ask, SELL hit the bid.

    UNKNOWN stands for a value that the venue never documented; the text is counted by the parser.
    """

    BUY = "buy"
    SELL = "sell"
    UNKNOWN = "unknown"


class OrderType(Word):
    """What kind of order made a Binance futures fill (field ``X``)."""

    MARKET = "market"
    INSURANCE_FUND = "insurance_fund"
    ADL = "adl"
    UNKNOWN = "unknown"


class TimeFrame(Word):
    """The length of a candle. Months are ``1M``, minutes ``1m``: case matters."""

    S1 = "1s"
    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H2 = "2h"
    H4 = "4h"
    H6 = "6h"
    H8 = "8h"
    H12 = "12h"
    D1 = "1d"
    D3 = "3d"
    W1 = "1w"
    MO1 = "1M"


class DataType(Word):
    """A kind of event."""

    TRADE = "trade"
    AGG_TRADE = "agg_trade"
    QUOTE = "quote"
    BOOK = "book"
    KLINE = "kline"
    CONTINUOUS_KLINE = "continuous_kline"
    MARK_PRICE = "mark_price"
    LIQUIDATION = "liquidation"
    OPEN_INTEREST = "open_interest"
    MINI_TICKER = "mini_ticker"
    TICKER = "ticker"
    CONTRACT_INFO = "contract_info"
    INSTRUMENT = "instrument"
    SPENT_IDS = "spent_ids"
    GAP = "gap"


class NumberMode(Word):
    """How prices and quantities are held; one data directory holds one mode."""

    FLOAT = "float"
    DECIMAL = "decimal"


class BookVerdict(Word):
    """What is known about a book.

    SYNCING: no snapshot joined yet. VERIFIED: an unbroken chain of ids since a snapshot.
    SUSPECT: crossed, or contradicted by a quote of the same id. UNVERIFIABLE: the venue gives
    nothing to check by. STALE: the chain broke or the connection is gone; do not trade on it.
    """

    SYNCING = "syncing"
    VERIFIED = "verified"
    SUSPECT = "suspect"
    UNVERIFIABLE = "unverifiable"
    STALE = "stale"


class Completeness(Word):
    """What is known about the events of a feed so far.

    COMPLETE: the venue's ids prove that none is missing. INCOMPLETE: they name some that are.
    UNKNOWN: the venue gives nothing by which to tell, so it is never called complete.
    """

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    UNKNOWN = "unknown"


class GapCause(Word):
    """Why events are missing.

    SILENCE: the stream was acknowledged and delivered nothing for longer than it may.
    """

    DISCONNECT = "disconnect"
    SILENCE = "silence"
    SEQUENCE_BREAK = "sequence_break"
    CONTRADICTED = "contradicted"
    OVERFLOW = "overflow"
    QUARANTINE = "quarantine"
    REFUSED = "refused"
    CRASH = "crash"


class GapUnit(Word):
    """What the size of a gap counts; UNKNOWN where the venue proves nothing."""

    EVENTS = "events"
    IDS = "ids"
    FRAMES = "frames"
    UNKNOWN = "unknown"


class CollectorStatus(Word):
    """Where a connection stands."""

    STARTING = "starting"
    CONNECTING = "connecting"
    RUNNING = "running"
    BACKING_OFF = "backing_off"
    PARKED = "parked"
    STOPPED = "stopped"
