"""The mailbox between two actors: a bounded memory channel that outlives its reader.

The pipeline owns both ends, so an actor that crashes and comes back finds its mailbox as it was:

* Asking for the next item acknowledges the last. An item that was not acknowledged, because its
  reader crashed on it, is delivered once more; if that fails too it is *quarantined*: kept in
  ``quarantined``, and a loss is delivered in its place.
* The bound is in items and in bytes. What happens beyond it is the edge's policy: ``block`` lets
  the sender wait (only where nothing upstream can starve), ``drop_oldest`` makes room.
* Nothing is dropped in silence. Dropped items are folded into a loss, an item made by `lose`, that
  the reader receives in their place; consecutive drops extend one loss.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Generic, Protocol, TypeVar

import attrs
import trio

__all__ = ["Mailbox", "Overflow", "Quarantined", "Reader", "Weighty"]

_CONTROL_ROOM = 10_000  # items that take no room: a few for each epoch of a connection


class Weighty(Protocol):
    """What a mailbox carries: anything that knows about how many bytes it holds."""

    @property
    def nbytes(self) -> int: ...


T = TypeVar("T", bound=Weighty)


class Overflow(Enum):
    """What a full mailbox does with one item more."""

    BLOCK = "block"
    DROP_OLDEST = "drop_oldest"


@attrs.frozen
class Quarantined(Generic[T]):
    """An item on which its reader crashed twice."""

    mailbox: str
    item: T


class Mailbox(Generic[T]):
    """A queue from one actor to another.

    `lose` folds an item that is lost into the loss before it, if there is one: (loss, item,
    quarantined) -> loss. `droppable` says which items may be dropped at all: control items may
    not, and take no room. Counters, in items: ``offered``, ``taken``, ``dropped``; at any time
    ``offered == taken + dropped + len(mailbox)``. ``nbytes`` is what waits.
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
    ) -> None:
        self.name = name
        self.nbytes = self.offered = self.taken = self.dropped = 0
        self.quarantined: list[Quarantined[T]] = []
        self._lose = lose
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
        self._held: T | None = None  # delivered and not acknowledged
        self._held_before = False  # so it was by a reader that crashed
        self._room = trio.Event()
        self._closed = False

    def __len__(self) -> int:
        """Items that wait."""
        return self._waiting + sum(not is_loss for _, is_loss in self._head)

    def __bool__(self) -> bool:
        """True: a mailbox where nothing waits is a mailbox all the same."""
        return True

    def put(self, item: T) -> None:
        """Put an item without waiting; with ``drop_oldest`` older ones may have to go.

        trio.WouldBlock where the policy is ``block`` and there is no room, trio.ClosedResourceError
        after :meth:`close`.
        """
        if self._closed:
            raise trio.ClosedResourceError
        if self._full(item):
            if self._overflow is Overflow.BLOCK:
                raise trio.WouldBlock
            # What was handed to a parked reader waits still, but can't be taken back.
            while self._full(item) and self._receiver.statistics().current_buffer_used:
                self._drop_oldest()
        self._sender.send_nowait(item)
        self._waiting += 1
        self.offered += 1
        self.nbytes += item.nbytes

    async def send(self, item: T) -> None:
        """Put an item, with ``block`` waiting for room. Cancelled, it has put nothing.

        trio.ClosedResourceError after :meth:`close`, also where it waited before.
        """
        await trio.lowlevel.checkpoint()
        while self._overflow is Overflow.BLOCK and self._full(item) and not self._closed:
            await self._room.wait()
        self.put(item)

    def close(self) -> None:
        """Nothing will follow; the reader gets what is left, then the end."""
        self._closed = True
        self._sender.close()
        self._room.set()

    def reader(self) -> Reader[T]:
        """The reading end, for one reader at a time. What a crashed reader held comes first.

        An item that two readers crashed on is quarantined here, and a loss put in its place.
        """
        if self._held is not None:
            if self._held_before:
                self.quarantined.append(Quarantined(self.name, self._held))
                self._head.appendleft((self._lose(None, self._held, True), True))
                self._held, self._held_before = None, False
            else:
                self._held_before = True
        return Reader(self)

    def _full(self, item: T) -> bool:
        if not self._waiting or not self._droppable(item):
            return False
        return self._waiting >= self._max_items or self.nbytes + item.nbytes > self._max_bytes

    def _drop_oldest(self) -> None:
        """Move the oldest item to the head: folded into a loss, or as it is if it must stay."""
        item = self._receiver.receive_nowait()
        self._waiting -= 1
        self.nbytes -= item.nbytes
        if not self._droppable(item):
            self._head.append((item, False))
            self._growing = None
            return
        self.dropped += 1
        if self._growing is not None:
            self._head.pop()
        self._growing = self._lose(self._growing, item, False)
        self._head.append((self._growing, True))

    def _keep_oldest(self) -> None:
        """Put the oldest item out of reach of the next drop.

        A reader who is always too slow would otherwise be told of one loss after the other, and
        never get an item.
        """
        if self._receiver.statistics().current_buffer_used:
            item = self._receiver.receive_nowait()
            self._waiting -= 1
            self.nbytes -= item.nbytes
            self._head.append((item, False))

    async def _take(self) -> T:
        """The next item or loss; cancelled, nothing is taken."""
        if self._head:
            await trio.lowlevel.checkpoint()
            item, is_loss = self._head.popleft()
            if item is self._growing:
                self._growing = None
            self.taken += not is_loss
            if is_loss and not self._head:
                self._keep_oldest()
            return item
        item = await self._receiver.receive()
        self._waiting -= 1
        self.nbytes -= item.nbytes
        self.taken += 1
        # A loss in the head by now is of items that came after this one: it may grow further.
        self._room.set()
        self._room = trio.Event()
        return item


class Reader(Generic[T]):
    """The reading end of a mailbox: ``async for item in reader``, or :meth:`next`."""

    def __init__(self, mailbox: Mailbox[T]) -> None:
        self._mailbox = mailbox
        self._redeliver = mailbox._held is not None  # noqa: SLF001 (one piece with its mailbox)

    @property
    def redelivers(self) -> bool:
        """Whether the first item is one that an earlier reader crashed on."""
        return self._redeliver

    def __aiter__(self) -> Reader[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.next()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def next(self) -> T:
        """Acknowledge the last item and wait for the next; trio.EndOfChannel after the last."""
        mailbox = self._mailbox
        if self._redeliver:
            await trio.lowlevel.checkpoint()
            self._redeliver = False
            assert mailbox._held is not None  # noqa: SLF001
            return mailbox._held  # noqa: SLF001
        self.acknowledge()
        mailbox._held = await mailbox._take()  # noqa: SLF001
        return mailbox._held  # noqa: SLF001

    def acknowledge(self) -> None:
        """The last item is done with: a crash from here on does not bring it back."""
        mailbox = self._mailbox
        mailbox._held, mailbox._held_before = None, False  # noqa: SLF001
