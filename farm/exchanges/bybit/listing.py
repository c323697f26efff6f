"""Bybit's ``instruments-info`` as typed structs, and the way from each entry to its terms.

Sources: github.com/bybit-exchange/docs, ``v5/market/instrument.mdx`` (fields; derivatives come in
pages; without ``status`` only instruments that trade are listed, options also before and after) and
``v5/enum.mdx`` (``status``, ``curAuctionPhase``).
"""

from __future__ import annotations

import msgspec

from farm.exchanges.listing import Amount, Envelope, ListingFormat, Moment, Terms

__all__ = ["LISTING"]


class PriceFilterWire(msgspec.Struct, rename="camel", gc=False):
    """The steps of prices."""

    tick_size: Amount = None


class LotSizeFilterWire(msgspec.Struct, rename="camel", gc=False):
    """The steps of quantities: derivatives write ``qtyStep`` and ``minNotionalValue``, spot
    ``basePrecision`` and ``minOrderAmt``."""

    qty_step: Amount = None
    base_precision: Amount = None
    min_order_qty: Amount = None
    min_notional_value: Amount = None
    min_order_amt: Amount = None


class PreListingWire(msgspec.Struct, rename="camel", gc=False):
    """How far a contract has come that is not launched yet."""

    cur_auction_phase: str | None = None


class InstrumentWire(msgspec.Struct, rename="camel", gc=False):
    """An entry of ``list``, of any category."""

    symbol: str
    base_coin: str
    quote_coin: str
    status: str
    price_filter: PriceFilterWire
    lot_size_filter: LotSizeFilterWire
    contract_type: str | None = None
    options_type: str | None = None
    settle_coin: str | None = None
    launch_time: Moment = None
    delivery_time: Moment = None
    pre_listing_info: PreListingWire | None = None

    @property
    def trading(self) -> bool:
        """Whether book and trades are sent: before the launch in the last auction phase only."""
        if self.status == "PreLaunch" and self.pre_listing_info is not None:
            return self.pre_listing_info.cur_auction_phase == "ContinuousTrading"
        return self.status == "Trading"


class ResultWire(msgspec.Struct, rename="camel", gc=False):
    """A page; spot knows no cursor, and the last page has a blank one."""

    entries: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.field(
        default=msgspec.UNSET, name="list"
    )
    next_page_cursor: str | None = None


class ReplyWire(msgspec.Struct, rename="camel", gc=False):
    """Any answer of v5. A request that failed is answered with HTTP 200 and an empty result."""

    ret_code: int
    ret_msg: str = ""
    result: ResultWire | None = None
    time: Moment = None


_REPLY = msgspec.json.Decoder(ReplyWire)
_INSTRUMENT = msgspec.json.Decoder(InstrumentWire)


def _open(body: bytes) -> Envelope:
    wire = _REPLY.decode(body)
    if wire.ret_code != 0:
        raise ValueError(f"retCode {wire.ret_code}: {wire.ret_msg}")
    if wire.result is None or wire.result.entries is msgspec.UNSET:
        raise ValueError("the answer holds no list")
    return Envelope(wire.result.entries or [], wire.time, wire.result.next_page_cursor or None)


def _terms(raw: msgspec.Raw) -> Terms:
    wire = _INSTRUMENT.decode(raw)
    lots = wire.lot_size_filter
    return Terms(
        symbol=wire.symbol,
        base=wire.base_coin,
        quote=wire.quote_coin,
        settle=wire.settle_coin,
        contract_type=wire.contract_type or wire.options_type,
        status=wire.status,
        trading=wire.trading,
        tick_size=wire.price_filter.tick_size,
        lot_size=lots.qty_step or lots.base_precision,
        min_quantity=lots.min_order_qty,
        min_notional=lots.min_notional_value or lots.min_order_amt,
        launch_time=wire.launch_time,
        delivery_time=wire.delivery_time,
    )


LISTING = ListingFormat(_open, _terms)
"""How Bybit writes listings, in every category."""
