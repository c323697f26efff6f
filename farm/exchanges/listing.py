"""How the listing of any venue is read: an envelope of entries, and the terms that each states.

What a venue's own words mean stands in its ``listing.py``, as a :class:`ListingFormat`. Entries are
decoded one by one, so that a malformed one costs no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import attrs
import msgspec

from farm.entities import Instrument
from farm.exchanges.numbers import MS, Millis, number_type
from farm.exchanges.rules import MarketRules
from farm.types import Nanoseconds, Number, NumberMode, Symbol

__all__ = ["Amount", "Envelope", "ListingFormat", "ListingPage", "Moment", "Terms", "read_page"]

Amount: TypeAlias = str | int | float | None
"""A number as it stands in a listing; blank text is none."""

Moment: TypeAlias = str | int | None
"""Milliseconds since the epoch as they stand in a listing; blank text and 0 are none."""

_LARGEST = Decimal("1e300")  # as of all other numbers: see farm.exchanges.numbers


@attrs.frozen
class Terms:
    """What an entry says of its symbol, in the venue's own texts. Blank text stands for nothing."""

    symbol: Symbol
    base: str
    quote: str
    status: str | None
    trading: bool
    settle: str | None = None
    pair: str | None = None
    contract_type: str | None = None
    tick_size: Amount = None
    lot_size: Amount = None
    min_quantity: Amount = None
    min_notional: Amount = None
    contract_size: Amount = None
    launch_time: Moment = None
    delivery_time: Moment = None


@attrs.frozen
class Envelope:
    """An answer with its entries not yet decoded. ``time`` is the venue's clock when it answered,
    ``next_cursor`` asks for the page that follows."""

    entries: Sequence[msgspec.Raw]
    time: Moment = None
    next_cursor: str | None = None


@attrs.frozen
class ListingFormat:
    """How a venue writes listings. Both raise ValueError (msgspec's included) for what they can't
    read; ``open`` also where the answer says that the request failed."""

    open: Callable[[bytes], Envelope]
    terms: Callable[[msgspec.Raw], Terms]


@attrs.define
class ListingPage:
    """One answer's instruments. ``malformed`` says of each entry that was skipped which symbol it
    is and why; ``unread`` holds those symbols, where the entry has one."""

    instruments: list[Instrument]
    next_cursor: str | None = None
    malformed: list[str] = attrs.field(factory=list)
    unread: list[Symbol] = attrs.field(factory=list)


class _Named(msgspec.Struct):
    symbol: str


_NAMES = msgspec.json.Decoder(_Named)


def read_page(
    form: ListingFormat,
    rules: MarketRules,
    body: bytes,
    time: Nanoseconds,
    numbers: NumberMode,
    ordinal: int,
) -> ListingPage:
    """The instruments in an answer that came at `time`; ValueError where it is no listing."""
    try:
        envelope = form.open(body)
    except RecursionError as error:
        raise ValueError(f"nested too deeply: {error}") from error
    stated = _moment("time", envelope.time)
    page = ListingPage([], envelope.next_cursor)
    for row, raw in enumerate(envelope.entries):
        try:
            terms = form.terms(raw)
            page.instruments.append(_instrument(rules, terms, numbers, time, stated, ordinal, row))
        except (ValueError, RecursionError) as error:
            symbol = _name(raw)
            if symbol:
                page.unread.append(symbol)
            page.malformed.append(f"{symbol or f'entry {row}'}: {error}")
    return page


def _instrument(
    rules: MarketRules,
    terms: Terms,
    numbers: NumberMode,
    time: Nanoseconds,
    stated: Nanoseconds | None,
    ordinal: int,
    row: int,
) -> Instrument:
    def amount(name: str) -> Number | None:
        return _amount(name, getattr(terms, name), numbers)

    def step(name: str) -> Number | None:
        # A step of 0 switches the rule off (binance-spot-api-docs, filters.md): there is none.
        return amount(name) or None

    return Instrument(
        exchange=rules.exchange,
        market=rules.market,
        symbol=_word("symbol", terms.symbol),
        base=_word("base", terms.base),
        quote=_word("quote", terms.quote),
        settle=terms.settle or None,
        pair=terms.pair or None,
        contract_type=terms.contract_type or None,
        status=_word("status", terms.status),
        trading=terms.trading,
        tick_size=step("tick_size"),
        lot_size=step("lot_size"),
        min_quantity=amount("min_quantity"),
        min_notional=amount("min_notional"),
        contract_size=amount("contract_size"),
        launch_time=_moment("launch_time", terms.launch_time),
        delivery_time=_moment("delivery_time", terms.delivery_time),
        valid_from=time,
        exchange_time=stated,
        event_time=None,
        receive_time=time,
        ordinal=ordinal,
        row=row,
    )


def _name(raw: msgspec.Raw) -> Symbol | None:
    """The symbol of an entry that can't be read otherwise."""
    try:
        return _NAMES.decode(raw).symbol
    except (ValueError, RecursionError):
        return None


def _word(name: str, text: str | None) -> str:
    if not text:
        raise ValueError(f"{name} is blank")
    return text


def _amount(name: str, stated: Amount, numbers: NumberMode) -> Number | None:
    if stated is None or stated == "":
        return None
    value: Any
    try:
        value = msgspec.convert(stated, number_type(numbers), strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name} is {stated!r}: {error}") from error
    # msgspec bounds floats, but not Decimals.
    exact = numbers is NumberMode.DECIMAL
    if exact and not (value.is_finite() and 0 <= value <= _LARGEST):
        raise ValueError(f"{name} is {stated!r}, not a number that it can have")
    number: Number = value
    return number


def _moment(name: str, stated: Moment) -> Nanoseconds | None:
    if stated is None or stated == "":
        return None
    try:
        return msgspec.convert(stated, Millis, strict=False) * MS or None
    except msgspec.ValidationError as error:
        raise ValueError(f"{name} is {stated!r}: {error}") from error
