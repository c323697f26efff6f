"""Ids of whole reads, looked at without their events, tell what the events tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.decoded import Decoded
from farm.exchanges.registry import make_session
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Frames, Opened
from tests.exchanges.feeding import BINANCE_SPOT, BYBIT_LINEAR, T0, binance_trade, combined, text

SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Rig:
    """A core and the continuity behind it; `rows`: events are made before it looks."""

    def __init__(self, rules: MarketRules, spec: str, *, rows: bool) -> None:
        streams = [rules.streams.stream(symbol, spec) for symbol in SYMBOLS]
        self.session = make_session(rules, streams, connection="c1")
        self.session.handle(Opened(1, T0, 0.0, serial=1))
        self.continuity = TradeContinuity(lambda: streams)
        self.rows = rows
        self.serial, self.ordinal = 1, 1
        self.feeds = [stream.feed for stream in streams]
        self.unmade = 0  # batches of which no object was made

    def read(self, frames: Sequence[bytes]) -> Any:
        self.serial += 1
        item = Frames(1, T0 + self.serial, self.ordinal, list(frames), 0, self.serial)
        bundle = self.session.handle(item)
        self.ordinal += len(frames)
        assert bundle is not None
        for batch in bundle.batches:
            if self.rows:
                assert len(batch.rows) == len(batch)
        outcome = self.continuity.take(bundle)
        self.unmade += sum(isinstance(batch.source, Decoded) for batch in outcome.batches)
        counts = [self.continuity.counts(feed) for feed in self.feeds]
        return [row for batch in outcome.batches for row in batch], counts


def agg_trade(number: int, symbol: str) -> bytes:
    data = {"e": "aggTrade", "E": 1790000000123, "s": symbol, "a": number, "p": "1.5", "q": "2"}
    data |= {"f": 2 * number, "l": 2 * number + number % 3, "T": 1790000000000 + number, "m": True}
    return combined(f"{symbol.lower()}@aggTrade", data)


def bybit_trade(number: int, symbol: str) -> bytes:
    row = {"T": 1790000000000, "s": symbol, "S": "Buy", "v": "1", "p": "2", "i": str(number)}
    topic = f"publicTrade.{symbol}"
    return text({"topic": topic, "type": "snapshot", "ts": 1790000000001, "data": [row]})


# Mostly the next id of one of the two, and now and then another.
reads = st.lists(
    st.lists(
        st.tuples(st.sampled_from(SYMBOLS), st.sampled_from([1] * 12 + [0, 2, -3, -5000])),
        min_size=1,
        max_size=8,
    ),
    max_size=10,
)


def compare(rules: MarketRules, spec: str, write: Any, steps: Any) -> None:
    quick, slow = Rig(rules, spec, rows=False), Rig(rules, spec, rows=True)
    last = dict.fromkeys(SYMBOLS, 10_000)
    for read in steps:
        frames = []
        for symbol, step in read:
            last[symbol] = max(1, last[symbol] + step)
            frames.append(write(last[symbol], symbol))
        assert quick.read(frames) == slow.read(frames)


@given(steps=reads)
def test_trades(steps: Any) -> None:
    compare(BINANCE_SPOT, "trade", binance_trade, steps)


@given(steps=reads)
def test_aggregate_trades(steps: Any) -> None:
    compare(BINANCE_SPOT, "agg_trade", agg_trade, steps)


@given(steps=reads)
def test_trades_whose_ids_prove_nothing(steps: Any) -> None:
    compare(BYBIT_LINEAR, "trade", bybit_trade, steps)


def test_no_object_is_made_of_what_only_continues() -> None:
    for rules, spec, write in (
        (BINANCE_SPOT, "trade", binance_trade),
        (BINANCE_SPOT, "agg_trade", agg_trade),
        (BYBIT_LINEAR, "trade", bybit_trade),
    ):
        rig = Rig(rules, spec, rows=False)
        rig.read([write(7, "BTCUSDT")])
        rig.unmade = 0
        for start in (8, 11):
            rig.read([write(number, "BTCUSDT") for number in range(start, start + 3)])
        assert rig.unmade == 2, (rules.key, spec)
