"""The reading end of a mailbox: redelivery after a crash, and quarantine after the second.

Asking for the next item acknowledges the last. An item that was not acknowledged comes again to the
next reader. If an error ended the reader it was a *crash*, which counts: an item that crashed two
readers is quarantined, and a loss delivered in its place. A cancellation does not count, for the
item is not to blame.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Protocol, TypeVar

import attrs
import trio

__all__ = ["Delivery", "Quarantined", "Reader", "Weighty"]

_CRASHES = 2  # of readers on one item, and it is quarantined
_SHOWN = 10  # quarantined items that a mailbox shows; whoever is to keep them is told of all


class Weighty(Protocol):
    """What a mailbox carries: anything that knows about how many bytes it holds."""

    @property
    def nbytes(self) -> int: ...


T = TypeVar("T", bound=Weighty)


@attrs.frozen
class Quarantined(Generic[T]):
    """An item on which its reader crashed twice.

    ``actor`` is who read, as far as the reader said; ``tracebacks`` are of the crashes, in order.
    """

    mailbox: str
    item: T
    actor: str = ""
    tracebacks: tuple[str, ...] = ()


class Delivery(ABC, Generic[T]):
    """What a mailbox hands out, and what of it is not acknowledged yet.

    `lose` turns an item that is quarantined into the loss that is delivered in its place.
    `on_quarantine` is to keep such items: ``quarantined`` shows the last few only, and
    ``quarantine_count`` counts all.
    """

    def __init__(
        self,
        name: str,
        lose: Callable[[T | None, T, bool], T],
        on_quarantine: Callable[[Quarantined[T]], None],
    ) -> None:
        self.name = name
        self.quarantined: deque[Quarantined[T]] = deque(maxlen=_SHOWN)
        self.quarantine_count = 0
        self._lose = lose
        self._on_quarantine = on_quarantine
        self._held: T | None = None  # delivered and not acknowledged
        self._tracebacks: list[str] = []  # of the readers that crashed on it

    @abstractmethod
    async def _take(self) -> T:
        """The next item or loss; cancelled, nothing is taken."""

    @abstractmethod
    def _may_park(self) -> bool:
        """Whether nothing waits, so that who sends may take the reader's turns."""

    @abstractmethod
    async def _park(self, begin: Callable[[T], bool]) -> bool:
        """Wait, items being given to `begin` as they come; False where the last of them is held
        and its rest to be done. Cancelled, nothing is taken."""

    @abstractmethod
    def _put_first(self, loss: T) -> None:
        """Deliver this loss before anything else."""

    def reader(self, actor: str = "") -> Reader[T]:
        """The reading end, for one reader at a time; `actor` names it.

        What an earlier reader did not acknowledge comes first. Open it by ``with``: it has to see
        what ended its reader.
        """
        return Reader(self, actor)

    @property
    def in_hand(self) -> bool:
        """Whether a reader has an item that it is not done with, as far as it said."""
        return self._held is not None

    def _let_go(self) -> T | None:
        """The item that is held; from here on it is not."""
        held, self._held = self._held, None
        if self._tracebacks:
            self._tracebacks = []
        return held

    def _crashed(self, actor: str, error: Exception) -> None:
        """A reader crashed on the item that is held, if there is one."""
        if self._held is None:
            return
        self._tracebacks.append("".join(traceback.format_exception(error)))
        if len(self._tracebacks) < _CRASHES:
            return
        kept = Quarantined(self.name, self._held, actor, tuple(self._tracebacks))
        self._let_go()
        self._put_first(self._lose(None, kept.item, True))
        self.quarantine_count += 1
        self.quarantined.append(kept)
        self._on_quarantine(kept)


class Reader(Generic[T]):
    """The reading end of a mailbox: ``async for item in reader``, :meth:`next`, or :meth:`serve`
    for who can be handed items directly."""

    def __init__(self, delivery: Delivery[T], actor: str) -> None:
        self._delivery = delivery
        self._actor = actor
        self._begun = False

    def __enter__(self) -> Reader[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        # A cancellation is no Exception, nor is a group with one in it.
        if self._begun and isinstance(error, Exception):
            self._delivery._crashed(self._actor, error)  # noqa: SLF001 (one piece with it)

    @property
    def redelivers(self) -> bool:
        """Whether the next item is one that an earlier reader did not acknowledge."""
        return not self._begun and self._delivery._held is not None  # noqa: SLF001

    def __aiter__(self) -> Reader[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.next()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def next(self) -> T:
        """Acknowledge the last item and wait for the next; trio.EndOfChannel after the last."""
        delivery = self._delivery
        if self.redelivers:
            await trio.lowlevel.checkpoint()
            self._begun = True
            assert delivery._held is not None  # noqa: SLF001
            return delivery._held  # noqa: SLF001
        self._begun = True
        self.acknowledge()
        delivery._held = item = await delivery._take()  # noqa: SLF001
        return item

    async def serve(
        self, begin: Callable[[T], bool], finish: Callable[[], Awaitable[None]]
    ) -> None:
        """Have every item processed, to the last. `begin` does what needs no waiting and says
        whether that was all; where it was not `finish` does the rest, and then it is acknowledged.

        `begin` may be called from any task, for it runs on the stack of who sends where that is
        how the mailbox is made. What it raises is raised here all the same: a crash is a crash.
        """
        delivery = self._delivery
        while True:
            if self.redelivers or not delivery._may_park():  # noqa: SLF001
                try:
                    item = await self.next()
                except trio.EndOfChannel:
                    return
                finished = begin(item)
            else:
                self._begun = True
                self.acknowledge()
                finished = await delivery._park(begin)  # noqa: SLF001
            if not finished:
                await finish()

    def acknowledge(self) -> None:
        """The last item is done with: a crash from here on does not bring it back."""
        self._delivery._let_go()  # noqa: SLF001

    def narrow(self, rest: T) -> None:
        """Of the last item only this is left to do: a redelivery or quarantine is of that alone."""
        self._delivery._held = rest  # noqa: SLF001
