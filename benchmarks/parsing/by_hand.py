"""What people write by hand: the standard library's json, and the same objects made of it.

Fields, floats and nanoseconds are those that farm delivers, so that the events are equal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from farm.entities import (
    AggTrade,
    BookUpdate,
    Kline,
    MarkPrice,
    OpenInterest,
    OrderBookLevel,
    Quote,
    Ticker,
    Trade,
)
from farm.exchanges.numbers import MS
from farm.types import BookVerdict, Exchange, Market, OrderType, Side, TimeFrame

__all__ = ["Build", "by_json"]

Build = Callable[[dict[str, Any]], list[Any]]
SPOT = (Exchange.BINANCE, Market.SPOT)
USDM = (Exchange.BINANCE, Market.USDM)
LINEAR = (Exchange.BYBIT, Market.LINEAR)
SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}


def by_json(make: Callable[[], Build]) -> Callable[[Sequence[list[bytes]]], Callable[[], int]]:
    """json and attrs; `make` makes the builder of one round."""

    def prepare(reads: Sequence[list[bytes]]) -> Callable[[], int]:
        build, loads = make(), json.loads

        def work() -> int:
            events = 0
            for read in reads:
                for raw in read:
                    events += len(build(loads(raw)))
            return events

        return work

    return prepare


def levels(pairs: list[list[str]]) -> Any:
    return [OrderBookLevel(float(price), float(quantity)) for price, quantity in pairs]


def spot_trade(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    side = Side.SELL if d["m"] else Side.BUY
    return [
        Trade(*SPOT, d["s"], str(d["t"]), float(d["p"]), float(d["q"]), side,
              d["T"] * MS, d["E"] * MS, 1, 0)
    ]  # fmt: skip


def usdm_trade(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    side = Side.SELL if d["m"] else Side.BUY
    return [
        Trade(*USDM, d["s"], str(d["t"]), float(d["p"]), float(d["q"]), side, d["T"] * MS,
              d["E"] * MS, 1, 0, 0, None, None, None, OrderType(d["X"].lower()))
    ]  # fmt: skip


def usdm_agg_trade(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    side = Side.SELL if d["m"] else Side.BUY
    return [
        AggTrade(*USDM, d["s"], str(d["a"]), float(d["p"]), float(d["q"]), side, d["f"], d["l"],
                 d["T"] * MS, d["E"] * MS, 1, 0)
    ]  # fmt: skip


def spot_quote(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    prices = (float(d["b"]), float(d["B"]), float(d["a"]), float(d["A"]))
    return [Quote(*SPOT, d["s"], *prices, d["u"], None, None, 1, 0)]


def spot_diff(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    return [
        BookUpdate(*SPOT, d["s"], None, False, levels(d["b"]), levels(d["a"]), d["U"], d["u"],
                   None, None, BookVerdict.SYNCING, d["E"] * MS, d["E"] * MS, 1, 0)
    ]  # fmt: skip


def usdm_diff(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    return [
        BookUpdate(*USDM, d["s"], None, False, levels(d["b"]), levels(d["a"]), d["U"], d["u"],
                   d["pu"], None, BookVerdict.SYNCING, d["T"] * MS, d["E"] * MS, 1, 0)
    ]  # fmt: skip


def usdm_kline(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    k = d["k"]
    traded = k["f"] >= 0
    return [
        Kline(*USDM, k["s"], TimeFrame(k["i"]), k["t"] * MS, k["T"] * MS, float(k["o"]),
              float(k["h"]), float(k["l"]), float(k["c"]), float(k["v"]), float(k["q"]),
              float(k["V"]), float(k["Q"]), k["n"], k["f"] if traded else None,
              k["L"] if traded else None, k["x"], d["E"] * MS, d["E"] * MS, 1, 0)
    ]  # fmt: skip


def bybit_trades(message: dict[str, Any]) -> list[Any]:
    return [
        Trade(*LINEAR, d["s"], d["i"], float(d["p"]), float(d["v"]), SIDES[d["S"]],
              d["T"] * MS, message["ts"] * MS, 1, 0, row, d["seq"], d["BT"], d["RPI"])
        for row, d in enumerate(message["data"])
    ]  # fmt: skip


def bybit_book(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    return [
        BookUpdate(*LINEAR, d["s"], 200, message["type"] == "snapshot", levels(d["b"]),
                   levels(d["a"]), d["u"], d["u"], None, d["seq"], BookVerdict.SYNCING,
                   message["cts"] * MS, message["ts"] * MS, 1, 0)
    ]  # fmt: skip


def bybit_klines(message: dict[str, Any]) -> list[Any]:
    symbol = message["topic"].split(".")[2]
    return [
        Kline(*LINEAR, symbol, TimeFrame.M1, d["start"] * MS, d["end"] * MS, float(d["open"]),
              float(d["high"]), float(d["low"]), float(d["close"]), float(d["volume"]),
              float(d["turnover"]), None, None, None, None, None, d["confirm"],
              d["timestamp"] * MS, message["ts"] * MS, 1, 0, row)
        for row, d in enumerate(message["data"])
    ]  # fmt: skip


def bybit_ticker() -> Build:
    """Merged, as farm's: the ticker, and mark price and open interest where they changed."""
    states: dict[str, dict[str, Any]] = {}
    marks = {"markPrice", "indexPrice", "fundingRate", "nextFundingTime"}
    interests = {"openInterest", "openInterestValue"}

    def number(state: dict[str, Any], name: str) -> float | None:
        text = state.get(name)
        return float(text) if text else None

    def build(message: dict[str, Any]) -> list[Any]:
        state = states.setdefault(message["topic"], {})
        changes, time = message["data"], message["ts"] * MS
        if message["type"] == "snapshot":
            state.clear()
        state |= changes
        symbol = state["symbol"]
        bid, ask = number(state, "bid1Price"), number(state, "ask1Price")
        made: list[Any] = [
            Ticker(*LINEAR, symbol, float(state["lastPrice"]), number(state, "prevPrice24h"),
                   number(state, "highPrice24h"), number(state, "lowPrice24h"),
                   number(state, "volume24h"), number(state, "turnover24h"), None, None, None,
                   None, bid, number(state, "bid1Size") if bid else None, ask,
                   number(state, "ask1Size") if ask else None, None, None, None, None, None,
                   time, time, 1, 0, 0, message.get("cs"))
        ]  # fmt: skip
        if not marks.isdisjoint(changes):
            made.append(
                MarkPrice(*LINEAR, symbol, float(state["markPrice"]), number(state, "indexPrice"),
                          None, None, number(state, "fundingRate"),
                          int(state["nextFundingTime"]) * MS, time, time, 1, 0)
            )  # fmt: skip
        if not interests.isdisjoint(changes):
            made.append(
                OpenInterest(*LINEAR, symbol, float(state["openInterest"]),
                             number(state, "openInterestValue"), time, time, 1, 0)
            )  # fmt: skip
        return made

    return build
