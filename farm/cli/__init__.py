"""The command line: ``farm demo``, ``run``, ``replay``, ``ps``, ``status``, ``streams``,
``quarantine`` and ``config schema``.

Exit codes: 0 for a run that ended as it should, 1 for one that failed (a recording or a data
directory that can't be used among others), 2 for a command line or a configuration that can't be
used, 130 where Ctrl-C ended it before it was done: at its start, or pressed twice.

Those of ``farm status``: 0 all is well, 1 something is wrong, 2 the command line can't be used
(several farms run, and none is named), 3 no farm answers, 4 the farm is still starting.
"""

from __future__ import annotations

import os
import sys

from farm.cli.exits import INTERRUPTED

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """The ``farm`` command. It imports nothing to speak of until interrupts are listened to: the
    first Ctrl-C may come as soon as the interpreter stands."""
    try:
        from farm.cli.interrupt import interrupts

        interrupts.listen()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    from farm.cli.app import run_app

    code = run_app(argv)
    if code:
        _quit(code)
    sys.exit(code)


def _quit(code: int) -> None:
    """End without the interpreter's shutdown: a thread that was given up may still be in a disk
    write, and coming back from it while Python shuts down it would be torn out of Arrow's C++."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                continue  # whoever read it has gone
    os._exit(code)
