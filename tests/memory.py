"""How much memory something takes.

It is taken by tracemalloc, so it is what Python holds, and not what it has not given back yet.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["MB", "bounded"]

MB = 1 << 20


@contextmanager
def bounded(most: int) -> Iterator[None]:
    """Python holds at no time in here more than so many bytes beyond what it held before."""
    gc.collect()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak / MB:.1f} MB"
