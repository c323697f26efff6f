"""Streams: how the user's words (``kline:1m``) and a venue's names (``btcusdt@kline_1m``) meet.

What a market offers is data: a table of :class:`StreamTemplate`, from which names are made and by
which names are recognised again (a recording says nothing but names).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum

import attrs

from farm.types import DataType, Exchange, Market, Symbol, TimeFrame

__all__ = ["BookProcedure", "Stream", "StreamTable", "StreamTemplate"]


class BookProcedure(Enum):
    """How the updates of a book stream become a book (see :mod:`farm.books.sync`)."""

    SNAPSHOT_BY_REST = "snapshot_by_rest"
    SNAPSHOT_IN_STREAM = "snapshot_in_stream"
    WHOLE_EVERY_TIME = "whole_every_time"


@attrs.frozen
class Stream:
    """One topic of a venue.

    ``name`` is the venue's (``btcusdt@kline_1m``), ``spec`` the user's (``kline:1m``) with the
    depth written out (Bybit's ``book`` is ``book:200``), ``depth`` the levels a side of a book
    stream (None: all), ``interval`` that of a kline stream.
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

    @property
    def feed(self) -> str:
        """What a user sees of it: ``binance/spot/BTCUSDT/kline:1m``."""
        return f"{self.exchange.value}/{self.market.value}/{self.symbol}/{self.spec}"

    @property
    def shows_holes(self) -> bool:
        """Whether the ids of a book show what is missing, so that its gap is made there."""
        return self.procedure in (
            BookProcedure.SNAPSHOT_BY_REST,
            BookProcedure.SNAPSHOT_IN_STREAM,
        )


@attrs.frozen
class StreamTemplate:
    """One family of streams of a market.

    ``spec`` is the user's word, with ``:`` where a detail follows (``kline:``); ``name`` the
    venue's pattern with ``{symbol}`` and ``{detail}``; ``details`` maps the user's details to the
    venue's.
    """

    data_type: DataType
    spec: str
    name: str
    details: Mapping[str, str] = attrs.field(factory=dict)
    depth: int | None = None
    procedure: BookProcedure | None = None


class StreamTable:
    """All streams of one market, by the user's words and by the venue's names."""

    def __init__(
        self,
        exchange: Exchange,
        market: Market,
        templates: Iterable[StreamTemplate],
        *,
        lower_case: bool,
    ) -> None:
        self._exchange = exchange
        self._market = market
        self._lower_case = lower_case  # Binance names streams in lower case, payloads in upper
        self._by_spec: dict[str, tuple[StreamTemplate, str]] = {}
        for template in templates:
            if template.spec.endswith(":"):
                for detail in template.details:
                    self._by_spec[template.spec + detail] = (template, detail)
            else:
                self._by_spec[template.spec] = (template, "")
        self._patterns = [
            (re.compile(self._pattern(template, detail)), template, detail)
            for template, detail in self._by_spec.values()
        ]

    @property
    def specs(self) -> list[str]:
        """Every stream the market offers, in the user's words."""
        return list(self._by_spec)

    def stream(self, symbol: Symbol, spec: str) -> Stream:
        """The stream of `symbol` that `spec` means; KeyError where the market has none such."""
        template, detail = self._by_spec[spec]
        return self._make(template, detail, symbol)

    def recognise(self, name: str) -> Stream | None:
        """The stream that a venue's name means, or None."""
        for pattern, template, detail in self._patterns:
            match = pattern.fullmatch(name)
            if match:
                symbol = match["symbol"]
                return self._make(template, detail, _upper(symbol) if self._lower_case else symbol)
        return None

    def _make(self, template: StreamTemplate, detail: str, symbol: Symbol) -> Stream:
        is_book, is_kline = template.data_type is DataType.BOOK, template.spec == "kline:"
        named = _lower(symbol) if self._lower_case else symbol
        depth = int(detail) if is_book and detail else template.depth
        return Stream(
            exchange=self._exchange,
            market=self._market,
            symbol=symbol,
            data_type=template.data_type,
            spec=f"book:{depth}" if is_book and depth is not None else template.spec + detail,
            name=template.name.format(symbol=named, detail=template.details.get(detail, "")),
            depth=depth,
            interval=TimeFrame(detail) if is_kline else None,
            procedure=template.procedure,
        )

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
