"""The conflating mailbox: the newest row of each feed, and a record of each one it replaced."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from farm.actors.conflate import ConflatingMailbox
from farm.batch import Batch
from farm.entities import Event, Gap, Quote, feed_of
from farm.types import Exchange, GapCause, GapUnit, Market
from tests.actors.lines import read_all
from tests.effort import runs
from tests.storage.events import NOON, ORIGIN, quote, trade

EDGE = "aggregator>reader"
OTHER = attrs.evolve(ORIGIN, connection="d", epoch=3)


def quotes(*ordinals: int, symbol: str = "BTCUSDT", **more: Any) -> Batch[Any]:
    rows: list[Any] = [attrs.evolve(quote(ordinal), symbol=symbol) for ordinal in ordinals]
    return batch(*rows, **more)


def batch(*rows: Event, origin: Any = ORIGIN) -> Batch[Any]:
    return Batch(type(rows[0]), rows=list(rows), origins=[(origin, len(rows))])


def venue_gap(ordinal: int = 0) -> Gap:
    return Gap(
        Exchange.BINANCE, Market.SPOT, "BTCUSDT", "binance/spot/BTCUSDT/quote", "venue",
        GapCause.DISCONNECT, None, None, NOON, NOON, None, GapUnit.UNKNOWN, False,
        NOON + ordinal, ordinal,
    )  # fmt: skip


async def read(box: ConflatingMailbox) -> list[Batch[Any]]:
    box.close()
    return await read_all(box)


def shown(batches: list[Batch[Any]]) -> list[list[str]]:
    """Each batch as texts: symbol and ordinal of a row, size and bounds of a gap."""
    return [[text(row) for row in one] for one in batches]


def text(row: Any) -> str:
    if isinstance(row, Gap):
        assert row.start_time is not None
        assert row.end_time is not None
        bounds = f"{row.start_time - NOON}-{row.end_time - NOON}"
        return f"{row.edge}:{row.symbol}:{row.size}:{bounds}"
    return f"{row.symbol}:{row.ordinal}"


async def test_a_reader_that_keeps_up_gets_everything() -> None:
    box = ConflatingMailbox(EDGE)
    reader = box.reader()
    for number in range(5):
        box.put(quotes(number))
        got = await reader.next()
        assert got.rows == [quote(number)]
        assert (got.kind, got.origins) == (Quote, [(ORIGIN, 1)])
    assert (box.offered, box.taken, box.dropped, len(box), box.nbytes) == (5, 5, 0, 0, 0)


async def test_the_newest_takes_the_place_and_what_it_replaced_is_one_gap_a_feed() -> None:
    box = ConflatingMailbox(EDGE)
    box.put(quotes(0))
    box.put(quotes(1, symbol="ETHUSDT"))
    box.put(quotes(2, 3))
    box.put(quotes(4, symbol="ETHUSDT"))
    assert (len(box), box.offered, box.dropped) == (2, 5, 3)
    gaps, rows = await read(box)
    assert shown([gaps, rows]) == [
        [f"{EDGE}:BTCUSDT:2:0-2", f"{EDGE}:ETHUSDT:1:1-1"],
        ["BTCUSDT:3", "ETHUSDT:4"],
    ]
    assert {gap.cause for gap in gaps} == {GapCause.OVERFLOW}
    assert {gap.unit for gap in gaps} == {GapUnit.EVENTS}
    assert [gap.feed for gap in gaps] == [f"binance/spot/{s}/quote" for s in ("BTCUSDT", "ETHUSDT")]
    assert (box.taken, box.dropped, len(box), box.nbytes) == (2, 3, 0, 0)


async def test_rows_come_in_the_order_of_their_last_update_and_batches_of_one_kind() -> None:
    box = ConflatingMailbox(EDGE)
    box.put(quotes(0))
    box.put(quotes(1, symbol="ETHUSDT"))
    box.put(batch(trade(2)))  # any kind will do here
    box.put(quotes(3))
    _, first, second = await read(box)
    assert shown([first, second]) == [["ETHUSDT:1", "BTCUSDT:3"], ["BTCUSDT:2"]]
    assert first.kind is Quote


async def test_what_is_delivered_with_a_gap_is_out_of_reach_of_the_next() -> None:
    """Else the gap of what was replaced would come before it, and a slow reader get gaps alone."""
    box = ConflatingMailbox(EDGE)
    reader = box.reader()
    got = []
    for start in range(0, 40, 4):
        for number in range(start, start + 4):
            box.put(quotes(number))
        got.append(await reader.next())
        assert box.offered == box.taken + box.dropped + len(box)
    got += await read(box)
    texts = [text(row) for one in got for row in one]
    assert texts[:5] == [
        f"{EDGE}:BTCUSDT:3:0-2",
        "BTCUSDT:3",
        f"{EDGE}:BTCUSDT:7:4-10",
        "BTCUSDT:11",
        f"{EDGE}:BTCUSDT:7:12-18",
    ]
    assert texts[-1] == "BTCUSDT:39"


async def test_gaps_from_elsewhere_are_all_delivered() -> None:
    box = ConflatingMailbox(EDGE)
    box.put(quotes(0))
    for number in range(1, 4):
        box.put(batch(venue_gap(number)))
    box.put(quotes(4))
    assert (len(box), box.offered) == (4, 5)
    gaps, rows = await read(box)
    assert [gap.edge for gap in gaps] == ["venue"] * 3 + [EDGE]
    assert shown([rows]) == [["BTCUSDT:4"]]
    assert (box.taken, box.dropped, len(box)) == (4, 1, 0)


async def test_every_row_and_gap_keeps_the_connection_it_is_from() -> None:
    box = ConflatingMailbox(EDGE)
    box.put(quotes(0))
    box.put(quotes(1, symbol="ETHUSDT", origin=OTHER))
    box.put(quotes(2, symbol="ETHUSDT"))
    box.put(quotes(3, origin=OTHER))
    gaps, rows = await read(box)
    assert shown([rows]) == [["ETHUSDT:2", "BTCUSDT:3"]]
    assert rows.origins == [(ORIGIN, 1), (OTHER, 1)]
    assert [gap.symbol for gap in gaps] == ["ETHUSDT", "BTCUSDT"]
    assert gaps.columns["connection"].tolist() == ["d", "c"]  # type: ignore[union-attr]


async def test_memory_is_bounded_by_the_number_of_feeds() -> None:
    box = ConflatingMailbox(EDGE)
    for number in range(1000):
        box.put(quotes(number, symbol=f"S{number % 7}"))
    assert (len(box), box.dropped, box.nbytes) == (7, 993, 7 * quotes(0).nbytes)
    assert box._gaps is not None
    assert len(box._gaps) == 7


async def test_close_wakes_a_parked_reader_and_refuses_more() -> None:
    box = ConflatingMailbox(EDGE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_all, box)
        await wait_all_tasks_blocked()
        box.close()
    with pytest.raises(trio.ClosedResourceError):
        box.put(quotes(0))
    with pytest.raises(trio.ClosedResourceError):
        await box.send(quotes(0))
    assert box.offered == 0


async def test_an_item_that_crashed_two_readers_is_a_gap_before_what_waits() -> None:
    told: list[Any] = []
    box = ConflatingMailbox(EDGE, on_quarantine=told.append)
    box.put(quotes(0))
    for _ in range(2):
        with suppress(ValueError), box.reader("r") as reader:
            await reader.next()
            raise ValueError
    box.put(quotes(1))
    gaps, rows = await read(box)
    assert [(gap.cause, gap.size) for gap in gaps] == [(GapCause.QUARANTINE, 1)]
    assert shown([rows]) == [["BTCUSDT:1"]]
    assert [kept.item.rows for kept in told] == [[quote(0)]]


async def test_drained_everything_is_one_loss() -> None:
    box = ConflatingMailbox(EDGE)
    box.put(quotes(0))
    with suppress(ValueError), box.reader() as reader:
        await reader.next()
        raise ValueError
    box.put(quotes(1, 2))
    box.put(batch(venue_gap(3)))
    box.put(quotes(4, symbol="ETHUSDT"))
    loss = box.drain()
    assert loss is not None
    told = {(gap.edge, gap.symbol) for gap in loss}
    assert told == {(EDGE, "BTCUSDT"), ("venue", "BTCUSDT"), (EDGE, "ETHUSDT")}
    lost = sum(gap.size for gap in loss if gap.edge == EDGE)
    assert (lost, len(box), box.nbytes) == (4, 0, 0)
    assert box.offered == box.taken + box.dropped
    assert box.drain() is None


# Whatever happens ------------------------------------------------------------------------------

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.integers(0, 4), min_size=1, max_size=6)),
        st.tuples(st.sampled_from(["gap", "take", "cancel", "crash"])),
    ),
    max_size=30,
)


@settings(max_examples=runs(150), deadline=None)
@given(operations=OPERATIONS)
async def test_every_row_is_taken_or_in_a_gap_or_quarantined_or_waits(
    operations: list[tuple[Any, ...]],
) -> None:
    model = Model()
    for operation, *arguments in operations:
        await getattr(model, operation)(*arguments)
        model.check()
    await model.end()


class Model:
    """A conflating mailbox of a few feeds, and what must be true of it."""

    def __init__(self) -> None:
        self.kept: list[Batch[Any]] = []
        self.box = ConflatingMailbox(EDGE, on_quarantine=lambda kept: self.kept.append(kept.item))
        self.latest: dict[str, int] = {}
        self.got: list[Any] = []
        self.put_rows = self.put_gaps = 0
        self._ordinal = 0
        self._held: Batch[Any] | None = None
        self._reader = self.box.reader()

    async def put(self, places: list[int]) -> None:
        rows = []
        for place in places:
            self._ordinal += 1
            row = attrs.evolve(quote(self._ordinal), symbol=f"S{place}")
            self.latest[feed_of(row)] = self._ordinal
            rows.append(row)
        self.put_rows += len(rows)
        self.box.put(batch(*rows))

    async def gap(self) -> None:
        self._ordinal += 1
        self.put_gaps += 1
        self.box.put(batch(venue_gap(self._ordinal)))

    async def take(self) -> None:
        """The next; cancelled where nothing is there."""
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                await wait_all_tasks_blocked()
                scope.cancel()

    async def _read(self) -> None:
        again = self._reader.redelivers
        item = await self._reader.next()
        if not again:
            self.got.append(item)
        self._held = item

    async def cancel(self) -> None:
        self._reader.__exit__(trio.Cancelled, None, None)
        self._reader = self.box.reader()

    async def crash(self) -> None:
        count = len(self.kept)
        self._reader.__exit__(ValueError, ValueError(), None)
        if len(self.kept) > count:
            self.got = [item for item in self.got if item is not self.kept[-1]]
        self._reader = self.box.reader()

    def check(self) -> None:
        box = self.box
        assert box.offered == self.put_rows + self.put_gaps
        assert box.offered == box.taken + box.dropped + len(box)
        assert len(box._latest) <= len(self.latest)

    async def end(self) -> None:
        self.box.close()
        while True:
            try:
                await self._read()
            except trio.EndOfChannel:
                break
        assert len(self.box) == self.box.nbytes == 0
        rows = [row for item in self.got for row in item]
        own = [row for row in rows if isinstance(row, Gap) and row.edge == EDGE]
        venue = [row for row in rows if isinstance(row, Gap) and row.edge != EDGE]
        quotes = [row for row in rows if not isinstance(row, Gap)]
        lost = sum(gap.size for gap in own if gap.size is not None)
        assert len(venue) == self.put_gaps
        assert len(quotes) + lost == self.put_rows
        seen: dict[str, int] = {}
        for row in quotes:
            assert row.ordinal > seen.get(feed_of(row), 0)
            seen[feed_of(row)] = row.ordinal
        quarantined = [row for item in self.kept for row in item if not isinstance(row, Gap)]
        for row in quarantined:
            seen[feed_of(row)] = max(row.ordinal, seen.get(feed_of(row), 0))
        assert seen == self.latest


async def test_readers_cancelled_at_any_moment_lose_nothing() -> None:
    for seed in range(runs(40)):
        rng = random.Random(seed)
        box = ConflatingMailbox(EDGE)
        seen: list[Batch[Any]] = []
        ended = False

        async def send(box: ConflatingMailbox, rng: random.Random) -> None:
            for number in range(40):
                await box.send(quotes(number, symbol=f"S{rng.randrange(3)}"))
            box.close()

        async def read_some(box: ConflatingMailbox, seen: list[Batch[Any]]) -> None:
            nonlocal ended
            with box.reader() as reader:
                async for item in reader:
                    if not seen or item is not seen[-1]:
                        seen.append(item)
                    await trio.lowlevel.checkpoint()
            ended = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, box, rng)
            while not ended:
                async with trio.open_nursery() as one:
                    one.start_soon(read_some, box, seen)
                    for _ in range(rng.randrange(8)):
                        await trio.lowlevel.checkpoint()
                    one.cancel_scope.cancel()
        rows = [row for item in seen for row in item]
        lost = sum(row.size for row in rows if isinstance(row, Gap))
        assert lost + sum(not isinstance(row, Gap) for row in rows) == 40, seed
        assert box.quarantine_count == 0
