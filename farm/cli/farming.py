"""Running a farm from its start to its summary, and what interrupts do to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from farm.api.farm import Farm
from farm.cli.answers import Answers
from farm.cli.exits import INTERRUPTED, fail
from farm.cli.interrupt import interrupts
from farm.errors import FarmError
from farm.groups import raise_sole_leaf
from farm.monitor.control import attend
from farm.monitor.stats import FarmStats
from farm.report import Reporter

__all__ = ["Interruption", "StartInterrupted", "run_farm"]

STOPPING = "stopping: what was received is being stored; another Ctrl-C quits at once"


class StartInterrupted(Exception):
    """An interrupt ended the start: there is no farm to sum up."""


class Interruption:
    """What interrupts do to a farm: to its start the first puts an end; the first lets a farm that
    stands drain, the second gives that up."""

    def __init__(self) -> None:
        """To be made within Trio; from then on interrupts are this object's business."""
        self.first = trio.Event()
        self.second = False
        self.farm: Farm | None = None
        self._start = trio.CancelScope()
        token = trio.lowlevel.current_trio_token()

        def hear() -> None:
            with suppress(trio.RunFinishedError):  # all is done: the process is about to end
                token.run_sync_soon(self._hear)

        interrupts.tell(hear)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Until the farm stands an interrupt cancels what runs within; StartInterrupted, then."""
        with trio.CancelScope() as self._start:
            if self.first.is_set():
                self._start.cancel()
            yield
        if self.first.is_set() and self.farm is None:
            raise StartInterrupted

    def _hear(self) -> None:
        if not self.first.is_set():
            self.first.set()
            if self.farm is None:
                self._start.cancel()
        else:
            self.second = True
            if self.farm is not None:
                self.farm.abort()


async def run_farm(
    opening: AbstractAsyncContextManager[Farm],
    reporter: Reporter,
    interruption: Interruption,
    *,
    seconds: float | None = None,
    data: Path | None = None,
    check: Callable[[FarmStats], None] = lambda _stats: None,
) -> int:
    """Run a farm and show it, until it ends, the time is over, or the user has had enough; the exit
    code. StartInterrupted."""
    logging.getLogger().addHandler(reporter.log_handler())
    started = time.monotonic()
    failure: FarmError | None = None
    try:
        try:
            with interruption.starting():
                await _run(opening, reporter, interruption, seconds, data)
        except BaseExceptionGroup as group:
            raise_sole_leaf(group)
        assert interruption.farm is not None
        check(interruption.farm.stats())
    except FarmError as error:
        if interruption.farm is None:
            raise
        failure = error  # what was collected until then is summed up all the same
    assert interruption.farm is not None
    more: dict[str, Any] = {
        "seconds": round(time.monotonic() - started, 3),
        "data": str(data) if data else None,
        "error": str(failure) if failure else None,
    }
    reporter.finish(interruption.farm.stats(), more)
    if failure is not None:
        return fail(str(failure))
    return INTERRUPTED if interruption.second else 0


async def _run(
    opening: AbstractAsyncContextManager[Farm],
    reporter: Reporter,
    interruption: Interruption,
    seconds: float | None,
    data: Path | None,
) -> None:
    async with opening as farm:
        interruption.farm = farm
        async with trio.open_nursery() as watching:
            watching.start_soon(reporter.watch, farm)
            watching.start_soon(attend, data, Answers(farm, data))
            with trio.move_on_after(float("inf") if seconds is None else seconds):
                async with trio.open_nursery() as waiting:
                    waiting.start_soon(_first_of, farm.wait, waiting.cancel_scope)
                    waiting.start_soon(_first_of, interruption.first.wait, waiting.cancel_scope)
            watching.cancel_scope.cancel()
        if interruption.first.is_set():
            reporter.note(STOPPING)


async def _first_of(wait: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    await wait()
    scope.cancel()
