"""Mailboxes: order, bounds, losses in their place, redelivery, quarantine, and the accounts."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from farm.actors.mailbox import Mailbox, Overflow, Quarantined, Reader
from tests.effort import runs


@attrs.define(eq=False)
class Item:
    """An item, or the loss of several: `ids` says of which."""

    ids: tuple[int, ...]
    nbytes: int = 1
    control: bool = False
    loss: str = ""  # "overflow" or "quarantine"
    born: int = 0  # how much had been delivered when the loss began


def lose(loss: Item | None, item: Item, quarantined: bool) -> Item:
    before = loss.ids if loss is not None else ()
    return Item(before + item.ids, 0, loss="quarantine" if quarantined else "overflow")


def mailbox(
    overflow: Overflow = Overflow.DROP_OLDEST,
    *,
    lose: Callable[[Item | None, Item, bool], Item] = lose,
    on_quarantine: Callable[[Quarantined[Item]], None] = lambda _kept: None,
    max_items: int = 1000,
    max_bytes: int = 1_000_000,
    hand_off: bool = False,
) -> Mailbox[Item]:
    return Mailbox(
        "a>b",
        lose=lose,
        max_bytes=max_bytes,
        max_items=max_items,
        overflow=overflow,
        droppable=lambda item: not item.control,
        on_quarantine=on_quarantine,
        hand_off=hand_off,
    )


def fill(box: Mailbox[Item], ids: range, **more: Any) -> None:
    for number in ids:
        box.put(Item((number,), **more))


async def drain(box: Mailbox[Item], reader: Reader[Item] | None = None) -> list[Item]:
    """Close it and read to the end."""
    box.close()
    return [item async for item in reader or box.reader()]


def shown(items: list[Item]) -> list[str]:
    return [item.loss + ",".join(map(str, item.ids)) for item in items]


# Order and end ---------------------------------------------------------------------------------


async def test_items_come_in_order_and_then_the_end() -> None:
    box = mailbox()
    fill(box, range(4))
    reader = box.reader()
    assert (await reader.next()).ids == (0,)
    assert shown(await drain(box, reader)) == ["1", "2", "3"]
    for _ in range(2):
        with pytest.raises(trio.EndOfChannel):
            await reader.next()


async def test_close_wakes_a_parked_reader() -> None:
    box = mailbox()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(trio.EndOfChannel):
                await box.reader().next()

        await wait_all_tasks_blocked()
        box.close()


@pytest.mark.parametrize("overflow", Overflow)
async def test_a_closed_mailbox_takes_nothing_and_drops_nothing(overflow: Overflow) -> None:
    box = mailbox(overflow, max_items=2)
    fill(box, range(2))
    box.close()
    with pytest.raises(trio.ClosedResourceError):
        box.put(Item((2,)))
    with pytest.raises(trio.ClosedResourceError):
        await box.send(Item((2,)))
    assert (box.offered, box.dropped) == (2, 0)
    assert shown(await drain(box)) == ["0", "1"]


# Bounds and policies ---------------------------------------------------------------------------


@pytest.mark.parametrize(("items", "nbytes"), [(3, 1000), (1000, 30)])
async def test_the_oldest_go_and_leave_one_loss_in_their_place(items: int, nbytes: int) -> None:
    box = mailbox(max_items=items, max_bytes=nbytes)
    fill(box, range(7), nbytes=10)
    assert (len(box), box.nbytes, box.dropped) == (3, 30, 4)
    assert shown(await drain(box)) == ["overflow0,1,2,3", "4", "5", "6"]
    assert (len(box), box.nbytes, box.taken) == (0, 0, 3)


async def test_an_item_beyond_the_bound_passes_alone() -> None:
    box = mailbox(max_bytes=10)
    fill(box, range(2), nbytes=99)
    assert shown(await drain(box)) == ["overflow0", "1"]
    box = mailbox(Overflow.BLOCK, max_bytes=10)
    fill(box, range(1), nbytes=99)
    with pytest.raises(trio.WouldBlock):
        fill(box, range(1, 2))
    assert shown(await drain(box)) == ["0"]


async def test_control_items_stay_in_their_place_and_take_no_room() -> None:
    box = mailbox(max_items=2)
    box.put(Item((0,), control=True))
    fill(box, range(1, 3))
    box.put(Item((3,), control=True))
    fill(box, range(4, 7))
    assert len(box) == 4
    assert shown(await drain(box)) == ["0", "overflow1,2", "3", "overflow4", "5", "6"]
    full = mailbox(Overflow.BLOCK, max_items=1)
    fill(full, range(1))
    full.put(Item((1,), control=True))
    assert shown(await drain(full)) == ["0", "1"]


async def test_a_loss_that_was_delivered_does_not_grow() -> None:
    box = mailbox(max_items=1)
    fill(box, range(2))
    reader = box.reader()
    loss = await reader.next()
    fill(box, range(2, 4))
    assert loss.ids == (0,)
    assert shown(await drain(box, reader)) == ["1", "overflow2", "3"]


async def test_a_reader_that_is_always_too_slow_gets_items_between_the_losses() -> None:
    box = mailbox(max_items=2)
    reader = box.reader()
    got = []
    for start in range(0, 40, 4):
        fill(box, range(start, start + 4))
        got.append(await reader.next())
    kinds = [text.startswith("overflow") for text in shown(got)]
    assert kinds == [True, False] * 5
    assert box.offered == box.taken + box.dropped + len(box)


async def test_block_waits_for_room() -> None:
    box = mailbox(Overflow.BLOCK, max_items=2)
    fill(box, range(2))
    with pytest.raises(trio.WouldBlock):
        box.put(Item((2,)))
    sent: list[int] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            for number in range(2, 5):
                await box.send(Item((number,)))
                sent.append(number)

        await wait_all_tasks_blocked()
        assert sent == []
        reader = box.reader()
        for number in range(3):
            assert (await reader.next()).ids == (number,)
            await wait_all_tasks_blocked()
            assert sent == list(range(2, number + 3))
    assert (box.offered, box.dropped) == (5, 0)
    assert shown(await drain(box, reader)) == ["3", "4"]


async def test_a_cancelled_send_has_put_nothing() -> None:
    box = mailbox(Overflow.BLOCK, max_items=1)
    fill(box, range(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.send, Item((1,)))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert box.offered == 1
    assert shown(await drain(box)) == ["0"]


async def test_close_wakes_a_sender_that_waits_for_room() -> None:
    box = mailbox(Overflow.BLOCK, max_items=1)
    fill(box, range(1))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await box.send(Item((1,)))

        await wait_all_tasks_blocked()
        box.close()
        with trio.fail_after(5):
            await wait_all_tasks_blocked()
            assert not nursery.child_tasks
    assert shown(await drain(box)) == ["0"]


@pytest.mark.parametrize("overflow", Overflow)
async def test_a_pair_that_is_always_full_lets_other_tasks_run(overflow: Overflow) -> None:
    box = mailbox(overflow, max_items=1)
    turns = 0

    async def bystander() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as outer:
        outer.start_soon(bystander)
        async with trio.open_nursery() as pair:

            @pair.start_soon
            async def send() -> None:
                for number in range(300):
                    await box.send(Item((number,)))
                box.close()

            @pair.start_soon
            async def read() -> None:
                async for _ in box.reader():
                    pass

        assert turns > 200
        outer.cancel_scope.cancel()


# The reader that was handed an item and has not run yet ----------------------------------------


async def test_what_was_handed_over_comes_before_the_loss_of_what_followed() -> None:
    box = mailbox(max_items=3)
    items: list[Item] = []

    async def read() -> None:
        items.extend([item async for item in box.reader()])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        fill(box, range(4))  # the first is the reader's already, and can't be dropped
        assert len(box) + box.dropped == 4
        assert box.taken == 0
        await wait_all_tasks_blocked()
        box.close()
    assert shown(items) == ["0", "overflow1", "2", "3"]


async def test_drops_before_and_after_the_handed_item_was_taken_are_one_loss() -> None:
    box = mailbox(max_items=1)
    reader = box.reader()
    items: list[Item] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read_one() -> None:
            items.append(await reader.next())

        await wait_all_tasks_blocked()
        fill(box, range(3))
        await wait_all_tasks_blocked()
        fill(box, range(3, 5))
    assert shown(items + await drain(box, reader)) == ["0", "overflow1,2,3", "4"]


async def test_a_reader_cancelled_after_the_handing_over_keeps_the_item() -> None:
    box = mailbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.reader().next)
        await wait_all_tasks_blocked()
        fill(box, range(2))
        nursery.cancel_scope.cancel()
    assert shown(await drain(box)) == ["0", "1"]


# Redelivery and quarantine ---------------------------------------------------------------------


async def end_by(error: BaseException, box: Mailbox[Item], reads: int = 1) -> list[Item]:
    """A reader that this ends after so many reads; what it got."""
    got = []
    with suppress(type(error)), box.reader("b") as reader:
        got += [await reader.next() for _ in range(reads)]
        raise error
    return got


async def test_a_crashed_readers_item_comes_again_once_and_then_a_loss() -> None:
    kept: list[Quarantined[Item]] = []
    box = mailbox(on_quarantine=kept.append)
    fill(box, range(3))
    assert not box.reader().redelivers
    assert shown(await end_by(ValueError("first"), box, 2)) == ["0", "1"]
    assert box.reader().redelivers
    assert kept == []

    assert shown(await end_by(KeyError("second"), box)) == ["1"]
    assert box.taken == 2
    assert not box.reader().redelivers
    (item,) = kept
    assert (item.mailbox, item.actor, item.item.ids) == ("a>b", "b", (1,))
    first, second = item.tracebacks
    assert first.startswith("Traceback")
    assert "ValueError: first" in first
    assert "KeyError: 'second'" in second
    assert (list(box.quarantined), box.quarantine_count) == (kept, 1)
    assert shown(await drain(box)) == ["quarantine1", "2"]
    assert (box.offered, box.taken, box.dropped) == (3, 3, 0)


async def test_only_a_crash_while_an_item_was_held_counts() -> None:
    box = mailbox()
    fill(box, range(1))
    for _ in range(3):
        await end_by(ValueError(), box, reads=0)
    assert shown(await end_by(ValueError(), box)) == ["0"]
    for _ in range(3):
        await end_by(ValueError(), box, reads=0)
    assert shown(await drain(box)) == ["0"]
    assert box.quarantine_count == 0


@pytest.mark.parametrize("in_group", [False, True])
async def test_a_cancelled_readers_item_comes_again_however_often(in_group: bool) -> None:
    box = mailbox()
    fill(box, range(2))
    for _ in range(5):
        with trio.CancelScope() as scope, box.reader() as reader:
            assert (await reader.next()).ids == (0,)
            scope.cancel()
            if not in_group:
                await trio.lowlevel.checkpoint()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
    await end_by(KeyboardInterrupt(), box)
    assert shown(await end_by(ValueError(), box)) == ["0"]
    with trio.CancelScope() as scope, box.reader() as reader:  # between the crashes, too
        await reader.next()
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert box.quarantine_count == 0
    assert shown(await end_by(ValueError(), box)) == ["0"]
    assert box.quarantine_count == 1
    assert shown(await drain(box)) == ["quarantine0", "1"]


async def test_a_crash_beside_a_cancellation_is_none() -> None:
    box = mailbox()
    fill(box, range(1))

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError

    for _ in range(3):
        with suppress(ExceptionGroup), trio.CancelScope() as scope, box.reader() as reader:
            await reader.next()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_when_cancelled)
                nursery.start_soon(trio.sleep_forever)
                await wait_all_tasks_blocked()
                scope.cancel()
    assert box.quarantine_count == 0
    assert shown(await drain(box)) == ["0"]


async def test_a_group_of_errors_is_a_crash() -> None:
    box = mailbox()
    fill(box, range(1))
    for _ in range(2):
        await end_by(ExceptionGroup("several", [ValueError("one"), KeyError()]), box)
    assert box.quarantine_count == 1
    assert "ValueError: one" in box.quarantined[0].tracebacks[0]


async def test_crashes_on_two_items_quarantine_neither() -> None:
    box = mailbox()
    fill(box, range(2))
    await end_by(ValueError(), box)
    assert shown(await end_by(ValueError(), box, 2)) == ["0", "1"]
    assert shown(await drain(box)) == ["1"]
    assert box.quarantine_count == 0


async def test_what_was_acknowledged_does_not_come_again() -> None:
    box = mailbox()
    fill(box, range(2))
    with suppress(ValueError), box.reader() as reader:
        await reader.next()
        reader.acknowledge()
        raise ValueError
    assert shown(await drain(box)) == ["1"]


async def test_of_what_was_narrowed_the_rest_alone_comes_again() -> None:
    box = mailbox()
    box.put(Item((1, 2, 3)))
    for rest in ((2, 3), (3,)):
        with suppress(ValueError), box.reader() as reader:
            await reader.next()
            reader.narrow(Item(rest))
            raise ValueError
    assert [kept.item.ids for kept in box.quarantined] == [(3,)]
    assert shown(await drain(box)) == ["quarantine3"]


async def test_the_quarantined_items_loss_comes_before_older_overflow() -> None:
    box = mailbox(max_items=1)
    fill(box, range(1))
    await end_by(ValueError(), box)
    fill(box, range(1, 4))
    await end_by(ValueError(), box)
    assert shown(await drain(box)) == ["quarantine0", "overflow1,2", "3"]


async def test_after_a_quarantine_who_waits_for_room_goes_on() -> None:
    """With room for one item the sender waits behind the very item that is to blame."""
    box = mailbox(Overflow.BLOCK, max_items=1)

    async def send() -> None:
        for number in range(4):
            await box.send(Item((number,)))
        box.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        for _ in range(2):
            await end_by(ValueError(), box)
            await wait_all_tasks_blocked()
        with trio.fail_after(5):
            assert shown([item async for item in box.reader()]) == ["quarantine0", "1", "2", "3"]


async def test_the_end_is_not_redelivered() -> None:
    box = mailbox()
    fill(box, range(1))
    assert shown(await drain(box)) == ["0"]
    assert await drain(box) == []


async def test_of_many_quarantined_items_the_last_are_shown_and_all_are_counted() -> None:
    told: list[Quarantined[Item]] = []
    box = mailbox(on_quarantine=told.append)
    fill(box, range(15))
    for _ in range(15):
        for _ in range(2):
            await end_by(ValueError(), box)
        with box.reader() as reader:
            await reader.next()  # the loss
            reader.acknowledge()
    assert [kept.item.ids for kept in told] == [(number,) for number in range(15)]
    assert list(box.quarantined) == told[5:]
    assert box.quarantine_count == 15


# Drained, when nobody reads any more -----------------------------------------------------------


async def test_what_waits_and_what_is_held_is_drained_as_one_loss() -> None:
    box = mailbox(max_items=3)
    fill(box, range(1))
    await end_by(ValueError(), box)
    box.put(Item((1,), control=True))
    fill(box, range(2, 7))
    loss = box.drain()
    assert loss is not None
    assert loss.ids == (0, 1, 2, 3, 4, 5, 6)
    assert loss.loss == "overflow"
    assert (len(box), box.nbytes) == (0, 0)
    assert box.offered == box.taken + box.dropped == 7
    assert box.drain() is None
    assert await drain(box) == []


async def test_drained_in_order_what_may_not_be_dropped_stays_with_losses_between() -> None:
    box = mailbox(max_items=2)
    fill(box, range(1))
    await end_by(ValueError(), box)
    fill(box, range(1, 2))
    box.put(Item((2,), control=True))
    fill(box, range(3, 6))
    box.put(Item((6,), control=True))
    left = box.drain_in_order()
    assert shown(left) == ["overflow0,1", "2", "overflow3,4,5", "6"]
    assert (len(box), box.nbytes) == (0, 0)
    assert box.offered == box.taken + box.dropped == 7
    assert box.taken == 3  # that which was held, and the two
    assert box.drain_in_order() == []


async def test_draining_makes_room() -> None:
    box = mailbox(Overflow.BLOCK, max_items=1)
    fill(box, range(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.send, Item((1,)))
        await wait_all_tasks_blocked()
        assert box.drain() is not None
    assert shown(await drain(box)) == ["1"]


# Cancelled at any moment -----------------------------------------------------------------------


@pytest.mark.parametrize("overflow", Overflow)
async def test_readers_cancelled_at_any_moment_lose_nothing(overflow: Overflow) -> None:
    for seed in range(runs(60)):
        seen = await _race(overflow, random.Random(seed))
        once = [item for item, last in zip(seen, [None, *seen], strict=False) if item is not last]
        assert [number for item in once for number in item.ids] == list(range(40)), seed


async def _race(overflow: Overflow, rng: random.Random) -> list[Item]:
    """A sender against readers that are cancelled after a few of their turns."""
    box = mailbox(overflow, max_items=4)
    seen: list[Item] = []
    ended = False

    async def send() -> None:
        for number in range(40):
            await box.send(Item((number,)))
        box.close()

    async def read(scope: trio.CancelScope) -> None:
        nonlocal ended
        with scope:
            with box.reader() as reader:
                async for item in reader:
                    seen.append(item)
                    if rng.random() < 0.5:
                        await trio.lowlevel.checkpoint()
            ended = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while not ended:
            scope = trio.CancelScope()
            async with trio.open_nursery() as one:
                one.start_soon(read, scope)
                for _ in range(rng.randrange(8)):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    assert box.quarantine_count == 0
    return seen


# The accounts, at any time ---------------------------------------------------------------------

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.integers(-1, 6), min_size=1, max_size=8)),
        st.tuples(st.sampled_from(["park", "settle", "cancel", "crash", "drain"])),
    ),
    max_size=25,
)


@settings(max_examples=runs(150), deadline=None)
@given(overflow=st.sampled_from(Overflow), operations=OPERATIONS)
async def test_accounts_and_order_hold_whatever_happens(
    overflow: Overflow, operations: list[tuple[Any, ...]]
) -> None:
    async with trio.open_nursery() as nursery:
        model = Model(overflow, nursery)
        for operation, *arguments in operations:
            await getattr(model, operation)(*arguments)
            model.check()
        await model.end()


class Model:
    """A mailbox under any sequence of operations, and what must be true of it.

    ``delivered`` has what readers got, but what came again; of what crashed two of them the item
    is there, and its loss is not.
    """

    def __init__(self, overflow: Overflow, nursery: trio.Nursery) -> None:
        self.kept: list[Item] = []
        self.box = mailbox(
            overflow,
            lose=self.lose,
            max_bytes=12,
            max_items=4,
            on_quarantine=lambda kept: self.kept.append(kept.item),
        )
        self.reader = self.box.reader()
        self.delivered: list[Item] = []
        self.drained: list[int] = []
        self.count = 0
        self._overflow = overflow
        self._nursery = nursery
        self._scope: trio.CancelScope | None = None  # of a reader under way
        self._failed: Item | None = None  # the one that the last crash was on

    def lose(self, loss: Item | None, item: Item, quarantined: bool) -> Item:
        lost = lose(loss, item, quarantined)
        lost.born = loss.born if loss is not None else len(self.delivered)
        return lost

    async def put(self, sizes: list[int]) -> None:
        """Items of these sizes; -1 is a control item."""
        for size in sizes:
            item = Item((self.count,), max(size, 0), control=size < 0)
            try:
                self.box.put(item)
            except trio.WouldBlock:
                assert self._overflow is Overflow.BLOCK
                assert not item.control
            else:
                self.count += 1

    async def park(self) -> None:
        if self._scope is None:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._read, self._scope)

    async def _read(self, scope: trio.CancelScope) -> None:
        with scope:
            again = self.reader.redelivers
            item = await self.reader.next()
            if again:
                assert item is self.delivered[-1]
            elif item.loss != "quarantine":
                self.delivered.append(item)
        self._scope = None

    async def settle(self) -> None:
        await wait_all_tasks_blocked()

    async def cancel(self) -> None:
        """The reader is cancelled; what it holds comes again, and that counts for nothing."""
        if self._scope is not None:
            self._scope.cancel()
        await wait_all_tasks_blocked()
        self.reader.__exit__(None, None, None)
        self.reader = self.box.reader()

    async def crash(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
        await wait_all_tasks_blocked()
        held, quarantined = self.box._held, self.box.quarantine_count
        begun = self.reader._begun
        error = ValueError()
        self.reader.__exit__(ValueError, error, None)
        self.reader = self.box.reader()
        if begun and held is not None:
            twice = held is self._failed
            assert self.box.quarantine_count == quarantined + twice
            self._failed = None if twice else held
        else:
            assert self.box.quarantine_count == quarantined

    async def drain(self) -> None:
        """As when a stage has ended for good: no reader is there."""
        await self.cancel()
        held = self.box._held
        loss = self.box.drain()
        if held is not None and held.loss != "quarantine":
            self.delivered.pop()  # it is in the loss
        if loss is not None:
            self.delivered.append(attrs.evolve(loss, loss="drained"))
        self.reader = self.box.reader()

    def check(self) -> None:
        box = self.box
        assert box.offered == self.count == box.taken + box.dropped + len(box)
        assert box.quarantine_count == len(self.kept)
        handed = 1  # waits for its reader to run, and can't be taken back
        controls = sum(item.control for item in box._receiver._state.data)
        assert box._waiting <= 4 + handed + controls
        assert box.nbytes <= 12 + 6 * handed

    async def end(self) -> None:
        await self.cancel()
        self.box.close()
        while True:
            again = self.reader.redelivers
            try:
                item = await self.reader.next()
            except trio.EndOfChannel:
                break
            if not again and item.loss != "quarantine":
                self.delivered.append(item)
        assert len(self.box) == self.box.nbytes == 0
        assert [number for item in self.delivered for number in item.ids] == list(range(self.count))
        for place, (one, other) in enumerate(
            zip(self.delivered, self.delivered[1:], strict=False), 1
        ):
            if one.loss == other.loss == "overflow":  # else the one would have been extended
                assert other.born >= place


# What has passed -------------------------------------------------------------------------------


async def test_what_was_dropped_has_passed_when_its_loss_is_done_with() -> None:
    """Until then nobody knows of it."""
    box = mailbox(max_items=2)
    fill(box, range(5))
    assert (box.dropped, box.passed) == (3, 0)
    with box.reader() as reader:
        assert shown([await reader.next()]) == ["overflow0,1,2"]
        assert box.passed == 0, "it is in hand"
        await reader.next()
        assert box.passed == 3
        reader.acknowledge()
        assert box.passed == 4
    await drain(box)
    assert box.passed == box.offered == 5


async def test_what_is_in_quarantine_has_passed_when_its_loss_is_done_with() -> None:
    box = mailbox()
    fill(box, range(2))
    for _ in range(2):
        with suppress(ValueError), box.reader() as reader:
            await reader.next()
            assert box.passed == 0
            raise ValueError("a bug")
    assert box.passed == 0
    with box.reader() as reader:
        assert shown([await reader.next()]) == ["quarantine0"]
        assert box.passed == 0
        await reader.next()
        assert box.passed == 1


MOVES = st.lists(
    st.sampled_from(["put", "put", "control", "take", "acknowledge", "crash"]), max_size=60
)


@settings(max_examples=runs(200))
@given(MOVES, st.integers(1, 4))
def test_as_many_have_passed_as_the_reader_knows_of(moves: list[str], room: int) -> None:
    """Of the items in the order in which they were put, whatever became of each."""

    async def play() -> None:
        box = mailbox(max_items=room)
        reader = box.reader()
        known = hand = 0
        for number, move in enumerate(moves):
            if move in ("put", "control"):
                box.put(Item((number,), control=move == "control"))
            elif move == "acknowledge":
                reader.acknowledge()
                known, hand = known + hand, 0
            elif move == "crash":
                with suppress(ValueError), reader:
                    raise ValueError("a bug")
                reader = box.reader()
                hand *= box.in_hand  # not if it is in quarantine
            elif reader.redelivers:
                await reader.next()
            elif len(box) or box._head:
                known += hand
                hand = len((await reader.next()).ids)
            assert box.passed == known
        reader.acknowledge()
        await drain(box)
        assert box.passed == box.offered

    trio.run(play)
