"""Faults brought about at their moments."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from typing import Protocol

import trio

from farm.testing.connection import Connection
from farm.testing.faults.connection_kinds import (
    AcceptThenClose,
    ClockJump,
    Close,
    ConnectionFault,
    HalfOpen,
    NoAck,
    NoPong,
    Refuse,
    Reject,
    Reset,
    Restart,
    SlowReader,
    Stall,
    TlsFailure,
)
from farm.testing.faults.fault import Fault
from farm.testing.faults.frame_kinds import Delay, FrameFault, NoData, SequenceBreak
from farm.testing.faults.frames import FrameFaults
from farm.testing.faults.handshakes import HandshakeFaults
from farm.testing.faults.log import FaultEvent
from farm.testing.faults.requests import RequestFaults
from farm.testing.faults.rest_kinds import RestFault, SnapshotTooOld
from farm.testing.faults.script import FaultScript
from farm.testing.source import Push
from farm.testing.wall_clock import WallClock

__all__ = ["FaultInjector", "Premises"]

AHEAD = 1e-4
"""Seconds by which a fault comes before its moment, and so before what the market says then: of two
tasks that wake at the same instant Trio picks either."""


class Premises(Protocol):
    """What faults strike: an exchange."""

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """What clients trust, None where it serves no TLS."""

    @property
    def connections(self) -> Iterable[Connection]:
        """Those that are open."""

    def is_diff(self, push: Push) -> bool:
        """Whether a push is a diff of a book."""

    def break_connections(self) -> None:
        """Resets everything."""

    def leave_half_open(self, connection: Connection) -> None:
        """Leaves a connection half open."""

    def shut(self) -> None:
        """Refuses connections until as many :meth:`reopen` have come."""

    async def reopen(self) -> None: ...

    def begin_anew(self) -> None:
        """The server has been started again."""


class FaultInjector:
    """Strikes one exchange with faults.

    ``log``: what they did. ``begun``: those whose moment has come. ``frames``, ``handshakes``,
    ``requests``: those at work there.
    """

    def __init__(
        self, premises: Premises, script: FaultScript, wall_clock: WallClock | None
    ) -> None:
        self.log: list[FaultEvent] = []
        self.begun: list[Fault] = []
        self._premises = premises
        self._script = script
        self._wall_clock = wall_clock
        self._nursery: trio.Nursery | None = None
        self._put_all_away()

    def check(self, fault: Fault) -> None:
        """Raises ValueError for a fault that this exchange cannot have."""
        if isinstance(fault, ClockJump) and self._wall_clock is None:
            raise ValueError("clock_jump needs the client's clock: give the exchange a wall_clock")
        if isinstance(fault, TlsFailure) and self._premises.ssl_context is None:
            raise ValueError("tls_failure needs an exchange that serves TLS: tls=True")

    def start(self, nursery: trio.Nursery) -> None:
        """Counts the script's moments from now on.

        Raises:
            ValueError: the exchange cannot have one of its faults.
        """
        for fault in self._script:
            self.check(fault)
        self._script.begin()
        self._nursery = nursery
        nursery.start_soon(self._run, trio.current_time())

    def stop(self) -> None:
        """The exchange is closed: what is still at work ends with it."""
        if self._nursery is None:
            return
        self._script.end()
        self._nursery = None
        self._put_all_away()

    def _put_all_away(self) -> None:
        self.frames = FrameFaults(self.log, self._script.seed, self._premises.is_diff)
        self.handshakes = HandshakeFaults(self.log, self._script.seed)
        self.requests = RequestFaults(self.log)

    async def _run(self, opened: float) -> None:
        for fault in sorted(self._script, key=lambda fault: fault.at):
            await trio.sleep_until(opened + fault.at - AHEAD)
            self.strike(fault)

    def strike(self, fault: Fault) -> None:
        """Brings a fault about now, whatever its moment.

        Raises:
            ValueError: the exchange cannot have it.
        """
        self.check(fault)
        self.begun.append(fault)
        if isinstance(fault, FrameFault | SequenceBreak):
            self.frames.count_down(fault)
        elif isinstance(fault, NoData):
            self.frames.silence(fault)
        elif isinstance(fault, Delay):
            self._after(fault.seconds, self.frames.delay(fault))
        elif isinstance(fault, ConnectionFault):
            self._strike_connections(fault)
        elif isinstance(fault, Reject | AcceptThenClose | TlsFailure | NoAck):
            self.handshakes.count_down(fault)
        elif isinstance(fault, NoPong):
            self.handshakes.silence(fault)
        elif isinstance(fault, RestFault | SnapshotTooOld):
            self.requests.count_down(fault)
        elif isinstance(fault, Refuse | Restart):
            self._shut(fault)
        elif isinstance(fault, ClockJump):
            assert self._wall_clock is not None
            self._wall_clock.jump(fault.seconds)
            self._note(fault)

    def _strike_connections(self, fault: ConnectionFault) -> None:
        standing = self._premises.connections
        hit = [each for each in standing if fault.connection in (None, each.name)]
        for connection in hit:
            self._note(fault, connection.name)
            if isinstance(fault, Reset):
                connection.reset()
            elif isinstance(fault, HalfOpen):
                self._premises.leave_half_open(connection)
            elif isinstance(fault, Stall):
                connection.stall(fault.seconds)
            elif isinstance(fault, SlowReader):
                connection.stop_reading(fault.seconds)
            elif isinstance(fault, Close):
                connection.close(fault.code, "")
        if isinstance(fault, Reset) and fault.connection is None:
            self._premises.break_connections()
        if not hit:
            self._note(fault, count=0)

    def _shut(self, fault: Refuse | Restart) -> None:
        self._note(fault)
        self._premises.shut()
        if isinstance(fault, Restart):
            self._premises.break_connections()

        async def reopen() -> None:
            await trio.sleep(fault.seconds)
            if isinstance(fault, Restart):
                self._premises.begin_anew()
            await self._premises.reopen()

        self._tasks.start_soon(reopen)

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await trio.sleep(seconds)
            act()

        self._tasks.start_soon(wait)

    @property
    def _tasks(self) -> trio.Nursery:
        assert self._nursery is not None, "the exchange is not open"
        return self._nursery

    def _note(self, fault: Fault, connection: str = "", *, count: int = 1) -> None:
        self.log.append(FaultEvent(trio.current_time(), fault, connection, count=count))
