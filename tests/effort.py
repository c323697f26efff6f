"""How often repeated tests run: FARM_EFFORT scales every count (1.0 unless set)."""

from __future__ import annotations

import os


def runs(count: int) -> int:
    """`count` repetitions, scaled by FARM_EFFORT, never fewer than one."""
    return max(1, round(count * float(os.environ.get("FARM_EFFORT", "1"))))


def moments(count: int) -> list[int]:
    """The moments 0 to `count` - 1, as many as `runs` says, spread evenly and both ends among them:
    less effort looks at fewer, more looks at each several times."""
    number = max(2, runs(count))
    return [index * (count - 1) // (number - 1) for index in range(number)]
