"""Faults that hit so many of something, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import attrs

__all__ = ["Budget"]


class _Counts(Protocol):
    @property
    def count(self) -> int: ...


F = TypeVar("F", bound=_Counts)


@attrs.define(eq=False)
class _Rest(Generic[F]):
    fault: F
    left: int


class Budget(Generic[F]):
    """Faults of one kind, each for its ``count``, in the order in which they came."""

    def __init__(self) -> None:
        self._faults: deque[_Rest[F]] = deque()

    def add(self, fault: F) -> None:
        self._faults.append(_Rest(fault, fault.count))

    def take(self, fits: Callable[[F], bool] = lambda _: True) -> F | None:
        """The first fault that fits, which counts one down; None where there is none."""
        for rest in self._faults:
            if fits(rest.fault):
                rest.left -= 1
                if not rest.left:
                    self._faults.remove(rest)
                return rest.fault
        return None
