"""The lifeline: no shard outlives its parent, however that came to its end.

The parent holds the write end of a pipe, and writes nothing. A daemon thread in the shard waits on
the read end: its end of file says that the parent is gone. A child that the parent forked may hold
the write end for longer; so the thread looks for a changed parent, too.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

__all__ = ["LAST_SECONDS", "watch_lifeline"]

LAST_SECONDS = 1.5
"""Seconds that a shard has to come to its end by itself."""

PARENT_POLL = 0.25  # with LAST_SECONDS below the two seconds within which a shard has to be gone
_EXIT_CODE = 1  # nobody is left to read it


def watch_lifeline(
    fd: int, on_lost: Callable[[], object], *, last_seconds: float = LAST_SECONDS
) -> threading.Thread:
    """From now on call `on_lost` once the parent is gone, and end the process `last_seconds` later
    if it still stands, whatever its main thread is at. `fd`, the read end, is owned from here on.

    `on_lost` is called in the thread that is returned, with ``trio.from_thread`` as the way to
    Trio; it may block, or fail.
    """
    os.set_inheritable(fd, False)  # it was inherited, and is not to go on to ours
    parent = os.getppid()

    def watch() -> None:
        _wait_until_lost(fd, parent)
        # A thread of its own: on_lost may wait for a main thread that hangs.
        threading.Thread(
            target=_end, args=(last_seconds,), name="last seconds", daemon=True
        ).start()
        on_lost()

    thread = threading.Thread(target=watch, name="lifeline", daemon=True)
    thread.start()
    return thread


def _wait_until_lost(fd: int, parent: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not poll.poll(PARENT_POLL * 1000) and os.getppid() == parent:
        pass  # nothing is ever written: the pipe is readable once it has ended


def _end(last_seconds: float) -> None:
    time.sleep(last_seconds)
    os._exit(_EXIT_CODE)
