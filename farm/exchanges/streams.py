"""Streams: how the user's words (``kline:1m``) and a venue's names (``btcusdt@kline_1m``) meet.

What a market offers is data: a table of :class:`StreamTemplate`, from which names are made and by
which names are recognised again (a recording says nothing but names).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cached_property

import attrs

from farm.types import DataType, Exchange, Market, Symbol, TimeFrame

__all__ = [
    "ANY_SYMBOL",
    "REST_ROUTE",
    "BookProcedure",
    "Proof",
    "Scope",
    "Stream",
    "StreamTable",
    "StreamTemplate",
]

ANY_SYMBOL = "*"
"""The symbol of streams that carry a whole market."""

REST_ROUTE = "rest"
"""The route of feeds that are polled: they go over no socket."""


class BookProcedure(Enum):
    """How the updates of a book stream become a book (see :mod:`farm.books.sync`).

    DIFFS_BY_FIRST_ID: Binance spot, ``U == previous u + 1``; DIFFS_BY_PREVIOUS_ID: Binance
    futures, ``pu == previous u``; FULL_BY_REST: Bybit's full book; these three need a snapshot by
    REST. SNAPSHOT_IN_STREAM: Bybit's other books. WHOLE_EVERY_TIME: partial books.
    """

    DIFFS_BY_FIRST_ID = "diffs_by_first_id"
    DIFFS_BY_PREVIOUS_ID = "diffs_by_previous_id"
    FULL_BY_REST = "full_by_rest"
    SNAPSHOT_IN_STREAM = "snapshot_in_stream"
    WHOLE_EVERY_TIME = "whole_every_time"

    @property
    def needs_rest(self) -> bool:
        """Whether the book begins with a snapshot that is fetched by REST."""
        return self in _BY_REST


_BY_REST = frozenset(
    {
        BookProcedure.DIFFS_BY_FIRST_ID,
        BookProcedure.DIFFS_BY_PREVIOUS_ID,
        BookProcedure.FULL_BY_REST,
    }
)


class Proof(Enum):
    """What can be proven about a feed; the value says it to a user, ``label`` in a word."""

    TRADE_IDS = "ids step by one: a missing trade is known by its id"
    AGG_IDS = "ids step by one, and so do their trades': what is missing is known by its id"
    DIFF_CHAIN = "each diff adjoins the one before, and quotes of the same id are compared"
    STEP_CHAIN = "update ids step by one (measured, not promised)"
    SNAPSHOT_CHAIN = "update ids step by one, from a snapshot by REST (documented)"
    WHOLE = "each message is a whole book; whether one is missing cannot be told"
    LATEST = "each message is the newest state; whether one is missing cannot be told"
    LOSSY = "nothing: the venue itself sends at most one a symbol and second"
    NOTHING = "nothing: no ids that step; only breaks and silence are seen"

    @property
    def label(self) -> str:
        """``ids``, ``chain`` and so on."""
        return _PROOF_LABELS[self]


_PROOF_LABELS = {
    Proof.TRADE_IDS: "ids",
    Proof.AGG_IDS: "ids",
    Proof.DIFF_CHAIN: "chain",
    Proof.STEP_CHAIN: "steps",
    Proof.SNAPSHOT_CHAIN: "steps",
    Proof.WHOLE: "whole",
    Proof.LATEST: "latest",
    Proof.LOSSY: "lossy",
    Proof.NOTHING: "none",
}


class Scope(Enum):
    """How much a stream covers: one symbol, all options on a base coin, or a whole market."""

    SYMBOL = "symbol"
    BASE = "base"
    MARKET = "market"


@attrs.frozen
class Stream:
    """One topic of a venue.

    ``name`` is the venue's (``btcusdt@kline_1m``), ``spec`` the feed's kind (``kline:1m``) with the
    depth written out (Bybit's ``book`` is ``book:200``) and the speed left out: two speeds of one
    book are one feed. ``depth`` is the levels a side of a book stream (None: all), ``interval``
    and ``contract_type`` are of kline streams. ``symbol`` is the base coin for ``Scope.BASE`` and
    ``*`` for ``Scope.MARKET``: there each row names its own. ``route`` says which path of the venue
    carries it. ``also`` are kinds that come out of it besides its own. ``every``: seconds within
    which the venue promises a message, if it does; ``sparse``: it may rightly be silent for long.
    """

    exchange: Exchange
    market: Market
    symbol: Symbol
    data_type: DataType
    spec: str
    name: str
    depth: int | None = None
    interval: TimeFrame | None = None
    procedure: BookProcedure | None = None
    contract_type: str | None = None
    route: str = ""
    scope: Scope = Scope.SYMBOL
    proof: Proof = Proof.NOTHING
    also: tuple[DataType, ...] = ()
    every: float | None = None
    sparse: bool = False

    @cached_property
    def feed(self) -> str:
        """What a user sees of it: ``binance/spot/BTCUSDT/kline:1m``."""
        return self._feed(self.spec)

    @cached_property
    def feeds(self) -> tuple[str, ...]:
        """Every feed that it carries: its own, then those of ``also``."""
        return (self.feed, *(self._feed(kind.value) for kind in self.also))

    def carries(self, symbol: Symbol) -> bool:
        """Whether events of `symbol` may come on it."""
        if self.scope is Scope.SYMBOL:
            return symbol == self.symbol
        return self.scope is Scope.MARKET or symbol.partition("-")[0] == self.symbol

    def gives(self, kind: DataType) -> bool:
        """Whether events of `kind` come out of it."""
        return kind is self.data_type or kind in self.also

    @property
    def shows_holes(self) -> bool:
        """Whether the ids of a book show what is missing, so that its gap is made there."""
        return self.procedure not in (None, BookProcedure.WHOLE_EVERY_TIME)

    def _feed(self, spec: str) -> str:
        return f"{self.exchange.value}/{self.market.value}/{self.symbol}/{spec}"


@attrs.frozen
class StreamTemplate:
    """One family of streams of a market.

    ``spec`` is the user's word, ending with ``:`` or ``@`` where a detail follows (``kline:``,
    ``book@``); ``name`` the venue's pattern with ``{symbol}`` and ``{detail}``; ``details`` maps
    the user's details to the venue's. A book's detail begins with its depth, a candle's ends with
    its interval. The rest as in :class:`Stream`.
    """

    data_type: DataType
    spec: str
    name: str
    details: Mapping[str, str] = attrs.field(factory=dict)
    depth: int | None = None
    procedure: BookProcedure | None = None
    route: str = ""
    scope: Scope = Scope.SYMBOL
    proof: Proof = Proof.NOTHING
    also: tuple[DataType, ...] = ()
    every: float | None = None
    sparse: bool = False

    @property
    def specs(self) -> dict[str, str]:
        """Every word for it, with the detail in it."""
        if self.spec[-1] not in ":@":
            return {self.spec: ""}
        return {self.spec + detail: detail for detail in self.details}

    def make(
        self, exchange: Exchange, market: Market, symbol: Symbol, named: str, detail: str
    ) -> Stream:
        """The stream of `symbol`, which the venue calls `named`."""
        depth, interval, contract_type = self.depth, None, None
        spec = self.spec.removesuffix("@")
        if self.data_type is DataType.BOOK:
            head = detail.partition("@")[0]
            if self.spec == "book:" and head.isdecimal():
                depth = int(head)
            spec = "book" if depth is None else f"book:{depth}"
        elif self.data_type in (DataType.KLINE, DataType.CONTINUOUS_KLINE):
            contract_type, _, frame = detail.rpartition(":")
            interval = TimeFrame(frame)
            spec += detail
        return Stream(
            exchange=exchange,
            market=market,
            symbol=symbol,
            data_type=self.data_type,
            spec=spec,
            name=self.name.format(symbol=named, detail=self.details.get(detail, "")),
            depth=depth,
            interval=interval,
            procedure=self.procedure,
            contract_type=contract_type or None,
            route=self.route,
            scope=self.scope,
            proof=self.proof,
            also=self.also,
            every=self.every,
            sparse=self.sparse,
        )


class StreamTable:
    """All streams of one market, by the user's words and by the venue's names.

    Streams of a whole market have words of their own list: ``mark_price`` is the stream of a
    symbol in the one, and of all symbols in the other.
    """

    def __init__(
        self,
        exchange: Exchange,
        market: Market,
        templates: Iterable[StreamTemplate],
        *,
        lower_case: bool,
    ) -> None:
        self.templates = tuple(templates)
        self._exchange = exchange
        self._market = market
        self._lower_case = lower_case  # Binance names streams in lower case, payloads in upper
        self._by_spec: dict[str, tuple[StreamTemplate, str]] = {}
        self._of_market: dict[str, tuple[StreamTemplate, str]] = {}
        for template in self.templates:
            table = self._of_market if template.scope is Scope.MARKET else self._by_spec
            table |= {spec: (template, detail) for spec, detail in template.specs.items()}
        self._patterns = [
            (re.compile(self._pattern(template, detail)), template, detail)
            for template, detail in (*self._of_market.values(), *self._by_spec.values())
        ]

    @property
    def specs(self) -> list[str]:
        """Every stream of a symbol that the market offers, in the user's words."""
        return list(self._by_spec)

    @property
    def market_specs(self) -> list[str]:
        """Every stream of the whole market that it offers, in the user's words."""
        return list(self._of_market)

    def stream(self, symbol: Symbol, spec: str) -> Stream:
        """The stream of `symbol` that `spec` means; KeyError where the market has none such.

        Trades of an option are those of its base coin, continuous candles of a contract those of
        its pair.
        """
        template, detail = self._by_spec[spec]
        if template.scope is Scope.BASE:
            symbol = symbol.partition("-")[0]
        elif template.data_type is DataType.CONTINUOUS_KLINE:
            symbol = symbol.partition("_")[0]  # the pair of BTCUSD_PERP is BTCUSD
        return self._make(template, detail, symbol)

    def market_stream(self, spec: str) -> Stream:
        """The stream of the whole market that `spec` means; KeyError where there is none such."""
        template, detail = self._of_market[spec]
        return self._make(template, detail, ANY_SYMBOL)

    def recognise(self, name: str) -> Stream | None:
        """The stream that a venue's name means, or None."""
        for pattern, template, detail in self._patterns:
            match = pattern.fullmatch(name)
            if match:
                symbol = match.groupdict().get("symbol", ANY_SYMBOL)
                return self._make(template, detail, _upper(symbol) if self._lower_case else symbol)
        return None

    def _make(self, template: StreamTemplate, detail: str, symbol: Symbol) -> Stream:
        named = _lower(symbol) if self._lower_case else symbol
        return template.make(self._exchange, self._market, symbol, named, detail)

    @staticmethod
    def _pattern(template: StreamTemplate, detail: str) -> str:
        text = re.escape(template.name)
        text = text.replace(re.escape("{symbol}"), "(?P<symbol>.+)")
        return text.replace(re.escape("{detail}"), re.escape(template.details.get(detail, "")))


def _lower(symbol: Symbol) -> str:
    """Lower case in ASCII only: that is what the venue does with names in other scripts."""
    return "".join(c.lower() if c.isascii() else c for c in symbol)


def _upper(symbol: str) -> Symbol:
    return "".join(c.upper() if c.isascii() else c for c in symbol)
