"""Parse throughput: frames as the socket gives them to typed events, in one process.

Three contenders, on the same frames in reads of 16: *farm* is the protocol core as it runs live
(routing, states, counters, batches); *json + attrs* decodes with the standard library and builds
the same objects by hand; *msgspec* only decodes into typed structs, the floor for any of them.
Figures are medians over rounds in shuffled order, in nanoseconds a frame, and ratios within the
run. Before timing, the farm's events are checked against the others' count.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import msgspec

from benchmarks.payloads import frames_of
from farm.entities import BookUpdate, Kline, OrderBookLevel, Quote, Ticker, Trade
from farm.exchanges.binance.wire import (
    BookTickerWire,
    DepthWire,
    FuturesDepthWire,
    FuturesTradeWire,
    TradeWire,
    frame_decoder,
)
from farm.exchanges.bybit.wire import BookWire, KlinesWire, TickerWire, TradesWire, wire_decoder
from farm.exchanges.numbers import MS, ParserContext
from farm.exchanges.registry import make_session, rules_of
from farm.exchanges.session import Frames, Opened
from farm.types import BookVerdict, Exchange, Market, OrderType, Side, TimeFrame

READ = 16  # frames in one socket read
Contender = Callable[[list[list[bytes]]], int]


def by_farm(exchange: Exchange, market: Market) -> Contender:
    def run(reads: list[list[bytes]]) -> int:
        session = make_session(rules_of(exchange, market), [], connection="bench", discover=True)
        session.handle(Opened(1, 1, 0.0))
        events = ordinal = 0
        for read in reads:
            bundle = session.handle(Frames(1, 1, ordinal, read, 0))
            ordinal += len(read)
            if bundle is not None:
                events += sum(len(batch.rows) for batch in bundle.batches if batch.kind in KINDS)
        return events

    return run


def by_json_and_attrs(build: Callable[[dict[str, Any]], list[Any]]) -> Contender:
    def run(reads: list[list[bytes]]) -> int:
        loads = json.loads
        events = 0
        for read in reads:
            for raw in read:
                events += len(build(loads(raw)))
        return events

    return run


def by_msgspec(decoder: msgspec.json.Decoder[Any], rows: Callable[[Any], int]) -> Contender:
    decode = decoder.decode

    def run(reads: list[list[bytes]]) -> int:
        return sum(rows(decode(raw)) for read in reads for raw in read)

    return run


def levels(pairs: list[list[str]]) -> Any:
    return [OrderBookLevel(float(price), float(quantity)) for price, quantity in pairs]


SPOT = (Exchange.BINANCE, Market.SPOT)
USDM = (Exchange.BINANCE, Market.USDM)
LINEAR = (Exchange.BYBIT, Market.LINEAR)


def binance_trade(message: dict[str, Any]) -> list[Any]:
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


def usdm_diff(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    return [
        BookUpdate(*USDM, d["s"], None, False, levels(d["b"]), levels(d["a"]), d["U"], d["u"],
                   d["pu"], None, BookVerdict.SYNCING, d["T"] * MS, d["E"] * MS, 1, 0)
    ]  # fmt: skip


def binance_quote(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    prices = (float(d["b"]), float(d["B"]), float(d["a"]), float(d["A"]))
    return [Quote(*SPOT, d["s"], *prices, d["u"], None, None, 1, 0)]


def binance_diff(message: dict[str, Any]) -> list[Any]:
    d = message["data"]
    return [
        BookUpdate(*SPOT, d["s"], None, False, levels(d["b"]), levels(d["a"]), d["U"], d["u"],
                   None, None, BookVerdict.SYNCING, d["E"] * MS, d["E"] * MS, 1, 0)
    ]  # fmt: skip


def bybit_trades(message: dict[str, Any]) -> list[Any]:
    sides = {"Buy": Side.BUY, "Sell": Side.SELL}
    return [
        Trade(*LINEAR, d["s"], d["i"], float(d["p"]), float(d["v"]), sides[d["S"]],
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


CONTEXT = ParserContext()


def framed(wire: Any) -> msgspec.json.Decoder[Any]:
    return frame_decoder(wire, CONTEXT)


def plain(wire: Any) -> msgspec.json.Decoder[Any]:
    return wire_decoder(wire, CONTEXT)


_TICKER: dict[str, dict[str, Any]] = {}


def bybit_ticker(message: dict[str, Any]) -> list[Any]:
    """Merged, and the fields that most want of it: less than farm makes."""
    known = _TICKER.setdefault(message["topic"], {})
    if message["type"] == "snapshot":
        known.clear()
    known |= message["data"]
    get, time = known.get, message["ts"] * MS
    return [
        Ticker(*LINEAR, known["symbol"], float(known["lastPrice"]), float(known["prevPrice24h"]),
               float(known["highPrice24h"]), float(known["lowPrice24h"]),
               float(known["volume24h"]), float(known["turnover24h"]), None, None, None, None,
               float(get("bid1Price", 0)), float(get("bid1Size", 0)), float(get("ask1Price", 0)),
               float(get("ask1Size", 0)), None, None, None, None, None, time, time, 1, 0)
    ]  # fmt: skip


def one(_wire: Any) -> int:
    return 1


def rows_of(wire: Any) -> int:
    return len(wire.data)


KINDS = {Trade, Quote, BookUpdate, Kline, Ticker}  # a ticker brings other kinds besides
CASES: list[tuple[str, tuple[Exchange, Market], bytes, Any, Any, Any]] = [
    ("binance trade", SPOT, b"@trade", binance_trade, framed(TradeWire), one),
    ("binance quote", SPOT, b"@book", binance_quote, framed(BookTickerWire), one),
    ("binance diff", SPOT, b"@depth", binance_diff, framed(DepthWire), one),
    ("usdm trade", USDM, b"@trade", usdm_trade, framed(FuturesTradeWire), one),
    ("usdm diff", USDM, b"@depth", usdm_diff, framed(FuturesDepthWire), one),
    ("bybit trades", LINEAR, b"publicTrade", bybit_trades, plain(TradesWire), rows_of),
    ("bybit book", LINEAR, b"orderbook.200", bybit_book, plain(BookWire), one),
    ("bybit kline", LINEAR, b"kline.1.", bybit_klines, plain(KlinesWire), rows_of),
    ("bybit ticker", LINEAR, b"tickers.", bybit_ticker, plain(TickerWire), one),
]


def measure(contenders: dict[str, Contender], reads: list[list[bytes]], rounds: int) -> Any:
    """Seconds of each round, by contender, the order shuffled anew in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name in random.sample(list(contenders), len(contenders)):
            start = time.perf_counter()
            contenders[name](reads)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def run_case(case: tuple[Any, ...], frames: int, rounds: int) -> dict[str, Any]:
    name, (exchange, market), marker, build, wire, rows = case
    payloads, source = frames_of(exchange, market, marker, frames)
    reads = [payloads[i : i + READ] for i in range(0, len(payloads), READ)]
    contenders = {
        "farm": by_farm(exchange, market),
        "json + attrs": by_json_and_attrs(build),
        "msgspec": by_msgspec(wire, rows),
    }
    delivered = {label: run(reads) for label, run in contenders.items()}
    assert len(set(delivered.values())) == 1, f"{name}: not the same events: {delivered}"
    seconds = measure(contenders, reads, rounds)
    median = {label: statistics.median(times) for label, times in seconds.items()}
    return {
        "case": name,
        "source": source,
        "frames": len(payloads),
        "events": delivered["farm"],
        "bytes": sum(map(len, payloads)),
        "ns_per_frame": {label: t / len(payloads) * 1e9 for label, t in median.items()},
        "spread": {label: (max(t) - min(t)) / median[label] for label, t in seconds.items()},
        "mb_per_s": sum(map(len, payloads)) / median["farm"] / 1e6,
        "times_json_and_attrs": median["json + attrs"] / median["farm"],
        "times_msgspec": median["farm"] / median["msgspec"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parse", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=8_000, help="frames a round")
    arguments = parser.parse_args()
    results = [run_case(case, arguments.frames, arguments.rounds) for case in CASES]
    if arguments.json:
        machine = {"python": platform.python_version(), "machine": platform.platform()}
        packages = {name: version(name) for name in ("msgspec", "attrs", "numpy")}
        print(json.dumps({**machine, "packages": packages, "results": results}, indent=2))
        return
    print(f"{'case':15}{'farm':>9}{'json+attrs':>12}{'msgspec':>9}  ns a frame, median")
    for r in results:
        ns = r["ns_per_frame"]
        print(
            f"{r['case']:15}{ns['farm']:9.0f}{ns['json + attrs']:12.0f}{ns['msgspec']:9.0f}  "
            f"{r['times_json_and_attrs']:.1f} x as fast as json + attrs, "
            f"{r['times_msgspec']:.1f} x the time of bare decoding, "
            f"{r['mb_per_s']:.0f} MB/s ({r['source']})"
        )


if __name__ == "__main__":
    main()
