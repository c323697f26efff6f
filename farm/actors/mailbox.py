"""The mailbox between two actors: a bounded memory channel that outlives its reader.

The pipeline owns both ends, so an actor that crashes and comes back finds its mailbox as it was:

* Asking for the next item acknowledges the last. An item on which its reader crashed is delivered
  once more; after a second crash it is *quarantined*, and a loss delivered in its place: see
  :mod:`farm.actors.delivery`.
* The bound is in items and in bytes. What happens beyond it is the edge's policy: ``block`` lets
  the sender wait (only where nothing upstream can starve), ``drop_oldest`` makes room.
* Nothing is dropped in silence. Dropped items are folded into a loss, an item made by `lose`, that
  the reader receives in their place; consecutive drops extend one loss.
* With ``hand_off`` there is a short cut: where the reader waits and serves (:meth:`Reader.serve`),
  its turn on the next item runs at once, on the stack of who puts it: see
  :mod:`farm.actors.parking`. What is put from within that turn queues.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import chain
from typing import TypeVar

import trio

from farm.actors.delivery import Delivery, Quarantined, Reader, Weighty
from farm.actors.parking import Parking

__all__ = ["Mailbox", "Overflow", "Quarantined", "Reader", "Weighty"]

SPREE = 0.002
"""Seconds that a reader may go on without letting others run, while items wait; more where they
took more themselves."""

_CONTROL_ROOM = 10_000  # items that take no room: a few for each epoch of a connection


T = TypeVar("T", bound=Weighty)


class Overflow(Enum):
    """What a full mailbox does with one item more."""

    BLOCK = "block"
    DROP_OLDEST = "drop_oldest"


class Mailbox(Delivery[T]):
    """A queue from one actor to another.

    `lose` folds an item that is lost into the loss before it, if there is one: (loss, item,
    quarantined) -> loss. `droppable` says which items may be dropped at all: control items may
    not, and take no room. Counters, in items: ``offered``, ``taken``, ``dropped``; at any time
    ``offered == taken + dropped + len(mailbox)``. ``nbytes`` is what waits. `hand_off`: a reader
    that serves may have its turn taken by who sends.
    """

    def __init__(
        self,
        name: str,
        *,
        lose: Callable[[T | None, T, bool], T],
        max_bytes: int,
        max_items: int = 100_000,
        overflow: Overflow = Overflow.DROP_OLDEST,
        droppable: Callable[[T], bool] = lambda _item: True,
        on_quarantine: Callable[[Quarantined[T]], None] = lambda _kept: None,
        hand_off: bool = False,
    ) -> None:
        super().__init__(name, lose, on_quarantine)
        self.nbytes = self.offered = self.taken = self.dropped = 0
        self._max_bytes = max_bytes
        self._max_items = max_items
        self._overflow = overflow
        self._droppable = droppable
        self._sender, self._receiver = trio.open_memory_channel[T](max_items + _CONTROL_ROOM)
        self._waiting = 0  # items in the channel
        # What was taken out of the channel to make room, in order, ahead of the channel: losses
        # (True), and control items among them (False).
        self._head: deque[tuple[T, bool]] = deque()
        self._growing: T | None = None  # the loss at the end of the head, still growing
        self._untold: deque[int] = deque()  # items that each loss of the head tells of
        self._weight = 1  # of the items offered, how many that is which is held
        self._room: trio.Event | None = None  # who waits for room waits for this
        self._closed = False
        self._goes_on_until = -math.inf
        self._hand_off = hand_off
        self._parking = Parking[T]()

    def __len__(self) -> int:
        """Items that wait."""
        return self._waiting + sum(not is_loss for _, is_loss in self._head)

    def __bool__(self) -> bool:
        """True: a mailbox where nothing waits is a mailbox all the same."""
        return True

    @property
    def passed(self) -> int:
        """Items of those offered that are done with: the reader has acknowledged them, or the loss
        that told of them."""
        held = self._weight if self.in_hand else 0
        return self.taken + self.dropped - sum(self._untold) - held

    def put(self, item: T) -> None:
        """Put an item without waiting; with ``drop_oldest`` older ones may have to go.

        trio.WouldBlock where the policy is ``block`` and there is no room, trio.ClosedResourceError
        after :meth:`close`.
        """
        if self._closed:
            raise trio.ClosedResourceError
        parking = self._parking
        if parking.is_open:
            self._hand_over(item)
            return
        if self._full(item):
            if self._overflow is Overflow.BLOCK:
                raise trio.WouldBlock
            # What was handed to a reader that is woken waits still, but can't be taken back.
            while self._full(item) and self._receiver.statistics().current_buffer_used:
                self._drop_oldest()
        self._sender.send_nowait(item)
        self._waiting += 1
        self.offered += 1
        self.nbytes += item.nbytes
        if parking.in_turn:
            parking.wake()

    def offer(self, item: T) -> bool:
        """As :meth:`put`, saying whether there was room for it."""
        try:
            self.put(item)
        except trio.WouldBlock:
            return False
        return True

    async def send(self, item: T) -> None:
        """Put an item, with ``block`` waiting for room. Cancelled, it has put nothing.

        trio.ClosedResourceError after :meth:`close`, also where it waited before.
        """
        await trio.lowlevel.checkpoint()
        while not self.offer(item):
            if self._room is None:
                self._room = trio.Event()
            await self._room.wait()

    def close(self) -> None:
        """Nothing will follow; the reader gets what is left, then the end."""
        self._closed = True
        self._sender.close()
        self._make_room()
        self._parking.wake()

    def drain(self) -> T | None:
        """Take all that waits, and what is held, folded into one loss; None where there is nothing.

        For the end, when no reader will come any more: what had to wait counts as dropped.
        """
        held, loss = self._let_go(), None
        if held is not None:
            loss = self._lose(None, held, False)
        for item, dropped in self._take_all():
            loss = self._lose(loss, item, False)
            self.dropped += dropped
        return loss

    def drain_in_order(self) -> list[T]:
        """As :meth:`drain`, but what may not be dropped stays as it is, with losses between."""
        left: list[T] = []
        growing: T | None = None
        held = self._let_go()
        for item, count in chain([] if held is None else [(held, 0)], self._take_all()):
            if self._droppable(item):
                self.dropped += count
                if growing is not None:
                    left.pop()
                item = growing = self._lose(growing, item, False)
            else:
                self.taken += count
                growing = None
            left.append(item)
        return left

    def _take_all(self) -> Iterator[tuple[T, int]]:
        """Everything that waits, in order, and what each counts in the accounts."""
        while self._receiver.statistics().current_buffer_used:
            self._head.append((self._pull(), False))
        for item, is_loss in self._head:
            yield item, not is_loss
        self._head.clear()
        self._untold.clear()
        self._growing = None
        self._make_room()

    def _put_first(self, loss: T) -> None:
        self._head.appendleft((loss, True))
        self._untold.appendleft(self._weight)

    def _hand_over(self, item: T) -> None:
        """The reader waits, and nothing else does: its turn comes at once."""
        self.offered += 1
        self.taken += 1
        self._held, self._weight = item, 1
        if self._parking.turn(item):
            self._let_go()

    def _may_park(self) -> bool:
        return self._hand_off and not (self._waiting or self._head or self._closed)

    async def _park(self, begin: Callable[[T], bool]) -> bool:
        return await self._parking.park(begin)

    def _full(self, item: T) -> bool:
        if not self._waiting:
            return False
        if self._waiting < self._max_items and self.nbytes + item.nbytes <= self._max_bytes:
            return False
        return self._droppable(item)

    def _drop_oldest(self) -> None:
        """Move the oldest item to the head: folded into a loss, or as it is if it must stay."""
        item = self._pull()
        if not self._droppable(item):
            self._head.append((item, False))
            self._growing = None
            return
        self.dropped += 1
        if self._growing is not None:
            self._head.pop()
            self._untold[-1] += 1
        else:
            self._untold.append(1)
        self._growing = self._lose(self._growing, item, False)
        self._head.append((self._growing, True))

    def _keep_oldest(self) -> None:
        """Put the oldest item out of reach of the next drop.

        A reader who is always too slow would otherwise be told of one loss after the other, and
        never get an item.
        """
        if self._receiver.statistics().current_buffer_used:
            self._head.append((self._pull(), False))

    def _pull(self) -> T:
        """The oldest item out of the channel."""
        return self._left(self._receiver.receive_nowait())

    def _left(self, item: T) -> T:
        """This item is in the channel no more: who waits for room may look again."""
        self._waiting -= 1
        self.nbytes -= item.nbytes
        self._make_room()
        return item

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()

    async def _take(self) -> T:
        """The next item or loss; cancelled, nothing is taken."""
        if self._head or self._waiting:
            await self._give_way()
        if self._head:
            item, is_loss = self._head.popleft()
            if item is self._growing:
                self._growing = None
            self.taken += not is_loss
            self._weight = self._untold.popleft() if is_loss else 1
            if is_loss and not self._head:
                self._keep_oldest()
            return item
        try:
            item = self._receiver.receive_nowait()
        except trio.WouldBlock:
            item = await self._receiver.receive()
            self._goes_on_until = trio.current_time() + SPREE
        self._left(item)
        self.taken += 1
        self._weight = 1
        # A loss in the head by now is of items that came after this one: it may grow further.
        return item

    async def _give_way(self) -> None:
        """Let others run now and then: a reader may go on as long as they took the last time.

        One item a turn of the scheduler would not do: in a flood fifty connections put fifty.
        """
        now = trio.current_time()
        if now < self._goes_on_until:
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        await trio.lowlevel.checkpoint()
        back = trio.current_time()
        self._goes_on_until = back + max(SPREE, back - now)
