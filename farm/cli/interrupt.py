"""Ctrl-C and SIGTERM, from the first import to the exit code.

Both signals are blocked, and a thread waits for them. So they are heard whatever the main thread is
at: importing, writing into a pipe that nobody reads, waiting for a disk; and no KeyboardInterrupt
comes up in the midst of code that is not made for it. Child processes inherit that the signals are
blocked; so they have to be ended by other means. A signal that was ignored when the process began
stays so: the background jobs of a shell's script are not ended by a Ctrl-C on its terminal.

Until a command says what is to be done, an interrupt ends the process. Then the first is the
command's own matter, and after the second the process ends a moment later whatever hangs. Files are
whole all the same: they get their names when they are.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from farm.cli.exits import INTERRUPTED

__all__ = ["QUIT_SECONDS", "Interrupts", "interrupts"]

QUIT_SECONDS = 3.0
"""How long a command has for its own quick end after a second interrupt."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupts:
    """The interrupts of this process."""

    def __init__(self) -> None:
        self._hear: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def listen(self) -> None:
        """Take over, for good, those of both signals that are not ignored. To be called by the main
        thread, before there are others: they inherit from it that the signals are blocked."""
        taken = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
        signal.pthread_sigmask(signal.SIG_BLOCK, taken)
        listener = threading.Thread(target=self._run, args=[taken], name="interrupts", daemon=True)
        listener.start()
        # What a thread of another's is given all the same, it hands on.
        for number in taken:
            signal.signal(number, lambda number, _: _send(listener, number))

    def tell(self, hear: Callable[[], None]) -> None:
        """From now on call `hear` for each interrupt, in a thread of its own."""
        with self._lock:
            self._hear = hear

    def _run(self, signals: Sequence[signal.Signals]) -> None:
        heard = 0
        while heard < 2:
            signal.sigwait(signals)
            with self._lock:
                if self._hear is None:
                    _quit()
                else:
                    self._hear()
            heard += 1
        time.sleep(QUIT_SECONDS)
        _quit()


def _send(thread: threading.Thread, number: int) -> None:
    assert thread.ident is not None
    signal.pthread_kill(thread.ident, number)


def _quit() -> None:
    try:
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None and stream.isatty():  # a live table hides the cursor
                _, ready, _ = select.select([], [stream], [], 0)
                for _ in ready:  # a terminal that is stopped (Ctrl-S) would hold us up
                    os.write(stream.fileno(), _SHOW_CURSOR)
    finally:  # even where the terminal has gone
        os._exit(INTERRUPTED)


interrupts = Interrupts()
