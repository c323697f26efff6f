"""What goes wrong at a fake exchange, and when: a script of faults.

::

    script = FaultScript().drop("btcusdt@trade", at=5, count=3).half_open(at=7.5)
    script = FaultScript.parse("5.0 drop btcusdt@trade count=3\\n7.5 half_open")
    script = FaultScript.random(17, ["btcusdt@trade", "btcusdt@depth@100ms"], seconds=60)

    async with open_fake(FakeBinance(market, faults=script)) as exchange:
        ...
    print(script)                # one line a fault, and the seed; parse() reads it
    print(exchange.fault_log)    # what each of them hit

Faults act at their moment or, those of frames, handshakes and requests, on the next ``count`` of
these from then on. ``exchange.strike(fault)`` brings one about at once, whatever its moment. A
script is filled before the exchange is opened; in pytest's fixtures a fault that hits nothing is
warned of (:class:`FaultNeverStruck`).
"""

from __future__ import annotations

from farm.testing.faults.kinds import (
    KINDS,
    AcceptThenClose,
    ClockJump,
    Close,
    ConnectionFault,
    Corrupt,
    Corruption,
    Delay,
    Drop,
    Duplicate,
    Fault,
    FrameFault,
    HalfOpen,
    NoAck,
    NoData,
    NoPong,
    Refuse,
    Reject,
    Reorder,
    Reset,
    Restart,
    RestFault,
    RestGarbage,
    RestReset,
    RestStatus,
    RestTimeout,
    SequenceBreak,
    SlowReader,
    SnapshotTooOld,
    Stall,
    StreamSilence,
    TlsFailure,
)
from farm.testing.faults.log import FaultEvent
from farm.testing.faults.never_struck import FaultNeverStruck
from farm.testing.faults.script import FaultScript
from farm.testing.faults.text import ScriptError

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
    "FaultEvent",
    "FaultNeverStruck",
    "FaultScript",
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
    "ScriptError",
    "SequenceBreak",
    "SlowReader",
    "SnapshotTooOld",
    "Stall",
    "StreamSilence",
    "TlsFailure",
]
