"""Blocking work: everything of farm's that may wait for a disk or a resolver goes through here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

__all__ = ["RunSync", "in_thread"]


class RunSync(Protocol):
    """How blocking work is run: in a thread, or as a test wants it."""

    def __call__(self, work: Callable[[], Any]) -> Awaitable[Any]: ...


async def in_thread(work: Callable[[], Any]) -> Any:
    """Run blocking work in a worker thread; its result, or its error.

    Cancelled, it gives the thread up at once: a disk that hangs must not hold a farm that is to
    end. The work may still come to its end later on, but nobody hears of it; so it must be such
    that doing it whole and not doing it are both right.
    """
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
