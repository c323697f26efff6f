"""The direct hand-off: turns on the sender's stack, whose errors and cancellations are the
receiver's, and never a lost or doubled item."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.lowlevel import checkpoint, current_task
from trio.testing import wait_all_tasks_blocked

from farm.actors.mailbox import Mailbox, Overflow
from farm.actors.supervisor import Health, Lifecycle, LifecycleEvent, Policy, Supervisor
from farm.testing.moments import Moment, at_every_moment
from tests.actors.test_mailbox import Item, fill, mailbox, shown
from tests.effort import runs


class Server:
    """An actor that serves a mailbox. `on_item` is called with each item, and then what it returns
    is waited for by `finish`, if that is not None."""

    name = "b"

    def __init__(
        self,
        box: Mailbox[Item],
        on_item: Callable[[Item], Callable[[], Any] | None] = lambda _item: None,
    ) -> None:
        self.box = box
        self.begun: list[Item] = []
        self.done: list[Item] = []
        self.tasks: list[trio.lowlevel.Task] = []  # in which items were begun
        self.task: trio.lowlevel.Task | None = None
        self._on_item = on_item
        self._rest: Callable[[], Any] | None = None

    async def run(self, _health: Health | None = None) -> None:
        self.task = current_task()
        with self.box.reader(self.name) as reader:
            await reader.serve(self._begin, self._finish)

    def _begin(self, item: Item) -> bool:
        self.tasks.append(current_task())
        self.begun.append(item)
        self._rest = self._on_item(item)
        if self._rest is not None:
            return False
        self.done.append(item)
        return True

    async def _finish(self) -> None:
        assert self._rest is not None
        item = self.begun[-1]
        await self._rest()
        self.done.append(item)


def handing(**more: Any) -> Mailbox[Item]:
    return mailbox(hand_off=True, **more)


def balanced(box: Mailbox[Item]) -> bool:
    return box.offered == box.taken + box.dropped + len(box)


# Turns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", Overflow)
async def test_where_the_reader_waits_its_turn_is_over_when_put_returns(overflow: Overflow) -> None:
    box = handing(overflow=overflow)
    server = Server(box)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await wait_all_tasks_blocked()
        for number in range(3):
            fill(box, range(number, number + 1))
            assert shown(server.done)[-1] == f"{number}"
            assert (box.offered, box.taken, len(box), box.nbytes) == (number + 1, number + 1, 0, 0)
        await box.send(Item((3,)))
        assert shown(server.done)[-1] == "3"
        assert server.tasks == [current_task()] * 4
        box.close()


async def test_without_hand_off_the_task_of_the_reader_runs() -> None:
    box = mailbox()
    server = Server(box)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await wait_all_tasks_blocked()
        fill(box, range(2))
        assert server.begun == []
        box.close()
    assert shown(server.done) == ["0", "1"]
    assert server.tasks == [server.task] * 2


async def test_what_waited_before_is_served_first_and_by_the_task() -> None:
    box = handing()
    fill(box, range(3))
    server = Server(box)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await checkpoint()
        fill(box, range(3, 4))  # the task has not got through yet
        await wait_all_tasks_blocked()
        fill(box, range(4, 5))
        box.close()
    assert shown(server.done) == ["0", "1", "2", "3", "4"]
    assert [task is server.task for task in server.tasks] == [True] * 4 + [False]


async def test_turns_nest_in_order() -> None:
    boxes = [handing() for _ in range(3)]
    story: list[str] = []

    def passing(place: int, item: Item) -> None:
        story.append(f"{place} begins {item.ids[0]}")
        if place < 2:
            boxes[place + 1].put(item)
        story.append(f"{place} ends {item.ids[0]}")

    async with trio.open_nursery() as nursery:
        for place, box in enumerate(boxes):
            nursery.start_soon(Server(box, partial(passing, place)).run)
        await wait_all_tasks_blocked()
        fill(boxes[0], range(2))
        for box in boxes:
            box.close()
    one = ["0 begins", "1 begins", "2 begins", "2 ends", "1 ends", "0 ends"]
    assert story == [f"{words} {number}" for number in range(2) for words in one]


async def test_what_a_turn_puts_into_its_own_mailbox_queues() -> None:
    box = handing()

    def again(item: Item) -> None:
        if item.ids[0] < 2:
            before = len(server.begun)
            fill(box, range(10 + item.ids[0], 12 + item.ids[0]))
            assert len(server.begun) == before

    server = Server(box, again)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await wait_all_tasks_blocked()
        fill(box, range(2))
        assert shown(server.done) == ["0"]
        assert len(box) == 3
        await wait_all_tasks_blocked()
        fill(box, range(5, 7))  # the reader waits again
        box.close()
    assert shown(server.done) == ["0", "10", "11", "1", "11", "12", "5", "6"]
    assert [task is server.task for task in server.tasks] == [False] + [True] * 5 + [False] * 2


async def test_a_circle_of_turns_comes_to_an_end() -> None:
    """Two that put into each other: the second is in its turn when the first puts back."""
    one, two = handing(), handing()

    def pass_on(box: Mailbox[Item], item: Item) -> None:
        if item.ids[0]:
            fill(box, range(item.ids[0] - 1, item.ids[0]))

    servers = Server(one, partial(pass_on, two)), Server(two, partial(pass_on, one))
    async with trio.open_nursery() as nursery:
        for server in servers:
            nursery.start_soon(server.run)
        await wait_all_tasks_blocked()
        fill(one, range(9, 10))
        await wait_all_tasks_blocked()
        one.close()
        two.close()
    assert [shown(server.done) for server in servers] == [
        ["9", "7", "5", "3", "1"],
        ["8", "6", "4", "2", "0"],
    ]


async def test_what_a_turn_leaves_is_finished_by_the_task_and_others_wait_behind_it() -> None:
    box, room = handing(), trio.Event()
    server = Server(box, lambda item: room.wait if item.ids == (0,) else None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await wait_all_tasks_blocked()
        fill(box, range(3))
        assert shown(server.begun) == ["0"]
        assert (server.done, len(box), box.taken) == ([], 2, 1)
        await wait_all_tasks_blocked()
        room.set()
        await wait_all_tasks_blocked()
        assert shown(server.done) == ["0", "1", "2"]
        box.close()
    assert server.box.drain() is None


@pytest.mark.parametrize("overflow", Overflow)
async def test_a_pair_that_is_always_busy_lets_other_tasks_run(overflow: Overflow) -> None:
    box = handing(overflow=overflow, max_items=1)
    turns = 0

    async def bystander() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async def send() -> None:
        for number in range(300):
            await box.send(Item((number,)))
        box.close()

    async with trio.open_nursery() as outer:
        outer.start_soon(bystander)
        async with trio.open_nursery() as pair:
            server = Server(box, lambda item: checkpoint if item.ids[0] % 5 == 0 else None)
            pair.start_soon(server.run)
            pair.start_soon(send)
        assert turns > 200
        outer.cancel_scope.cancel()
    assert box.offered == 300
    assert balanced(box)


# Errors ------------------------------------------------------------------------------------------


def crash_on(number: int, times: int = 99) -> Callable[[Item], None]:
    left = times

    def on_item(item: Item) -> None:
        nonlocal left
        if item.ids == (number,) and not item.loss and left:
            left -= 1
            raise ValueError(f"a bug on {number}")

    return on_item


@pytest.mark.parametrize(
    ("times", "expected"),
    [(1, ["0", "1", "2", "3"]), (2, ["0", "quarantine1", "2", "3"])],
)
async def test_an_error_in_a_turn_is_the_receivers_whose_supervisor_restarts_it(
    times: int, expected: list[str]
) -> None:
    box = handing()
    server = Server(box, crash_on(1, times))
    events: list[LifecycleEvent] = []
    supervisor = Supervisor(Policy(backoff_initial=1e-9), on_event=events.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run, server)
        await wait_all_tasks_blocked()
        fill(box, range(4))  # the sender goes on
        assert shown(server.begun) == ["0", "1"]
        assert (len(box), box.taken, box.quarantine_count) == (2, 2, 0)
        with trio.fail_after(5):
            while len(server.done) < 4:
                await checkpoint()
        await wait_all_tasks_blocked()
        fill(box, range(4, 5))
        assert shown(server.done) == [*expected, "4"]  # handed off again
        box.close()
    crashes = [event for event in events if event.what is Lifecycle.CRASHED]
    assert [str(event.error) for event in crashes] == ["a bug on 1"] * times
    assert box.quarantine_count == (times == 2)
    for kept in box.quarantined:
        assert (kept.actor, kept.item.ids) == ("b", (1,))
        assert all("in on_item" in text and "a bug on 1" in text for text in kept.tracebacks)
    assert balanced(box)


async def test_an_error_deep_in_nested_turns_ends_only_who_made_it() -> None:
    one, two = handing(), handing()
    first, second = Server(one, lambda item: two.put(item)), Server(two, crash_on(1, 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)

        @nursery.start_soon
        async def live() -> None:
            with pytest.raises(ValueError, match="a bug on 1"):
                await second.run()
            await second.run()

        await wait_all_tasks_blocked()
        fill(one, range(3))
        assert shown(first.done) == ["0", "1", "2"]
        assert shown(second.done) == ["0"]
        await wait_all_tasks_blocked()
        assert shown(second.done) == ["0", "1", "2"]
        one.close()
        two.close()


async def test_an_interrupt_in_a_turn_is_the_receivers_and_no_crash() -> None:
    box = handing()

    def interrupted(item: Item) -> None:
        if item.ids == (1,):
            raise KeyboardInterrupt

    server = Server(box, interrupted)
    for _ in range(3):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def live() -> None:
                with pytest.raises(KeyboardInterrupt):
                    await server.run()

            await wait_all_tasks_blocked()
            if not server.begun:
                fill(box, range(3))
    assert box.quarantine_count == 0
    assert shown(server.done) == ["0"]
    loss = box.drain()
    assert loss is not None
    assert loss.ids == (1, 2)
    assert balanced(box)


async def test_what_an_unfinished_item_crashes_on_counts_as_well() -> None:
    box = handing()

    async def boom() -> None:
        await checkpoint()
        raise ValueError("in finishing")

    server = Server(box, lambda item: None if item.loss else boom)
    for _ in range(2):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def live() -> None:
                with pytest.raises(ValueError, match="in finishing"):
                    await server.run()

            await wait_all_tasks_blocked()
            if not server.begun:
                fill(box, range(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await wait_all_tasks_blocked()
        assert shown(server.done) == ["quarantine0"]  # with nothing else there to wake it
        box.close()
    assert shown(server.begun) == ["0", "0", "quarantine0"]


# The end -----------------------------------------------------------------------------------------


async def test_close_wakes_who_waits_and_ends_it_after_a_turn() -> None:
    for closes in (False, True):
        box = handing()
        server = Server(box, lambda _item, box=box, closes=closes: box.close() if closes else None)  # type: ignore[misc]
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.run)
                await wait_all_tasks_blocked()
                fill(box, range(1))
                if not closes:
                    box.close()
                with pytest.raises(trio.ClosedResourceError):
                    fill(box, range(1, 2))
        assert shown(server.done) == ["0"]
        assert box.offered == 1


async def test_closed_in_a_turn_what_the_turn_put_is_served_to_the_last() -> None:
    box = handing()

    def last_words(item: Item) -> None:
        if item.ids == (0,):
            fill(box, range(1, 3))
            box.close()

    server = Server(box, last_words)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await wait_all_tasks_blocked()
        fill(box, range(1))
    assert shown(server.done) == ["0", "1", "2"]


# Cancelled ---------------------------------------------------------------------------------------


async def test_cancelled_where_it_waits_a_reader_is_handed_nothing_more() -> None:
    box = handing()
    first, second = Server(box), Server(box)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        await wait_all_tasks_blocked()
        fill(box, range(1))
        nursery.cancel_scope.cancel()
        fill(box, range(1, 2))  # its task has not run yet, and is not here any more
        assert (shown(first.begun), len(box)) == (["0"], 1)
    fill(box, range(2, 3))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.run)
        await wait_all_tasks_blocked()
        fill(box, range(3, 4))
        box.close()
    assert shown(second.done) == ["1", "2", "3"]
    assert box.quarantine_count == 0


@pytest.mark.parametrize("finishes", [True, False])
async def test_cancelled_from_within_a_turn_that_turn_is_not_cut_short(finishes: bool) -> None:
    box = handing()
    scope = trio.CancelScope()

    def cancelling(item: Item) -> Callable[[], Any] | None:
        if item.ids == (1,) and not scope.cancel_called:
            scope.cancel()
            return None if finishes else checkpoint
        return None

    server = Server(box, cancelling)

    async def live() -> None:
        with scope:
            await server.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        await wait_all_tasks_blocked()
        fill(box, range(3))
        assert shown(server.begun) == ["0", "1"]
        assert len(box) == 1
    assert scope.cancelled_caught
    assert shown(server.done) == (["0", "1"] if finishes else ["0"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await wait_all_tasks_blocked()
        box.close()
    assert shown(server.done) == ["0", "1", "2"]  # the one that was not finished came again
    assert shown(server.begun) == (["0", "1", "2"] if finishes else ["0", "1", "1", "2"])


async def test_an_error_in_a_turn_that_also_cancels_is_still_a_crash() -> None:
    box = handing()
    scope = trio.CancelScope()

    def both(item: Item) -> None:
        scope.cancel()
        raise ValueError("a bug")

    server = Server(box, both)

    async def live() -> None:
        with scope, pytest.raises(ValueError, match="a bug"):
            await server.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        await wait_all_tasks_blocked()
        fill(box, range(1))
    with suppress(ValueError):
        await server.run()
    assert box.quarantine_count == 1


async def test_a_sender_that_is_cancelled_cuts_no_turn_short_and_cancels_nobody() -> None:
    box = handing()
    server = Server(box)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            fill(box, range(1))  # a put is no checkpoint
            with pytest.raises(trio.Cancelled):
                await box.send(Item((1,)))
            await checkpoint()
        fill(box, range(2, 3))
        assert shown(server.done) == ["0", "2"]
        box.close()


SENT = 12
BAD, SLOW = 5, 3  # the item that every reader crashes on; each third is not finished at once


def served(box: Mailbox[Item], done: list[Item]) -> Callable[[], Any]:
    """Serve to the end, whatever crashes on the way."""

    def on_item(item: Item) -> Callable[[], Any] | None:
        if item.ids == (BAD,) and not item.loss:
            raise ValueError("a bug")
        return checkpoint if item.ids[0] % SLOW == 0 else None

    async def serve() -> None:
        server = Server(box, on_item)
        server.done = done
        while True:
            with suppress(ValueError):
                await server.run()
                return

    return serve


@pytest.mark.parametrize("ending", ["read", "drained"])
@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("cut", ["reader", "sender", "both"])
def test_cancelled_at_any_await_nothing_that_was_put_vanishes(
    overflow: Overflow, ending: str, cut: str
) -> None:
    async def trial(moment: Moment) -> None:
        kept: list[Item] = []
        box = handing(
            overflow=overflow, max_items=3, on_quarantine=lambda crash: kept.append(crash.item)
        )
        sent: list[int] = []
        done: list[Item] = []
        read = served(box, done)

        async def send() -> None:
            for number in range(SENT):
                await box.send(Item((number,)))
                sent.append(number)

        async with trio.open_nursery() as nursery:
            if cut == "both":
                with moment.cancels():
                    async with trio.open_nursery() as both:
                        both.start_soon(read)
                        await send()
                        both.cancel_scope.cancel()
            elif cut == "sender":
                nursery.start_soon(read)
                with moment.cancels():
                    await send()
            else:
                nursery.start_soon(send)
                with moment.cancels(), trio.move_on_after(1):
                    await read()
            if ending == "read":
                if cut != "sender":
                    nursery.start_soon(read)
                await trio.sleep(1)
                box.close()
            else:
                nursery.cancel_scope.cancel()
        lost = box.drain_in_order()
        assert box.offered == len(sent) == box.taken + box.dropped
        numbers = [number for item in done for number in item.ids]
        left = [number for item in lost for number in item.ids]
        assert sorted(numbers + left) == sent  # no rest of an item was done and not told of
        assert [item.ids for item in kept] in ([], [(BAD,)])

    at_every_moment(trial, most=runs(60), seeds=range(runs(1)))


# Whatever happens --------------------------------------------------------------------------------

KINDS = ["plain", "slow", "crash", "crash_twice", "cancel", "put_more", "put_and_crash"]
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.sampled_from(KINDS), min_size=1, max_size=6)),
        st.tuples(st.sampled_from(["serve", "step", "settle", "cancel", "drain"])),
    ),
    max_size=25,
)


@settings(max_examples=runs(200), deadline=None)
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
    """A mailbox that hands off under any sequence of operations, with items that crash, wait,
    cancel their reader or put more; and what must be true of it."""

    def __init__(self, overflow: Overflow, nursery: trio.Nursery) -> None:
        self.box = handing(overflow=overflow, max_items=6)
        self.ended: list[int] = []  # done with, in order: finished, lost, quarantined
        self.kinds: list[str] = []  # of all items that were put, by number
        self.crashes: dict[int, int] = {}
        self.scope: trio.CancelScope | None = None
        self._rest: Item | None = None
        self._nursery = nursery

    async def put(self, kinds: list[str]) -> None:
        for kind in kinds:
            self._put(kind)

    def _put(self, kind: str) -> None:
        number = len(self.kinds)
        self.kinds.append(kind)
        try:
            self.box.put(Item((number,)))
        except trio.WouldBlock:
            assert number == len(self.kinds) - 1
            self.kinds.pop()

    def _begin(self, item: Item) -> bool:
        if not item.loss:
            (number,) = item.ids
            kind, count = self.kinds[number], self.crashes.get(number, 0)
            if kind.startswith("put") and not count:
                self._put("plain")
                self._put("slow")
            if kind.endswith(("crash", "crash_twice")) and count < 1 + kind.endswith("twice"):
                self.crashes[number] = count + 1
                raise ValueError(kind)
            if kind == "slow":
                self._rest = item
                return False
            if kind == "cancel" and self.scope is not None:
                self.scope.cancel()
        self.ended += item.ids
        return True

    async def _finish(self) -> None:
        assert self._rest is not None
        await checkpoint()
        self.ended += self._rest.ids

    async def serve(self) -> None:
        if self.scope is None:
            self.scope = trio.CancelScope()
            self._nursery.start_soon(self._serve, self.scope)

    async def _serve(self, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                with suppress(ValueError), self.box.reader() as reader:
                    await reader.serve(self._begin, self._finish)
                    break
        if self.scope is scope:
            self.scope = None

    async def step(self) -> None:
        await checkpoint()

    async def settle(self) -> None:
        await wait_all_tasks_blocked()

    async def cancel(self) -> None:
        if self.scope is not None:
            self.scope.cancel()
            await wait_all_tasks_blocked()
            assert self.scope is None

    async def drain(self) -> None:
        await self.cancel()
        loss = self.box.drain()
        if loss is not None:
            self.ended += loss.ids

    def check(self) -> None:
        assert self.box.offered == len(self.kinds)
        assert balanced(self.box)
        assert self.ended == sorted(set(self.ended))

    async def end(self) -> None:
        await self.cancel()
        self.kinds = ["plain" if kind == "cancel" else kind for kind in self.kinds]
        await self.serve()
        await wait_all_tasks_blocked()
        self.box.close()
        await wait_all_tasks_blocked()
        assert self.scope is None
        assert self.ended == list(range(len(self.kinds)))
        assert len(self.box) == self.box.nbytes == 0
        quarantined = [kept.item.ids[0] for kept in self.box.quarantined]
        assert all(self.kinds[number] == "crash_twice" for number in quarantined)
