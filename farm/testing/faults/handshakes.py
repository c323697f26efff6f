"""Faults of handshakes and answers at work."""

from __future__ import annotations

import random
import ssl
from functools import cached_property

import trio

from farm.testing.connection import Connection
from farm.testing.faults.budget import Budget
from farm.testing.faults.connection_kinds import (
    AcceptThenClose,
    NoAck,
    NoPong,
    Reject,
    TlsFailure,
)
from farm.testing.faults.fault import Fault
from farm.testing.faults.log import FaultEvent
from farm.testing.port import HOST
from farm.testing.tls import make_contexts
from farm.testing.venue import Refusal

__all__ = ["HandshakeFaults"]

# How long a client may take to begin a handshake that fails.
_PATIENCE = 10.0
# Long enough for a client to read the end of the handshake before the reset that follows it.
_MOMENT = 0.001
_GARBAGE_BYTES = 64


class HandshakeFaults:
    """Those at work now, each kind in the order in which its faults came."""

    def __init__(self, log: list[FaultEvent], seed: int | str | None) -> None:
        self._log = log
        self._rng = random.Random(f"handshakes:{seed}")
        self._rejects: Budget[Reject] = Budget()
        self._ends: Budget[AcceptThenClose] = Budget()
        self._failures: Budget[TlsFailure] = Budget()
        self._unanswered: Budget[NoAck] = Budget()
        self._silences: list[tuple[NoPong, float]] = []

    def count_down(self, fault: Fault) -> None:
        """Hits the next handshakes or requests."""
        if isinstance(fault, Reject):
            self._rejects.add(fault)
        elif isinstance(fault, AcceptThenClose):
            self._ends.add(fault)
        elif isinstance(fault, TlsFailure):
            self._failures.add(fault)
        elif isinstance(fault, NoAck):
            self._unanswered.add(fault)

    def silence(self, fault: NoPong) -> None:
        """Leaves pings without an answer as long as it says."""
        self._silences.append((fault, trio.current_time() + fault.seconds))

    # --- where it is asked -----------------------------------------------------------------------

    def rejects(self, connection: Connection) -> Refusal | None:
        """The answer to a handshake that is rejected."""
        fault = self._rejects.take()
        if fault is None:
            return None
        self._note(fault, connection)
        return Refusal(fault.status)

    def after(self, connection: Connection, tasks: trio.Nursery) -> None:
        """A handshake has been answered: its connection may be ended now."""
        fault = self._ends.take()
        if fault is None:
            return
        self._note(fault, connection)
        if fault.how == "close":
            connection.close(1001, "")
        else:
            tasks.start_soon(self._reset, connection)

    def leaves_ping(self, connection: Connection) -> bool:
        """Whether a ping of a connection is left without an answer."""
        now = trio.current_time()
        self._silences = [(fault, until) for fault, until in self._silences if now < until]
        if self._silences:
            self._note(self._silences[0][0], connection)
        return bool(self._silences)

    def leaves_request(self, connection: Connection) -> bool:
        """Whether a request of a connection is left without an answer."""
        fault = self._unanswered.take()
        if fault is not None:
            self._note(fault, connection)
        return fault is not None

    async def secure(
        self, stream: trio.abc.Stream, context: ssl.SSLContext
    ) -> trio.abc.Stream | None:
        """The stream under TLS, which may yet fail; None where it has failed."""
        fault = self._failures.take()
        if fault is not None:
            self._note(fault)
            if fault.how == "garbage":
                await self._answer_garbage(stream)
                return None
            context = self._strange_context
        return trio.SSLStream(stream, context, server_side=True, https_compatible=True)

    async def _reset(self, connection: Connection) -> None:
        await connection.wait_room(1)
        await trio.sleep(_MOMENT)
        connection.reset()

    @cached_property
    def _strange_context(self) -> ssl.SSLContext:
        return make_contexts(HOST)[0]

    async def _answer_garbage(self, stream: trio.abc.Stream) -> None:
        try:
            with trio.move_on_after(_PATIENCE):
                await stream.receive_some()
                await stream.send_all(self._rng.randbytes(_GARBAGE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client did not wait for it
        finally:
            await trio.aclose_forcefully(stream)

    def _note(self, fault: Fault, connection: Connection | None = None) -> None:
        name = "" if connection is None else connection.name
        self._log.append(FaultEvent(trio.current_time(), fault, name))
