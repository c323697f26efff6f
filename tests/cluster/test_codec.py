"""What crosses the link is what was sent, in every form; what is no bundle is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.cluster import codec
from farm.cluster.codec import decode_bundle, encode_bundle
from farm.columns import Column, LevelColumn, column_types
from farm.entities import EVENT_KINDS, BookUpdate, Event, Level, Trade
from farm.errors import LinkError
from farm.exchanges.decoded import Decoded
from farm.exchanges.registry import make_session
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Frames, Opened
from farm.storage.capture import CaptureEvent, capture_market, read_capture
from farm.types import Exchange, Market, NumberMode, Side
from tests.effort import runs
from tests.exchanges.feeding import (
    ALL_RULES,
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_LINEAR,
    T0,
    binance_trade,
)
from tests.exchanges.test_reads import AT_ONCE
from tests.exchanges.test_reads import samples as samples_of
from tests.recordings import recording
from tests.strategies import batches, plain
from tests.test_batch import typed, via_columns

ORIGIN = Origin(Exchange.BINANCE, Market.SPOT, "c1", 3)

kinds = pytest.mark.parametrize("kind", EVENT_KINDS.values(), ids=lambda kind: kind.__name__)
modes = pytest.mark.parametrize("mode", list(NumberMode))
some = settings(max_examples=runs(8))  # of each kind, in each mode


def crossed(*given: Batch[Any]) -> list[Batch[Any]]:
    bundle = Bundle(ORIGIN, 17, T0, list(given), nbytes=1234)
    return decode_bundle(encode_bundle(bundle)).batches


def crossed_as_columns(batch: Batch[Any]) -> Batch[Any]:
    """However few events there are."""
    return decode_bundle(as_columns(batch)).batches[0]


def as_columns(*given: Batch[Any]) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "FEW", 1)
        columnar = [via_columns(batch) if batch.has_rows else batch for batch in given]
        return encode_bundle(Bundle(ORIGIN, 1, T0, columnar))


def check_columns(ours: Batch[Any], right: Batch[Any]) -> None:
    for name in right.column_names:
        check_column(ours.columns[name], right.columns[name], name)


def check_column(ours: Column, right: Column, name: str) -> None:
    if isinstance(right, LevelColumn):
        assert isinstance(ours, LevelColumn)
        for part in ("offsets", "price", "quantity"):
            check_column(getattr(ours, part), getattr(right, part), f"{name}.{part}")
        return
    assert isinstance(ours, np.ndarray)
    assert ours.dtype == right.dtype, name
    assert ours.flags.aligned, name
    if right.dtype == object:
        assert list(map(repr, ours)) == list(map(repr, right)), name  # Decimals by their text
    else:
        assert ours.tobytes() == right.tobytes(), name


def check(ours: Batch[Any], right: Batch[Any]) -> None:
    """All that a batch says is the same."""
    assert (ours.nbytes, len(ours)) == (right.nbytes, len(right))
    check_columns(ours, right)
    assert ours == right
    assert typed(ours) == typed(right)


# ------------------------------------------------------------------------------------ round trips
@kinds
@modes
@some
@given(data=st.data())
def test_rows_cross(kind: type[Event], mode: NumberMode, data: st.DataObject) -> None:
    batch = data.draw(batches(kind, mode))
    (ours,) = crossed(batch)
    assert ours.has_rows
    check(ours, batch)


@kinds
@modes
@some
@given(data=st.data())
def test_columns_cross(kind: type[Event], mode: NumberMode, data: st.DataObject) -> None:
    batch = data.draw(batches(kind, mode))
    ours = crossed_as_columns(batch)
    check(ours, batch)
    assert crossed_as_columns(batch).rows == batch.rows  # with no column asked for before


@kinds
@modes
def test_what_may_be_none_is_none_again(kind: type[Event], mode: NumberMode) -> None:
    """Whether the column is the same in all rows, or varies."""
    nullable = dict.fromkeys(c.name for c in column_types(kind) if c.nullable)
    nothing = [plain(kind, mode, ordinal=n, **nullable) for n in range(2)]
    for rows in (nothing, [nothing[0], plain(kind, mode)]):
        ours = crossed_as_columns(Batch.of(rows, numbers=mode))
        assert not ours.has_rows
        check(ours, Batch.of(rows, numbers=mode))


def test_values_cross_to_the_bit() -> None:
    zeros = [plain(Trade, price=0.0), plain(Trade, price=-0.0)]
    ours = crossed_as_columns(Batch.of(zeros))
    assert str([row.price for row in ours]) == "[0.0, -0.0]"
    texts = [Decimal("1.0"), Decimal("1.00")]
    exact = [plain(Trade, NumberMode.DECIMAL, price=price) for price in texts]
    ours = crossed_as_columns(Batch.of(exact, numbers=NumberMode.DECIMAL))
    assert str([row.price for row in ours]) == str(texts)


def test_events_that_are_all_one_cross_as_rows() -> None:
    """As columns nothing would tell how many they are."""
    batch = Batch.of([plain(Trade)] * 3)
    ours = crossed_as_columns(batch)
    assert ours.has_rows
    check(ours, batch)


def test_a_bundle_keeps_what_its_readers_need() -> None:
    several = [Batch.of([plain(kind)]) for kind in (Trade, BookUpdate)]
    bundle = Bundle(ORIGIN, 17, T0, several, nbytes=1234, ended="reset", up=("a",), heard=True)
    ours = decode_bundle(encode_bundle(bundle))
    assert (ours.origin, ours.serial, ours.receive_time, ours.nbytes) == (ORIGIN, 17, T0, 1234)
    assert ours.batches == several
    assert (ours.ended, ours.up, ours.heard) == (None, (), False)
    assert crossed() == []


# --------------------------------------------------------------------------- what parsers give
def bundles(rules: MarketRules, reads: Sequence[Sequence[bytes]]) -> list[Bundle]:
    """What each of these reads gives."""
    session = make_session(rules, [], connection="c1", discover=True)
    session.handle(Opened(1, T0, 0.0))
    ordinal, given = 1, []
    for read in reads:
        given.append(session.handle(Frames(1, T0 + ordinal, ordinal, list(read), 10)))
        ordinal += len(read)
    return [bundle for bundle in given if bundle is not None]


def check_parsed(rules: MarketRules, reads: Sequence[Sequence[bytes]]) -> int:
    """Each read's events cross as they are: how many batches did so as columns."""
    columnar = 0
    for bundle, twin in zip(bundles(rules, reads), bundles(rules, reads), strict=True):
        ours = decode_bundle(encode_bundle(bundle))
        for batch, sent, right in zip(ours.batches, bundle.batches, twin.batches, strict=True):
            columnar += not batch.has_rows
            assert sent.has_rows == right.has_rows, "encoding made rows that nobody asked for"
            check(batch, right)
    return columnar


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)
def test_what_was_decoded_crosses(rules: MarketRules) -> None:
    all_samples = samples_of(rules)
    frames = [sample.frame() for sample in all_samples]
    many = codec.FEW
    for sample in all_samples:
        columnar = check_parsed(rules, [frames, [sample.frame()] * many])
        assert columnar or sample.stream.data_type not in AT_ONCE
    assert check_parsed(rules, [frames, frames * many])


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("binance_spot_btcusdt_20240808.log.gz", BINANCE_SPOT),
        ("binance_usdm_btcusdt_20240808.log.gz", BINANCE_USDM),
        ("session_bybit_20260809.jsonl.gz", BYBIT_LINEAR),
    ],
)
def test_recordings_cross(name: str, rules: MarketRules) -> None:
    frames = (
        record.text
        for record in read_capture(recording(name))
        if record.event is CaptureEvent.RECEIVED
        and capture_market(record.url) in (None, (rules.exchange, rules.market))
    )
    taken = list(islice(frames, 2_000))
    assert check_parsed(rules, [taken[start : start + 200] for start in range(0, len(taken), 200)])


