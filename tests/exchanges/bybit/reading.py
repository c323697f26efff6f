"""A second reading of Bybit's text: which events a message means, field by field.

Written from the documents, with `json` alone: nothing here knows of the parsers or their schemas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from farm.entities import (
    BookUpdate,
    Kline,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Ticker,
    Trade,
)
from farm.types import BookVerdict, Exchange, Market, Side, TimeFrame

MS = 1_000_000
SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
ORDER_SIDES = {"Buy": Side.SELL, "Sell": Side.BUY}  # Buy: a long was closed, by an order that sold
FRAMES = {
    "1": "1m",
    "3": "3m",
    "5": "5m",
    "15": "15m",
    "30": "30m",
    "60": "1h",
    "120": "2h",
    "240": "4h",
    "360": "6h",
    "720": "12h",
    "D": "1d",
    "W": "1w",
    "M": "1M",
}

Number: TypeAlias = Callable[[str], Any]
Reading: TypeAlias = tuple[type, dict[str, Any]]


class Reader:
    """Reads the messages of one connection; it remembers the tickers that changes are made to."""

    def __init__(self, market: Market, number: Number) -> None:
        self.market = market
        self.number = number
        self.tickers: dict[str, dict[str, str]] = {}

    def readings(self, message: dict[str, Any]) -> list[Reading]:
        """The events that a message means."""
        topic = message["topic"]
        read = {
            "publicTrade": self._trades,
            "orderbook": self._book,
            "kline": self._klines,
            "tickers": self._ticker,
            "allLiquidation": self._liquidations,
        }[topic.partition(".")[0]]
        same = {
            "exchange": Exchange.BYBIT,
            "market": self.market,
            "symbol": topic.rpartition(".")[2],
            "event_time": int(message["ts"]) * MS,
        }
        rows: dict[type, int] = {}
        found = []
        for kind, fields in read(message):
            row = rows[kind] = rows.get(kind, -1) + 1
            found.append((kind, same | {"row": row} | fields))
        return found

    def snapshot(self, d: dict[str, Any]) -> Reading:
        """The answer to a REST request for a full book."""
        same = {"exchange": Exchange.BYBIT, "market": self.market, "symbol": d["s"], "row": 0}
        times = {"event_time": d["ts"] * MS, "exchange_time": d["cts"] * MS}
        return BookUpdate, same | times | self._levels(d) | {"depth": None, "is_snapshot": True}

    # --------------------------------------------------------------------------------------- kinds
    def _trades(self, message: dict[str, Any]) -> list[Reading]:
        return [
            (
                Trade,
                {
                    "symbol": d["s"],
                    "id": d["i"],
                    "price": self.number(d["p"]),
                    "quantity": self.number(d["v"]),
                    "side": SIDES[d["S"]],
                    "exchange_time": d["T"] * MS,
                    "sequence": d.get("seq"),
                    "block_trade": d.get("BT"),
                    "rpi": d.get("RPI"),
                    "order_type": None,
                    "mark_price": self._maybe(d, "mP"),
                    "index_price": self._maybe(d, "iP"),
                    "mark_iv": self._maybe(d, "mIv"),
                    "iv": self._maybe(d, "iv"),
                },
            )
            for d in message["data"]
        ]

    def _liquidations(self, message: dict[str, Any]) -> list[Reading]:
        return [
            (
                Liquidation,
                {
                    "symbol": d["s"],
                    "side": ORDER_SIDES[d["S"]],
                    "price": self.number(d["p"]),
                    "quantity": self.number(d["v"]),
                    "average_price": None,
                    "filled_quantity": None,
                    "exchange_time": d["T"] * MS,
                },
            )
            for d in message["data"]
        ]

    def _levels(self, d: dict[str, Any]) -> dict[str, Any]:
        number = self.number
        return {
            "bid_levels": [(number(p), number(q)) for p, q in d["b"]],
            "ask_levels": [(number(p), number(q)) for p, q in d["a"]],
            "first_id": d["u"],
            "last_id": d["u"],
            "previous_id": None,
            "sequence": d["seq"],
            "verdict": BookVerdict.SYNCING,
        }

    def _book(self, message: dict[str, Any]) -> list[Reading]:
        depth, d = message["topic"].split(".")[1], message["data"]
        time = {"exchange_time": message["cts"] * MS}
        if depth == "1":
            return [(Quote, time | self._top(d))]
        whole = {
            "depth": None if depth == "full" else int(depth),
            "is_snapshot": message["type"] == "snapshot",
        }
        return [(BookUpdate, time | whole | self._levels(d))]

    def _top(self, d: dict[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {"update_id": d["u"], "sequence": d["seq"]}
        for side, rows in (("bid", d["b"]), ("ask", d["a"])):
            price, quantity = rows[0] if rows else ("", "")
            fields[f"{side}_price"] = self.number(price) if rows else None
            fields[f"{side}_quantity"] = self.number(quantity) if rows else None
        return fields

    def _klines(self, message: dict[str, Any]) -> list[Reading]:
        absent = (
            "taker_buy_base_volume",
            "taker_buy_quote_volume",
            "trade_count",
            "first_trade_id",
            "last_trade_id",
        )
        return [
            (
                Kline,
                dict.fromkeys(absent)
                | {name: self.number(d[name]) for name in ("open", "high", "low", "close")}
                | {
                    "interval": TimeFrame(FRAMES[d["interval"]]),
                    "open_time": d["start"] * MS,
                    "close_time": d["end"] * MS,
                    "base_volume": self.number(d["volume"]),
                    "quote_volume": self.number(d["turnover"]),
                    "closed": d["confirm"],
                    "exchange_time": d["timestamp"] * MS,
                },
            )
            for d in message["data"]
        ]

    # ------------------------------------------------------------------------------------- tickers
    def _ticker(self, message: dict[str, Any]) -> list[Reading]:
        """The changes put into what was known, and what of it has a kind of its own."""
        changes = message["data"]
        known = {} if message["type"] == "snapshot" else self.tickers[message["topic"]]
        d = self.tickers[message["topic"]] = {**known, **changes}
        time = {"exchange_time": int(message["ts"]) * MS}
        found = [(Ticker, time | self._whole_ticker(d) | {"sequence": message.get("cs")})]
        if self.market is Market.SPOT:
            return found
        mark = {"markPrice", "indexPrice", "fundingRate", "nextFundingTime"}
        if changes.keys() & (mark | {"predictedDeliveryPrice"}):
            found.append((MarkPrice, time | self._mark_price(d)))
        if changes.keys() & {"openInterest", "openInterestValue"}:
            found.append((OpenInterest, time | self._interest(d)))
        return found

    def _maybe(self, d: dict[str, Any], *names: str) -> Any:
        """The number under the first of the names that is there; an empty text is none."""
        texts = [d[name] for name in names if d.get(name)]
        return self.number(texts[0]) if texts else None

    def _whole_ticker(self, d: dict[str, str]) -> dict[str, Any]:
        absent = (
            "price_change",
            "price_change_percent",
            "weighted_average_price",
            "last_quantity",
            "open_time",
            "close_time",
            "first_trade_id",
            "last_trade_id",
            "trade_count",
        )
        fields = dict.fromkeys(absent) | {
            "last_price": self._maybe(d, "lastPrice"),
            "open_price": self._maybe(d, "prevPrice24h"),
            "high_price": self._maybe(d, "highPrice24h"),
            "low_price": self._maybe(d, "lowPrice24h"),
            "base_volume": self._maybe(d, "volume24h"),
            "quote_volume": self._maybe(d, "turnover24h"),
            "bid_price": self._maybe(d, "bid1Price", "bidPrice"),
            "bid_quantity": self._maybe(d, "bid1Size", "bidSize"),
            "ask_price": self._maybe(d, "ask1Price", "askPrice"),
            "ask_quantity": self._maybe(d, "ask1Size", "askSize"),
            "underlying_price": self._maybe(d, "underlyingPrice"),
            "bid_iv": self._maybe(d, "bidIv"),
            "ask_iv": self._maybe(d, "askIv"),
            "mark_iv": self._maybe(d, "markPriceIv"),
        }
        fields |= {name: self._maybe(d, name) for name in ("delta", "gamma", "vega", "theta")}
        for side in ("bid", "ask"):  # a side without an order has price 0
            if not fields[f"{side}_price"]:
                fields[f"{side}_price"] = fields[f"{side}_quantity"] = None
        return fields

    def _mark_price(self, d: dict[str, str]) -> dict[str, Any]:
        due = int(d.get("nextFundingTime") or 0)
        return {
            "mark_price": self._maybe(d, "markPrice"),
            "index_price": self._maybe(d, "indexPrice"),
            "average_price": None,
            "settle_price": self._maybe(d, "predictedDeliveryPrice"),
            "funding_rate": self._maybe(d, "fundingRate"),
            "next_funding_time": due * MS or None,
        }

    def _interest(self, d: dict[str, str]) -> dict[str, Any]:
        return {
            "open_interest": self._maybe(d, "openInterest"),
            "value": self._maybe(d, "openInterestValue"),
        }
