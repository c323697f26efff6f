"""What waits in memory for the disk, bounded by weight: the oldest beyond it are let go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

__all__ = ["Pending"]

T = TypeVar("T")


class Pending(Generic[T]):
    """Items in order, of which `weight` tells the bytes that each takes in memory.

    ``nbytes`` is what all of them weigh; ``not_kept`` counts those that were let go. It does no
    locking of its own.
    """

    def __init__(self, weight: Callable[[T], int], max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self.not_kept = 0
        self._weight = weight
        self._items: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> list[T]:
        """All of them, oldest first."""
        return list(self._items)

    def add(self, item: T) -> None:
        """Take an item in behind the others."""
        self._items.append(item)
        self.nbytes += self._weight(item)
        self._trim()

    def take(self) -> list[T]:
        """All of them, oldest first; none is left here."""
        taken = list(self._items)
        self._items.clear()
        self.nbytes = 0
        return taken

    def put_back(self, items: Iterable[T]) -> None:
        """Items that were taken, in front of what came since."""
        for item in reversed(list(items)):
            self._items.appendleft(item)
            self.nbytes += self._weight(item)
        self._trim()

    def _trim(self) -> None:
        while self.nbytes > self.max_bytes:
            self.nbytes -= self._weight(self._items.popleft())
            self.not_kept += 1
