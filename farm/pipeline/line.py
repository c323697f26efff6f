"""A line: one connection's way through parser and aggregator, and the channels on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from farm.actors.aggregator import AggregatorActor
from farm.actors.connection import (
    ConnectionActor,
    ConnectionCounters,
    is_droppable,
    lose_inputs,
)
from farm.actors.losses import lose_bundles
from farm.actors.mailbox import Mailbox, Overflow
from farm.actors.parser import ParserActor
from farm.actors.supervisor import Lifecycle, LifecycleEvent
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.exchanges.core import CoreSession
from farm.exchanges.registry import make_session
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Command, Input, StreamState
from farm.exchanges.streams import Stream
from farm.pipeline.environment import Settings
from farm.types import CollectorStatus

__all__ = ["Line", "make_line"]

COMMAND_ROOM = 10_000  # commands waiting for a connection: a few for each stream at the worst

_STATUS = {
    Lifecycle.STARTED: CollectorStatus.CONNECTING,
    Lifecycle.HEALTHY: CollectorStatus.RUNNING,
    Lifecycle.WEATHER: CollectorStatus.BACKING_OFF,
    Lifecycle.CRASHED: CollectorStatus.BACKING_OFF,
    Lifecycle.PARKED: CollectorStatus.PARKED,
    Lifecycle.STOPPED: CollectorStatus.STOPPED,
}


@attrs.define(eq=False)
class Line:
    """One connection with its actors' state: what outlives their crashes.

    ``connection`` is None where a recording takes its place; ``counters`` are of either.
    ``failures`` counts ends by weather, ``crashes`` those of all its actors.
    """

    name: str
    rules: MarketRules
    session: CoreSession
    inputs: Mailbox[Input]
    bundles: Mailbox[Bundle]
    keeper: BookKeeper
    commands: trio.MemorySendChannel[Command]
    executed: trio.MemoryReceiveChannel[Command]
    connection: ConnectionActor | None = None
    counters: ConnectionCounters = attrs.field(factory=ConnectionCounters)
    status: CollectorStatus = CollectorStatus.STARTING
    last_error: str = ""
    failures: int = 0
    crashes: int = 0

    def actors(
        self, publish: Callable[[Bundle], Awaitable[None]]
    ) -> tuple[AggregatorActor, ParserActor]:
        """The stages behind the connection, last first."""
        return (
            AggregatorActor(
                f"{self.name} aggregator", self.keeper, self.bundles, publish, self._pass_commands
            ),
            ParserActor(
                f"{self.name} parser", self.session, self.inputs, self.bundles, self._pass_commands
            ),
        )

    def take_note(self, event: LifecycleEvent) -> None:
        """Hear what happened to an actor; those of other lines are passed over."""
        owner, _, role = event.actor.partition(" ")
        if owner != self.name:
            return
        if not role:
            self.status = _STATUS[event.what]
            self.failures += event.what is Lifecycle.WEATHER
        elif event.what is Lifecycle.PARKED:
            self._is_dead()
        self.crashes += event.what is Lifecycle.CRASHED
        if event.error is not None:
            self.last_error = str(event.error) or type(event.error).__name__

    def _is_dead(self) -> None:
        """A stage is parked: what comes is not processed, so nothing may look alive."""
        self.status = CollectorStatus.PARKED
        for book in self.keeper.books:
            book.ended()
        for stream in self.session.statuses.values():
            stream.state = StreamState.DOWN

    def _pass_commands(self) -> None:
        """Hand on what the protocol core asks for; a recording has nobody to do it."""
        for command in self.session.take_commands():
            if self.connection is not None:
                self.commands.send_nowait(command)


def make_line(
    name: str,
    rules: MarketRules,
    streams: Sequence[Stream],
    settings: Settings,
    *,
    overflow: Overflow,
    discover: bool = False,
) -> Line:
    """A line for `streams`, with its mailboxes; `overflow` is the policy of the first.

    `name` has no blank in it. `discover` is for recordings, which don't say what was subscribed.
    """
    numbers = settings.numbers
    session = make_session(rules, streams, connection=name, numbers=numbers, discover=discover)
    commands, executed = trio.open_memory_channel[Command](COMMAND_ROOM)
    return Line(
        name,
        rules,
        session,
        inputs=Mailbox(
            f"{name} connection>parser",
            lose=lose_inputs,
            droppable=is_droppable,
            max_bytes=settings.mailbox_bytes,
            overflow=overflow,
        ),
        bundles=Mailbox(
            f"{name} parser>aggregator",
            lose=lose_bundles("parser>aggregator"),
            max_bytes=settings.mailbox_bytes,
            overflow=Overflow.BLOCK,  # what waits is the parser, and frames queue before it
        ),
        keeper=BookKeeper(
            lambda: [status.stream for status in session.statuses.values()],
            session.resync,
            numbers,
        ),
        commands=commands,
        executed=executed,
    )
