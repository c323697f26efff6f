"""The order in which Trio runs its tasks, chosen by a seed.

Trio runs what is ready in an order of its own, and another one in each run of a program. Nothing
may depend on it; what fails under one order must be repeatable all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

__all__ = ["seeded_scheduling"]


@contextmanager
def seeded_scheduling(seed: int | str) -> Iterator[None]:
    """Within this block Trio shuffles ready tasks by `seed`: enter it before ``trio.run``.

    It uses the switch that Trio has for its own tests and for Hypothesis, which is no public name.
    """
    module: Any = trio._core._run  # noqa: SLF001
    before, state = module._ALLOW_DETERMINISTIC_SCHEDULING, module._r.getstate()  # noqa: SLF001
    module._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001
    module._r.seed(f"scheduling:{seed}")  # noqa: SLF001
    try:
        yield
    finally:
        module._ALLOW_DETERMINISTIC_SCHEDULING = before  # noqa: SLF001
        module._r.setstate(state)  # noqa: SLF001
