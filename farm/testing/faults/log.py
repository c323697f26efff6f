"""What faults did."""

from __future__ import annotations

import attrs

from farm.testing.faults.fault import Fault
from farm.testing.source import Push

__all__ = ["FaultEvent"]


@attrs.frozen
class FaultEvent:
    """A fault hit something, or found nothing to hit.

    ``time``: seconds on Trio's clock. ``connection`` and ``stream``: what it hit, or the target
    of a REST request in place of a stream; "" where a fault concerns none. ``count``: how many
    connections or frames that was, 0 where a fault of what stands found nothing. ``push``: what
    the frame carried, for faults of frames.
    """

    time: float
    fault: Fault
    connection: str = ""
    stream: str = ""
    count: int = 1
    push: Push | None = None
