"""What can go wrong at a fake exchange: one class for each kind, in attributes that say how.

``at``, everywhere: when, in seconds on Trio's clock after the exchange was opened. ``stream`` is
the name of a stream, or a pattern of names as :mod:`fnmatch` has them. ``connection`` is the name
of one connection, ``c3`` for the third that was made; None stands for every one that is hit.
``word`` is the kind's name in the text of a script.
"""

from __future__ import annotations

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
from farm.testing.faults.frame_kinds import (
    Corrupt,
    Corruption,
    Delay,
    Drop,
    Duplicate,
    FrameFault,
    NoData,
    Reorder,
    SequenceBreak,
    StreamSilence,
)
from farm.testing.faults.rest_kinds import (
    RestFault,
    RestGarbage,
    RestReset,
    RestStatus,
    RestTimeout,
    SnapshotTooOld,
)

__all__ = [
    "KINDS",
    "AcceptThenClose",
    "ClockJump",
    "Close",
    "ConnectionFault",
    "Corrupt",
    "Corruption",
    "Delay",
    "Drop",
    "Duplicate",
    "Fault",
    "FrameFault",
    "HalfOpen",
    "NoAck",
    "NoData",
    "NoPong",
    "Refuse",
    "Reject",
    "Reorder",
    "Reset",
    "RestFault",
    "RestGarbage",
    "RestReset",
    "RestStatus",
    "RestTimeout",
    "Restart",
    "SequenceBreak",
    "SlowReader",
    "SnapshotTooOld",
    "Stall",
    "StreamSilence",
    "TlsFailure",
]

KINDS: dict[str, type[Fault]] = {
    kind.word: kind
    for kind in (
        *(Drop, Duplicate, Reorder, Delay, Corrupt, SequenceBreak, NoData),
        *(Reset, HalfOpen, Stall, SlowReader, Close, Refuse, Restart),
        *(Reject, AcceptThenClose, TlsFailure, NoPong, NoAck),
        *(RestStatus, RestTimeout, RestGarbage, SnapshotTooOld, RestReset),
        ClockJump,
    )
}
"""Every kind of fault by its word."""
