"""Drives protocol cores, and the books behind them, as a connection would; and writes venue text.

The texts are written by hand, field by field, not through the parsers' schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import attrs

from farm.books.keeper import BookKeeper
from farm.bundle import Bundle, UnparsedFrame
from farm.columns import ColumnKind, column_types
from farm.entities import Gap
from farm.exchanges.registry import MARKETS, make_session, rules_of
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import (
    Closed,
    Command,
    FetchSnapshot,
    Finished,
    Frames,
    Input,
    Lost,
    Opened,
    Reconnect,
    Rotate,
    SendText,
    SnapshotAsked,
    SnapshotReply,
    Subscribe,
    Tick,
    Unsubscribe,
)
from farm.exchanges.streams import Stream
from farm.types import Exchange, Market, NumberMode

BINANCE_SPOT = rules_of(Exchange.BINANCE, Market.SPOT)
BINANCE_USDM = rules_of(Exchange.BINANCE, Market.USDM)
BINANCE_COINM = rules_of(Exchange.BINANCE, Market.COINM)
BYBIT_SPOT = rules_of(Exchange.BYBIT, Market.SPOT)
BYBIT_LINEAR = rules_of(Exchange.BYBIT, Market.LINEAR)
BYBIT_INVERSE = rules_of(Exchange.BYBIT, Market.INVERSE)
BYBIT_OPTION = rules_of(Exchange.BYBIT, Market.OPTION)
BINANCE = [BINANCE_SPOT, BINANCE_USDM, BINANCE_COINM]
BYBIT = [BYBIT_SPOT, BYBIT_LINEAR, BYBIT_INVERSE, BYBIT_OPTION]
ALL_RULES = list(MARKETS.values())

SECOND = 1_000_000_000
T0 = 1_790_000_000 * SECOND

E = TypeVar("E")


@attrs.define
class Outcome:
    """What an input gave."""

    rows: list[Any] = attrs.field(factory=list)
    unparsed: list[UnparsedFrame] = attrs.field(factory=list)
    ended: str | None = None
    up: tuple[str, ...] = ()
    down: frozenset[str] | None = None
    asked: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @classmethod
    def of(cls, bundle: Bundle | None) -> Outcome:
        if bundle is None:
            return cls()
        return cls(
            [row for batch in bundle.batches for row in batch],
            bundle.unparsed,
            bundle.ended,
            bundle.up,
            bundle.down,
            bundle.asked,
            bundle.dropped,
        )

    def only(self, kind: type[E]) -> list[E]:
        return [row for row in self.rows if isinstance(row, kind)]

    @property
    def gaps(self) -> list[Gap]:
        return self.only(Gap)


class Drive:
    """A core and its books on one connection. Every read comes `step` after the last.

    `specs` are asked for of each symbol, `whole` of the whole market. `books=False` leaves the
    books out: then events are as the core made them.
    """

    def __init__(
        self,
        rules: MarketRules,
        specs: Iterable[str] = (),
        symbols: Sequence[str] = ("BTCUSDT",),
        *,
        whole: Iterable[str] = (),
        numbers: NumberMode = NumberMode.FLOAT,
        discover: bool = False,
        books: bool = True,
        **options: Any,
    ) -> None:
        self.rules = rules
        streams = [rules.streams.stream(symbol, spec) for spec in specs for symbol in symbols]
        streams += [rules.streams.market_stream(spec) for spec in whole]
        self.session = make_session(
            rules, streams, connection="c", numbers=numbers, discover=discover, **options
        )
        self.keeper: Any = None
        if books:
            self.keeper = BookKeeper(
                lambda: [status.stream for status in self.session.statuses.values()],
                self.session.resync,
                numbers,
                paced=False,
            )
        self.commands: list[Command] = []
        self.step = SECOND
        self.epoch, self.time, self.now, self.ordinal, self.serial = 0, T0, 0.0, 0, 0

    def stream(self, spec: str, symbol: str = "BTCUSDT") -> Stream:
        return self.session.statuses[self.rules.streams.stream(symbol, spec).name].stream

    def status(self, spec: str, symbol: str = "BTCUSDT") -> Any:
        return self.session.statuses[self.stream(spec, symbol).name]

    def book(self, spec: str = "book", symbol: str = "BTCUSDT") -> Any:
        wanted = self.rules.streams.stream(symbol, spec)
        return next(book for book in self.keeper.books if book.stream == wanted)

    # ------------------------------------------------------------------------------------- inputs
    def give(self, item: Input) -> Outcome:
        self.serial += 1
        item.serial = self.serial
        bundle = self.session.handle(item)
        if bundle is not None and self.keeper is not None:
            bundle = self.keeper.take(bundle)
        self.commands += self.session.take_commands()
        return Outcome.of(bundle)

    def open(self, *, answered: bool = True) -> Outcome:
        """A new epoch; `answered`: and everything asked for is granted."""
        self.epoch += 1
        self.ordinal = 0
        self.time += self.step
        self.give(Opened(self.epoch, self.time, self.now))
        return self.answer_all() if answered else Outcome()

    def read(self, *frames: bytes) -> Outcome:
        """One socket read."""
        self.time += self.step
        first, self.ordinal = self.ordinal, self.ordinal + len(frames)
        size = sum(map(len, frames))
        return self.give(Frames(self.epoch, self.time, first, list(frames), size))

    def snapshot(self, body: bytes, spec: str = "book", symbol: str = "BTCUSDT") -> Outcome:
        self.time += self.step
        self.ordinal += 1
        stream = self.rules.streams.stream(symbol, spec)
        return self.give(
            SnapshotReply(self.epoch, self.time, self.ordinal - 1, stream, body, len(body))
        )

    def asked(self, spec: str = "book", symbol: str = "BTCUSDT") -> Outcome:
        """The request for this book's snapshot goes out now."""
        stream = self.rules.streams.stream(symbol, spec)
        return self.give(SnapshotAsked(self.epoch, self.time, stream))

    def subscribe(self, spec: str, *symbols: str) -> Outcome:
        streams = [self.rules.streams.stream(symbol, spec) for symbol in symbols]
        return self.give(Subscribe(self.time, streams, self.epoch))

    def unsubscribe(self, spec: str, *symbols: str) -> Outcome:
        streams = [self.rules.streams.stream(symbol, spec) for symbol in symbols]
        return self.give(Unsubscribe(self.time, streams, self.epoch))

    def tick(self, seconds: float) -> Outcome:
        self.now += seconds
        self.time += int(seconds * SECOND)
        return self.give(Tick(self.epoch, self.time, self.now))

    def close(self, *, intended: bool = False) -> Outcome:
        self.time += self.step
        return self.give(Closed(self.epoch, self.time, "reset by peer", intended))

    def lose(self, frames: int, *, quarantined: bool = False) -> Outcome:
        start = self.time
        self.time += self.step
        return self.give(Lost(self.epoch, frames, start, self.time, "a>b", quarantined))

    def finish(self) -> Outcome:
        self.time += self.step
        return self.give(Finished(self.time))

    # ----------------------------------------------------------------------------------- commands
    def sent(self) -> list[dict[str, Any]]:
        """The texts that were to be sent, read as JSON."""
        return [json.loads(command.text) for command in self._taken(SendText)]

    def fetches(self) -> list[FetchSnapshot]:
        return self._taken(FetchSnapshot)

    def reconnects(self) -> list[Reconnect]:
        return self._taken(Reconnect)

    def rotations(self) -> list[Rotate]:
        return self._taken(Rotate)

    def _taken(self, kind: type[E]) -> list[E]:
        found = [command for command in self.commands if isinstance(command, kind)]
        self.commands = [command for command in self.commands if not isinstance(command, kind)]
        return found

    def answer_all(self) -> Outcome:
        """The venue grants every request that was sent, in one read."""
        replies = [self.granted(request) for request in self.sent() if names_in(request)]
        return self.read(*replies) if replies else Outcome()

    def granted(self, request: dict[str, Any]) -> bytes:
        return self.answer(request, ())

    def refused(self, request: dict[str, Any], why: str = "no such stream") -> bytes:
        return self.answer(request, names_in(request), why)

    def answer(
        self, request: dict[str, Any], bad: Iterable[str], why: str = "no such stream"
    ) -> bytes:
        """The venue's answer: one `bad` name refuses the request, or itself alone on options."""
        wrong = [name for name in names_in(request) if name in set(bad)]
        if self.rules is BYBIT_OPTION:
            return option_reply([n for n in names_in(request) if n not in wrong], wrong)
        if self.rules.exchange is Exchange.BYBIT:
            op = request["op"]
            return bybit_reply(request["req_id"], op, success=not wrong, why=why if wrong else "")
        if wrong:
            return text({"error": {"code": 2, "msg": why}, "id": request["id"]})
        return text({"result": None, "id": request["id"]})