def trades(count: int) -> Bundle:
    """Decoded trades of two symbols."""
    frames = [binance_trade(n, ("BTCUSDT", "ETHUSDT")[n % 2]) for n in range(count + 2)]
    return bundles(BINANCE_SPOT, [frames[:2], frames[2:]])[-1]


@pytest.mark.parametrize("count", [codec.FEW - 1, codec.FEW])
def test_few_events_cross_as_rows(count: int) -> None:
    bundle = trades(count)
    (batch,) = crossed(bundle.batches[0])
    assert batch.has_rows == (count < codec.FEW)
    assert isinstance(bundle.batches[0].source, Decoded)
    check(batch, bundle.batches[0])


@pytest.mark.parametrize("levels", [[], [Level(2.0, 1.0)]], ids=["none", "one"])
def test_nothing_of_the_given_bytes_is_kept(levels: list[Any]) -> None:
    """Wherever they lie: a link may use its buffer again."""
    updates = [plain(BookUpdate, bid_levels=levels, ordinal=n) for n in range(2)]
    given = [Batch.of(updates), two_that_differ(Trade, NumberMode.FLOAT), *trades(30).batches]
    encoded = as_columns(*given)
    for offset in range(8):
        buffer = bytearray(offset) + encoded
        ours = decode_bundle(memoryview(buffer)[offset:]).batches
        buffer[:] = bytes(len(buffer))
        for batch, right in zip(ours, given, strict=True):
            check(batch, right)


# ------------------------------------------------------------------------------ what is no bundle
def mixed() -> bytes:
    """A bundle with rows, columns, book levels and Decimals."""
    exact = [plain(Trade, NumberMode.DECIMAL, price=Decimal(n)) for n in range(2 * codec.FEW)]
    updates = [
        plain(BookUpdate, ordinal=n, bid_levels=[Level(1.0, 2.0)] * (n % 3), is_snapshot=n > 5)
        for n in range(codec.FEW)
    ]
    given = [
        *trades(codec.FEW).batches,
        via_columns(Batch.of(exact, numbers=NumberMode.DECIMAL)),
        via_columns(Batch.of(updates)),
        Batch.of(updates[:2]),
    ]
    return encode_bundle(Bundle(ORIGIN, 1, T0, given, nbytes=99))


