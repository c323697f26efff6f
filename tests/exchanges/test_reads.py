"""A read taken at once gives what its frames give one after the other: the one way is the other's
check, for they share nothing but the recipes, whose rows are compared with the text elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.bundle import Bundle
from farm.columns import LevelColumn, column_types, to_column
from farm.entities import data_type_of
from farm.exchanges.core import CoreSession
from farm.exchanges.decoded import Decoded
from farm.exchanges.registry import make_session
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Frames, Opened
from farm.storage.capture import CaptureEvent, capture_market, read_capture
from farm.types import DataType, Exchange, NumberMode
from tests.exchanges.binance import texts as binance
from tests.exchanges.bybit import texts as bybit
from tests.exchanges.feeding import (
    ALL_RULES,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_LINEAR,
    T0,
    binance_trade,
)
from tests.recordings import recording

markets = pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)

AT_ONCE = {DataType.TRADE, DataType.AGG_TRADE, DataType.BOOK, DataType.KLINE}
AT_ONCE |= {DataType.CONTINUOUS_KLINE}
EITHER = {DataType.QUOTE}  # those of Bybit are compared with the one before


class Pair:
    """Two cores with the same input: one takes reads at once, the other never does."""

    def __init__(self, rules: MarketRules, numbers: NumberMode = NumberMode.FLOAT) -> None:
        self.sessions = [
            make_session(rules, [], connection="c1", numbers=numbers, discover=True)
            for _ in range(2)
        ]
        self.at_once, self.one_by_one = self.sessions
        self.one_by_one._reads.take = lambda _item, _harvest: None  # type: ignore[method-assign]
        for session in self.sessions:
            session.handle(Opened(1, T0, 0.0))
        self.ordinal = 1
        self.time = T0
        self.decoded: list[Decoded] = []

    def read(self, frames: Sequence[bytes]) -> None:
        """Give both a read, and compare all that comes of it."""
        self.time += 1
        size = sum(map(len, frames))
        given = [
            session.handle(Frames(1, self.time, self.ordinal, list(frames), size))
            for session in self.sessions
        ]
        self.ordinal += len(frames)
        self.compare(*given)
        for told in ("statuses", "unknown_values", "foreign"):
            assert getattr(self.at_once, told) == getattr(self.one_by_one, told)
        assert self.at_once.take_commands() == self.one_by_one.take_commands()

    def compare(self, ours: Bundle | None, other: Bundle | None) -> None:
        if ours is None or other is None:
            assert ours is other
            return
        for batch, right in zip(ours.batches, other.batches, strict=True):
            assert right.source is None
            if isinstance(batch.source, Decoded):
                self.decoded.append(batch.source)
                check_columns(batch.source, right.rows)
            assert len(batch) == len(right)
            assert batch.nbytes == right.nbytes
            assert batch == right
            assert batch.source is None
        names = [field.name for field in attrs.fields(Bundle) if field.name != "batches"]
        assert [getattr(ours, n) for n in names] == [getattr(other, n) for n in names]


def check_columns(decoded: Decoded, rows: Sequence[Any]) -> None:
    """Columns made of what was decoded are those that are made of rows."""
    for column in column_types(decoded.recipe.kind):
        made = decoded.make_column(column)
        right = to_column(column, [getattr(r, column.name) for r in rows], NumberMode.FLOAT)
        pairs = [(made, right)]
        if isinstance(made, LevelColumn) and isinstance(right, LevelColumn):
            pairs = [
                (getattr(made, n), getattr(right, n)) for n in ("offsets", "price", "quantity")
            ]
        for a, b in pairs:
            assert isinstance(a, np.ndarray)
            assert isinstance(b, np.ndarray)
            assert a.dtype == b.dtype, column.name
            np.testing.assert_array_equal(a, b, err_msg=column.name)


def samples(rules: MarketRules) -> list[Any]:
    texts: Any = binance if rules.exchange is Exchange.BINANCE else bybit
    found = texts.samples(rules)
    return [sample for sample in found if not sample.stream.name.startswith("/")]


def odd(rules: MarketRules, frames: Iterable[bytes]) -> list[bytes]:
    """What is out of the ordinary: white space, broken frames, answers, streams of nobody."""
    frames = list(frames)
    spaced = [frame.replace(b":", b" : ", 1) for frame in frames]
    cut = [frame[:-20] + b"}}" for frame in frames]
    words = [frame.replace(b'"Buy"', b'"Hold"').replace(b'"MARKET"', b'"NA"') for frame in frames]
    other = [frame.replace(b'"MARKET"', b'"SOMETHING"') for frame in frames]
    typed = [frame.replace(b'"snapshot"', b'"delta"') for frame in frames]
    strange = [frame.replace(b'"snapshot"', b'"rumour"') for frame in frames]
    if rules.exchange is Exchange.BINANCE:
        of_none = [b'{"stream":"btcusdt@news","data":{"e":"news"}}', b'{"result":null,"id":7}']
    else:
        of_none = [b'{"topic":"news.BTCUSDT","data":{}}', b'{"op":"pong","success":true}']
    return [*spaced, *cut, *words, *other, *typed, *strange, *of_none, b"", b"nonsense", b"{}"]


@markets
@given(data=st.data())
def test_any_read_is_what_its_frames_are_one_by_one(rules: MarketRules, data: Any) -> None:
    plain = [sample.frame() for sample in samples(rules)]
    frames = st.sampled_from([*plain, *plain, *plain, *odd(rules, plain)])
    pair = Pair(rules)
    for read in data.draw(st.lists(st.lists(frames, min_size=1, max_size=12), max_size=8)):
        pair.read(read)


@markets
def test_plain_reads_are_taken_at_once(rules: MarketRules) -> None:
    """And so the comparison above compares something."""
    pair = Pair(rules)
    plain = [sample.frame() for sample in samples(rules)]
    pair.read(plain)  # brings the streams up
    for sample in samples(rules):
        pair.decoded.clear()
        pair.read([sample.frame()] * 3)
        kinds = [data_type_of(decoded.recipe.kind) for decoded in pair.decoded]
        at_once = sample.stream.data_type in AT_ONCE
        assert kinds == [sample.stream.data_type] * at_once or sample.stream.data_type in EITHER


@markets
def test_decimals_are_taken_one_by_one_and_stay_exact(rules: MarketRules) -> None:
    pair = Pair(rules, NumberMode.DECIMAL)
    plain = [sample.frame() for sample in samples(rules)]
    pair.read(plain)
    pair.read([frame for frame in plain for _ in range(3)])
    assert pair.decoded == []


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("binance_spot_btcusdt_20240808.log.gz", BINANCE_SPOT),
        ("binance_usdm_btcusdt_20240808.log.gz", BINANCE_USDM),
        ("session_bybit_20260809.jsonl.gz", BYBIT_LINEAR),
        ("session_binance_usdm_20210722.jsonl.gz", BINANCE_USDM),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 200])
def test_recordings(name: str, rules: MarketRules, size: int) -> None:
    frames = (
        record.text
        for record in read_capture(recording(name))
        if record.event is CaptureEvent.RECEIVED
        and (market := capture_market(record.url)) in (None, (rules.exchange, rules.market))
        and (market is not None or b'"stream"' in record.text[:20])
    )
    pair = Pair(rules)
    taken = list(islice(frames, 4_000))
    assert taken
    for start in range(0, len(taken), size):
        pair.read(taken[start : start + size])
    assert pair.decoded


def one_stream(session: CoreSession, count: int, first: int = 1) -> Bundle:
    frames = [binance_trade(first + n) for n in range(count)]
    bundle = session.handle(Frames(1, T0, first, frames, 0))
    assert bundle is not None
    return bundle


def test_what_was_decoded_knows_its_streams_and_their_last_times() -> None:
    session = make_session(BINANCE_SPOT, [], connection="c1", discover=True)
    session.handle(Opened(1, T0, 0.0))
    both = [
        binance_trade(number, f"{name}USDT")
        for number, name in enumerate(("BTC", "ETH", "BTC", "BTC", "ETH", "BTC"))
    ]
    session.handle(Frames(1, T0, 1, both[:2], 0))
    bundle = session.handle(Frames(1, T0, 3, both[2:], 0))
    assert bundle is not None
    decoded = bundle.batches[0].source
    assert isinstance(decoded, Decoded)
    runs = {
        run.stream.symbol: (run.count, run.exchange_time, run.receive_time) for run in decoded.runs
    }
    rows = bundle.batches[0].rows
    assert runs == {
        "BTCUSDT": (3, rows[3].exchange_time, T0),
        "ETHUSDT": (1, rows[2].exchange_time, T0),
    }
    assert decoded.numbers == [int(row.id) for row in rows]
    assert [row.ordinal for row in rows] == [3, 4, 5, 6]


def test_a_bad_frame_fails_alone_and_the_read_is_counted_once() -> None:
    session = make_session(BINANCE_SPOT, [], connection="c1", discover=True)
    session.handle(Opened(1, T0, 0.0))
    one_stream(session, 1)
    good = [binance_trade(number) for number in (2, 4)]
    bad = binance_trade(3, p="NaN")
    bundle = session.handle(Frames(1, T0, 2, [good[0], bad, good[1]], 0))
    assert bundle is not None
    trades = [
        row.id for batch in bundle.batches if batch.data_type is DataType.TRADE for row in batch
    ]
    assert trades == ["2", "4"]
    assert [frame.ordinal for frame in bundle.unparsed] == [3]
    assert session.statuses["btcusdt@trade"].frames == 3
