"""A lane: one connection with its parser, and the channels between them.

A line has one lane, or several that carry the same streams: always (``lanes = 2``), or while one
connection takes over from another.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from farm.actors.connection import ConnectionActor, ConnectionCounters, is_droppable, lose_inputs
from farm.actors.mailbox import Mailbox, Overflow
from farm.actors.parser import ParserActor
from farm.actors.poll import PollActor
from farm.actors.supervisor import Lifecycle, LifecycleEvent
from farm.bundle import Bundle
from farm.exchanges.core import CoreSession
from farm.exchanges.registry import make_session
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Command, Input, StreamState
from farm.exchanges.streams import Stream
from farm.pipeline.environment import Settings
from farm.types import CollectorStatus

__all__ = ["Lane", "SessionOptions", "make_lane"]

COMMAND_ROOM = 10_000  # commands waiting for a connection: a few for each stream at the worst

_STATUS = {
    Lifecycle.STARTED: CollectorStatus.CONNECTING,
    Lifecycle.HEALTHY: CollectorStatus.RUNNING,
    Lifecycle.WEATHER: CollectorStatus.BACKING_OFF,
    Lifecycle.CRASHED: CollectorStatus.BACKING_OFF,
    Lifecycle.PARKED: CollectorStatus.PARKED,
    Lifecycle.STOPPED: CollectorStatus.STOPPED,
}


@attrs.frozen
class SessionOptions:
    """What the sessions of a collector are made with: see
    :class:`~farm.exchanges.core.CoreSession`."""

    discover: bool = False
    microseconds: bool = False
    snapshot_levels: int | None = None


@attrs.define(eq=False)
class Lane:
    """One connection's state: what outlives its actors' crashes.

    ``source`` is None where a recording takes its place; ``counters`` are of either. ``scope``
    ends the source and ``stopped`` is set when it has ended; ``finished``: nothing more is put into
    its mailbox; ``ended`` is set when its parser has parsed everything; ``retiring``: it is being
    let go. ``failures`` counts ends by weather, ``crashes`` those of its actors.
    """

    name: str
    session: CoreSession
    inputs: Mailbox[Input]
    commands: trio.MemorySendChannel[Command]
    executed: trio.MemoryReceiveChannel[Command]
    source: ConnectionActor | PollActor | None = None
    counters: ConnectionCounters = attrs.field(factory=ConnectionCounters)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    stopped: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    finished: bool = False
    retiring: bool = False
    status: CollectorStatus = CollectorStatus.STARTING
    last_error: str = ""
    failures: int = 0
    crashes: int = 0

    @property
    def streams(self) -> list[Stream]:
        """What it carries."""
        return [status.stream for status in self.session.statuses.values()]

    @property
    def is_running(self) -> bool:
        """Whether its connection stands."""
        return self.status is CollectorStatus.RUNNING

    def parser(self, outbox: Mailbox[Bundle]) -> ParserActor:
        """The stage behind the connection."""
        return ParserActor(
            f"{self.name} parser",
            self.session,
            self.inputs,
            outbox,
            self.pass_commands,
            self.ended.set,
        )

    def take_note(self, event: LifecycleEvent, role: str) -> None:
        """Hear what happened to one of its actors."""
        if not role:
            self.status = _STATUS[event.what]
            self.failures += event.what is Lifecycle.WEATHER
        elif event.what is Lifecycle.PARKED:
            self.is_dead()
        self.crashes += event.what is Lifecycle.CRASHED
        if event.error is not None:
            self.last_error = str(event.error) or type(event.error).__name__

    def is_dead(self) -> None:
        """A stage is parked: what comes is not processed, so nothing may look alive."""
        self.status = CollectorStatus.PARKED
        for stream in self.session.statuses.values():
            stream.state = StreamState.DOWN

    def pass_commands(self) -> None:
        """Hand on what the protocol core asks for; a recording has nobody to do it."""
        for command in self.session.take_commands():
            if isinstance(self.source, ConnectionActor):
                self.commands.send_nowait(command)


def make_lane(
    name: str,
    rules: MarketRules,
    streams: Sequence[Stream],
    settings: Settings,
    options: SessionOptions,
    overflow: Overflow,
) -> Lane:
    """A lane for `streams`, with its mailbox; `name` has no blank in it."""
    session = make_session(
        rules,
        streams,
        connection=name,
        numbers=settings.numbers,
        discover=options.discover,
        microseconds=options.microseconds,
        snapshot_levels=options.snapshot_levels,
    )
    commands, executed = trio.open_memory_channel[Command](COMMAND_ROOM)
    inputs: Mailbox[Input] = Mailbox(
        f"{name} connection>parser",
        lose=lose_inputs,
        droppable=is_droppable,
        max_bytes=settings.mailbox_bytes,
        overflow=overflow,
    )
    return Lane(name, session, inputs, commands, executed)
