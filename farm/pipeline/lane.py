"""A lane: one connection with its parser, and the channels between them.

A line has one lane, or several that carry the same streams: always (``lanes = 2``), or while one
connection takes over from another.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial

import attrs
import trio

from farm.actors.connection import ConnectionActor, ConnectionCounters, is_droppable, lose_inputs
from farm.actors.mailbox import Mailbox, Overflow
from farm.actors.parser import ParserActor
from farm.actors.poll import PollActor
from farm.actors.supervisor import Child, Lifecycle, LifecycleEvent
from farm.batch import Origin
from farm.bundle import Bundle
from farm.exchanges.core import CoreSession
from farm.exchanges.registry import make_session
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Command, Finished, Input, StreamState
from farm.exchanges.streams import Stream
from farm.pipeline.endings import last_words, words_without_core
from farm.pipeline.environment import Settings
from farm.storage.quarantine import QuarantineStore
from farm.types import CollectorStatus, GapCause, Nanoseconds, NumberMode

__all__ = ["Lane", "SessionOptions", "make_lane"]

log = logging.getLogger("farm.pipeline")

COMMAND_ROOM = 10_000  # commands waiting for a connection: a few for each stream at the worst

_STATUS = {
    Lifecycle.STARTED: CollectorStatus.CONNECTING,
    Lifecycle.RESTARTED: CollectorStatus.CONNECTING,
    Lifecycle.HEALTHY: CollectorStatus.RUNNING,
    Lifecycle.WEATHER: CollectorStatus.BACKING_OFF,
    Lifecycle.CRASHED: CollectorStatus.BACKING_OFF,
    Lifecycle.RETURNED: CollectorStatus.BACKING_OFF,
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

    ``source`` is None where a recording takes its place; ``counters`` are of either.
    ``source_child`` and ``parser_child`` are the actors under supervision, ``parsing`` is the
    latter. ``finished``: nothing more is put into its mailbox; ``ended`` is set when its parser has
    parsed everything, or what it has not was given up; ``unsent``: what is to be said of that, and
    before it ``cut``, which it was about to send; ``retiring``: it is being let go. ``failures``
    counts ends by weather, ``crashes`` those of its actors.
    """

    name: str
    session: CoreSession
    inputs: Mailbox[Input]
    commands: trio.MemorySendChannel[Command]
    executed: trio.MemoryReceiveChannel[Command]
    numbers: NumberMode = NumberMode.FLOAT
    source: ConnectionActor | PollActor | None = None
    source_child: Child | None = None
    parser_child: Child | None = None
    parsing: ParserActor | None = None
    counters: ConnectionCounters = attrs.field(factory=ConnectionCounters)
    ended: trio.Event = attrs.field(factory=trio.Event)
    cut: Bundle | None = None
    unsent: deque[Bundle] = attrs.field(factory=deque)
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
        self.parsing = ParserActor(
            f"{self.name} parser",
            self.session,
            self.inputs,
            outbox,
            self.pass_commands,
            self._on_parsed,
        )
        return self.parsing

    def _on_parsed(self) -> None:
        """All is parsed: it has ended if its last word was said, on which its core may crash."""
        assert self.parsing is not None
        if self.parsing.last_sent is not None and self.parsing.last_sent.final:
            self.ended.set()

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

    def went_down(self, since: Mapping[str, Nanoseconds]) -> None:
        """These of its streams were collected by a process that failed, and what came `since` then
        is lost; it is recorded when they are back."""
        for name, time in since.items():
            if (status := self.session.statuses.get(name)) is not None:
                status.down_since, status.down_cause = time, GapCause.CRASH

    def is_dead(self) -> None:
        """A stage is parked: what comes is not processed, so nothing may look alive."""
        self.status = CollectorStatus.PARKED
        for stream in self.session.statuses.values():
            stream.state = StreamState.DOWN

    def finish(self, now: Nanoseconds) -> None:
        """Nothing more comes from its source: its parser ends when it has parsed what waits."""
        if not self.finished:
            self.finished = True
            self.inputs.put(Finished(now))
            self.inputs.close()

    def leave(self) -> None:
        """As :meth:`finish`, without a last word: another process goes on with its streams."""
        if not self.finished:
            self.finished = True
            self.inputs.close()

    def give_up(self, now: Nanoseconds) -> None:
        """Its parser has ended: what it has not parsed never will be, and ``unsent`` says so."""
        if not self.ended.is_set():
            self.ended.set()
            if self.parsing is not None and self.parsing.sending is not None:
                self.cut = self.parsing.sending
                with self.inputs.reader() as reader:
                    reader.acknowledge()
            left = self.inputs.drain_in_order()
            if self.parser_child is None or not self.parser_child.given_up:
                try:
                    self.unsent += last_words(self.session, left, now)
                except Exception:
                    log.exception("%s: its core crashed in its last words", self.name)
                else:
                    return
            rules, epoch = self.session.rules, max((item.epoch for item in left), default=0)
            origin = Origin(rules.exchange, rules.market, self.name, epoch)
            statuses = self.session.statuses.values()
            self.unsent.append(words_without_core(statuses, left, origin, self.numbers, now))

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
    quarantine: QuarantineStore,
) -> Lane:
    """A lane for `streams`, with its mailbox; `name` has no blank in it. What crashes its parser
    twice goes into `quarantine`."""
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
        on_quarantine=partial(
            quarantine.add,
            origin=Origin(rules.exchange, rules.market, name, 0),
            microseconds=options.microseconds,
        ),
        hand_off=settings.hand_off,
    )
    return Lane(name, session, inputs, commands, executed, settings.numbers)
