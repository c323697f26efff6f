"""A book kept from venue text by other means than the code under test: a dict a side, and max()."""

from __future__ import annotations

import json
from decimal import Decimal

from farm.entities import OrderBook

Rows = list[list[str]]
Top = tuple[Decimal, Decimal] | None


class TextBook:
    """Levels by price, exact."""

    def __init__(self, bids: Rows = [], asks: Rows = []) -> None:  # noqa: B006 (never changed)
        self.bids: dict[Decimal, str] = {}
        self.asks: dict[Decimal, str] = {}
        self.apply(bids, asks)

    def apply(self, bids: Rows, asks: Rows) -> None:
        for side, rows in ((self.bids, bids), (self.asks, asks)):
            for price, quantity in rows:
                side[Decimal(price)] = quantity
                if not Decimal(quantity):
                    del side[Decimal(price)]

    def rows(self) -> tuple[Rows, Rows]:
        """Bids and asks as text, best first."""
        bids = [[str(price), self.bids[price]] for price in sorted(self.bids, reverse=True)]
        return bids, [[str(price), self.asks[price]] for price in sorted(self.asks)]

    def depth_body(self, last_id: int) -> bytes:
        """A Binance REST answer."""
        bids, asks = self.rows()
        return json.dumps({"lastUpdateId": last_id, "bids": bids, "asks": asks}).encode()

    def top(self) -> tuple[Top, Top]:
        bid, ask = max(self.bids, default=None), min(self.asks, default=None)
        return (
            None if bid is None else (bid, Decimal(self.bids[bid])),
            None if ask is None else (ask, Decimal(self.asks[ask])),
        )

    def is_shown_by(self, book: OrderBook, number: type[float | Decimal]) -> bool:
        """Whether `book` has these levels and no others, best first."""
        return all(
            [(level.price, level.quantity) for level in shown]
            == [(number(price), number(quantity)) for price, quantity in rows]
            for shown, rows in zip((book.bids, book.asks), self.rows(), strict=True)
        )
