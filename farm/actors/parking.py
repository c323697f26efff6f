"""Parking: where a receiver waits, so that whoever sends can take its turn for it.

Waking a task costs about as much as all that is done with a message, so a receiver that waits is
not woken: its *turn*, a plain function, runs at once on the sender's stack. It can't wait, and it
must not depend on the task that it runs in: not on its cancellation, nor on its context variables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

__all__ = ["Parking"]

T = TypeVar("T")


class Parking(Generic[T]):
    """The place of one receiver. ``is_open``: it waits here, and no turn of it is under way.

    ``in_turn``: one is, so that nothing else can be handed over, not even by the turn itself.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.in_turn = False
        self._task: trio.lowlevel.Task
        self._begin: Callable[[T], bool]
        self._finished = True
        self._error: BaseException | None = None
        self._is_wanted = False  # its task is to run when the turn is over

    async def park(self, begin: Callable[[T], bool]) -> bool:
        """Wait, with `begin` for a turn; whether all that came meanwhile was finished by it.

        Where not, the rest of the last item is the caller's to do. What a turn raised is raised
        here. Cancelled, also from within a turn, none is cut short.
        """
        self._task, self._begin = trio.lowlevel.current_task(), begin
        self._finished, self._is_wanted = True, False
        self.is_open = True
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None
        return self._finished

    def turn(self, item: T) -> bool:
        """Have the turn run on this item, here and now; whether that finished it.

        Where not, the receiver's task does the rest: what is left of it, or its error, of whatever
        kind, which is none of the sender's.
        """
        self.is_open, self.in_turn = False, True
        try:
            self._finished = self._begin(item)
        except BaseException as error:  # noqa: BLE001 (raised where the receiver waits)
            self._finished, self._error = False, error
        self.in_turn, self.is_open = False, True
        if self._is_wanted or not self._finished:
            self.wake()
        return self._finished

    def wake(self) -> None:
        """Have the receiver go on, after its turn if there is one; nothing where it isn't here."""
        if self.in_turn:
            self._is_wanted = True
        elif self.is_open:
            self.is_open = False
            trio.lowlevel.reschedule(self._task)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        if self.in_turn:
            self._is_wanted = True  # it is told again the next time that it waits
            return trio.lowlevel.Abort.FAILED
        self.is_open = False
        return trio.lowlevel.Abort.SUCCEEDED
