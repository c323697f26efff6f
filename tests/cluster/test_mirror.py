"""A mirror that says *verified* is the book, whatever the link lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from farm.batch import Batch, Origin
from farm.books.sync import make_sync
from farm.bundle import Bundle
from farm.cluster.messages import Reader
from farm.cluster.mirror import BookNews, Mirror, decode_news, encode_news, image_of, stale
from farm.cluster.outlet import Outlet
from farm.entities import BookUpdate, Level, OrderBook, Quote
from farm.errors import LinkError
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, DataType, NumberMode
from tests.books.feeding import COINM, DELTA, FULL, OPTION, PART, SPOT, USDM
from tests.cluster.links import Way
from tests.effort import runs
from tests.exchanges.feeding import T0

VERIFIED, STALE = BookVerdict.VERIFIED, BookVerdict.STALE
SYNCING, SUSPECT = BookVerdict.SYNCING, BookVerdict.SUSPECT
SOUND = {VERIFIED, BookVerdict.UNVERIFIABLE}

LINE = "binance/spot#1"
STREAMS = [SPOT, USDM, COINM, FULL, DELTA, OPTION, PART]
MODES = pytest.mark.parametrize("mode", list(NumberMode), ids=lambda mode: mode.value)


@attrs.define(eq=False)
class Kept:
    """A book of a shard, the way to its mirror, and all that the book has been."""

    stream: Stream
    mode: NumberMode = NumberMode.FLOAT
    max_bytes: int = 10**9
    book: Any = attrs.field(init=False)
    mirror: Mirror = attrs.field(init=False)
    way: Way = attrs.field(init=False)
    been: dict[int | None, list[OrderBook]] = attrs.field(factory=dict)
    time: int = T0
    last_id: int = 100
    updates: list[BookUpdate] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.book = make_sync(self.stream, paced=False, snapshot_levels=3)
        self.mirror = Mirror(self.stream)
        self.way = Way(self._find, self.max_bytes, self.mode, self._heard)
        self._note()

    @property
    def outlet(self) -> Outlet:
        return self.way.outlet

    def _find(self, feed: str) -> Any:
        return self.book if feed == self.stream.feed else None

    # ------------------------------------------------------------------------ what the book takes
    def number(self, value: int) -> Any:
        return Decimal(value).scaleb(-2) if self.mode is NumberMode.DECIMAL else value / 100

    def update(self, bids: Rows, asks: Rows, *, snapshot: bool, skip: int = 0) -> None:
        """Give the book an update, whose bundle is to follow. `skip`: so many ids are missing."""
        self.time += 10**6
        last, self.last_id = self.last_id, self.last_id + 1 + skip
        if snapshot and skip == 0:
            self.last_id = last  # where the stream stands
        bid_levels, ask_levels = (
            [Level(self.number(p), self.number(q)) for p, q in rows.items()]
            for rows in (bids, asks)
        )
        s = self.stream
        first = self.last_id if snapshot else last + 1 + skip
        update = BookUpdate(
            s.exchange, s.market, s.symbol, s.depth, snapshot, bid_levels, ask_levels, first,
            self.last_id, last + skip, self.last_id, SYNCING, self.time, self.time, self.time, 0,
        )  # fmt: skip
        self.book.update(update)
        self.updates.append(update)
        self._note()

    def quote(self, bid: int, ask: int) -> None:
        """Compare a quote, which may contradict the book."""
        s, one = self.stream, self.number(1)
        top = self.number(bid), one, self.number(ask), one
        quote = Quote(s.exchange, s.market, s.symbol, *top, self.last_id, None, None, self.time, 3)
        self.book.quote(quote)
        self._note()

    def _note(self) -> None:
        seen = self.book.book()
        self.been.setdefault(seen.receive_time, []).append(seen)

    def deliver(self) -> None:
        """All that the book took since the last time was one bundle."""
        s = self.stream
        origin = Origin(s.exchange, s.market, LINE, 1)
        rows, self.updates = self.updates, []
        batch = Batch(BookUpdate, rows=rows, origins=[(origin, len(rows))], numbers=self.mode)
        batches = [batch] if rows else []
        self.outlet.deliver(Bundle(origin, self.time, self.time, batches, nbytes=50))

    # ----------------------------------------------------------------------- what the mirror says
    def _heard(self, news: BookNews) -> None:
        self.mirror.take(news)
        ours = self.mirror.book()
        assert ours.verdict is self.mirror.verdict
        if ours.verdict in SOUND:
            assert ours in self.been[ours.receive_time]

    def is_exact(self) -> bool:
        return bool(self.mirror.book() == self.book.book())


Rows = dict[int, int]
Act = Callable[[Kept], None]

BIDS = st.dictionaries(st.integers(1, 12), st.integers(0, 4), max_size=4)
ASKS = st.dictionaries(st.integers(12, 24), st.integers(0, 4), max_size=4)  # seldom crossed


def diff(bids: Rows, asks: Rows, skip: int = 0) -> Act:
    """Of whole books there is none: they are sent whole every time."""
    return lambda kept: kept.update(bids, asks, snapshot=kept.stream is PART, skip=skip)


def snapshot(bids: Rows, asks: Rows, ahead: int = 0) -> Act:
    return lambda kept: kept.update(bids, asks, snapshot=True, skip=ahead)


def deliver(kept: Kept) -> None:
    kept.deliver()


def ended(kept: Kept) -> None:
    kept.book.ended()


def lost(kept: Kept) -> None:
    kept.book.lost(kept.time)


def refresh(kept: Kept) -> None:
    kept.outlet.refresh()


def mirror_again(kept: Kept) -> None:
    kept.outlet.mirror(LINE, kept.stream.feed)


def hold(kept: Kept) -> None:
    kept.way.hold()


def burst(changes: list[tuple[Rows, Rows]]) -> Act:
    """Bundles that come while nothing is sent."""

    def act(kept: Kept) -> None:
        for bids, asks in changes:
            diff(bids, asks)(kept)
            kept.deliver()

    return act


BURSTS = st.builds(burst, st.lists(st.tuples(BIDS, ASKS), min_size=3, max_size=8))
BREAKS = st.one_of(
    st.builds(snapshot, BIDS, ASKS, st.sampled_from([1, 2])),
    st.builds(diff, BIDS, ASKS, st.integers(1, 3)),
    st.builds(lambda bid: lambda kept: kept.quote(bid, 13), st.integers(1, 12)),
    st.sampled_from([ended, lost]),
)
ACTS = st.one_of(
    BURSTS,
    st.builds(diff, BIDS, ASKS),
    st.builds(snapshot, BIDS, ASKS),
    BREAKS,
    st.sampled_from([deliver, refresh, mirror_again, hold]),
    st.none(),  # what waits comes
    st.none(),
)


@MODES
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
@settings(max_examples=runs(40))
@given(st.lists(ACTS, max_size=25), st.integers(60, 800) | st.just(10**9))
def test_a_mirror_that_says_verified_is_the_book(
    stream: Stream, mode: NumberMode, acts: list[Act | None], max_bytes: int
) -> None:
    """At any time what the book was when that was sent; in the end what it is."""

    async def play() -> None:
        kept = Kept(stream, mode, max_bytes)
        async with kept.way.open() as outlet:
            outlet.read_by([Reader(DataType.BOOK, None, None, None)])
            mirror_again(kept)
            snapshot({1: 1, 2: 2, 3: 3}, {22: 1, 23: 2, 24: 3})(kept)
            kept.deliver()
            await kept.way.go_on()
            for act in acts:
                if act is None:
                    await kept.way.go_on()
                else:
                    act(kept)
            kept.deliver()
            await kept.way.go_on()
            refresh(kept)
        assert kept.is_exact()

    trio.run(play)


# --------------------------------------------------------------------------------------- by hand
async def test_an_image_first_then_what_changed() -> None:
    kept = Kept(DELTA)
    async with kept.way.open() as outlet:
        kept.update({1: 5, 2: 5}, {9: 1}, snapshot=True)
        kept.deliver()
        assert kept.mirror.verdict is SYNCING
        outlet.mirror(LINE, DELTA.feed)
        await wait_all_tasks_blocked()
        assert (kept.mirror.verdict, kept.is_exact()) == (VERIFIED, True)
        kept.update({1: 0, 3: 7}, {}, snapshot=False)
        kept.update({3: 8}, {9: 2}, snapshot=False)
        kept.deliver()
        await wait_all_tasks_blocked()
        assert kept.is_exact()
    image, news = kept.way.news
    assert (image.whole, news.whole) == (True, False)
    assert sorted(news.bids) == [(0.01, 0), (0.03, 0.08)]
    assert news.asks == [(0.09, 0.02)]
    assert kept.way.bundles == [], "nobody reads the updates themselves"


async def test_a_book_that_is_not_mirrored_costs_nothing() -> None:
    kept = Kept(DELTA)
    async with kept.way.open() as outlet:
        outlet.mirror("binance/spot#2", "binance/spot/ETHUSDT/book")
        kept.update({1: 5}, {}, snapshot=True)
        kept.deliver()
        refresh(kept)
        assert outlet.mailbox.offered == 0
    assert kept.mirror.verdict is SYNCING


@MODES
async def test_a_drop_makes_the_mirror_stale_until_the_image(mode: NumberMode) -> None:
    """And what follows the drop is not applied to what went before."""
    kept = Kept(DELTA, mode, max_bytes=300)
    async with kept.way.open() as outlet:
        kept.update({1: 5}, {9: 1}, snapshot=True)
        kept.deliver()
        mirror_again(kept)
        await wait_all_tasks_blocked()
        assert kept.mirror.verdict is VERIFIED
        kept.way.hold()
        kept.update({2: 5}, {}, snapshot=False)
        kept.deliver()
        await wait_all_tasks_blocked()  # it is being sent, and will come
        before = kept.book.book()
        for price in range(3, 7):
            kept.update({price: 5}, {}, snapshot=False)
            kept.deliver()
        assert outlet.mailbox.dropped
        await kept.way.go_on()
        assert kept.mirror.book() == attrs.evolve(before, verdict=STALE)
        kept.update({7: 5}, {}, snapshot=False)
        kept.deliver()
        await wait_all_tasks_blocked()
        assert (kept.mirror.verdict, kept.is_exact()) == (VERIFIED, True)
    told = [(news.whole, news.lost) for news in kept.way.news[:3]]
    assert told == [(True, False), (False, False), (False, True)]


async def test_after_a_drop_the_image_comes_by_itself() -> None:
    """A quiet book waits for no update: the next beat brings it."""
    kept = Kept(DELTA, max_bytes=2 * (50 + 40))
    kept.update({1: 5}, {9: 1}, snapshot=True)
    async with kept.way.open() as outlet:
        kept.deliver()
        mirror_again(kept)
        await wait_all_tasks_blocked()
        for price in range(2, 5):  # one more than there is room for
            kept.update({price: 5}, {}, snapshot=False)
            kept.deliver()
        assert outlet.mailbox.dropped == 1
        await kept.way.go_on()
        assert kept.mirror.verdict is STALE
        refresh(kept)
        await wait_all_tasks_blocked()
        assert (kept.mirror.verdict, kept.is_exact()) == (VERIFIED, True)


async def test_a_stale_mirror_shows_what_it_was() -> None:
    kept = Kept(DELTA)
    kept.update({1: 5}, {9: 1}, snapshot=True)
    kept.mirror.take(image_of(kept.book))
    before = kept.mirror.book()
    kept.mirror.lost()
    assert kept.mirror.book() == attrs.evolve(before, verdict=STALE)
    kept.mirror.take(image_of(kept.book))
    assert kept.mirror.book() == before


@pytest.mark.parametrize("tell", [Mirror.lost, lambda mirror: mirror.take(stale(DELTA.feed))])
def test_a_mirror_of_which_something_was_lost_is_stale_from_the_first(
    tell: Callable[[Mirror], None],
) -> None:
    kept = Kept(DELTA)
    kept.update({1: 5}, {9: 1}, snapshot=True)
    mirror, news = Mirror(DELTA), image_of(kept.book)
    assert mirror.verdict is SYNCING
    tell(mirror)
    assert mirror.verdict is STALE
    mirror.take(attrs_like(news, whole=False))
    assert (mirror.verdict, mirror.book().bids) == (STALE, [])
    mirror.take(news)
    assert mirror.book() == kept.book.book()


async def test_what_a_book_becomes_without_a_bundle_is_told() -> None:
    kept = Kept(SPOT)
    kept.update({5: 1}, {9: 1}, snapshot=True)
    async with kept.way.open():
        mirror_again(kept)
        await wait_all_tasks_blocked()
        assert kept.mirror.verdict is VERIFIED
        ended(kept)
        refresh(kept)
        refresh(kept)
        await wait_all_tasks_blocked()
        assert (kept.mirror.verdict, kept.is_exact()) == (STALE, True)
    assert len(kept.way.news) == 2


async def test_what_lies_beyond_a_snapshot_is_marked_as_in_the_book() -> None:
    kept = Kept(SPOT)
    kept.update({5: 1, 6: 1, 7: 1}, {19: 1, 20: 1}, snapshot=True)
    kept.deliver()
    async with kept.way.open():
        mirror_again(kept)
        kept.update({3: 2}, {}, snapshot=False)
        kept.deliver()
        await wait_all_tasks_blocked()
    assert kept.is_exact()
    assert [level.authoritative for level in kept.mirror.book().bids] == [True, True, True, False]


def test_depth_cuts_both_sides() -> None:
    kept = Kept(DELTA)
    kept.update({1: 1, 2: 2, 3: 3}, {8: 1, 9: 1}, snapshot=True)
    kept.mirror.take(image_of(kept.book))
    for depth in (1, 2, 5):
        assert kept.mirror.book(depth) == kept.book.book(depth)


# --------------------------------------------------------------------------------- news as bytes
def news_of_a_book(mode: NumberMode) -> list[BookNews]:
    kept = Kept(SPOT, mode)
    kept.update({5: 1, 6: 1, 7: 1}, {19: 1, 20: 1}, snapshot=True)
    return [image_of(kept.book), stale(SPOT.feed)]


@MODES
def test_news_come_as_they_were(mode: NumberMode) -> None:
    given = news_of_a_book(mode)
    ours = decode_news(encode_news(given), mode)
    assert ours == given
    kind = float if mode is NumberMode.FLOAT else Decimal
    assert {type(n) for level in ours[0].bids for n in level} == {kind}
    assert type(ours[0].horizons[0]) is kind


def test_decimals_come_to_the_last_digit() -> None:
    digits = Decimal("0.1234567890123456789012345678901234567890")
    news = attrs_like(stale(SPOT.feed), bids=[(digits, Decimal("1.00"))], horizons=(digits, None))
    (ours,) = decode_news(encode_news([news]), NumberMode.DECIMAL)
    assert str(ours.bids) == str(news.bids)
    assert ours.horizons == (digits, None)


def attrs_like(news: BookNews, **changes: Any) -> BookNews:
    return msgspec.structs.replace(news, **changes)


@MODES
def test_news_cut_anywhere_are_refused(mode: NumberMode) -> None:
    whole = encode_news(news_of_a_book(mode))
    for size in range(len(whole)):
        with pytest.raises(LinkError, match="no news"):
            decode_news(whole[:size], mode)


@MODES
@given(st.binary(max_size=100))
def test_other_bytes_are_refused(mode: NumberMode, data: bytes) -> None:
    try:
        ours = decode_news(data, mode)
    except LinkError:
        return
    assert ours == []


@MODES
@pytest.mark.parametrize(
    "level", [("x", "1"), ([1], "1"), (None, 1), ({}, 1), (b"1", 1), ([0, [1, "a"], 2], 1)]
)
def test_levels_that_are_no_numbers_are_refused(mode: NumberMode, level: Any) -> None:
    for place in ("bids", "asks"):
        spoilt = attrs_like(stale(SPOT.feed), **{place: [level]})
        with pytest.raises(LinkError, match="no news"):
            decode_news(encode_news([spoilt]), mode)
    with pytest.raises(LinkError, match="no news"):
        decode_news(encode_news([attrs_like(stale(SPOT.feed), horizons=("x", None))]), mode)


@MODES
@settings(max_examples=runs(200))
@given(st.data())
def test_spoilt_bytes_are_refused_or_say_something_else(
    mode: NumberMode, data: st.DataObject
) -> None:
    """That is, a mirror can be made of it, and there is no other error than LinkError."""
    whole = encode_news(news_of_a_book(mode))
    spoilt = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        spoilt[place] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_news(bytes(spoilt), mode)
    except LinkError:
        return
    mirror = Mirror(SPOT)
    for news in decoded:
        mirror.take(news)
    assert mirror.book().symbol == "BTCUSDT"
