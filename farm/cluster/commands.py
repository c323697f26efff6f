"""What the parent has a shard do with its lines, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from farm.cluster.messages import (
    AddStreams,
    Caught,
    Delivering,
    DropLine,
    ExpectHeir,
    ExpectNoHeir,
    FromShard,
    HandedOver,
    HandOver,
    Heir,
    OpenLine,
    RemoveStreams,
    TakeOver,
    ToShard,
)
from farm.pipeline import Line
from farm.pipeline.handover import OVERLAP, line_is_ready
from farm.pipeline.sources import Sources

__all__ = ["Commands", "LineCommand"]

log = logging.getLogger("farm.cluster")

LineCommand = (
    OpenLine
    | AddStreams
    | RemoveStreams
    | ExpectHeir
    | ExpectNoHeir
    | Delivering
    | DropLine
    | HandOver
    | TakeOver
)

ROOM = 100_000
"""Commands that wait to be done: several for each line of the largest farm."""


class Commands:
    """Does what it is told with the lines of :class:`~farm.pipeline.sources.Sources`; `send` is for
    answers, and `leave` waits until the parent has all that a line gave that has ended here.

    What takes long, handing a line over, is done on the side.
    """

    def __init__(
        self, send: Callable[[FromShard], None], leave: Callable[[str], Awaitable[None]]
    ) -> None:
        self._send = send
        self._leave = leave
        self._given, self._todo = trio.open_memory_channel[ToShard](ROOM)
        self._caught_up_since: dict[str, float] = {}

    def put(self, command: ToShard) -> None:
        """Have this done; what comes after :meth:`drain` is not."""
        with suppress(trio.ClosedResourceError):
            self._given.send_nowait(command)

    def drain(self) -> None:
        """Nothing follows: what was put is done, and then all is to end."""
        self._given.close()

    async def drive(self, sources: Sources) -> None:
        """Do what comes, until :meth:`drain`; lines that are on their way out come to their end."""
        async with trio.open_nursery() as nursery:
            async for command in self._todo:
                await self._do(sources, command, nursery)

    async def _do(self, sources: Sources, command: ToShard, nursery: trio.Nursery) -> None:
        if isinstance(command, OpenLine):
            await sources.open_line(
                command.collector,
                command.streams,
                name=command.line,
                first_lane=command.first_lane,
                held=command.held,
                down_since=command.down_since,
            )
            return
        assert isinstance(command, LineCommand)
        line = _line(sources, command)
        if line is None:
            return
        match command:
            case AddStreams():
                sources.add(line, command.streams)
            case RemoveStreams():
                sources.remove(line, command.streams)
            case ExpectHeir():
                self._send(Heir(line.name, sources.expect_heir(line)))
            case ExpectNoHeir():
                sources.expect_no_heir(line)
            case Delivering():
                self._compare(line, command)
            case DropLine():
                if line.held:
                    await sources.discard(line)
            case HandOver():
                nursery.start_soon(self._hand_over, sources, line)
            case TakeOver():
                await sources.take_over(line, command.state)

    def _compare(self, line: Line, other: Delivering) -> None:
        """Say so once a held line has had for a while all that the other process has."""
        now = trio.current_time()
        if not line_is_ready(line, other.streams):
            self._caught_up_since.pop(line.name, None)
        elif now - self._caught_up_since.setdefault(line.name, now) >= OVERLAP:
            del self._caught_up_since[line.name]
            self._send(Caught(line.name))

    async def _hand_over(self, sources: Sources, line: Line) -> None:
        state = await sources.hand_over(line)
        await self._leave(line.name)  # else what the new process sends might overtake it
        self._send(HandedOver(line.name, state))


def _line(sources: Sources, command: LineCommand) -> Line | None:
    """The line that is meant; None where it is gone: what was told may have crossed its end."""
    for line in sources.lines:
        if line.name == command.line:
            return line
    if not isinstance(command, Delivering | DropLine | ExpectNoHeir):
        log.warning("%s: it is not here any more: %s", command.line, type(command).__name__)
    return None
