"""How often repeated tests run: FARM_EFFORT scales every count (1.0 unless set)."""

from __future__ import annotations

import os


def runs(count: int) -> int:
    """`count` repetitions, scaled by FARM_EFFORT, never fewer than one."""
    return max(1, round(count * float(os.environ.get("FARM_EFFORT", "1"))))
