"""The fake exchanges of ``farm demo``, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from farm.cli.farming import Interruption
from farm.errors import FarmError

__all__ = ["fake_exchanges"]

START_SECONDS = 30.0  # for the fake exchanges to come up
STOP_SECONDS = 5.0  # for the system to take them away


@asynccontextmanager
async def fake_exchanges(
    symbols: Mapping[str, Sequence[str]], seed: int, rate: float, interruption: Interruption
) -> AsyncIterator[dict[str, dict[str, str]]]:
    """Fake exchanges with these symbols by market; their addresses by market.

    The process ends with its stdin, so it outlives nobody. It has a session of its own, for a
    Ctrl-C on the terminal is meant for the farm, which still has to drain. FarmError where it does
    not start, StartInterrupted where the user does not wait for it.
    """
    command = [sys.executable, "-m", "farm.testing.serve"]
    command += [f"{market}:{','.join(names)}" for market, names in symbols.items()]
    command += ["--seed", str(seed), "--rate", str(rate)]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    try:
        line = b""
        with interruption.starting(), trio.move_on_after(START_SECONDS):
            while not line.endswith(b"\n") and (part := await process.stdout.receive_some()):
                line += part
        if not line.endswith(b"\n"):
            raise FarmError("the fake exchanges did not start; what they said stands above")
        yield json.loads(line)["endpoints"]
    finally:
        process.kill()  # it has nothing to lose
        with trio.CancelScope(shield=True, deadline=trio.current_time() + STOP_SECONDS):
            await process.wait()
