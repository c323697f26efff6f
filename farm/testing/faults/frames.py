"""Faults of frames at work: between the trading floor and its connections."""

from __future__ import annotations

import random
from collections.abc import Callable
from fnmatch import fnmatchcase

import attrs
import trio

from farm.testing.connection import Connection
from farm.testing.faults.corruption import corrupted, payload_of
from farm.testing.faults.fault import Fault
from farm.testing.faults.frame_kinds import (
    Corrupt,
    Delay,
    Drop,
    Duplicate,
    FrameFault,
    NoData,
    Reorder,
    SequenceBreak,
    StreamSilence,
)
from farm.testing.faults.log import FaultEvent
from farm.testing.faults.text import fault_text
from farm.testing.source import Push

__all__ = ["FrameFaults"]


@attrs.define(eq=False)
class _Counted:
    """A fault of so many frames. ``turn``: which of them the last one was, from 0."""

    fault: FrameFault | SequenceBreak
    rng: random.Random
    turn: int = -1
    _frame: int = -1

    @property
    def is_over(self) -> bool:
        return self.turn + 1 == self.fault.count

    def takes(self, push: Push, frame: int) -> bool:
        """Whether the frame, by its number, is one of those; it is for all connections then."""
        if frame == self._frame:
            return True
        if self.is_over or not _fits(self.fault.stream, push):
            return False
        self.turn += 1
        self._frame = frame
        return True


@attrs.define(eq=False)
class _Held:
    """Frames held back of one connection until so many others have gone."""

    connection: Connection
    frames: list[bytes]
    others: int


@attrs.define(eq=False)
class _Silence:
    fault: NoData
    until: float


@attrs.define(eq=False)
class _Delayed:
    fault: Delay
    frames: list[tuple[Connection, bytes]] = attrs.Factory(list)


class FrameFaults:
    """The faults of frames that are at work now. A frame meets one fault of its content and one
    of its time, of each the one that has been at work longest.

    ``active``: whether any is; where none is, frames need not come here.
    """

    def __init__(
        self,
        log: list[FaultEvent],
        seed: int | str | None,
        is_diff: Callable[[Push], bool],
    ) -> None:
        self.active = False
        self._log = log
        self._seed = seed
        self._is_diff = is_diff
        self._counted: list[_Counted] = []
        self._silences: list[_Silence] = []
        self._delays: list[_Delayed] = []
        self._held: list[_Held] = []
        self._frame = 0

    # --- what is at work -------------------------------------------------------------------------

    def count_down(self, fault: FrameFault | SequenceBreak) -> None:
        """Hits the next frames of a stream."""
        rng = random.Random(f"{self._seed}:{fault_text(fault)}")
        self._counted.append(_Counted(fault, rng))
        self.active = True

    def silence(self, fault: NoData) -> None:
        """Lets nothing of a stream through as long as it says."""
        self._silences.append(_Silence(fault, trio.current_time() + fault.seconds))
        self.active = True

    def delay(self, fault: Delay) -> Callable[[], None]:
        """Holds what a stream says from now on; the function that is returned lets it go."""
        delayed = _Delayed(fault)
        self._delays.append(delayed)
        self.active = True

        def let_go() -> None:
            self._delays.remove(delayed)
            for connection, frame in delayed.frames:
                connection.send_frame(frame)

        return let_go

    # --- frames ----------------------------------------------------------------------------------

    def begin(self, push: Push) -> bool:
        """A frame for one or more connections is about to be sent; True where it gets lost."""
        self._frame += 1
        self._counted = [counted for counted in self._counted if not counted.is_over]
        self._held = [held for held in self._held if held.connection.is_open]
        if self._silences:
            now = trio.current_time()
            self._silences = [silence for silence in self._silences if now < silence.until]
        self.active = bool(self._counted or self._silences or self._delays or self._held)
        for counted in self._counted:
            if (
                isinstance(counted.fault, SequenceBreak)
                and self._is_diff(push)
                and counted.takes(push, self._frame)
            ):
                self._note(counted.fault, push)
                return True
        return False

    def send(self, connection: Connection, push: Push, frame: bytes) -> None:
        """Sends a frame of `push` to a connection, as far as the faults let it through."""
        frames = self._content(connection, push, frame)
        if not frames:
            return
        for delayed in self._delays:
            if _concerns(delayed.fault, connection, push):
                delayed.frames += [(connection, each) for each in frames]
                self._note(delayed.fault, push, connection)
                return
        for counted in self._counted:
            fault = counted.fault
            if isinstance(fault, Reorder) and self._takes(counted, fault, connection, push):
                self._held.append(_Held(connection, frames, fault.by))
                self._note(fault, push, connection)
                return
        for each in frames:
            connection.send_frame(each)
        self._let_follow(connection)

    def _content(self, connection: Connection, push: Push, frame: bytes) -> list[bytes]:
        for silence in self._silences:
            if _concerns(silence.fault, connection, push):
                self._note(silence.fault, push, connection)
                return []
        for counted in self._counted:
            fault = counted.fault
            if not isinstance(fault, Drop | Duplicate | Corrupt):
                continue
            if self._takes(counted, fault, connection, push):
                self._note(fault, push, connection)
                return self._spoilt(counted, fault, connection, frame)
        return [frame]

    def _spoilt(
        self,
        counted: _Counted,
        fault: Drop | Duplicate | Corrupt,
        connection: Connection,
        frame: bytes,
    ) -> list[bytes]:
        if isinstance(fault, Drop):
            return []
        if isinstance(fault, Duplicate):
            return [frame, frame]
        if fault.how == "fragments":
            connection.send_endlessly(payload_of(frame))
        return corrupted(fault.how, frame, counted.rng, counted.turn)

    def _takes(
        self, counted: _Counted, fault: FrameFault, connection: Connection, push: Push
    ) -> bool:
        if fault.connection not in (None, connection.name):
            return False
        return counted.takes(push, self._frame)

    def _let_follow(self, connection: Connection) -> None:
        """What was held of a connection follows its next frames."""
        for held in self._held:
            if held.connection is connection:
                held.others -= 1
                if held.others == 0:
                    for frame in held.frames:
                        connection.send_frame(frame)
        self._held = [held for held in self._held if held.others]

    def _note(self, fault: Fault, push: Push, connection: Connection | None = None) -> None:
        name = "" if connection is None else connection.name
        event = FaultEvent(trio.current_time(), fault, name, push.stream, push=push)
        self._log.append(event)


def _concerns(fault: StreamSilence, connection: Connection, push: Push) -> bool:
    return fault.connection in (None, connection.name) and _fits(fault.stream, push)


def _fits(stream: str, push: Push) -> bool:
    return push.stream == stream or fnmatchcase(push.stream, stream)
