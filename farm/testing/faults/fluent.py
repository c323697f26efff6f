"""Scripts written as calls: a method for each kind of fault, by its word."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, Self

from farm.testing.faults.kinds import (
    AcceptThenClose,
    ClockJump,
    Close,
    Corrupt,
    Corruption,
    Delay,
    Drop,
    Duplicate,
    Fault,
    HalfOpen,
    NoAck,
    NoData,
    NoPong,
    Refuse,
    Reject,
    Reorder,
    Reset,
    Restart,
    RestGarbage,
    RestReset,
    RestStatus,
    RestTimeout,
    SequenceBreak,
    SlowReader,
    SnapshotTooOld,
    Stall,
    TlsFailure,
)

__all__ = ["FluentScript"]


class FluentScript(ABC):
    """Each method adds one fault and returns the script. What the attributes mean stands in
    :mod:`farm.testing.faults.kinds`."""

    @abstractmethod
    def add(self, fault: Fault) -> Self:
        """Adds a fault."""

    def drop(
        self, stream: str, *, at: float, count: int = 1, connection: str | None = None
    ) -> Self:
        return self.add(Drop(at, stream, count=count, connection=connection))

    def duplicate(
        self, stream: str, *, at: float, count: int = 1, connection: str | None = None
    ) -> Self:
        return self.add(Duplicate(at, stream, count=count, connection=connection))

    def reorder(
        self, stream: str, *, at: float, count: int = 1, connection: str | None = None, by: int = 1
    ) -> Self:
        return self.add(Reorder(at, stream, count=count, connection=connection, by=by))

    def delay(
        self, stream: str, *, at: float, seconds: float, connection: str | None = None
    ) -> Self:
        return self.add(Delay(at, stream, seconds=seconds, connection=connection))

    def corrupt(
        self,
        stream: str,
        *,
        at: float,
        count: int = 1,
        connection: str | None = None,
        how: Corruption,
    ) -> Self:
        return self.add(Corrupt(at, stream, count=count, connection=connection, how=how))

    def sequence_break(self, stream: str, *, at: float, count: int = 1) -> Self:
        return self.add(SequenceBreak(at, stream, count=count))

    def no_data(
        self, stream: str, *, at: float, seconds: float, connection: str | None = None
    ) -> Self:
        return self.add(NoData(at, stream, seconds=seconds, connection=connection))

    def reset(self, *, at: float, connection: str | None = None) -> Self:
        return self.add(Reset(at, connection=connection))

    def half_open(self, *, at: float, connection: str | None = None) -> Self:
        return self.add(HalfOpen(at, connection=connection))

    def stall(self, *, at: float, connection: str | None = None, seconds: float) -> Self:
        return self.add(Stall(at, connection=connection, seconds=seconds))

    def slow_reader(self, *, at: float, connection: str | None = None, seconds: float) -> Self:
        return self.add(SlowReader(at, connection=connection, seconds=seconds))

    def close(self, *, at: float, connection: str | None = None, code: int = 1001) -> Self:
        return self.add(Close(at, connection=connection, code=code))

    def refuse(self, *, at: float, seconds: float) -> Self:
        return self.add(Refuse(at, seconds=seconds))

    def restart(self, *, at: float, seconds: float = 1.0) -> Self:
        return self.add(Restart(at, seconds=seconds))

    def reject(self, *, at: float, status: int = 429, count: int = 1) -> Self:
        return self.add(Reject(at, status=status, count=count))

    def accept_then_close(
        self, *, at: float, count: int = 1, how: Literal["close", "reset"] = "close"
    ) -> Self:
        return self.add(AcceptThenClose(at, count=count, how=how))

    def tls_failure(
        self, *, at: float, count: int = 1, how: Literal["authority", "garbage"] = "authority"
    ) -> Self:
        return self.add(TlsFailure(at, count=count, how=how))

    def no_pong(self, *, at: float, seconds: float) -> Self:
        return self.add(NoPong(at, seconds=seconds))

    def no_ack(self, *, at: float, count: int = 1) -> Self:
        return self.add(NoAck(at, count=count))

    def rest_status(
        self,
        *,
        at: float,
        count: int = 1,
        path: str = "*",
        status: int = 429,
        retry_after: int | None = None,
    ) -> Self:
        return self.add(
            RestStatus(at, count=count, path=path, status=status, retry_after=retry_after)
        )

    def rest_timeout(self, *, at: float, count: int = 1, path: str = "*", seconds: float) -> Self:
        return self.add(RestTimeout(at, count=count, path=path, seconds=seconds))

    def rest_garbage(
        self,
        *,
        at: float,
        count: int = 1,
        path: str = "*",
        how: Literal["html", "truncated", "empty"] = "html",
    ) -> Self:
        return self.add(RestGarbage(at, count=count, path=path, how=how))

    def snapshot_too_old(self, *, at: float, count: int = 1) -> Self:
        return self.add(SnapshotTooOld(at, count=count))

    def rest_reset(self, *, at: float, count: int = 1, path: str = "*") -> Self:
        return self.add(RestReset(at, count=count, path=path))

    def clock_jump(self, *, at: float, seconds: float) -> Self:
        return self.add(ClockJump(at, seconds=seconds))