def test_a_bundle_cut_anywhere_is_refused() -> None:
    whole = mixed()
    assert len(decode_bundle(whole).batches) == 4
    for size in range(len(whole)):
        with pytest.raises(LinkError):
            decode_bundle(whole[:size])
    with pytest.raises(LinkError, match="trailing"):
        decode_bundle(whole + b"\x00")


@given(st.binary(max_size=200))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x91" * 100_000)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(LinkError):
        decode_bundle(data)


@settings(max_examples=runs(400))
@given(st.data())
def test_spoilt_bytes_are_refused_or_say_something_else(data: st.DataObject) -> None:
    """That is, rows come of it or LinkError, and never another error."""
    spoilt = bytearray(WHOLE)
    for place in data.draw(st.lists(st.integers(0, len(WHOLE) - 1), min_size=1, max_size=3)):
        spoilt[place] = data.draw(st.integers(0, 255))
    try:
        ours = decode_bundle(spoilt)
    except LinkError:
        return
    for batch in ours.batches:
        assert len(batch.rows) == len(batch)


WHOLE = mixed()


def two_that_differ(kind: type[Event], mode: NumberMode) -> Batch[Any]:
    """Trades in text, number, side, ordinal and word; book updates in a bool and the ordinal."""
    told: dict[str, Any] = {"is_snapshot": True}
    if kind is Trade:
        price = 2.0 if mode is NumberMode.FLOAT else Decimal(2)
        told = {"id": "2", "price": price, "side": Side.UNKNOWN, "order_type": None}
    return Batch.of([plain(kind, mode), plain(kind, mode, ordinal=2, **told)], numbers=mode)


Spoil = Callable[[Any], None]


def put(name: str, place: int, value: Any) -> Spoil:
    def spoil(varying: Any) -> None:
        getattr(varying, name)[place] = value

    return spoil


def mask(change: Callable[[int], int]) -> Spoil:
    def spoil(varying: Any) -> None:
        varying.mask = change(varying.mask)

    return spoil


BACK = np.array([0, 2, 1], "<i8").tobytes()
FROM_ONE = np.array([1, 1, 1], "<i8").tobytes()
ROW = 11  # the place of that field of a trade, which is the same in both of the two
DEPTH = 3  # and of this of a book update


@pytest.mark.parametrize(
    ("kind", "spoil", "reason"),
    [
        (Trade, mask(lambda _: 0), "no such columns of a trade"),
        (Trade, mask(lambda _: -1), "no such columns"),
        (Trade, mask(lambda given: given | 1 << 40), "no such columns"),
        (BookUpdate, mask(lambda _: 1 << DEPTH), "no such columns"),
        (Trade, mask(lambda given: given & given - 1), "more columns than"),
        (Trade, mask(lambda given: given | 1 << ROW), "fewer or more values"),
        (Trade, put("arrays", 0, b"12345678"), "fewer or more values"),
        (Trade, put("texts", 0, ["x"] * 3), "fewer or more values"),
        (Trade, put("words", 0, [None, "x"]), "words in order_type"),
        (Trade, put("arrays", 1, b"\x00\x02"), "codes in side"),
        (BookUpdate, put("arrays", 0, b"\x00\xff"), "codes in is_snapshot"),
        (BookUpdate, put("arrays", 1, BACK), "out of order"),
        (BookUpdate, put("arrays", 1, FROM_ONE), "out of order"),
    ],
)
def test_columns_that_do_not_fit_are_refused(kind: type[Event], spoil: Spoil, reason: str) -> None:
    refuse(two_that_differ(kind, NumberMode.FLOAT), spoil, reason)


def test_a_price_that_is_missing_is_refused() -> None:
    spoil = put("decimals", 0, [Decimal(1), None])
    refuse(two_that_differ(Trade, NumberMode.DECIMAL), spoil, "a number is missing")


def refuse(batch: Batch[Any], spoil: Spoil, reason: str) -> None:
    packed = msgspec.msgpack.decode(as_columns(batch), type=codec._Packed)
    spoil(packed.batches[0][1])
    with pytest.raises(LinkError, match=reason):
        decode_bundle(msgspec.msgpack.encode(packed))


@pytest.mark.parametrize("counts", [[1], [3], [3, -1]])
def test_other_numbers_of_rows_than_of_events_are_refused(counts: list[int]) -> None:
    origins = [(ORIGIN, count) for count in counts]
    with pytest.raises(LinkError):
        crossed(Batch(Trade, rows=[plain(Trade)] * 2, origins=origins))


@pytest.mark.parametrize("samples", [0, 2])
def test_columns_need_one_sample(samples: int) -> None:
    batch = two_that_differ(Trade, NumberMode.FLOAT)
    packed = msgspec.msgpack.decode(as_columns(batch), type=codec._Packed)
    rows = Batch(Trade, rows=[plain(Trade)] * samples, origins=batch.origins).to_msgpack()
    packed.batches[0] = (msgspec.Raw(rows), packed.batches[0][1])
    with pytest.raises(LinkError, match="without a sample"):
        decode_bundle(msgspec.msgpack.encode(packed))