def as_read(event: Any) -> dict[str, Any]:
    """The fields of an event, book levels as pairs."""
    fields = {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}
    for side in ("bid_levels", "ask_levels"):
        if side in fields:
            fields[side] = [(level.price, level.quantity) for level in fields[side]]
    return fields


def check_events(
    events: Iterable[Any],
    readings: Iterable[tuple[type, dict[str, Any]]],
    *,
    time: int,
    ordinal: int,
) -> None:
    """The events of one frame are what an independent reading says: each kind's, in order."""
    place = {"receive_time": time, "ordinal": ordinal}
    assert by_kind((type(e), as_read(e)) for e in events) == by_kind(
        (kind, fields | place) for kind, fields in readings
    )


def by_kind(pairs: Iterable[tuple[type, Any]]) -> dict[type, list[Any]]:
    found: dict[type, list[Any]] = {}
    for kind, value in pairs:
        found.setdefault(kind, []).append(value)
    return found


def check_numbers(event: Any, mode: NumberMode) -> None:
    """Every number of `event` is of its mode: 0.5 and Decimal("0.5") are equal, and not the same"""
    wanted = number_of(mode)
    for column in column_types(type(event)):
        value = getattr(event, column.name)
        if column.kind is ColumnKind.LEVELS:
            assert all(type(n) is wanted for x in value for n in (x.price, x.quantity))
        elif column.kind is ColumnKind.NUMBER and value is not None:
            assert type(value) is wanted, column.name


