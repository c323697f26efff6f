"""How long the faults of a script hold things up, so that nobody is blamed for waiting."""

from __future__ import annotations

from farm.testing.faults.kinds import Corrupt, Delay, Reject, Reorder, RestStatus, Stall
from farm.testing.faults.script import FaultScript
from farm.testing.network import DELAYS

__all__ = ["bans", "slack"]

BANS = {403: 600.0, 418: 120.0, 429: 60.0}
"""Seconds for which no more is asked of a venue after such an answer that names no time itself."""

DEEP_TRIPS = 4
"""Buffers of the network that a ``deep`` frame fills, one after the other."""

FRAME_TIME = 1.0
"""Seconds within which the next frame of a connection comes."""


def bans(script: FaultScript) -> float:
    """For how long the faults may keep a client away, in seconds."""
    refusals = (fault for fault in script if isinstance(fault, Reject | RestStatus))
    return sum(BANS.get(fault.status, 0.0) * fault.count for fault in refusals)


def slack(script: FaultScript) -> float:
    """For how long things were on their way or held back, in seconds."""
    held = sum(fault.seconds for fault in script if isinstance(fault, Delay | Stall))
    deep = sum(
        fault.count for fault in script if isinstance(fault, Corrupt) and fault.how == "deep"
    )
    overtaken = sum(fault.by * FRAME_TIME for fault in script if isinstance(fault, Reorder))
    return DELAYS[1] * (1 + DEEP_TRIPS * deep) + held + overtaken