def number_of(mode: NumberMode) -> type[float | Decimal]:
    """What makes a number of this mode from text, without the code under test."""
    return float if mode is NumberMode.FLOAT else Decimal


def trade_text(rules: MarketRules, trade_id: int = 1, symbol: str = "BTCUSDT") -> bytes:
    """A message with one trade, as this market sends it."""
    if rules.exchange is Exchange.BYBIT:
        return bybit_trades(str(trade_id), symbol=symbol)
    if rules is BINANCE_SPOT:
        return binance_trade(trade_id, symbol)
    return binance_trade(trade_id, symbol, X="MARKET")


def names_in(request: dict[str, Any]) -> list[str]:
    """The streams that a request names; none for a ping."""
    return list(request.get("params", request.get("args", [])))


def id_of(request: dict[str, Any]) -> str:
    return str(request.get("id", request.get("req_id")))


def text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


# ------------------------------------------------------------------------------------ Binance text
def combined(stream: str, data: Any) -> bytes:
    return text({"stream": stream, "data": data})


def binance_trade(trade_id: int, symbol: str = "BTCUSDT", **changes: Any) -> bytes:
    data = {"e": "trade", "E": 1790000000123, "s": symbol, "t": trade_id, "p": "61685.99000000"}
    data |= {"q": "0.00105000", "T": 1790000000122, "m": True, "M": True} | changes
    return combined(f"{symbol.lower()}@trade", data)


def binance_diff(
    first: int, last: int, bids: Any = (), asks: Any = (), symbol: str = "BTCUSDT"
) -> bytes:
    data = {"e": "depthUpdate", "E": 1790000000200, "s": symbol, "U": first, "u": last}
    return combined(f"{symbol.lower()}@depth@100ms", data | {"b": bids, "a": asks})


def binance_quote(update_id: int, bid: Any, ask: Any, symbol: str = "BTCUSDT") -> bytes:
    data = {"u": update_id, "s": symbol, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
    return combined(f"{symbol.lower()}@bookTicker", data)


def depth_body(last: int, bids: Any = (), asks: Any = ()) -> bytes:
    """A REST depth answer, and the payload of a partial book."""
    return text({"lastUpdateId": last, "bids": bids, "asks": asks})


def binance_partial(last: int, bids: Any, asks: Any, symbol: str = "BTCUSDT") -> bytes:
    return combined(f"{symbol.lower()}@depth20@100ms", json.loads(depth_body(last, bids, asks)))


# -------------------------------------------------------------------------------------- Bybit text
def bybit_reply(
    req_id: str, op: str = "subscribe", *, success: bool = True, why: str = ""
) -> bytes:
    return text({"success": success, "ret_msg": why, "conn_id": "x", "req_id": req_id, "op": op})


def option_reply(granted: Sequence[str] = (), refused: Sequence[str] = ()) -> bytes:
    """On options a reply names topics and no request."""
    topics = {"failTopics": list(refused), "successTopics": list(granted)}
    return text({"success": True, "conn_id": "x", "data": topics, "type": "COMMAND_RESP"})


def bybit_trades(*ids: str, symbol: str = "BTCUSDT", **changes: Any) -> bytes:
    row = {"T": 1790000000122, "s": symbol, "S": "Buy", "v": "0.105", "p": "65114.30"}
    row |= {"L": "PlusTick", "BT": False, "RPI": False, "seq": 812_000_000_001} | changes
    data = [row | {"i": trade_id} for trade_id in ids]
    message = {"topic": f"publicTrade.{symbol}", "type": "snapshot", "ts": 1790000000123}
    return text(message | {"data": data})


def bybit_book(
    kind: str,
    update_id: int,
    bids: Any = (),
    asks: Any = (),
    *,
    depth: int = 200,
    symbol: str = "BTCUSDT",
    seq: int | None = None,
) -> bytes:
    data = {"s": symbol, "b": bids, "a": asks, "u": update_id}
    data["seq"] = update_id * 10 if seq is None else seq
    message = {"topic": f"orderbook.{depth}.{symbol}", "type": kind, "ts": 1790000000123}
    return text(message | {"data": data, "cts": 1790000000120})
